//! The rings' tables of registered files and registered buffers.
//!
//! May know: descriptors, addresses, the rings. Must not know: who uses a place of a table.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{BUFFERS, Uring};
use crate::memory::Pinned;

impl Uring {
    pub(crate) fn register_file(&mut self, fd: BorrowedFd<'_>) -> Option<u32> {
        let index = self.files.pop()?;
        match self.on_each(|ring| {
            ring.ring()
                .submitter()
                .register_files_update(index, &[fd.as_raw_fd()])
        }) {
            Ok(1) => {
                self.descriptors[index as usize] = fd.as_raw_fd();
                Some(index)
            }
            _ => {
                self.unregister_file(index);
                None
            }
        }
    }

    pub(crate) fn unregister_file(&mut self, index: u32) {
        // Where it fails the place stays taken: a descriptor too long open is better than a wrong
        // one.
        if self
            .on_each(|ring| ring.ring().submitter().register_files_update(index, &[-1]))
            .is_ok()
        {
            self.files.push(index);
        }
    }

    /// # Safety
    ///
    /// The range stays mapped until `unregister_buffers`, or until the ring is gone.
    pub(crate) unsafe fn register_buffers(&mut self, addr: usize, len: usize) -> io::Result<u16> {
        let unsupported = || {
            io::Error::new(
                io::ErrorKind::Unsupported,
                "no table of registered buffers before Linux 5.19",
            )
        };
        let taken = self.buffers.as_mut().ok_or_else(unsupported)?;
        let entries = len.div_ceil(Pinned::ENTRY_BYTES);
        let full = || {
            io::Error::new(
                io::ErrorKind::StorageFull,
                format!("the ring's table of {BUFFERS} registered buffers is full"),
            )
        };
        let first = (0..taken.len()).find(|&first| {
            taken[first..]
                .iter()
                .take_while(|taken| !**taken)
                .take(entries)
                .count()
                == entries
        });
        let first = first.filter(|_| entries > 0).ok_or_else(full)?;
        let iovecs: Vec<libc::iovec> = (0..entries)
            .map(|entry| {
                let start = entry * Pinned::ENTRY_BYTES;
                let iov_base = std::ptr::with_exposed_provenance_mut(addr + start);
                libc::iovec {
                    iov_base,
                    iov_len: (len - start).min(Pinned::ENTRY_BYTES),
                }
            })
            .collect();
        // SAFETY: the caller keeps the range mapped.
        let registered = self.on_each(|ring| unsafe {
            ring.ring()
                .submitter()
                .register_buffers_update(first as u32, &iovecs, None)
        });
        if let Err(error) = registered {
            // Some entries may have been set before one failed.
            self.clear_buffers(first, entries);
            return Err(error);
        }
        if let Some(taken) = self.buffers.as_mut() {
            taken[first..first + entries].fill(true);
        }
        Ok(first as u16)
    }

    pub(crate) fn unregister_buffers(&mut self, first: u16, len: usize) {
        let entries = len.div_ceil(Pinned::ENTRY_BYTES);
        if self.clear_buffers(first.into(), entries)
            && let Some(taken) = self.buffers.as_mut()
        {
            taken[first.into()..usize::from(first) + entries].fill(false);
        }
    }

    fn clear_buffers(&mut self, first: usize, entries: usize) -> bool {
        let none = vec![
            libc::iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: 0
            };
            entries
        ];
        // SAFETY: empty entries name no memory.
        self.on_each(|ring| unsafe {
            ring.ring()
                .submitter()
                .register_buffers_update(first as u32, &none, None)
        })
        .is_ok()
    }
}

pub(super) fn open_files_limit() -> u32 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the struct is ours and as large as the call wants it.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } {
        0 => limit.rlim_cur.min(u32::MAX.into()) as u32,
        _ => 0,
    }
}
