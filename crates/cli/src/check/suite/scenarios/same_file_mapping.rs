//! A buffer that is a mapping of the very file that is read or written, in every combination:
//! shared or private, the same range or another, of data or of a hole, the pages there or not.
//!
//! generic/647 does this for reads and writes of another range. The fault of the buffer needs locks
//! or pages that the request itself holds: gfs2 and btrfs had to learn to fault outside of their
//! locks, and gfs2 still never ends a read into a shared mapping of the same range, which no kernel
//! test covers.

use std::path::Path;

use super::super::io::{Direction, Io, Open, Request, told};
use super::super::memory::{Map, page};
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, pattern};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "same-file-mapping",
    number: "generic/647",
    story: "Requests whose buffer is a mapping of the same file, in every combination, end with the whole count and the right bytes.",
    randomised: false,
    run,
};

#[derive(Clone, Copy, Debug)]
struct Case {
    direction: Direction,
    shared: bool,
    same_range: bool,
    hole: bool,
    touched: bool,
}

fn run(cx: &Context) -> Outcome {
    let mut io = cx.io()?;
    let len = cx.at_most(1 << 20, page());
    for bits in 0..32 {
        let bit = |n: usize| bits >> n & 1 == 1;
        let direction = if bit(4) {
            Direction::Write
        } else {
            Direction::Read
        };
        let case = Case {
            direction,
            same_range: bit(3),
            shared: bit(2),
            hole: bit(1),
            touched: bit(0),
        };
        one(cx, &mut *io, case, len).doing(format_args!("{case:?}"))?;
    }
    Ok(())
}

/// The file has two halves; the request is on the first one, and the buffer is a mapping of that or
/// of the other.
fn one(cx: &Context, io: &mut dyn Io, case: Case, len: usize) -> Outcome {
    let path = cx.path("file");
    let mut before = pattern::bytes(1, 0, 2 * len);
    if case.hole {
        before[..len].fill(0);
        sparse(&path, &before[len..], len)?;
    } else {
        std::fs::write(&path, &before)?;
    }
    cx.cool(&path)?;
    let file = io.file(&path, Open::Write)?;
    let mapped = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)?;
    let start = if case.same_range { 0 } else { len };
    let map = Map::file(&mapped, start, len, case.shared)?;
    if case.touched {
        map.get(0..len);
    }
    let result = io.one(Request {
        file,
        direction: case.direction,
        pieces: vec![map.all()],
        offset: 0,
    })?;
    ensure!(
        matches!(result, Ok(count) if count == len),
        "gave {} instead of {len}",
        told(&result)
    );

    // What is in the memory and in the file now, had it been memory like any other.
    let (memory, mut after) = match case.direction {
        Direction::Read => (before[..len].to_vec(), before.clone()),
        Direction::Write => (
            before[start..start + len].to_vec(),
            [&before[start..start + len], &before[len..]].concat(),
        ),
    };
    if case.shared {
        after[start..start + len].copy_from_slice(&memory);
    }
    let difference = pattern::difference(&map.get(0..len), &memory, start);
    ensure!(
        difference.is_none(),
        "in the memory {}",
        difference.unwrap_or_default()
    );
    io.close(file);
    let difference = pattern::difference(&cx.contents(&path)?, &after, 0);
    ensure!(
        difference.is_none(),
        "in the file {}",
        difference.unwrap_or_default()
    );
    Ok(())
}

/// A file that starts with a hole.
fn sparse(path: &Path, end: &[u8], hole: usize) -> Outcome {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::create(path)?;
    file.write_all_at(end, hole as u64)
        .doing("write the sparse file")
}
