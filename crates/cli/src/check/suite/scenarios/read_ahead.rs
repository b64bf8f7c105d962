//! A thread makes the kernel read the file ahead into the page cache all the time. Direct reads are
//! right meanwhile, and after a direct write both ways of reading give the new bytes.
//!
//! generic/209: read-ahead that ran beside a direct write left the old bytes in the page cache.

use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use super::super::io::Open;
use super::super::memory::{Map, page};
use super::super::model::Model;
use super::super::stop::Doing;
use super::super::{Context, Outcome, Scenario, pattern, race};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "read-ahead",
    number: "generic/209",
    story: "Reads are right while the kernel reads the file ahead, also right after a write.",
    randomised: true,
    run,
};

const LONGEST: usize = 128 << 10;

fn run(cx: &Context) -> Outcome {
    let len = cx.at_most(1 << 20, LONGEST);
    let path = cx.path("file");
    cx.pattern_file(&path, 0, len)?;
    let opened = || std::fs::File::open(&path).doing("open the file once more");
    let ahead = |file: &mut std::fs::File| {
        for advice in [libc::POSIX_FADV_DONTNEED, libc::POSIX_FADV_WILLNEED] {
            // Advice only, so what it answers does not matter.
            // SAFETY: no pointers.
            unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, advice) };
        }
        // In order from the start: what the kernel takes for a reason to read ahead.
        let mut block = vec![0; 4 * page()];
        for at in (0..len / 2).step_by(block.len()) {
            file.read_exact_at(&mut block, at as u64)
                .doing("a buffered read meanwhile")?;
        }
        Ok(())
    };
    race::beside(opened, ahead, || ours(cx, len))
}

fn ours(cx: &Context, len: usize) -> Outcome {
    let path = cx.path("file");
    let mut io = cx.io()?;
    let file = io.file(&path, Open::Write)?;
    let other = std::fs::File::open(&path).doing("open the file once more")?;
    let mut model = Model::new(path, len, io.unit(file));
    model.bytes = pattern::bytes(0, 0, len);
    let mut random = cx.random();
    let map = Map::anonymous(2 * LONGEST)?;
    for round in race::rounds(1500) {
        let range = model.somewhere(&mut random, len, LONGEST);
        if random.below(3) == 0 {
            let seed = random.next();
            map.put(0, &pattern::bytes(seed, range.start, range.len()));
            io.write_all(file, map.piece(0..range.len()), range.start)?;
            model.written(seed, range.clone());
            let mut seen = vec![0; range.len()];
            other
                .read_exact_at(&mut seen, range.start as u64)
                .doing("a buffered read")?;
            model.compare(&seen, &range).doing(format_args!(
                "round {round}, through the page cache after a write"
            ))?;
        }
        model
            .read(&mut *io, file, &map, random.below(2) * LONGEST, range)
            .doing(format_args!("round {round}"))?;
    }
    model.check(cx)
}
