//! The buffer has been swapped out.
//!
//! Our own, on whatever swap is on. The pages are there for mincore(2) or not, but to submit them
//! means to read them from the swap first.

use super::super::io::{Direction, Open, Request, told};
use super::super::memory::{Map, page};
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, Stop, pattern};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "swapped-out",
    number: "",
    story: "Reads and writes of buffers that were swapped out give the whole count and the right bytes.",
    randomised: false,
    run,
};

fn run(cx: &Context) -> Outcome {
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    if swaps.lines().count() < 2 {
        return Err(Stop::Skip("no swap is on".to_owned()));
    }
    let len = cx.at_most(4 << 20, page());
    let path = cx.path("file");
    let mut io = cx.io()?;
    let mut swapped = 0;
    for shared in [false, true] {
        for direction in [Direction::Write, Direction::Read] {
            cx.pattern_file(&path, 1, len)?;
            let file = io.file(&path, Open::Write)?;
            let kind = if shared {
                libc::MAP_SHARED
            } else {
                libc::MAP_PRIVATE
            };
            let map = Map::new(len, kind | libc::MAP_ANONYMOUS, -1, 0)?;
            map.put(0, &pattern::bytes(2, 0, len));
            map.advise(0..len, libc::MADV_PAGEOUT)
                .doing("MADV_PAGEOUT")?;
            swapped += map.swapped_pages()?;
            let result = io.one(Request {
                file,
                direction,
                pieces: vec![map.all()],
                offset: 0,
            })?;
            ensure!(
                matches!(result, Ok(count) if count == len),
                "{direction:?} gave {} instead of {len}",
                told(&result)
            );
            io.close(file);
            let seed = if direction == Direction::Read { 1 } else { 2 };
            let mismatch = pattern::mismatch(&map.get(0..len), seed, 0);
            ensure!(
                mismatch.is_none(),
                "{direction:?}: in the memory {}",
                mismatch.unwrap_or_default()
            );
            let mismatch = pattern::mismatch(&cx.contents(&path)?, seed, 0);
            ensure!(
                mismatch.is_none(),
                "{direction:?}: in the file {}",
                mismatch.unwrap_or_default()
            );
        }
    }
    if swapped == 0 {
        Err(Stop::Skip(
            "the kernel swaps nothing out when asked to (MADV_PAGEOUT)".to_owned(),
        ))
    } else {
        Ok(())
    }
}
