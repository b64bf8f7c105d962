//! The buffer is a mapping of a file on a FUSE mount that the submitting thread itself serves.
//!
//! Our own: a daemon that copies out of, or into, its own mount. The page fault of the buffer is a
//! request to the daemon; a daemon that takes it inside its own submission waits for itself.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::fuse::Fuse;
use super::super::io::{Open, Request, told};
use super::super::memory::{Map, page};
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, Stop, pattern};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "fuse-mapping",
    number: "",
    story: "Requests whose buffer is a mapping of a file on a FUSE mount that the submitting thread itself serves end.",
    randomised: false,
    run,
};

fn run(cx: &Context) -> Outcome {
    // Before the namespace is left, so that it is the filesystem that was named.
    let len = 64 * page();
    let path = cx.path("file");
    cx.pattern_file(&path, 1, len)?;
    let mut io = cx.io()?;
    let file = io.file(&path, Open::Write)?;
    let point = cx.path("mnt");
    std::fs::create_dir(&point).doing("make the mount point")?;
    let fuse = Fuse::mount(&point, 2, 2 * len)?;
    // Somebody else serves while this thread opens the file: that is not what is checked.
    let over = AtomicBool::new(false);
    let maps = std::thread::scope(|scope| {
        let thread = scope.spawn(|| -> Outcome {
            while !over.load(Ordering::Relaxed) {
                fuse.serve(5)?;
            }
            Ok(())
        });
        let open = || -> Result<[Map; 2], Stop> {
            let mapped =
                std::fs::File::open(point.join("file")).doing("open the file on the FUSE mount")?;
            Ok([
                Map::file(&mapped, 0, len, false)?,
                Map::file(&mapped, len, len, false)?,
            ])
        };
        let maps = open();
        over.store(true, Ordering::Relaxed);
        thread
            .join()
            .unwrap_or_else(|_| Err(std::io::Error::other("the server panicked").into()))
            .and(maps)
    })?;
    let mut served = Ok(());
    let mut serve = || {
        if served.is_ok() {
            served = fuse.serve(1);
        }
    };
    // Each page of a private mapping is read before it is written to, so the read needs the daemon,
    // too.
    let read = io
        .run(&[Request::read(file, maps[1].all(), 0)], Some(&mut serve))?
        .remove(0);
    let write = io
        .run(&[Request::write(file, maps[0].all(), 0)], Some(&mut serve))?
        .remove(0);
    served?;
    ensure!(
        matches!(read, Ok(count) if count == len),
        "the read gave {} instead of {len}",
        told(&read)
    );
    ensure!(
        matches!(write, Ok(count) if count == len),
        "the write gave {} instead of {len}",
        told(&write)
    );
    io.close(file);
    let mismatch = pattern::mismatch(&maps[1].get(0..len), 1, 0);
    ensure!(
        mismatch.is_none(),
        "in the memory {}",
        mismatch.unwrap_or_default()
    );
    let mismatch = pattern::mismatch(&cx.contents(&path)?, 2, 0);
    ensure!(
        mismatch.is_none(),
        "in the file {}",
        mismatch.unwrap_or_default()
    );
    Ok(())
}
