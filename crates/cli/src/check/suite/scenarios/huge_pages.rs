//! Random reads, writes, cuts, allocations and syncs with buffers in huge pages, transparent and
//! reserved ones, some of which are split up or given back between the operations.
//!
//! generic/760: fsx with its buffers in huge pages, where a request is one large piece of memory
//! and drops references it does not hold.

use super::super::io::{Io, Open};
use super::super::memory::{Map, page};
use super::super::model::Model;
use super::super::pattern::{Random, bytes};
use super::super::stop::Doing;
use super::super::{Context, Outcome, Scenario, Stop, race};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "huge-pages",
    number: "generic/760",
    story: "Random operations with buffers in huge pages leave the file and the memory right.",
    randomised: true,
    run,
};

const HUGE: usize = 2 << 20;
const LONGEST: usize = 1 << 20;

fn run(cx: &Context) -> Outcome {
    let mut io = cx.io()?;
    let transparent = Map::anonymous(2 * HUGE)?;
    // Where the kernel has none, it is ordinary memory.
    let _ = transparent.advise(0..2 * HUGE, libc::MADV_HUGEPAGE);
    operations(cx, &mut *io, &transparent, true).doing("transparent huge pages")?;
    // Most machines have none reserved; then there is nothing more to do.
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB;
    let reserved = Map::new(2 * HUGE, flags, -1, 0);
    reserved.map_or(Ok(()), |reserved| {
        operations(cx, &mut *io, &reserved, false).doing("reserved huge pages")
    })
}

fn operations(cx: &Context, io: &mut dyn Io, map: &Map, transparent: bool) -> Outcome {
    let most = cx.at_most(4 << 20, 2 * LONGEST);
    let path = cx.path("file");
    let file = io.file(&path, Open::Create)?;
    let mut model = Model::new(path, most, io.unit(file));
    let mut random = cx.random();
    for round in race::rounds(300) {
        let words = format!("round {round}");
        let range = model.somewhere(&mut random, most, LONGEST);
        let at = random.below((2 * HUGE - range.len()) / model.unit + 1) * model.unit;
        match random.below(16) {
            0..6 => {
                let seed = random.next();
                map.put(at, &bytes(seed, range.start, range.len()));
                io.write_all(file, map.piece(at..at + range.len()), range.start)
                    .doing(&words)?;
                model.written(seed, range);
            }
            6..12 => model.read(io, file, map, at, range).doing(&words)?,
            12 => {
                io.set_len(file, range.end.min(most)).doing(&words)?;
                model.bytes.resize(range.end.min(most), 0);
            }
            13 => {
                // Allocated or not: only the size says so, and not where it is refused.
                if io.allocate(file, range.start, range.len()).is_ok() {
                    model.bytes.resize(model.bytes.len().max(range.end), 0);
                }
            }
            14 => io.sync(file).doing(&words)?,
            _ => change(map, transparent, &mut random)?,
        }
    }
    io.close(file);
    model.check(cx)
}

/// The memory is given back, in part where it is transparent, or made of small pages.
fn change(map: &Map, transparent: bool, random: &mut Random) -> Result<(), Stop> {
    if !transparent {
        let start = random.below(2) * HUGE;
        let _ = map.advise(start..start + HUGE, libc::MADV_DONTNEED);
        return Ok(());
    }
    let start = random.below(2 * HUGE / page() - 1) * page();
    let len = (1 + random.below(64)) * page();
    let range = start..(start + len).min(2 * HUGE);
    match random.below(3) {
        0 => map
            .advise(range, libc::MADV_DONTNEED)
            .doing("give memory back"),
        1 => map
            .advise(range, libc::MADV_PAGEOUT)
            .or(Ok::<(), std::io::Error>(()))
            .doing("page memory out"),
        _ => {
            // A protection of its own splits the huge page.
            map.protect(range.clone(), libc::PROT_READ)?;
            map.protect(range, libc::PROT_READ | libc::PROT_WRITE)
        }
    }
}
