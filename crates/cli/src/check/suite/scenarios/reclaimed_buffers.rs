//! Another thread keeps taking the pages of the buffers away, with MADV_PAGEOUT and MADV_DONTNEED,
//! between any look and the submission.
//!
//! Our own. What is in the memory then decides what may be asked: a mapping of a file comes back
//! with the file's bytes, so reads into it and writes from it must be exact; private memory that
//! was thrown away comes back as zeros, so of its pages each byte is the right one or zero.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::io::{Io, Open};
use super::super::memory::{Map, page};
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, pattern};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "reclaimed-buffers",
    number: "",
    story: "Requests keep their whole counts, and their bytes where these are defined, while their memory is reclaimed all the time.",
    randomised: true,
    run,
};

const ROUNDS: usize = 6;

fn run(cx: &Context) -> Outcome {
    let len = cx.at_most(1 << 20, 64 << 10);
    let mut io = cx.io()?;
    let (path, mapped) = (cx.path("file"), cx.path("mapped"));
    for round in 0..ROUNDS {
        cx.pattern_file(&path, 1, len)?;
        cx.pattern_file(&mapped, 2, len)?;
        let other = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&mapped)
            .doing("open the mapped file")?;

        let map = Map::file(&other, 0, len, round % 2 == 0)?;
        transfer(cx, &mut *io, &path, &map, Way::Write)
            .doing(format_args!("round {round}, write from a file mapping"))?;
        exact(&cx.contents(&path)?, 2, "in the file")?;
        drop(map);

        cx.pattern_file(&path, 1, len)?;
        let map = Map::file(&other, 0, len, true)?;
        transfer(cx, &mut *io, &path, &map, Way::Read).doing(format_args!(
            "round {round}, read into a shared file mapping"
        ))?;
        exact(
            &cx.contents(&mapped)?,
            1,
            "in the file that the buffer maps",
        )?;
        drop(map);

        let map = Map::pattern(3, len)?;
        transfer(cx, &mut *io, &path, &map, Way::Write)
            .doing(format_args!("round {round}, write from private memory"))?;
        or_zero(&cx.contents(&path)?, 3, "in the file")?;

        cx.pattern_file(&path, 1, len)?;
        let map = Map::anonymous(len)?;
        transfer(cx, &mut *io, &path, &map, Way::Read)
            .doing(format_args!("round {round}, read into private memory"))?;
        or_zero(&map.get(0..len), 1, "in the memory")?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Way {
    Read,
    Write,
}

/// One request while another thread takes the memory away.
fn transfer(cx: &Context, io: &mut dyn Io, path: &std::path::Path, map: &Map, way: Way) -> Outcome {
    let len = map.len();
    let file = io.file(path, Open::Write)?;
    let over = AtomicBool::new(false);
    let count = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = cx.random();
            while !over.load(Ordering::Relaxed) {
                let at = random.below(len / page()) * page();
                let end = (at + (1 + random.below(64)) * page()).min(len);
                // A kernel that lacks one of them leaves the other.
                let _ = map.advise(
                    at..end,
                    [libc::MADV_DONTNEED, libc::MADV_PAGEOUT][random.below(2)],
                );
            }
        });
        let count = match way {
            Way::Read => io.read(file, map.all(), 0),
            Way::Write => io.write(file, map.all(), 0),
        };
        over.store(true, Ordering::Relaxed);
        count
    })?;
    io.close(file);
    ensure!(count == len, "gave {count} instead of {len}");
    Ok(())
}

fn exact(seen: &[u8], seed: u64, place: &str) -> Outcome {
    let mismatch = pattern::mismatch(seen, seed, 0);
    ensure!(
        mismatch.is_none(),
        "{place} {}",
        mismatch.unwrap_or_default()
    );
    Ok(())
}

fn or_zero(seen: &[u8], seed: u64, place: &str) -> Outcome {
    let wanted = pattern::bytes(seed, 0, seen.len());
    let strange = seen
        .iter()
        .zip(&wanted)
        .position(|(&byte, &right)| byte != right && byte != 0);
    ensure!(
        strange.is_none(),
        "{place} the byte at {strange:?} is neither what it should be nor zero"
    );
    Ok(())
}
