//! A thread turns O_DIRECT of the file's descriptors on and off with fcntl(2), while aligned reads
//! and writes are in flight: all end whole and with the right bytes, since such requests may go
//! either way.
//!
//! generic/036: the flag was looked at twice in one request, which then crashed.

use std::os::fd::RawFd;
use std::path::Path;

use super::super::io::{Direction, Open, Request, told};
use super::super::memory::Map;
use super::super::model::{APART, Model};
use super::super::pattern::bytes;
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, Stop, pattern, race};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "direct-toggled",
    number: "generic/036",
    story: "Aligned requests are whole and right while O_DIRECT of their descriptors is turned on and off.",
    randomised: true,
    run,
};

const FLIGHTS: usize = 8;
const LONGEST: usize = 64 << 10;

/// All descriptors of the file in this process, also those that a library keeps.
fn descriptors(path: &Path) -> Result<Vec<RawFd>, Stop> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")
        .doing("list the descriptors")?
        .flatten()
    {
        if std::fs::read_link(entry.path()).is_ok_and(|target| target == path) {
            found.extend(
                entry
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse::<RawFd>().ok()),
            );
        }
    }
    Ok(found)
}

fn toggle(fd: RawFd) -> Outcome {
    // SAFETY: F_GETFL and F_SETFL take no pointer.
    let result = unsafe {
        libc::fcntl(
            fd,
            libc::F_SETFL,
            libc::fcntl(fd, libc::F_GETFL) ^ libc::O_DIRECT,
        )
    };
    let error = std::io::Error::last_os_error();
    match error.raw_os_error() {
        _ if result == 0 => Ok(()),
        Some(libc::EINVAL) => Err(Stop::Skip(
            "the filesystem refuses O_DIRECT (EINVAL)".to_owned(),
        )),
        _ => Err(error).doing("turn O_DIRECT on or off"),
    }
}

fn run(cx: &Context) -> Outcome {
    let len = cx.at_most(2 << 20, FLIGHTS * LONGEST);
    let path = cx.path("file");
    cx.pattern_file(&path, 0, len)?;
    let mut io = cx.io()?;
    let file = io.file(&path, Open::Write)?;
    let descriptors = descriptors(&path)?;
    ensure!(
        !descriptors.is_empty(),
        "the descriptors of {} were not found",
        path.display()
    );
    let again = |_: &mut ()| descriptors.iter().try_for_each(|&fd| toggle(fd));
    let work = || {
        let mut model = Model::new(path.clone(), len, APART);
        model.bytes = pattern::bytes(0, 0, len);
        let mut random = cx.random();
        for round in race::rounds(400) {
            let seed = random.next();
            let ranges = model.apart(&mut random, FLIGHTS, LONGEST);
            let mut maps = Vec::new();
            for range in &ranges {
                let writes = random.below(2) == 0;
                let map = Map::anonymous(range.len())?;
                if writes {
                    map.put(0, &bytes(seed, range.start, range.len()));
                }
                maps.push((
                    map,
                    if writes {
                        Direction::Write
                    } else {
                        Direction::Read
                    },
                ));
            }
            let mut requests = Vec::new();
            for ((map, direction), range) in maps.iter().zip(&ranges) {
                let pieces = vec![map.piece(0..range.len())];
                requests.push(Request {
                    file,
                    direction: *direction,
                    pieces,
                    offset: range.start as u64,
                });
            }
            let results = io.run(&requests, None)?;
            for ((result, (map, direction)), range) in results.iter().zip(&maps).zip(&ranges) {
                let whole = matches!(result, Ok(count) if *count == range.len());
                ensure!(
                    whole,
                    "round {round}: {direction:?} of {range:?} gave {}",
                    told(result)
                );
                match direction {
                    Direction::Write => model.written(seed, range.clone()),
                    Direction::Read => model
                        .compare(&map.get(0..range.len()), range)
                        .doing(format_args!("round {round}"))?,
                }
            }
        }
        model.check(cx)
    };
    race::beside(|| Ok(()), again, work)
}
