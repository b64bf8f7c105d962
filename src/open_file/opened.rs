//! An open file before any engine knows it: its descriptors, and what was found out about it.
//!
//! May know: open flags, what pread64(2) and pwrite64(2) check. Must not know: rings, sizes of
//! windows, engines. It may be shared by engines on several threads.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::align::{Alignment, AlignmentSource};
use super::facts::{Facts, Kind};
use super::halves::{self, Found, Halves};
use super::path::IoPath;
use crate::sys::{self, Errno};
use crate::transfer::{Direction, MAX_RW_COUNT};

/// An open file. Its descriptors are closed when it is dropped.
pub(crate) struct Opened {
    halves: Halves,
    pub(super) facts: Facts,
    alignment: Alignment,
    pub(crate) source: Option<AlignmentSource>,
    pub(crate) path: IoPath,
}

impl Opened {
    /// Takes an open descriptor and finds the way its bytes go.
    ///
    /// # Errors
    ///
    /// Of fcntl(2) and fstat(2); the descriptor is closed.
    pub(crate) fn new(file: std::fs::File, direct_wanted: bool) -> io::Result<Opened> {
        let flags = sys::descriptor::status_flags(file.as_fd())?;
        let facts = Facts::of(file.as_fd(), flags)?;
        let Found {
            halves,
            path,
            alignment,
            source,
        } = halves::find(OwnedFd::from(file), flags, &facts, direct_wanted);
        Ok(Opened {
            halves,
            facts,
            alignment,
            source,
            path,
        })
    }

    pub(crate) fn buffered_fd(&self) -> BorrowedFd<'_> {
        self.halves.buffered()
    }

    pub(crate) fn direct_fd(&self) -> Option<BorrowedFd<'_>> {
        self.halves.direct()
    }

    pub(crate) fn alignment(&self) -> Alignment {
        self.alignment
    }

    /// Whether a request of no bytes does nothing: a device or a file that is made up may answer it
    /// with an error.
    pub(crate) fn is_ordinary(&self) -> bool {
        matches!(self.facts.kind, Kind::File | Kind::InMemory | Kind::Device)
    }

    /// The size in bytes, of a block device its capacity. Asked of the descriptor itself: a
    /// duplicate would share its position, and its closing would release the process's record
    /// locks.
    pub(crate) fn len(&self) -> io::Result<u64> {
        match self.facts.kind {
            Kind::Device => sys::stat::device_bytes(self.buffered_fd()),
            _ => Ok(sys::stat::kind_and_bytes(self.buffered_fd())?.1),
        }
    }

    /// What pread64 and pwrite64 check before they look at memory (ksys_pread64, vfs_read,
    /// rw_verify_area), in the same order. `total` is `None` where no signed size holds it. Returns
    /// how much of `total` one call moves at most.
    pub(crate) fn admit(
        &self,
        direction: Direction,
        offset: u64,
        total: Option<usize>,
        vectored: bool,
    ) -> Result<usize, Errno> {
        let position = i64::try_from(offset).map_err(|_| libc::EINVAL)?;
        if let Some(errno) = self.facts.refusal(direction) {
            return Err(errno);
        }
        let total = total.ok_or(libc::EINVAL)?;
        // A vector is cut to what one call moves before its end is computed (import_iovec); a
        // single range after.
        let counted = if vectored {
            total.min(MAX_RW_COUNT)
        } else {
            total
        };
        let count = i64::try_from(counted).map_err(|_| libc::EINVAL)?;
        position.checked_add(count).ok_or(libc::EINVAL)?;
        if self.facts.kind == Kind::Directory {
            return Err(libc::EISDIR);
        }
        Ok(total.min(MAX_RW_COUNT))
    }
}
