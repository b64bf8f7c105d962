//! Two threads write every other block of one extent, with several requests in flight each, then
//! every block holds what was written.
//!
//! generic/391: two direct writers in one unwritten extent, where each conversion of a block must
//! leave the neighbours alone.

use super::super::io::{Io, Open, Request, told};
use super::super::memory::Map;
use super::super::pattern::{Random, bytes, mismatch};
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, Stop, race};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "interleaved-writers",
    number: "generic/391",
    story: "Two writers of every other block of an extent (a hole, unwritten, written) leave all blocks right.",
    randomised: true,
    run,
};

const BLOCK: usize = 4096;
const BATCH: usize = 16;
const OLD: u64 = 1;
const NEW: u64 = 2;

/// What is there before a round: 0 a hole, 1 an unwritten extent, 2 a written one.
fn state(cx: &Context, round: usize) -> usize {
    Random::new(cx.seed.wrapping_add((round as u64) << 32)).below(3)
}

fn run(cx: &Context) -> Outcome {
    let len = cx.at_most(512 << 10, 2 * BATCH * BLOCK);
    let path = cx.path("file");
    let mut io = cx.io()?;
    let before = |round: usize| {
        std::fs::write(&path, b"")?;
        match state(cx, round) {
            0 => std::fs::File::options()
                .write(true)
                .open(&path)?
                .set_len(len as u64)
                .doing("extend the file"),
            1 => {
                let file = io.file(&path, Open::Write)?;
                let result = io.allocate(file, 0, len);
                io.close(file);
                match result {
                    Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Err(
                        Stop::Skip("the filesystem cannot allocate ahead (EOPNOTSUPP)".to_owned()),
                    ),
                    other => other.doing("allocate"),
                }
            }
            _ => cx.pattern_file(&path, OLD, len),
        }
    };
    let work = |thread: usize, _: usize, io: &mut dyn Io| {
        let file = io.file(&path, Open::Write)?;
        let map = Map::anonymous(BATCH * BLOCK)?;
        let blocks: Vec<usize> = (0..len / BLOCK)
            .filter(|block| block % 2 == thread)
            .collect();
        for batch in blocks.chunks(BATCH) {
            let piece = |place: usize| place * BLOCK..(place + 1) * BLOCK;
            for (place, block) in batch.iter().enumerate() {
                map.put(place * BLOCK, &bytes(NEW, block * BLOCK, BLOCK));
            }
            let request = |(place, block): (usize, &usize)| {
                Request::write(file, map.piece(piece(place)), block * BLOCK)
            };
            let requests: Vec<_> = batch.iter().enumerate().map(request).collect();
            for (result, block) in io.run(&requests, None)?.iter().zip(batch) {
                ensure!(
                    matches!(result, Ok(BLOCK)),
                    "a write of block {block} gave {}",
                    told(result)
                );
            }
        }
        io.close(file);
        Ok(())
    };
    let after = |round: usize| {
        let seen = cx.contents(&path)?;
        ensure!(
            seen.len() == len,
            "the file has {} bytes instead of {len}",
            seen.len()
        );
        let wrong = mismatch(&seen, NEW, 0);
        ensure!(
            wrong.is_none(),
            "in {}, {}",
            ["a hole", "an unwritten extent", "a written extent"][state(cx, round)],
            wrong.unwrap_or_default()
        );
        Ok(())
    };
    race::race(cx, 2, 60, before, work, after)
}
