//! The filesystem is full in the middle of a write: what is counted is in the file, the file is as
//! long as what was counted, and in the end there is ENOSPC.
//!
//! Our own. Runs on the filesystem in question where its free space is no more than may be used, by
//! filling it; elsewhere, as root, on a small tmpfs in a mount namespace of its own, which shows
//! the buffered path only.

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::io::{Io, Open, Request, told};
use super::super::memory::Map;
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, Stop, pattern};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "no-space",
    number: "",
    story: "Writes into a filesystem that gets full count what they wrote, no more, and end with ENOSPC.",
    randomised: false,
    run,
};

/// What is left free, where the size allows it: filesystems keep some MiB for themselves, and would
/// give nothing of less.
const LEFT: usize = 16 << 20;

fn run(cx: &Context) -> Outcome {
    let left = cx.at_most(LEFT, 1 << 20);
    let len = left + left / 2;
    // Not on the disk, which will be full.
    let source = memory_file(&pattern::bytes(2, 0, len))?;
    let dir = small_place(cx)?;
    let mut io = cx.io()?;
    let room = free(&dir)?;
    for cold in [false, true] {
        wait_for_room(&dir, room)?;
        let filler = Filler::leave(&dir.join("filler"), left)?;
        let map = if cold {
            Map::file(&source, 0, len, false)?
        } else {
            Map::pattern(2, len)?
        };
        let outcome = one(cx, &mut *io, &dir.join("file"), &map);
        drop(filler);
        std::fs::remove_file(dir.join("file")).doing("remove the file")?;
        outcome.doing(if cold { "cold buffer" } else { "warm buffer" })?;
    }
    Ok(())
}

fn one(cx: &Context, io: &mut dyn Io, path: &Path, map: &Map) -> Outcome {
    let file = io.file(path, Open::Create)?;
    let mut done = 0;
    loop {
        ensure!(done < map.len(), "more was written than there was room for");
        let result = io.one(Request::write(file, map.piece(done..map.len()), done))?;
        match &result {
            Ok(0) => return Err(Stop::Fail(format!("a write at {done} gave 0"))),
            Ok(count) => done += count,
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT)) => {
                break;
            }
            Err(_) => {
                return Err(Stop::Fail(format!(
                    "a write at {done} gave {} instead of ENOSPC",
                    told(&result)
                )));
            }
        }
        if !done.is_multiple_of(io.unit(file)) {
            // This way can't ask for the rest, and what it was told was honest.
            break;
        }
    }
    ensure!(
        done > 0 || map.len() < LEFT,
        "there was room for {LEFT} bytes, and not one was written"
    );
    io.sync(file).doing("sync")?;
    io.close(file);
    cx.cool(path)?;
    let difference = pattern::difference(&cx.contents(path)?, &pattern::bytes(2, 0, done), 0);
    ensure!(
        difference.is_none(),
        "{done} bytes were counted, but in the file {}",
        difference.unwrap_or_default()
    );
    Ok(())
}

/// A directory on a filesystem that may be filled.
fn small_place(cx: &Context) -> Result<PathBuf, Stop> {
    if free(&cx.dir)? <= cx.size as u64 {
        return Ok(cx.dir.clone());
    }
    let skip = |what: &str| {
        let error = io::Error::last_os_error();
        Stop::Skip(format!(
            "more is free here than may be used (--size), and no small tmpfs instead: {what}: {error}"
        ))
    };
    let dir = cx.path("small");
    std::fs::create_dir(&dir).doing("make the mount point")?;
    let target = CString::new(dir.as_os_str().as_bytes()).map_err(io::Error::from)?;
    let none = std::ptr::null();
    // SAFETY: no pointers.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(skip("unshare"));
    }
    // SAFETY: the strings end in a zero byte and live until the call returns.
    if unsafe {
        libc::mount(
            none,
            c"/".as_ptr(),
            none,
            libc::MS_REC | libc::MS_PRIVATE,
            none.cast(),
        )
    } != 0
    {
        return Err(skip("make mounts private"));
    }
    let options = c"size=24m";
    // SAFETY: as above.
    if unsafe {
        libc::mount(
            c"nofault-check".as_ptr(),
            target.as_ptr(),
            c"tmpfs".as_ptr(),
            0,
            options.as_ptr().cast(),
        )
    } != 0
    {
        return Err(skip("mount"));
    }
    Ok(dir)
}

fn free(dir: &Path) -> io::Result<u64> {
    let name = CString::new(dir.as_os_str().as_bytes())?;
    let mut space = std::mem::MaybeUninit::<libc::statvfs64>::uninit();
    // SAFETY: the name ends in a zero byte; the place for the result is large enough.
    if unsafe { libc::statvfs64(name.as_ptr(), space.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: filled by the call, which has succeeded.
    let space = unsafe { space.assume_init() };
    Ok(space.f_bavail * space.f_frsize)
}

/// A ring lets go of a file some time after it was closed, and not before does its space come back:
/// a filler would take it for used.
fn wait_for_room(dir: &Path, room: u64) -> io::Result<()> {
    // Where others use the filesystem too it may never come back: five seconds at most.
    for _ in 0..5000 {
        if free(dir)? >= room {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A file that takes all the space but some.
struct Filler(PathBuf);

impl Filler {
    fn leave(path: &Path, left: usize) -> Result<Filler, Stop> {
        let file = std::fs::File::create(path).doing("make the filler")?;
        let filler = Filler(path.to_owned());
        let (mut size, mut step) = (0, 64 << 20);
        while step >= 4096 {
            // SAFETY: no pointers.
            match unsafe { libc::fallocate64(file.as_raw_fd(), 0, size, step) } {
                0 => size += step,
                _ if io::Error::last_os_error().raw_os_error() == Some(libc::EOPNOTSUPP) => {
                    return Err(Stop::Skip(
                        "the filesystem has no fallocate to fill it with".to_owned(),
                    ));
                }
                _ => step /= 2,
            }
        }
        file.set_len(u64::try_from(size - left as i64).unwrap_or(0))
            .doing("cut the filler")?;
        // What was freed is to be there now.
        file.sync_all().doing("sync the filler")?;
        Ok(filler)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn memory_file(bytes: &[u8]) -> Result<std::fs::File, Stop> {
    use std::io::Write;
    use std::os::fd::FromRawFd;
    // SAFETY: the name ends in a zero byte.
    let fd = unsafe { libc::memfd_create(c"nofault-check".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error()).doing("memfd_create");
    }
    // SAFETY: the descriptor is new and has no other owner.
    let mut file = unsafe { std::fs::File::from_raw_fd(fd) };
    file.write_all(bytes).doing("fill the source")?;
    Ok(file)
}
