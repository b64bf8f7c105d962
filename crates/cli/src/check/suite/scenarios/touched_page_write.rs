//! A write from a mapping of another file with one page touched writes all of it.
//!
//! generic/708: btrfs wrote up to the page that was not there, then faulted it in and wrote on, and
//! lost what was in between or at the end.

use std::path::Path;

use super::super::io::{Io, Open};
use super::super::memory::Map;
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, pattern};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "touched-page-write",
    number: "generic/708",
    story: "A direct write from a mapping with one page touched writes the whole count, and the file has every byte.",
    randomised: false,
    run,
};

fn run(cx: &Context) -> Outcome {
    let len = cx.at_most(2 << 20, 64 << 10);
    let source = cx.path("source");
    let mut io = cx.io()?;
    for shared in [false, true] {
        for touched in [None, Some(0), Some(len / 2), Some(len - 1)] {
            for in_place in [false, true] {
                cx.pattern_file(&source, 5, len)?;
                let what = format!(
                    "{} mapping, byte {touched:?} touched, in place: {in_place}",
                    if shared { "shared" } else { "private" }
                );
                one(cx, &mut *io, &source, len, (shared, touched, in_place)).doing(what)?;
            }
        }
    }
    Ok(())
}

fn one(
    cx: &Context,
    io: &mut dyn Io,
    source: &Path,
    len: usize,
    (shared, touched, in_place): (bool, Option<usize>, bool),
) -> Outcome {
    let path = cx.path("file");
    cx.pattern_file(&path, 6, if in_place { len } else { 0 })?;
    let file = io.file(&path, Open::Write)?;
    let mapped = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(source)?;
    let map = Map::file(&mapped, 0, len, shared)?;
    if let Some(at) = touched {
        map.atom(at);
    }
    let count = io.write(file, map.all(), 0)?;
    io.close(file);
    ensure!(count == len, "wrote {count} instead of {len}");
    let mismatch = pattern::difference(&cx.contents(&path)?, &pattern::bytes(5, 0, len), 0);
    ensure!(
        mismatch.is_none(),
        "in the file {}",
        mismatch.unwrap_or_default()
    );
    Ok(())
}
