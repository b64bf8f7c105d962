//! A buffer that is good for some pages and then bad: the result is the count of the good part, and
//! the file agrees with it.
//!
//! Our own. ext4 and XFS answer EFAULT to such a direct request although they have moved the good
//! part; the buffered path reports it. What is bad: memory without access, an unmapped range, a
//! mapping beyond the end of its file, and for reads memory that may only be read.

use std::path::Path;

use super::super::io::{Direction, Io, Open, Request, told};
use super::super::memory::{Map, page};
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, pattern};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "half-bad-buffers",
    number: "",
    story: "A buffer good for some pages and then bad gives the count of the good part, and the file agrees.",
    randomised: false,
    run,
};

const OLD: u64 = 1;
const NEW: u64 = 2;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bad {
    NoAccess,
    Unmapped,
    BeyondTheFile,
    ReadOnly,
}

fn run(cx: &Context) -> Outcome {
    let mut io = cx.io()?;
    let len = cx.at_most(1 << 20, 8 * page());
    for bad in [Bad::NoAccess, Bad::Unmapped, Bad::BeyondTheFile] {
        for good in [page(), len / 2, len - page()] {
            written(cx, &mut *io, bad, good, len, true)
                .doing(format_args!("write, {bad:?} after {good}"))?;
            written(cx, &mut *io, bad, good, len, false)
                .doing(format_args!("extending write, {bad:?} after {good}"))?;
        }
    }
    for bad in [
        Bad::NoAccess,
        Bad::Unmapped,
        Bad::BeyondTheFile,
        Bad::ReadOnly,
    ] {
        for good in [page(), len / 2, len - page()] {
            read(cx, &mut *io, bad, good, len).doing(format_args!("read, {bad:?} after {good}"))?;
        }
    }
    // Nothing good at all is an error, and the file stays as it is.
    let path = cx.path("file");
    cx.pattern_file(&path, OLD, len)?;
    let file = io.file(&path, Open::Write)?;
    let map = Map::pattern(NEW, len)?;
    map.protect(0..len, libc::PROT_NONE)?;
    for direction in [Direction::Read, Direction::Write] {
        let result = io.one(Request {
            file,
            direction,
            pieces: vec![map.all()],
            offset: 0,
        })?;
        let errno = result.as_ref().err().and_then(std::io::Error::raw_os_error);
        ensure!(
            errno == Some(libc::EFAULT),
            "{direction:?} of memory without access gave {} instead of EFAULT",
            told(&result)
        );
    }
    io.close(file);
    ensure!(
        pattern::mismatch(&cx.contents(&path)?, OLD, 0).is_none(),
        "a write of no accessible byte changed the file"
    );
    Ok(())
}

/// Memory of `len` bytes that is good for `good` of them.
fn half_bad(cx: &Context, bad: Bad, good: usize, len: usize) -> Result<Map, super::super::Stop> {
    if bad == Bad::BeyondTheFile {
        let path = cx.path("mapped");
        std::fs::write(&path, pattern::bytes(NEW, 0, good))
            .doing("write the file that is mapped")?;
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .doing("open the file that is mapped")?;
        return Map::file(&file, 0, len, true);
    }
    let map = Map::pattern(NEW, len)?;
    match bad {
        Bad::NoAccess => map.protect(good..len, libc::PROT_NONE)?,
        Bad::ReadOnly => map.protect(good..len, libc::PROT_READ)?,
        _ => return map.cut(good),
    }
    Ok(map)
}

fn written(
    cx: &Context,
    io: &mut dyn Io,
    bad: Bad,
    good: usize,
    len: usize,
    in_place: bool,
) -> Outcome {
    let path = cx.path("file");
    start(cx, &path, if in_place { len } else { 0 })?;
    let file = io.file(&path, Open::Write)?;
    let map = half_bad(cx, bad, good, len)?;
    let result = io.one(Request::write(file, map.all(), 0))?;
    io.close(file);
    ensure!(
        matches!(result, Ok(count) if count == good),
        "gave {} instead of {good}",
        told(&result)
    );
    let mut wanted = pattern::bytes(NEW, 0, good);
    if in_place {
        wanted.extend(pattern::bytes(OLD, good, len - good));
    }
    let difference = pattern::difference(&cx.contents(&path)?, &wanted, 0);
    ensure!(
        difference.is_none(),
        "gave {good}, but in the file {}",
        difference.unwrap_or_default()
    );
    Ok(())
}

fn read(cx: &Context, io: &mut dyn Io, bad: Bad, good: usize, len: usize) -> Outcome {
    let path = cx.path("file");
    start(cx, &path, len)?;
    let file = io.file(&path, Open::Read)?;
    let map = half_bad(cx, bad, good, len)?;
    let result = io.one(Request::read(file, map.all(), 0))?;
    io.close(file);
    ensure!(
        matches!(result, Ok(count) if count == good),
        "gave {} instead of {good}",
        told(&result)
    );
    let mismatch = pattern::mismatch(&map.get(0..good), OLD, 0);
    ensure!(
        mismatch.is_none(),
        "gave {good}, but of these {}",
        mismatch.unwrap_or_default()
    );
    Ok(())
}

fn start(cx: &Context, path: &Path, len: usize) -> Outcome {
    cx.pattern_file(path, OLD, len)
}
