//! A FUSE filesystem with one file, served by hand: the kernel's protocol over /dev/fuse, as little
//! of it as a mapping of that file needs.
//!
//! It is mounted in a mount namespace of the calling thread and those that it starts, so it is gone
//! with the process.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::pattern;
use super::stop::{Doing, Stop};

// include/uapi/linux/fuse.h: the operations that are answered, or that must not be.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const DESTROY: u32 = 38;
const BATCH_FORGET: u32 = 42;
const HEADER_IN: usize = 40;
const ROOT: u64 = 1;
const NODE: u64 = 2;
/// A day: nothing is asked twice.
const VALID_SECONDS: u64 = 86400;

/// A mounted filesystem whose file `file` holds a pattern.
pub(crate) struct Fuse {
    device: File,
    seed: u64,
    len: usize,
}

impl Fuse {
    /// Mounts it on a directory.
    pub(crate) fn mount(on: &Path, seed: u64, len: usize) -> Result<Fuse, Stop> {
        let privilege = |what: &str, error: io::Error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES | libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
                Stop::Skip(format!(
                    "{what}: {error}; needs root, and FUSE in the kernel"
                ))
            }
            _ => Stop::Fail(format!("{what}: {error}")),
        };
        let mounting = |result: i32, what: &str| {
            if result == 0 {
                Ok(())
            } else {
                Err(privilege(what, io::Error::last_os_error()))
            }
        };
        let device = File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .map_err(|e| privilege("open /dev/fuse", e))?;
        // SAFETY: no pointers.
        let unshared = unsafe { libc::unshare(libc::CLONE_NEWNS) };
        mounting(unshared, "a mount namespace of our own")?;
        let none = std::ptr::null();
        // SAFETY: the strings end in a zero byte and live until the call returns.
        let private = unsafe {
            libc::mount(
                none,
                c"/".as_ptr(),
                none,
                libc::MS_REC | libc::MS_PRIVATE,
                none.cast(),
            )
        };
        mounting(private, "make mounts private")?;
        let target = CString::new(on.as_os_str().as_bytes()).map_err(io::Error::from)?;
        let options = CString::new(format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            device.as_raw_fd()
        ))
        .map_err(io::Error::from)?;
        let flags = libc::MS_NOSUID | libc::MS_NODEV;
        // SAFETY: as above.
        let mounted = unsafe {
            libc::mount(
                c"nofault-check".as_ptr(),
                target.as_ptr(),
                c"fuse".as_ptr(),
                flags,
                options.as_ptr().cast(),
            )
        };
        mounting(mounted, "mount a FUSE filesystem")?;
        Ok(Fuse { device, seed, len })
    }

    /// Waits for a request of the kernel, for a time, and answers it.
    pub(crate) fn serve(&self, milliseconds: i32) -> Result<(), Stop> {
        let mut entry = libc::pollfd {
            fd: self.device.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one entry, alive for the call.
        if unsafe { libc::poll(&mut entry, 1, milliseconds) } <= 0 {
            return Ok(());
        }
        // More than FUSE_MIN_READ_BUFFER, and than a header with the longest write that `init`
        // allows.
        let mut request = vec![0; 1 << 16];
        let count = match (&self.device).read(&mut request) {
            // The request was interrupted before it was read.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ENOENT | libc::EINTR | libc::EAGAIN)
                ) =>
            {
                return Ok(());
            }
            other => other.doing("read from /dev/fuse")?,
        };
        if count < HEADER_IN {
            return Err(Stop::Fail("a short request from /dev/fuse".to_owned()));
        }
        let word = |at: usize| {
            u32::from_ne_bytes([
                request[at],
                request[at + 1],
                request[at + 2],
                request[at + 3],
            ])
        };
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let (operation, node) = (word(4), long(16));
        let answer = match operation {
            FORGET | BATCH_FORGET | INTERRUPT => return Ok(()),
            INIT => Ok(init()),
            LOOKUP if request[HEADER_IN..count].starts_with(b"file\0") => {
                Ok([self.entry(), self.attributes(NODE)].concat())
            }
            LOOKUP => Err(libc::ENOENT),
            GETATTR => Ok([longs(&[VALID_SECONDS, 0]), self.attributes(node)].concat()),
            OPEN => Ok(longs(&[0, 0])),
            READ => {
                let (offset, size) = (long(HEADER_IN + 8) as usize, word(HEADER_IN + 16) as usize);
                Ok(pattern::bytes(
                    self.seed,
                    offset,
                    size.min(self.len.saturating_sub(offset)),
                ))
            }
            RELEASE | FLUSH | DESTROY => Ok(Vec::new()),
            _ => Err(libc::ENOSYS),
        };
        let (error, body) = answer.map_or_else(|errno| (-errno, Vec::new()), |body| (0, body));
        let mut reply = words(&[16 + body.len() as u32, error as u32]);
        reply.extend_from_slice(&request[8..16]);
        reply.extend(body);
        match (&self.device).write(&reply) {
            // Nobody waits for the answer any more.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            other => other.map(drop).doing("answer /dev/fuse"),
        }
    }

    /// struct fuse_entry_out without the attributes.
    fn entry(&self) -> Vec<u8> {
        [
            longs(&[NODE, 0, VALID_SECONDS, VALID_SECONDS]),
            words(&[0, 0]),
        ]
        .concat()
    }

    /// struct fuse_attr.
    fn attributes(&self, node: u64) -> Vec<u8> {
        let (mode, size) = if node == ROOT {
            (libc::S_IFDIR | 0o755, 0)
        } else {
            (libc::S_IFREG | 0o644, self.len as u64)
        };
        let numbers = longs(&[node, size, size.div_ceil(512), 0, 0, 0]);
        let small = words(&[0, 0, 0, mode, 1, 0, 0, 0, 4096, 0]);
        [numbers, small].concat()
    }
}

/// struct fuse_init_out, 64 bytes: protocol 7.31, no abilities, reads of up to 32 pages ahead.
fn init() -> Vec<u8> {
    let (background, max_write, granularity) = (16 | 12 << 16, 4096, 1);
    words(&[
        7,
        31,
        128 << 10,
        0,
        background,
        max_write,
        granularity,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ])
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn longs(longs: &[u64]) -> Vec<u8> {
    longs.iter().flat_map(|long| long.to_ne_bytes()).collect()
}
