//! Direct writes with a big cold buffer, while another thread keeps the same range in the page
//! cache, clean and dirty: every write ends with its whole count.
//!
//! generic/208: the write has to drop the range from the page cache before and after; when that
//! failed the request gave EIO, and a later repair made it spin for ever on memory that could be
//! touched but not pinned.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::io::Open;
use super::super::memory::{Map, page};
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, pattern};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "invalidation",
    number: "generic/208",
    story: "Writes with a big cold buffer succeed whole while the range is read and dirtied through the page cache.",
    randomised: true,
    run,
};

const ROUNDS: usize = 12;
const OURS: u64 = 1;
const THEIRS: u64 = 2;

fn run(cx: &Context) -> Outcome {
    let len = cx.at_most(8 << 20, 64 << 10);
    let path = cx.path("file");
    let source = cx.path("source");
    cx.pattern_file(&path, THEIRS, len)?;
    let stop = AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        let dirtier = scope.spawn(|| -> Outcome {
            let file = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)?;
            let mut random = cx.random();
            let mut block = vec![0; 4 * page()];
            while !stop.load(Ordering::Relaxed) {
                let at = random.below(len / page() - 4) * page();
                file.read_exact_at(&mut block, at as u64)
                    .doing("a buffered read meanwhile")?;
                file.write_all_at(&pattern::bytes(THEIRS, at, page()), at as u64)
                    .doing("a buffered write meanwhile")?;
            }
            Ok(())
        });
        let ours = writes(cx, &path, &source, len);
        stop.store(true, Ordering::Relaxed);
        ours.and(
            dirtier
                .join()
                .unwrap_or_else(|_| Err(std::io::Error::other("the other thread panicked").into())),
        )
    });
    outcome?;
    // Which of the two came last is open, but nobody else has written.
    let seen = cx.contents(&path)?;
    ensure!(
        seen.len() == len,
        "the file has {} bytes instead of {len}",
        seen.len()
    );
    let (ours, theirs) = (pattern::bytes(OURS, 0, len), pattern::bytes(THEIRS, 0, len));
    let strange = (0..len).find(|&at| seen[at] != ours[at] && seen[at] != theirs[at]);
    ensure!(
        strange.is_none(),
        "the byte at {strange:?} was written by nobody"
    );
    // Alone now, over what the other has just left dirty: nothing of that may come back.
    let mut io = cx.io()?;
    let file = io.file(&path, Open::Write)?;
    let dirty = std::fs::OpenOptions::new().write(true).open(&path)?;
    for seed in 3..6 {
        dirty
            .write_all_at(&theirs, 0)
            .doing("a buffered write before")?;
        io.write_all(file, Map::pattern(seed, len)?.all(), 0)?;
        let mismatch = pattern::mismatch(&cx.contents(&path)?, seed, 0);
        ensure!(
            mismatch.is_none(),
            "written over dirty pages, alone: in the file {}",
            mismatch.unwrap_or_default()
        );
    }
    Ok(())
}

fn writes(cx: &Context, path: &std::path::Path, source: &std::path::Path, len: usize) -> Outcome {
    let mut io = cx.io()?;
    let file = io.file(path, Open::Write)?;
    cx.pattern_file(source, OURS, len)?;
    for round in 0..ROUNDS {
        cx.cool(source)?;
        let mapped = std::fs::File::open(source)?;
        let map = if round % 2 == 0 {
            Map::read_only(&mapped, len)?
        } else {
            Map::pattern(OURS, len)?
        };
        let count = io
            .write(file, map.all(), 0)
            .doing(format_args!("round {round}"))?;
        ensure!(
            count == len,
            "round {round}: wrote {count} instead of {len}"
        );
    }
    Ok(())
}
