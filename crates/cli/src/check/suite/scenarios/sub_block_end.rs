//! Threads write neighbouring pieces, smaller than a block, behind the end of the file at the same
//! moment: each piece is there, and the size is right.
//!
//! generic/114 and generic/427: each such write zeroes the rest of its block and moves the end, and
//! once wiped its neighbours; closing a file meanwhile gives back blocks behind the end.

use super::super::io::{Io, Open, Request, told};
use super::super::memory::Map;
use super::super::pattern::{bytes, difference};
use super::super::stop::ensure;
use super::super::{Context, Outcome, Scenario, Stop, race};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "sub-block-end",
    number: "generic/114, generic/427",
    story: "Pieces smaller than a block written behind the end at the same moment are all there.",
    randomised: true,
    run,
};

const THREADS: usize = 4;
const SECTOR: usize = 512;
const OLD: u64 = 1;
const NEW: u64 = 2;

/// How much is there before, where the pieces begin, and how long they are.
struct Plan {
    old: usize,
    start: usize,
    piece: usize,
}

fn plan(cx: &Context, round: usize, any: bool) -> Plan {
    let mut random = super::super::pattern::Random::new(cx.seed ^ (round as u64) << 32);
    let sectors = random.below(16);
    // Ragged ones only with each other: what is smaller than a page and ragged goes through the
    // page cache.
    if any && round % 2 == 1 {
        let start = sectors * SECTOR + 1 + 2 * random.below(200);
        return Plan {
            old: random.below(start + 1),
            start,
            piece: 1 + 2 * random.below(400),
        };
    }
    let start = sectors * SECTOR;
    Plan {
        old: random.below(start + 1),
        start,
        piece: SECTOR,
    }
}

fn run(cx: &Context) -> Outcome {
    let path = cx.path("file");
    std::fs::write(&path, b"")?;
    let any = {
        let mut io = cx.io()?;
        let file = io.file(&path, Open::Write)?;
        io.unit(file) == 1
    };
    let before = |round: usize| {
        let Plan { old, .. } = plan(cx, round, any);
        std::fs::write(&path, bytes(OLD, 0, old))?;
        // Sometimes what is there is still dirty in the page cache.
        if round % 4 < 2 {
            cx.cool(&path)
        } else {
            Ok(())
        }
    };
    let work = |thread: usize, round: usize, io: &mut dyn Io| {
        let Plan { start, piece, .. } = plan(cx, round, any);
        let at = start + thread * piece;
        let file = io.file(&path, Open::Write)?;
        let map = Map::anonymous(piece)?;
        map.put(0, &bytes(NEW, at, piece));
        let result = io.one(Request::write(file, map.piece(0..piece), at))?;
        io.close(file);
        if !any && matches!(&result, Err(error) if error.raw_os_error() == Some(libc::EINVAL)) {
            return Err(Stop::Skip(
                "direct I/O of 512 bytes is refused (EINVAL)".to_owned(),
            ));
        }
        ensure!(
            matches!(result, Ok(count) if count == piece),
            "a write of {piece} bytes at {at} gave {}",
            told(&result)
        );
        Ok(())
    };
    let after = |round: usize| {
        let Plan { old, start, piece } = plan(cx, round, any);
        let mut wanted = bytes(OLD, 0, old);
        wanted.resize(start, 0);
        wanted.extend(bytes(NEW, start, THREADS * piece));
        let wrong = difference(&cx.contents(&path)?, &wanted, 0);
        ensure!(
            wrong.is_none(),
            "{old} bytes, then {THREADS} pieces of {piece} from {start} on: {}",
            wrong.unwrap_or_default()
        );
        Ok(())
    };
    race::race(cx, THREADS, 150, before, work, after)
}
