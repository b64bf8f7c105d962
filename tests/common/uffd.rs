//! userfaultfd by hand: memory whose faults wait until this program resolves them.
//!
//! The structures are those of linux/userfaultfd.h, which libc does not carry.

use super::mapping::Mapping;
use super::sys::{self, PAGE};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

#[repr(C)]
#[derive(Default)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
#[derive(Default)]
struct Register {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
#[derive(Default)]
struct Range {
    start: u64,
    len: u64,
}

#[repr(C)]
#[derive(Default)]
struct Copy {
    dst: u64,
    src: u64,
    len: u64,
    mode: u64,
    copied: i64,
}

#[repr(C)]
#[derive(Default)]
struct WriteProtect {
    start: u64,
    len: u64,
    mode: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Message {
    event: u8,
    reserved: [u8; 7],
    flags: u64,
    address: u64,
    thread: u64,
}

const UFFDIO_API: u64 = 0xc018_aa3f;
const UFFDIO_REGISTER: u64 = 0xc020_aa00;
const UFFDIO_UNREGISTER: u64 = 0x8010_aa01;
const UFFDIO_COPY: u64 = 0xc028_aa03;
const UFFDIO_WRITEPROTECT: u64 = 0xc018_aa06;
const EVENT_PAGEFAULT: u8 = 0x12;
const FAULT_IS_WP: u64 = 1 << 1;
const MODE_MISSING: u64 = 1;
const MODE_WP: u64 = 2;
const FEATURE_PAGEFAULT_FLAG_WP: u64 = 1;

/// A userfaultfd that never blocks its reader.
pub(crate) struct Uffd(OwnedFd);

impl Uffd {
    /// Opens one that also sees faults inside the kernel, which is where a request's faults happen;
    /// `Err` says why not.
    pub(crate) fn new() -> Result<Self, String> {
        // SAFETY: one flag word, no memory.
        let fd =
            unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK) };
        if fd < 0 {
            let error = io::Error::last_os_error();
            return Err(format!(
                "userfaultfd for kernel faults: {error} (needs root or vm.unprivileged_userfaultfd=1)"
            ));
        }
        // SAFETY: made by the kernel just now, for this call.
        let uffd = Self(unsafe { OwnedFd::from_raw_fd(fd as i32) });
        let mut api = Api {
            api: 0xaa,
            features: FEATURE_PAGEFAULT_FLAG_WP,
            ..Api::default()
        };
        uffd.ioctl(UFFDIO_API, &mut api)
            .map_err(|errno| format!("UFFDIO_API: errno {errno}"))?;
        Ok(uffd)
    }

    fn ioctl<T>(&self, request: u64, argument: &mut T) -> Result<(), i32> {
        // SAFETY: each caller passes the structure that the request number names, and it lives for
        // the call.
        match unsafe { libc::ioctl(self.0.as_raw_fd(), request as _, argument as *mut T) } {
            -1 => Err(sys::errno()),
            _ => Ok(()),
        }
    }

    /// Faults on pages that are not there wait from now on.
    pub(crate) fn watch_missing(&self, mapping: &Mapping) {
        self.register(mapping, MODE_MISSING)
            .expect("UFFDIO_REGISTER");
    }

    /// Writes to the mapping wait from now on, although its pages are there; errno where the kernel
    /// has no such mode.
    pub(crate) fn watch_writes(&self, mapping: &Mapping) -> Result<(), i32> {
        self.register(mapping, MODE_WP)?;
        let mut protect = WriteProtect {
            start: mapping.address() as u64,
            len: mapping.len() as u64,
            mode: 1,
        };
        self.ioctl(UFFDIO_WRITEPROTECT, &mut protect)
    }

    fn register(&self, mapping: &Mapping, mode: u64) -> Result<(), i32> {
        let mut register = Register {
            start: mapping.address() as u64,
            len: mapping.len() as u64,
            mode,
            ..Register::default()
        };
        self.ioctl(UFFDIO_REGISTER, &mut register)
    }

    /// Lets go of the mapping; every fault that waits is woken and tries again as an ordinary one.
    pub(crate) fn unwatch(&self, mapping: &Mapping) {
        let mut range = Range {
            start: mapping.address() as u64,
            len: mapping.len() as u64,
        };
        self.ioctl(UFFDIO_UNREGISTER, &mut range)
            .expect("UFFDIO_UNREGISTER");
    }

    /// The page address of the next waiting fault and whether it is a write to a protected page;
    /// `None` when nothing waits.
    pub(crate) fn next_fault(&self) -> Option<(usize, bool)> {
        let mut message = Message::default();
        // SAFETY: room for exactly one message.
        let got = unsafe {
            libc::read(
                self.0.as_raw_fd(),
                (&raw mut message).cast(),
                size_of::<Message>(),
            )
        };
        if got != size_of::<Message>() as isize {
            return None;
        }
        assert_eq!(
            message.event, EVENT_PAGEFAULT,
            "an event that was not asked for"
        );
        Some((
            message.address as usize & !(PAGE - 1),
            message.flags & FAULT_IS_WP != 0,
        ))
    }

    /// Waits until a fault waits, without taking it.
    pub(crate) fn wait_for_fault(&self) {
        let mut poll = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd that lives for the call.
        let ready = unsafe { libc::poll(&mut poll, 1, -1) };
        assert_eq!(ready, 1, "poll: errno {}", sys::errno());
    }

    /// Puts a page with these contents where it is missing.
    pub(crate) fn provide(&self, page: usize, contents: &[u8]) {
        assert_eq!(contents.len(), PAGE);
        let mut copy = Copy {
            dst: page as u64,
            src: contents.as_ptr() as u64,
            len: PAGE as u64,
            mode: 0,
            copied: 0,
        };
        match self.ioctl(UFFDIO_COPY, &mut copy) {
            // EEXIST: two faults waited for the one page, and the first answer served both.
            Ok(()) | Err(libc::EEXIST) => (),
            Err(errno) => panic!("UFFDIO_COPY: errno {errno}"),
        }
    }

    /// Lets writes to a page through again and wakes who waits.
    pub(crate) fn allow_writes(&self, page: usize) {
        let mut protect = WriteProtect {
            start: page as u64,
            len: PAGE as u64,
            mode: 0,
        };
        self.ioctl(UFFDIO_WRITEPROTECT, &mut protect)
            .expect("UFFDIO_WRITEPROTECT");
    }
}
