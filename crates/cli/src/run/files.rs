//! The files that profiles name: looked at before anything is written, laid out, made alike before
//! each run, and removed at the end.
//!
//! What was there before is never written to without leave, and never removed. What is made here
//! has its name made with O_EXCL.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use fio_jobs::SyncMode;
use rustix::fs::{Advice, FallocateFlags};

use super::{guard, left_over};
use crate::figures::units;

const BLOCK: usize = 1 << 20;

/// A file as a worker opens it.
pub(super) struct Target<'a> {
    pub(super) path: &'a Path,
    pub(super) read: bool,
    pub(super) write: bool,
    pub(super) sync: SyncMode,
}

impl Target<'_> {
    /// What open(2) takes for `sync`.
    pub(super) fn flags(&self) -> i32 {
        match self.sync {
            SyncMode::None => 0,
            SyncMode::Sync => libc::O_SYNC,
            SyncMode::Dsync => libc::O_DSYNC,
        }
    }

    /// Opens it, with O_DIRECT or without.
    pub(super) fn open(&self, direct: bool) -> Result<File, String> {
        let flags = self.flags() | if direct { libc::O_DIRECT } else { 0 };
        OpenOptions::new()
            .read(self.read)
            .write(self.write)
            .custom_flags(flags)
            .open(self.path)
            .map_err(|error| match error.raw_os_error() {
                Some(libc::EINVAL) if direct => format!(
                    "EINVAL: the filesystem of {} refuses O_DIRECT",
                    self.path.display()
                ),
                _ => format!("cannot open {}: {error}", self.path.display()),
            })
    }
}

/// What one job wants of a file.
pub(super) struct Wish<'a> {
    /// File, line and name of the job, for messages.
    pub(super) job: &'a str,
    /// What the file must have at least, in bytes.
    pub(super) bytes: u64,
    pub(super) write: bool,
    /// It must have contents before: it is read, or `overwrite` says so.
    pub(super) laid_out: bool,
    pub(super) invalidate: bool,
    /// Its place on the disk is not taken before (`fallocate=none`).
    pub(super) sparse: bool,
    /// It may be written to although it is mounted (`allow_mounted_write`).
    pub(super) in_use_allowed: bool,
}

struct Entry {
    path: PathBuf,
    /// What is there already, and how large it is.
    existing: Option<(Sort, u64)>,
    bytes: u64,
    writer: Option<String>,
    user: String,
    laid_out: bool,
    invalidate: bool,
    sparse: bool,
    /// A job that writes to it does not allow that it is in use.
    must_be_free: bool,
    /// A block device that is kept from being mounted while it is written to.
    held: Option<File>,
    /// It is there, from a run of ours that was killed.
    left_over: bool,
    /// Made here: removed at the end.
    made: Option<File>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Regular,
    Block,
    Other,
}

impl Entry {
    /// Sees that the system does not use what is written to, and keeps it so if it is a device.
    fn hold(&mut self) -> Result<(), String> {
        let Some((sort, bytes)) = self.existing else {
            return Ok(());
        };
        let written = self.writer.is_some() && self.must_be_free;
        if !written && bytes >= self.bytes {
            return Ok(());
        }
        guard::is_free(&self.path)?;
        if sort == Sort::Block && self.held.is_none() {
            self.held = Some(guard::hold(&self.path)?);
        }
        Ok(())
    }
}

/// All files of a run.
#[derive(Default)]
pub(super) struct Files {
    entries: Vec<Entry>,
    by_path: HashMap<PathBuf, usize>,
}

impl Drop for Files {
    fn drop(&mut self) {
        for at in 0..self.entries.len() {
            self.remove(at);
        }
    }
}

impl Files {
    /// The number of the file at this path, and its size if it is there.
    pub(super) fn find(&mut self, path: PathBuf) -> Result<(usize, Option<u64>), String> {
        if let Some(&at) = self.by_path.get(&path) {
            return Ok((at, self.entries[at].existing.map(|(_, bytes)| bytes)));
        }
        let found =
            look(&path).map_err(|error| format!("cannot look at {}: {error}", path.display()))?;
        let regular = matches!(found, Some((Sort::Regular, _)));
        let left_over = regular && left_over::is_ours(&path)?;
        let existing = found.filter(|_| !left_over);
        self.by_path.insert(path.clone(), self.entries.len());
        self.entries.push(Entry {
            path,
            existing,
            bytes: 0,
            writer: None,
            user: String::new(),
            laid_out: false,
            invalidate: false,
            sparse: false,
            must_be_free: false,
            held: None,
            left_over,
            made: None,
        });
        Ok((self.entries.len() - 1, existing.map(|(_, bytes)| bytes)))
    }

    pub(super) fn path(&self, at: usize) -> &Path {
        &self.entries[at].path
    }

    /// A job will use it so.
    pub(super) fn wish(&mut self, at: usize, wish: &Wish<'_>) {
        let entry = &mut self.entries[at];
        entry.bytes = entry.bytes.max(wish.bytes);
        entry.laid_out |= wish.laid_out;
        entry.invalidate |= wish.invalidate;
        entry.sparse |= wish.sparse;
        entry.must_be_free |= wish.write && !wish.in_use_allowed;
        if entry.user.is_empty() {
            entry.user = wish.job.to_owned();
        }
        if wish.write && entry.writer.is_none() {
            entry.writer = Some(wish.job.to_owned());
        }
    }

    /// Sees that nothing would be destroyed that was not given to be. The error says all that would
    /// have been.
    ///
    /// What is in use (mounted, swapped to, below a loop device) is refused whatever was given; a
    /// block device is kept from coming into use.
    pub(super) fn check(&mut self, overwrite: bool) -> Result<(), String> {
        let mut lost = Vec::new();
        for entry in &self.entries {
            let Some((sort, bytes)) = entry.existing else {
                continue;
            };
            let path = entry.path.display();
            let (what, job) = match (&entry.writer, sort) {
                (_, Sort::Other) => {
                    return Err(format!(
                        "{}: {path} is neither a file nor a block device",
                        entry.user
                    ));
                }
                (_, Sort::Block) if bytes < entry.bytes => {
                    return Err(format!(
                        "{}: {path} has {}, {} are needed",
                        entry.user,
                        units::size(bytes),
                        units::size(entry.bytes)
                    ));
                }
                (Some(writer), Sort::Block) => ("the block device", writer),
                (Some(writer), _) => ("the file", writer),
                (None, _) if bytes < entry.bytes => ("(to be made longer) the file", &entry.user),
                (None, _) => continue,
            };
            lost.push(format!(
                "{what} {path} ({}), which {job} writes to",
                units::size(bytes)
            ));
        }
        if !lost.is_empty() && !overwrite {
            return Err(format!(
                "this would have destroyed {}; --overwrite allows it",
                lost.join(", and ")
            ));
        }
        self.entries.iter_mut().try_for_each(Entry::hold)
    }

    /// Makes a file, or what is missing of it. False if there was a reason to stop.
    pub(super) fn lay_out(
        &mut self,
        at: usize,
        stop: &AtomicUsize,
        mut progress: impl FnMut(u64),
    ) -> Result<bool, String> {
        let entry = &mut self.entries[at];
        if entry.made.is_some() {
            return Ok(true);
        }
        let name = entry.path.display().to_string();
        let fail = |error: io::Error| {
            let help = match error.raw_os_error() {
                Some(libc::ENOSPC | libc::EDQUOT) => {
                    "; free some space, take a smaller --size, or another --dir"
                }
                Some(libc::EACCES | libc::EPERM | libc::EROFS | libc::ENOENT) => {
                    "; name a directory that you may write to with --dir"
                }
                _ => "",
            };
            format!("cannot lay out {name}: {error}{help}")
        };
        let (file, from) = match entry.existing {
            Some((_, bytes)) if bytes >= entry.bytes => return Ok(true),
            Some((_, bytes)) => (
                OpenOptions::new()
                    .write(true)
                    .open(&entry.path)
                    .map_err(fail)?,
                bytes,
            ),
            None => {
                if entry.left_over {
                    // Looked at again: somebody may have come to use it since.
                    if left_over::is_ours(&entry.path)? {
                        fs::remove_file(&entry.path).map_err(fail)?;
                    }
                    entry.left_over = false;
                }
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .open(&entry.path)
                    .map_err(fail)?;
                left_over::mark(&file, &entry.path);
                entry.made = Some(file.try_clone().map_err(fail)?);
                (file, 0)
            }
        };
        if !entry.laid_out {
            return Ok(true);
        }
        // A filesystem without preallocation is filled all the same.
        if let Err(
            error @ (rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT | rustix::io::Errno::FBIG),
        ) = rustix::fs::fallocate(&file, FallocateFlags::empty(), from, entry.bytes - from)
        {
            return Err(fail(error.into()));
        }
        let mut rng = fastrand::Rng::with_seed(0x6e6f_6661_756c_7400 ^ at as u64);
        let mut block = vec![0; BLOCK];
        let mut written = from;
        while written < entry.bytes {
            if stop.load(Ordering::Relaxed) != 0 {
                return Ok(false);
            }
            rng.fill(&mut block);
            let part = BLOCK.min(usize::try_from(entry.bytes - written).unwrap_or(BLOCK));
            file.write_all_at(&block[..part], written).map_err(fail)?;
            written += part as u64;
            progress(written - from);
        }
        file.sync_all().map_err(fail)?;
        if let Some((_, bytes)) = &mut entry.existing {
            *bytes = entry.bytes;
        }
        Ok(true)
    }

    /// Makes it alike for the next run: empty if it is written from the start on, nothing of it in
    /// the page cache, nothing left to write back.
    pub(super) fn reset(&self, at: usize) -> Result<(), String> {
        let entry = &self.entries[at];
        let fail = |error: io::Error| {
            format!(
                "cannot make {} ready for a run: {error}",
                entry.path.display()
            )
        };
        let opened;
        let file = match &entry.made {
            Some(file) => file,
            None => {
                opened = File::open(&entry.path).map_err(fail)?;
                &opened
            }
        };
        if entry.made.is_some() && !entry.laid_out {
            file.set_len(0).map_err(fail)?;
            if !entry.sparse {
                match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, entry.bytes) {
                    Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) | Ok(()) => {}
                    Err(error) => return Err(fail(error.into())),
                }
            }
        }
        file.sync_all().map_err(fail)?;
        if entry.invalidate {
            cool(file).map_err(fail)?;
        }
        Ok(())
    }

    /// Another program is to write to it: one that was there before gets its whole length, so that
    /// it is not replaced to get it.
    pub(super) fn hand_out(&mut self, at: usize) -> Result<(), String> {
        let entry = &mut self.entries[at];
        // The other program may want to claim the device itself.
        entry.held = None;
        if entry.made.is_some() || entry.writer.is_none() {
            return Ok(());
        }
        let fail =
            |error: io::Error| format!("cannot make {} longer: {error}", entry.path.display());
        match look(&entry.path).map_err(fail)? {
            Some((Sort::Regular, bytes)) if bytes < entry.bytes => OpenOptions::new()
                .write(true)
                .open(&entry.path)
                .and_then(|file| file.set_len(entry.bytes))
                .map_err(fail),
            _ => Ok(()),
        }
    }

    /// Another program had it, and may have replaced it by a new one.
    pub(super) fn take_back(&mut self, at: usize) -> Result<(), String> {
        let entry = &mut self.entries[at];
        if let Some(file) = &mut entry.made {
            let again = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&entry.path);
            *file = again
                .map_err(|error| format!("cannot open {} again: {error}", entry.path.display()))?;
            left_over::mark(file, &entry.path);
        }
        entry.hold()
    }

    /// Removes it, if it was made here. Nobody will use it again.
    pub(super) fn remove(&mut self, at: usize) {
        let entry = &mut self.entries[at];
        if entry.made.take().is_some()
            && let Err(error) = fs::remove_file(&entry.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            // Nobody is left to tell when stderr itself is gone.
            let _ = writeln!(
                io::stderr(),
                "nofault: cannot remove {}: {error}",
                entry.path.display()
            );
        }
    }

    /// The bytes that have to be written to lay it out.
    pub(super) fn missing(&self, at: usize) -> u64 {
        let entry = &self.entries[at];
        let there = if entry.made.is_some() {
            entry.bytes
        } else {
            entry.existing.map_or(0, |(_, bytes)| bytes)
        };
        if entry.laid_out {
            entry.bytes.saturating_sub(there)
        } else {
            0
        }
    }
}

/// Drops what the page cache has of it, as far as that is written back.
pub(super) fn cool(file: &File) -> io::Result<()> {
    match rustix::fs::fadvise(file, 0, None, Advice::DontNeed) {
        // What has no page cache has nothing to drop.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP)
        | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn look(path: &Path) -> io::Result<Option<(Sort, u64)>> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(match found.file_type() {
        sort if sort.is_file() => (Sort::Regular, found.len()),
        sort if sort.is_block_device() => (
            Sort::Block,
            io::Seek::seek(&mut File::open(path)?, io::SeekFrom::End(0))?,
        ),
        _ => (Sort::Other, 0),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_file_is_opened_as_sync_says() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        for (sync, expected) in [
            (SyncMode::None, 0),
            (SyncMode::Dsync, libc::O_DSYNC),
            (SyncMode::Sync, libc::O_SYNC),
        ] {
            let target = Target {
                path: file.path(),
                read: true,
                write: true,
                sync,
            };
            let opened = target.open(false).expect("opened");
            // SAFETY: F_GETFL takes no pointer.
            let flags = unsafe { libc::fcntl(opened.as_raw_fd(), libc::F_GETFL) };
            assert_eq!(flags & libc::O_SYNC, expected);
        }
    }
}
