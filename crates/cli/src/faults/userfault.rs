//! Memory whose missing pages this process itself provides: userfaultfd(2), of which libc has no
//! structures.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};

use super::memory::{Map, page};
use super::stop::{Doing, Stop};

// include/uapi/linux/userfaultfd.h
const UFFD_API: u64 = 0xaa;
const UFFDIO_API: u64 = 0xc018_aa3f;
const UFFDIO_REGISTER: u64 = 0xc020_aa00;
const UFFDIO_COPY: u64 = 0xc028_aa03;
const REGISTER_MODE_MISSING: u64 = 1;
const EVENT_PAGEFAULT: u8 = 0x12;
const MESSAGE: usize = 32;
const ADDRESS: usize = 16;

/// A mapping, none of whose pages comes by itself.
pub(crate) struct Userfault {
    fd: File,
    start: usize,
    len: usize,
}

impl Userfault {
    /// Takes over the missing pages of a mapping. Faults in the kernel, too, so it needs privilege.
    pub(crate) fn over(map: &Map) -> Result<Userfault, Stop> {
        // SAFETY: no pointers.
        let fd =
            unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK) };
        if fd < 0 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::EPERM | libc::ENOSYS) => Err(Stop::Skip(format!(
                    "userfaultfd for faults in the kernel: {error}; needs root"
                ))),
                _ => Err(error).doing("userfaultfd"),
            };
        }
        // SAFETY: the descriptor is new and has no other owner.
        let fd = unsafe { File::from_raw_fd(fd as i32) };
        let this = Userfault {
            fd,
            start: map.piece(0..0).addr,
            len: map.len(),
        };
        this.ioctl(UFFDIO_API, &mut [UFFD_API, 0, 0])
            .doing("UFFDIO_API")?;
        this.ioctl(
            UFFDIO_REGISTER,
            &mut [this.start as u64, this.len as u64, REGISTER_MODE_MISSING, 0],
        )
        .doing("UFFDIO_REGISTER")?;
        Ok(this)
    }

    fn ioctl<const N: usize>(&self, request: u64, words: &mut [u64; N]) -> io::Result<()> {
        // SAFETY: the number says how many bytes are read and written: those of the array, which
        // all are 64-bit words.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), request as _, words.as_mut_ptr()) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Waits for a fault, for a time, and gives its offset in the mapping: a multiple of the page.
    pub(crate) fn wait(&self, milliseconds: i32) -> io::Result<Option<usize>> {
        let mut entry = libc::pollfd {
            fd: self.fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one entry, alive for the call.
        if unsafe { libc::poll(&mut entry, 1, milliseconds) } <= 0 {
            return Ok(None);
        }
        let mut message = [0; MESSAGE];
        match (&self.fd).read(&mut message) {
            Ok(MESSAGE) if message[0] == EVENT_PAGEFAULT => {}
            Ok(_) => return Ok(None),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        let mut address = [0; 8];
        address.copy_from_slice(&message[ADDRESS..ADDRESS + 8]);
        Ok(Some(
            (u64::from_ne_bytes(address) as usize & !(page() - 1)) - self.start,
        ))
    }

    /// Provides the page at an offset.
    pub(crate) fn provide(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        assert!(bytes.len() == page() && offset + page() <= self.len);
        let (to, from) = (
            (self.start + offset) as u64,
            bytes.as_ptr().expose_provenance() as u64,
        );
        match self.ioctl(UFFDIO_COPY, &mut [to, from, page() as u64, 0, 0]) {
            // Two have asked for the same page.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            other => other,
        }
    }

    /// Waits for a fault and provides its page, from the pattern of the seed.
    pub(crate) fn serve(&self, milliseconds: i32, seed: u64) -> io::Result<()> {
        match self.wait(milliseconds)? {
            Some(offset) => self.provide(offset, &super::pattern::bytes(seed, offset, page())),
            None => Ok(()),
        }
    }
}
