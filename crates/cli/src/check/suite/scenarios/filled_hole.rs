//! A hole, or an unwritten block, is filled, and as soon as the write has ended it is read by
//! another thread: no zeros.
//!
//! generic/239: the completion was told before the block was converted from unwritten to written,
//! so that a read gave zeros.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::io::{FileId, Io, Open, Request, told};
use super::super::memory::Map;
use super::super::pattern::{Random, bytes, mismatch};
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, race};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "filled-hole",
    number: "generic/239",
    story: "What was written into a hole or an unwritten block is read by all as soon as the write has ended.",
    randomised: true,
    run,
};

const BLOCK: usize = 4096;
const FLIGHTS: usize = 8;
const SEED: u64 = 1;

/// What the other thread reads with.
struct Reader {
    io: Box<dyn Io>,
    file: FileId,
    map: Map,
    random: Random,
}

fn run(cx: &Context) -> Outcome {
    let blocks = cx.at_most(8 << 20, FLIGHTS * BLOCK) / BLOCK;
    for allocated in [false, true] {
        let path = cx.path("file");
        let mut io = cx.io()?;
        let file = io.file(&path, Open::Create)?;
        io.set_len(file, blocks * BLOCK)?;
        if allocated && io.allocate(file, 0, blocks * BLOCK).is_err() {
            // Then there are only holes here.
            return Ok(());
        }
        let filled = AtomicUsize::new(0);
        let make = || {
            let mut io = cx.io()?;
            let file = io.file(&path, Open::Read)?;
            Ok(Reader {
                io,
                file,
                map: Map::anonymous(BLOCK)?,
                random: cx.random(),
            })
        };
        let read = |reader: &mut Reader| {
            let end = filled.load(Ordering::Acquire);
            if end == 0 {
                std::thread::yield_now();
                return Ok(());
            }
            // The last ones most of the time.
            let block = end - 1 - reader.random.below(end.min(FLIGHTS));
            check(&mut *reader.io, reader.file, &reader.map, block).doing("read by another thread")
        };
        race::beside(make, read, || fill(cx, &mut *io, file, blocks, &filled))
            .doing(if allocated { "unwritten" } else { "hole" })?;
        io.close(file);
        let wrong = mismatch(
            &cx.contents(&path)?[..filled.load(Ordering::Relaxed) * BLOCK],
            SEED,
            0,
        );
        ensure!(wrong.is_none(), "at the end {}", wrong.unwrap_or_default());
    }
    Ok(())
}

fn fill(
    cx: &Context,
    io: &mut dyn Io,
    file: FileId,
    blocks: usize,
    filled: &AtomicUsize,
) -> Outcome {
    let mut random = cx.random();
    let map = Map::anonymous(FLIGHTS * BLOCK)?;
    let again = Map::anonymous(BLOCK)?;
    let mut next = 0;
    for _ in race::rounds(blocks) {
        let count = (1 + random.below(FLIGHTS)).min(blocks - next);
        if count == 0 {
            break;
        }
        map.put(0, &bytes(SEED, next * BLOCK, count * BLOCK));
        let request = |i: usize| {
            Request::write(
                file,
                map.piece(i * BLOCK..(i + 1) * BLOCK),
                (next + i) * BLOCK,
            )
        };
        for (result, i) in io
            .run(&(0..count).map(request).collect::<Vec<_>>(), None)?
            .iter()
            .zip(0..)
        {
            ensure!(
                matches!(result, Ok(BLOCK)),
                "a write of block {} gave {}",
                next + i,
                told(result)
            );
        }
        next += count;
        filled.store(next, Ordering::Release);
        check(io, file, &again, next - 1)?;
    }
    Ok(())
}

fn check(io: &mut dyn Io, file: FileId, map: &Map, block: usize) -> Outcome {
    let count = io.read(file, map.piece(0..BLOCK), block * BLOCK)?;
    ensure!(count == BLOCK, "a read of block {block} gave {count}");
    let wrong = mismatch(&map.get(0..BLOCK), SEED, block * BLOCK);
    ensure!(
        wrong.is_none(),
        "block {block}: {}",
        wrong.unwrap_or_default()
    );
    Ok(())
}
