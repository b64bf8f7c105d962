//! A file is closed, and often unlinked too, while its reads and writes are in flight: they all end
//! with their whole count, and with the last of them the file goes.
//!
//! generic/323: the completion dropped the last reference to the file, and that froze or crashed in
//! a place where nothing may wait.

use super::super::io::{FileId, Io, Open, Request, told};
use super::super::memory::Map;
use super::super::pattern::{bytes, mismatch};
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, race};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "last-reference",
    number: "generic/323",
    story: "Requests in flight when their file is closed, and unlinked, end whole.",
    randomised: true,
    run,
};

const PIECE: usize = 64 << 10;
const OLD: u64 = 1;
const NEW: u64 = 2;

fn run(cx: &Context) -> Outcome {
    let count = cx.at_most(1 << 20, 4 * PIECE) / PIECE;
    let len = count * PIECE;
    let mut io = cx.io()?;
    let path = cx.path("file");
    let mut random = cx.random();
    for round in race::rounds(40) {
        let unlinked = random.below(2) == 1;
        // Over what is there, and into nothing.
        cx.pattern_file(&path, OLD, if random.below(2) == 0 { len } else { 0 })?;
        let map = Map::pattern(NEW, len)?;
        let piece = |i: usize| i * PIECE..(i + 1) * PIECE;
        let file = opened(&mut *io, &path, Open::Write, unlinked)?;
        let requests: Vec<_> = (0..count)
            .map(|i| Request::write(file, map.piece(piece(i)), i * PIECE))
            .collect();
        for result in io.run_closing(file, &requests)? {
            ensure!(
                matches!(result, Ok(PIECE)),
                "round {round}: a write of {PIECE} gave {}",
                told(&result)
            );
        }
        if !unlinked {
            let seen = cx.contents(&path)?;
            ensure!(
                seen == bytes(NEW, 0, len),
                "round {round}: the file is not what was written"
            );
        }

        cx.pattern_file(&path, OLD, len)?;
        // Cold memory half of the time, so that the request has stages left when the file is
        // closed.
        let map = if random.below(2) == 0 {
            Map::anonymous(len)?
        } else {
            Map::pattern(NEW, len)?
        };
        let file = opened(&mut *io, &path, Open::Read, unlinked)?;
        let requests: Vec<_> = (0..count)
            .map(|i| Request::read(file, map.piece(piece(i)), i * PIECE))
            .collect();
        for result in io.run_closing(file, &requests)? {
            ensure!(
                matches!(result, Ok(PIECE)),
                "round {round}: a read of {PIECE} gave {}",
                told(&result)
            );
        }
        let wrong = mismatch(&map.get(0..len), OLD, 0);
        ensure!(
            wrong.is_none(),
            "round {round}: of what was read {}",
            wrong.unwrap_or_default()
        );
        // The descriptors are gone, or they would be used up soon: the engine lets go when it is
        // turned next.
        cx.pattern_file(&path, OLD, 1)?;
        let file = io.file(&path, Open::Read)?;
        io.sync(file)?;
        io.close(file);
        let left = open_descriptors(&path)?;
        ensure!(
            left == 0,
            "round {round}: {left} descriptors of the file are still open"
        );
    }
    Ok(())
}

fn opened(
    io: &mut dyn Io,
    path: &std::path::Path,
    how: Open,
    unlinked: bool,
) -> Result<FileId, super::super::Stop> {
    let file = io.file(path, how)?;
    if unlinked {
        std::fs::remove_file(path).doing("unlink the file")?;
    }
    Ok(file)
}

/// How many of this process's descriptors are of this name, unlinked or not.
fn open_descriptors(path: &std::path::Path) -> Result<usize, super::super::Stop> {
    let name = path.display().to_string();
    let links = std::fs::read_dir("/proc/self/fd").doing("list the descriptors")?;
    let ours = |link: &std::path::PathBuf| {
        link.display().to_string().trim_end_matches(" (deleted)") == name
    };
    Ok(links
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter(ours)
        .count())
}
