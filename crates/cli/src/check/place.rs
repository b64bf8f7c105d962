//! The private directory in DIR, and that it goes away.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;

/// How the name of a directory of ours begins.
const PREFIX: &str = ".nofault-check-";
/// The file in it that is locked while its run lives.
const LOCK: &str = "lock";
/// How long removing may take where a cell's process is stuck: its locks may be held for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// A directory of our own in the directory that is checked.
pub(super) struct Place {
    /// What the user named.
    pub(super) dir: PathBuf,
    /// What is mounted there.
    pub(super) filesystem: String,
    own: Option<tempfile::TempDir>,
    /// Tells other runs that this one lives.
    _lock: File,
    cells: usize,
    /// A process is stuck in it: removing might not return.
    stuck: bool,
}

impl Place {
    /// The error is a line for the user.
    pub(super) fn new(dir: &Path) -> Result<Place, String> {
        let shown = dir.display();
        match fs::metadata(dir) {
            Err(error) => {
                return Err(format!(
                    "{shown} cannot be used: {error}; name an existing directory"
                ));
            }
            Ok(metadata) if !metadata.is_dir() => {
                return Err(format!("{shown} is not a directory"));
            }
            Ok(_) => {}
        }
        if !Path::new("/proc/self/exe").exists() {
            return Err("/proc is not mounted: each cell is a process that is found by it".into());
        }
        remove_left_over(dir);
        let (own, lock) = make(dir).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => full(dir, &error),
            _ => format!(
                "{shown} cannot be written: {error}; name a directory that you may write to"
            ),
        })?;
        Ok(Place {
            dir: dir.to_owned(),
            filesystem: filesystem(dir),
            own: Some(own),
            _lock: lock,
            cells: 0,
            stuck: false,
        })
    }

    /// Sees that so many bytes can be had there. The error is a line for the user.
    pub(super) fn has_room(&self, bytes: u64) -> Result<(), String> {
        let Some(own) = &self.own else { return Ok(()) };
        let file = match tempfile::tempfile_in(own.path()) {
            Ok(file) => file,
            Err(error) => return Err(full(&self.dir, &error)),
        };
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => {
                Err(full(&self.dir, &error.into()))
            }
            // Not every filesystem takes space beforehand: the scenarios will see.
            _ => Ok(()),
        }
    }

    /// A new directory for one cell.
    pub(super) fn cell(&mut self) -> Result<PathBuf, String> {
        let Some(own) = &self.own else {
            return Err("the directory is gone already".to_owned());
        };
        self.cells += 1;
        let dir = own.path().join(self.cells.to_string());
        fs::create_dir(&dir).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => full(&self.dir, &error),
            _ => format!("cannot make {}: {error}", dir.display()),
        })?;
        Ok(dir)
    }

    /// Removes it again.
    pub(super) fn cell_ended(&mut self, dir: &Path, left_behind: bool) {
        self.stuck |= left_behind;
        if self.stuck {
            remove_from_outside(dir);
        } else {
            // What can't be removed now is tried again with the whole.
            let _ = fs::remove_dir_all(dir);
        }
    }

    /// Removes all of it, and says so where that can't be done.
    pub(super) fn remove(&mut self) {
        let Some(own) = self.own.take() else { return };
        let path = own.path().to_owned();
        let removed = if self.stuck {
            remove_from_outside(&own.keep())
        } else {
            own.close().is_ok()
        };
        if !removed {
            eprintln!(
                "nofault: {} is left behind: something in it cannot be removed now",
                path.display()
            );
        }
    }
}

fn full(dir: &Path, error: &io::Error) -> String {
    format!(
        "not enough space in {}: {error}; free some, take a smaller --size (4M at least), or \
         another directory",
        dir.display()
    )
}

/// A directory of our own, and what tells that its run lives: a locked file in it, whose lock the
/// kernel drops with the process.
fn make(dir: &Path) -> io::Result<(tempfile::TempDir, File)> {
    let own = tempfile::Builder::new().prefix(PREFIX).tempdir_in(dir)?;
    let lock = File::create_new(own.path().join(LOCK))?;
    // Where files can't be locked, nothing that is left over will be known as such.
    let _ = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive);
    Ok((own, lock))
}

/// Removes the directories of runs that were killed.
fn remove_left_over(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(PREFIX.as_bytes())
        {
            continue;
        }
        let lock = File::options()
            .read(true)
            .write(true)
            .open(entry.path().join(LOCK));
        let over = lock.as_ref().is_ok_and(|lock| {
            rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok()
        });
        if over {
            // What of it can't be removed does not hinder this run.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.remove();
    }
}

/// By a process that may get stuck in our stead.
fn remove_from_outside(path: &Path) -> bool {
    let quiet = |command: &mut Command| {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    };
    let Ok(mut child) = quiet(Command::new("rm").arg("-rf").arg("--").arg(path)) else {
        return false;
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            _ => return false,
        }
    }
}

/// The type of the filesystem, by the longest mount point that holds the directory.
fn filesystem(dir: &Path) -> String {
    let unknown = || "unknown filesystem".to_owned();
    let (Ok(dir), Ok(mounts)) = (dir.canonicalize(), fs::read_to_string("/proc/self/mounts"))
    else {
        return unknown();
    };
    let entry = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (
            words.next()?.replace("\\040", " "),
            words.next()?.to_owned(),
        );
        dir.starts_with(&point).then_some((point.len(), kind))
    };
    // Of several on one point the last one covers the others.
    mounts
        .lines()
        .filter_map(entry)
        .max_by_key(|(len, _)| *len)
        .map_or_else(unknown, |(_, kind)| kind)
}
