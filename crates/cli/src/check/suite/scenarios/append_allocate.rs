//! One thread writes behind the end of an empty file, another allocates its beginning at the same
//! moment: the size is that of both.
//!
//! generic/586: XFS took the size for the allocation before it had the lock, and set it after the
//! write had grown the file.

use super::super::io::{Io, Open};
use super::super::memory::Map;
use super::super::pattern::{Random, bytes, difference};
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, Stop, race};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "append-allocate",
    number: "generic/586",
    story: "A write behind the end and an allocation at the same moment leave a file of the size of both.",
    randomised: true,
    run,
};

const BLOCK: usize = 4096;
const SEED: u64 = 1;

/// What a round allocates from the beginning, and where and how much it writes.
fn plan(cx: &Context, round: usize, unit: usize) -> (usize, usize, usize) {
    match Random::new(cx.seed.wrapping_add((round as u64) << 32)).below(4) {
        0 => (BLOCK, BLOCK, BLOCK),
        1 => (3 * BLOCK, BLOCK, BLOCK),
        2 => (BLOCK, 16 * BLOCK, 4 * BLOCK),
        _ if unit == 1 => (BLOCK, BLOCK, 300),
        _ => (16 * BLOCK, BLOCK, BLOCK),
    }
}

fn run(cx: &Context) -> Outcome {
    let path = cx.path("file");
    std::fs::write(&path, b"")?;
    let unit = {
        let mut io = cx.io()?;
        let file = io.file(&path, Open::Write)?;
        io.unit(file)
    };
    let before = |_| std::fs::write(&path, b"").doing("empty the file");
    let work = |thread: usize, round: usize, io: &mut dyn Io| {
        let (allocated, start, len) = plan(cx, round, unit);
        let file = io.file(&path, Open::Write)?;
        let outcome = if thread == 0 {
            let map = Map::pattern(SEED, len)?;
            io.write_all(file, map.piece(0..len), start)
        } else {
            match io.allocate(file, 0, allocated) {
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Err(Stop::Skip(
                    "the filesystem cannot allocate ahead (EOPNOTSUPP)".to_owned(),
                )),
                other => other.doing("allocate"),
            }
        };
        io.close(file);
        outcome
    };
    let after = |round| {
        let (allocated, start, len) = plan(cx, round, unit);
        let mut wanted = vec![0; allocated.max(start + len)];
        wanted[start..start + len].copy_from_slice(&bytes(SEED, 0, len));
        let words = format!("allocated {allocated}, wrote {len} at {start}");
        let size = std::fs::metadata(&path)?.len();
        ensure!(
            size == wanted.len() as u64,
            "{words}: the size is {size} instead of {}",
            wanted.len()
        );
        let wrong = difference(&cx.contents(&path)?, &wanted, 0);
        ensure!(wrong.is_none(), "{words}: {}", wrong.unwrap_or_default());
        Ok(())
    };
    race::race(cx, 2, 200, before, work, after)
}
