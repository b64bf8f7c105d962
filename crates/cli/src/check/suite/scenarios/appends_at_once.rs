//! Several appends in flight on one descriptor opened with O_APPEND: in whichever order they land,
//! each is in the file whole and once.
//!
//! Our own. XFS (seen on Linux 6.18) lets aligned direct writes share its lock and takes the end of
//! the file for each of them under it, so that they are written over each other: all report
//! success, and all but one are lost.

use std::path::Path;

use super::super::io::{FileId, Io, Open, Request, told};
use super::super::memory::{Map, page};
use super::super::pattern::{Random, bytes};
use super::super::stop::ensure;
use super::super::{Context, Outcome, Scenario, Stop, race};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "appends-at-once",
    number: "",
    story: "Several appends in flight on a descriptor that appends are all in the file, whole and once.",
    randomised: true,
    run,
};

const APPENDS: usize = 8;
const ROUNDS: usize = 4;

fn run(cx: &Context) -> Outcome {
    let mut io = cx.io()?;
    let most = cx.at_most(ROUNDS << 20, ROUNDS * APPENDS * page()) / ROUNDS / APPENDS;
    let mut random = cx.random();
    let path = cx.path("file");
    for _ in race::rounds(20) {
        let _ = std::fs::remove_file(&path);
        let file = io.file(&path, Open::Append)?;
        for _ in 0..ROUNDS {
            let before = cx.contents(&path)?;
            at_once(cx, &mut *io, file, &path, &mut random, most, before)?;
        }
        io.close(file);
    }
    Ok(())
}

fn at_once(
    cx: &Context,
    io: &mut dyn Io,
    file: FileId,
    path: &Path,
    random: &mut Random,
    most: usize,
    before: Vec<u8>,
) -> Outcome {
    let unit = io.unit(file);
    let mut appends = Vec::new();
    for _ in 0..APPENDS {
        let content = bytes(random.next(), 0, (1 + random.below(most / unit)) * unit);
        let map = Map::anonymous(content.len())?;
        map.put(0, &content);
        appends.push((map, content));
    }
    let requests: Vec<_> = appends
        .iter()
        .map(|(map, content)| Request::write(file, map.piece(0..content.len()), 0))
        .collect();
    for (result, (_, content)) in io.run(&requests, None)?.iter().zip(&appends) {
        ensure!(
            matches!(result, Ok(count) if *count == content.len()),
            "an append of {} bytes gave {}",
            content.len(),
            told(result)
        );
    }
    let seen = cx.contents(path)?;
    let size = before.len()
        + appends
            .iter()
            .map(|(_, content)| content.len())
            .sum::<usize>();
    ensure!(
        seen.len() == size,
        "all {APPENDS} appends succeeded, and the file has {} bytes instead of {size}",
        seen.len()
    );
    ensure!(
        seen.starts_with(&before),
        "appends changed what was there before"
    );
    let mut rest = &seen[before.len()..];
    while !rest.is_empty() {
        let at = seen.len() - rest.len();
        let Some(index) = appends
            .iter()
            .position(|(_, content)| rest.starts_with(content))
        else {
            return Err(Stop::Fail(format!(
                "at {at} of {size} begins none of the appends that are missing"
            )));
        };
        let (_, content) = appends.swap_remove(index);
        rest = &rest[content.len()..];
    }
    Ok(())
}
