//! A write that extends the file has ended: stat(2) gives the new size. Meanwhile another thread
//! sees the size grow and never shrink.
//!
//! generic/207: the completion was told before the size was updated.

use std::path::Path;

use super::super::io::{Open, Request, told};
use super::super::memory::{Map, page};
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, Stop, race};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "extend-stat",
    number: "generic/207",
    story: "After a write that extends the file stat(2) gives the new size, at once.",
    randomised: true,
    run,
};

const FLIGHTS: usize = 4;

fn size(path: &Path) -> Result<usize, Stop> {
    Ok(std::fs::metadata(path).doing("stat")?.len() as usize)
}

fn run(cx: &Context) -> Outcome {
    let path = cx.path("file");
    std::fs::write(&path, b"")?;
    let grows = |last: &mut usize| {
        let now = size(&path)?;
        ensure!(now >= *last, "the size went from {last} back to {now}");
        *last = now;
        Ok(())
    };
    race::beside(|| Ok(0), grows, || extend(cx, &path))
}

fn extend(cx: &Context, path: &Path) -> Outcome {
    let most = cx.at_most(32 << 20, 1 << 20);
    let mut random = cx.random();
    let mut io = cx.io()?;
    let file = io.file(path, Open::Write)?;
    let unit = io.unit(file);
    let map = Map::pattern(1, 16 * page())?;
    let mut end = 0;
    for _ in race::rounds(1000) {
        let count = if random.below(4) == 0 { FLIGHTS } else { 1 };
        // Sometimes with a hole before it.
        let mut next = end
            + if random.below(4) == 0 {
                random.below(4 * page()) / unit * unit
            } else {
                0
            };
        let mut requests = Vec::new();
        for _ in 0..count {
            // Ragged neighbours in flight would share pages, so several are of whole pages.
            let unit = if count > 1 { page() } else { unit };
            next = next.next_multiple_of(unit);
            let len = (1 + random.below(16 * page() / unit)) * unit;
            requests.push(Request::write(file, map.piece(0..len), next));
            next += len;
        }
        if next > most {
            return Ok(());
        }
        for result in io.run(&requests, None)? {
            ensure!(
                result.is_ok(),
                "a write of {} at {end} gave {}",
                next - end,
                told(&result)
            );
        }
        let seen = size(path)?;
        ensure!(
            seen == next,
            "after {count} writes from {end} to {next} the size is {seen}"
        );
        end = next;
    }
    Ok(())
}
