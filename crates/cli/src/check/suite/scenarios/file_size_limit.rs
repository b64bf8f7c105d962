//! A write that crosses the limit on the size of files writes up to the limit, and the next one
//! gives EFBIG.
//!
//! Our own: the buffered path cuts such a write (generic_write_checks), and so must whatever splits
//! it, retries it or copies it on the way. The limit is the process's, so it also meets files that
//! are used inside, such as a memfd for copies.

use std::io;

use super::super::io::{Io, Open, Request, told};
use super::super::memory::{Map, page};
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, pattern};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "file-size-limit",
    number: "",
    story: "A write across RLIMIT_FSIZE writes up to the limit, the next one gives EFBIG, and what is below is not affected.",
    randomised: false,
    run,
};

fn run(cx: &Context) -> Outcome {
    // SAFETY: ignoring a signal runs no code. Its default would end the process before the error
    // can be seen.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let mut io = cx.io()?;
    let len = cx.at_most(1 << 20, 64 << 10);
    let source = cx.path("source");
    cx.pattern_file(&source, 2, len + page())?;
    let path = cx.path("file");
    for in_place in [false, true] {
        for cold in [false, true] {
            for ragged in [false, true] {
                for limit in [2 * page(), len / 2] {
                    cx.pattern_file(&path, 1, if in_place { len } else { 0 })?;
                    cx.cool(&source)?;
                    let mapped = std::fs::File::open(&source).doing("open the source")?;
                    let map = if cold {
                        Map::read_only(&mapped, len + page())?
                    } else {
                        Map::pattern(2, len + page())?
                    };
                    let file = io.file(&path, Open::Write)?;
                    if ragged && io.unit(file) > 1 {
                        continue;
                    }
                    let case = Case {
                        limit: limit + if ragged { 300 } else { 0 },
                        start: usize::from(ragged),
                        len,
                        in_place,
                    };
                    let limited = Limit::set(case.limit)?;
                    let outcome = one(&mut *io, file, &map, case);
                    drop(limited);
                    io.close(file);
                    let outcome = outcome.and_then(|()| contents(cx, case));
                    outcome.doing(format_args!(
                        "{case:?}, {} buffer",
                        if cold { "cold" } else { "warm" }
                    ))?;
                }
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug)]
struct Case {
    limit: usize,
    /// Where in the memory the bytes start.
    start: usize,
    len: usize,
    in_place: bool,
}

fn one(io: &mut dyn Io, file: super::super::io::FileId, map: &Map, case: Case) -> Outcome {
    let Case {
        limit, start, len, ..
    } = case;
    // Below the limit nothing changes, however many are in flight.
    let small: Vec<_> = (0..limit / page())
        .take(8)
        .map(|n| {
            Request::write(
                file,
                map.piece(start + n * page()..start + (n + 1) * page()),
                n * page(),
            )
        })
        .collect();
    for result in io.run(&small, None)? {
        ensure!(
            matches!(result, Ok(count) if count == page()),
            "a page below the limit gave {}",
            told(&result)
        );
    }
    let result = io.one(Request::write(file, map.piece(start..start + len), 0))?;
    ensure!(
        matches!(result, Ok(count) if count == limit),
        "a write across the limit gave {} instead of {limit}",
        told(&result)
    );
    for offset in [limit, limit.next_multiple_of(page()) + page()] {
        let result = io.one(Request::write(
            file,
            map.piece(start..start + page()),
            offset,
        ))?;
        let errno = result.as_ref().err().and_then(io::Error::raw_os_error);
        ensure!(
            errno == Some(libc::EFBIG),
            "a write at {offset}, beyond the limit, gave {} instead of EFBIG",
            told(&result)
        );
    }
    Ok(())
}

fn contents(cx: &Context, case: Case) -> Outcome {
    let Case {
        limit,
        start,
        len,
        in_place,
    } = case;
    let mut wanted = pattern::bytes(2, start, limit);
    if in_place {
        wanted.extend(pattern::bytes(1, limit, len - limit));
    }
    let difference = pattern::difference(&cx.contents(&cx.path("file"))?, &wanted, 0);
    ensure!(
        difference.is_none(),
        "in the file {}",
        difference.unwrap_or_default()
    );
    Ok(())
}

/// The limit, until dropped.
struct Limit(libc::rlimit);

impl Limit {
    fn set(bytes: usize) -> io::Result<Limit> {
        let mut old = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: a place for the result, alive for the call.
        if unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut old) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let new = libc::rlimit {
            rlim_cur: bytes as u64,
            rlim_max: old.rlim_max,
        };
        // SAFETY: as above.
        match unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &new) } {
            0 => Ok(Limit(old)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &self.0) };
    }
}
