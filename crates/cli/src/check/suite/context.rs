//! What a scenario gets: a directory, a size, a seed, and a way of doing I/O that it does not
//! choose.

use std::path::{Path, PathBuf};

use nofault::Backend;

use super::cell::Cell;
use super::io::Io;
use super::pattern::Random;
use super::stop::{Doing, Stop};
use super::{Column, ways};

/// What a scenario may use. Threads and processes each make their own [`Io`].
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// Empty, and removed afterwards.
    pub(crate) dir: PathBuf,
    pub(crate) column: Column,
    pub(crate) backend: Backend,
    /// How much disk space may be used, in bytes.
    pub(crate) size: usize,
    pub(crate) seed: u64,
}

impl Context {
    pub(crate) fn new(dir: PathBuf, cell: &Cell) -> Context {
        // What is used of a size beyond 1 GiB would only take longer.
        let size = usize::try_from(cell.size_bytes)
            .unwrap_or(usize::MAX)
            .min(1 << 30);
        Context {
            dir,
            column: cell.column,
            backend: cell.backend,
            size,
            seed: cell.seed,
        }
    }

    /// A way of doing I/O of this column, for the calling thread.
    pub(crate) fn io(&self) -> Result<Box<dyn Io>, Stop> {
        ways::make(self.column, self.backend)
    }

    /// The name of a file in the scenario's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Numbers that depend on the seed only.
    pub(crate) fn random(&self) -> Random {
        Random::new(self.seed)
    }

    /// `wanted` bytes, or less where the size does not allow it: a multiple of `unit`, at least one
    /// unit.
    pub(crate) fn at_most(&self, wanted: usize, unit: usize) -> usize {
        (wanted.min(self.size / 2) / unit).max(1) * unit
    }

    /// Makes a file of the pattern with this seed, on the disk and not in the page cache.
    pub(crate) fn pattern_file(&self, path: &Path, seed: u64, len: usize) -> Result<(), Stop> {
        std::fs::write(path, super::pattern::bytes(seed, 0, len))
            .doing("write the file to start with")?;
        self.cool(path)
    }

    /// Brings a file to the disk and out of the page cache.
    pub(crate) fn cool(&self, path: &Path) -> Result<(), Stop> {
        use std::os::fd::AsRawFd;
        let file = std::fs::File::open(path).doing("open the file to cool it")?;
        file.sync_all().doing("sync the file")?;
        // Advice only: filesystems without it still serve the scenario, from their cache.
        // SAFETY: no pointers.
        unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        Ok(())
    }

    /// Reads a file through the page cache, as any other program would.
    pub(crate) fn contents(&self, path: &Path) -> Result<Vec<u8>, Stop> {
        std::fs::read(path).doing("read the file through the page cache")
    }
}
