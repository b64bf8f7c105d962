//! The file that is measured on: made, filled, made ready before each round, and gone afterwards
//! whatever happens.
//!
//! It has no name from the start (O_TMPFILE, or unlinked right after it was made), so that not even
//! SIGKILL leaves it behind; it is opened again through /proc/self/fd. Only where /proc is missing
//! it keeps a name, which is removed at the end.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{Advice, FallocateFlags};
use tempfile::NamedTempFile;

use super::facts;
use crate::figures::units;

/// Bytes of one write while the file is filled.
const BLOCK: usize = 1 << 20;

/// The file under test.
pub(crate) struct Scratch {
    file: File,
    path: PathBuf,
    /// Removes the name when dropped.
    named: Option<NamedTempFile>,
    pub(crate) bytes: u64,
    pub(crate) filesystem: String,
}

impl Scratch {
    /// Makes an empty file in `dir`, which shall have `bytes` bytes. The error is the whole line
    /// for the user.
    pub(crate) fn new(dir: &Path, bytes: u64) -> Result<Scratch, String> {
        let shown = dir.display();
        if !dir.is_dir() {
            return Err(format!(
                "{shown} is not a directory that can be seen: name an existing one with --dir"
            ));
        }
        let fail = |error: io::Error| {
            let help = match error.raw_os_error() {
                Some(libc::ENOSPC | libc::EDQUOT) => {
                    "free some space, or name another directory with --dir"
                }
                _ => "name a directory that you may write to with --dir",
            };
            format!("cannot make a file in {shown}: {error}; {help}")
        };
        let (file, named) = if Path::new("/proc/self/fd").is_dir() {
            (tempfile::tempfile_in(dir).map_err(fail)?, None)
        } else {
            let named = tempfile::Builder::new()
                .prefix("nofault-bench-")
                .tempfile_in(dir)
                .map_err(fail)?;
            (named.reopen().map_err(fail)?, Some(named))
        };
        let path = named.as_ref().map_or_else(
            || PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())),
            |n| n.path().to_owned(),
        );
        let filesystem = facts::filesystem(&file);
        Ok(Scratch {
            file,
            path,
            named,
            bytes,
            filesystem,
        })
    }

    /// Whether a name in the directory has to be removed at the end.
    pub(crate) fn has_name(&self) -> bool {
        self.named.is_some()
    }

    /// Where to open it, for as long as this value lives.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The buffered descriptor, for reading and writing.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Sees that the file will fit into the space that is free, and takes that space.
    pub(crate) fn reserve(&self, dir: &Path) -> Result<(), String> {
        let none = |free: String| {
            format!(
                "not enough space in {}: {} needed, {free}; take a smaller --size or another --dir",
                dir.display(),
                units::size(self.bytes)
            )
        };
        let space = rustix::fs::fstatvfs(&self.file)
            .map_err(|e| format!("cannot ask {} for its free space: {e}", dir.display()))?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        // Some filesystems (9p, many FUSE ones) don't know and say that they have no blocks at all.
        if space.f_blocks > 0 && free < self.bytes {
            return Err(none(format!("{} free", units::size(free))));
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, self.bytes) {
            Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => {
                Err(none("no more is given".into()))
            }
            Err(rustix::io::Errno::FBIG) => Err(format!(
                "a file of {} is over a limit (ulimit -f); take a smaller --size",
                units::size(self.bytes)
            )),
            // A filesystem without preallocation is filled all the same.
            _ => Ok(()),
        }
    }

    /// Writes incompressible data everywhere, calling `progress` with the bytes written. Ends
    /// early, with false, when asked to stop.
    pub(crate) fn fill(
        &self,
        stop: &AtomicUsize,
        mut progress: impl FnMut(u64),
    ) -> Result<bool, String> {
        let fail = |error: io::Error| format!("cannot fill the file: {error}");
        let mut rng = fastrand::Rng::with_seed(0x6e6f_6661_756c_7400);
        let mut block = vec![0; BLOCK];
        let mut file = &self.file;
        let mut written = 0;
        while written < self.bytes {
            if stop.load(Ordering::Relaxed) != 0 {
                return Ok(false);
            }
            rng.fill(&mut block);
            let part = block
                .len()
                .min(usize::try_from(self.bytes - written).unwrap_or(usize::MAX));
            file.write_all(&block[..part]).map_err(fail)?;
            written += part as u64;
            progress(written);
        }
        self.file.sync_all().map_err(fail)?;
        Ok(true)
    }

    /// Leaves nothing of the file in the page cache, so that each round starts alike.
    pub(crate) fn cool(&self) -> io::Result<()> {
        self.file.sync_data()?;
        rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed).or_else(|error| match error {
            // A file that has no page cache to drop has nothing to drop.
            rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP => {
                Ok(())
            }
            other => Err(other.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn the_file_has_no_name_and_opens_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let scratch = Scratch::new(dir.path(), 2 << 20).expect("a file");
        assert!(scratch.fill(&AtomicUsize::new(0), |_| ()).expect("filled"));
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 0);
        let again = File::open(scratch.path()).expect("opened again");
        let mut bytes = [0; 4096];
        again
            .read_exact_at(&mut bytes, (2 << 20) - 4096)
            .expect("the file is as long as asked");
        assert!(bytes.iter().any(|&b| b != 0));
        scratch.cool().expect("cooled");
    }

    #[test]
    fn too_large_a_file_is_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let scratch = Scratch::new(dir.path(), 1 << 60).expect("an empty file");
        let line = scratch
            .reserve(dir.path())
            .expect_err("no disk is that large");
        assert!(
            line.contains("not enough space") && line.contains("--size"),
            "{line}"
        );
    }

    #[test]
    fn a_missing_directory_is_named() {
        let line = Scratch::new(Path::new("/nowhere/at/all"), 1)
            .map(|_| ())
            .expect_err("missing");
        assert!(
            line.contains("/nowhere/at/all") && line.contains("--dir"),
            "{line}"
        );
    }

    #[test]
    fn filling_stops_when_asked() {
        let dir = tempfile::tempdir().expect("a directory");
        let scratch = Scratch::new(dir.path(), 1 << 20).expect("a file");
        assert!(
            !scratch
                .fill(&AtomicUsize::new(2), |_| ())
                .expect("no error")
        );
    }
}
