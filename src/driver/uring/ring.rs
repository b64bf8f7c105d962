//! One ring, set up with as much as the kernel grants, and entered by hand.
//!
//! The io-uring crate has no io_uring_enter(2) that keeps both a registered descriptor and flags of
//! one's own, so the call is made here.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use io_uring::{EnterFlags, IoUring, cqueue, squeue};

use super::super::op::Wait;
use crate::sys;

/// What is asked of a ring beyond what every kernel may grant.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wishes {
    /// A kernel thread takes the submissions, and sleeps after so much time without any.
    pub(crate) sq_poll: Option<Duration>,
    /// Completions are polled for on the device.
    pub(crate) io_poll: bool,
    /// Waiting does not count as waiting for I/O.
    pub(crate) no_iowait: bool,
}

/// How one ring is set up. The first that the kernel grants is taken.
struct Setup {
    single_issuer: bool,
    defer_taskrun: bool,
    coop_taskrun: bool,
}

const SETUPS: [Setup; 4] = [
    Setup {
        single_issuer: true,
        defer_taskrun: true,
        coop_taskrun: false,
    },
    Setup {
        single_issuer: true,
        defer_taskrun: false,
        coop_taskrun: true,
    },
    Setup {
        single_issuer: false,
        defer_taskrun: false,
        coop_taskrun: true,
    },
    Setup {
        single_issuer: false,
        defer_taskrun: false,
        coop_taskrun: false,
    },
];

/// With a kernel thread, or polled: there is no work of a task to put off.
const POLLED: [Setup; 2] = [
    Setup {
        single_issuer: true,
        defer_taskrun: false,
        coop_taskrun: false,
    },
    Setup {
        single_issuer: false,
        defer_taskrun: false,
        coop_taskrun: false,
    },
];

/// One ring.
pub(super) struct Ring {
    ring: IoUring,
    /// What it is entered by: its descriptor, or its place in the table of the thread's registered
    /// rings.
    handle: i32,
    /// Flags of every call.
    always: EnterFlags,
    sq_poll: bool,
    io_poll: bool,
    /// How many entries were pushed, and the token of each in its place of the submission queue:
    /// the queue itself can't be read back.
    pushed: u64,
    tokens: Box<[u64]>,
}

/// `struct io_uring_rsrc_update` of include/uapi/linux/io_uring.h.
#[repr(C)]
struct RegisterRing {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// `struct io_uring_getevents_arg`.
#[repr(C)]
struct GetEvents {
    sigmask: u64,
    sigmask_size: u32,
    min_wait_us: u32,
    timeout: u64,
}

const REGISTER_RING_FDS: libc::c_uint = 20;
const UNREGISTER_RING_FDS: libc::c_uint = 21;

impl Ring {
    /// Sets up a ring, or says why there can't be one. `flags` gets the names of what was granted.
    pub(super) fn new(
        entries: u32,
        completions: u32,
        wishes: Wishes,
        flags: &mut Vec<&'static str>,
    ) -> io::Result<Ring> {
        let ring = negotiate(entries, completions, wishes, flags)?;
        let mut ring = Ring {
            handle: ring.as_raw_fd(),
            always: EnterFlags::empty(),
            sq_poll: ring.params().is_setup_sqpoll(),
            io_poll: ring.params().is_setup_iopoll(),
            pushed: 0,
            tokens: vec![0; (ring.params().sq_entries() as usize).next_power_of_two()].into(),
            ring,
        };
        if ring.register() {
            flags.push("registered ring");
        }
        if wishes.no_iowait && ring.ring.params().is_feature_no_iowait() {
            ring.always |= EnterFlags::NO_IOWAIT;
            flags.push("NO_IOWAIT");
        }
        Ok(ring)
    }

    /// Gives the ring a place in the thread's table, which spares each call a reference to its
    /// file. There are few places (16).
    fn register(&mut self) -> bool {
        let fd = self.ring.as_raw_fd();
        let mut update = RegisterRing {
            offset: u32::MAX,
            reserved: 0,
            data: fd as u64,
        };
        // SAFETY: one struct of the layout that the kernel expects, read and written during the
        // call only. The place is this thread's, and a ring is never entered by another one:
        // nothing above it is `Send`.
        let done = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                fd,
                REGISTER_RING_FDS,
                &raw mut update,
                1,
            )
        };
        if done != 1 {
            return false;
        }
        self.handle = update.offset as i32;
        self.always |= EnterFlags::REGISTERED_RING;
        true
    }

    pub(super) fn ring(&self) -> &IoUring {
        &self.ring
    }

    #[inline]
    pub(super) fn submission(&mut self) -> squeue::SubmissionQueue<'_> {
        self.ring.submission()
    }

    #[inline]
    pub(super) fn completion(&mut self) -> cqueue::CompletionQueue<'_> {
        self.ring.completion()
    }

    /// Adds an entry, if there is room.
    ///
    /// # Safety
    ///
    /// What the entry names stays valid until its completion.
    #[inline]
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the caller's contract.
        let pushed = unsafe { self.ring.submission().push(entry) }.is_ok();
        if pushed {
            let place = self.pushed as usize & (self.tokens.len() - 1);
            self.tokens[place] = entry.get_user_data();
            self.pushed += 1;
        }
        pushed
    }

    /// The tokens of entries that the kernel has not taken, in order.
    pub(super) fn unsubmitted(&mut self) -> Vec<u64> {
        let count = self.ring.submission().len() as u64;
        let mask = self.tokens.len() - 1;
        (self.pushed - count..self.pushed)
            .map(|number| self.tokens[number as usize & mask])
            .collect()
    }

    /// Whether a kernel thread takes entries by itself (SQPOLL).
    pub(super) fn has_kernel_thread(&self) -> bool {
        self.sq_poll
    }

    /// Whether something happens by itself that only a call brings to the completion queue.
    #[inline]
    pub(super) fn has_work(&mut self) -> bool {
        let queue = self.ring.submission();
        queue.taskrun() || queue.cq_overflow()
    }

    /// One io_uring_enter: submits what is queued, and waits for a completion as told.
    #[inline]
    pub(super) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let mut flags = self.always;
        let queue = self.ring.submission();
        let submit = queue.len() as libc::c_uint;
        if wait != Wait::No || self.io_poll || queue.taskrun() || queue.cq_overflow() {
            flags |= EnterFlags::GETEVENTS;
        }
        if self.sq_poll {
            if queue.need_wakeup() {
                flags |= EnterFlags::SQ_WAKEUP;
            } else if wait == Wait::No && !flags.contains(EnterFlags::GETEVENTS) {
                return Ok(());
            }
        }
        drop(queue);
        let Wait::For(time) = wait else {
            return self.call(
                submit,
                u32::from(wait != Wait::No),
                flags,
                std::ptr::null(),
                0,
            );
        };
        let time = time.min(Duration::from_secs(3600 * 24));
        let timeout = [time.as_secs() as i64, i64::from(time.subsec_nanos())];
        let argument = GetEvents {
            sigmask: 0,
            sigmask_size: 0,
            min_wait_us: 0,
            timeout: (&raw const timeout).expose_provenance() as u64,
        };
        self.call(
            submit,
            1,
            flags | EnterFlags::EXT_ARG,
            (&raw const argument).cast(),
            size_of::<GetEvents>(),
        )
    }

    /// Waits until the kernel's thread has taken an entry (IORING_ENTER_SQ_WAIT).
    pub(super) fn wait_for_room(&mut self) -> io::Result<()> {
        let flags = self.always | EnterFlags::SQ_WAIT | EnterFlags::SQ_WAKEUP;
        self.call(0, 0, flags, std::ptr::null(), 0)
    }

    #[inline]
    fn call(
        &mut self,
        submit: u32,
        min_complete: u32,
        flags: EnterFlags,
        argument: *const libc::c_void,
        size: usize,
    ) -> io::Result<()> {
        // SAFETY: the handle is this ring's, and `argument`, if there is one, lives until the call
        // returns. The entries were pushed by callers who keep what they name.
        let done = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.handle,
                submit,
                min_complete,
                flags.bits(),
                argument,
                size,
            )
        };
        if done < 0 {
            Err(io::Error::from_raw_os_error(sys::errno()))
        } else {
            Ok(())
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The place holds the ring's file open.
        if self.always.contains(EnterFlags::REGISTERED_RING) {
            let mut update = RegisterRing {
                offset: self.handle as u32,
                reserved: 0,
                data: 0,
            };
            // SAFETY: as in `register`.
            unsafe {
                libc::syscall(
                    libc::SYS_io_uring_register,
                    self.ring.as_raw_fd(),
                    UNREGISTER_RING_FDS,
                    &raw mut update,
                    1,
                )
            };
        }
    }
}

/// Tries the set-ups from the best down.
fn negotiate(
    entries: u32,
    completions: u32,
    wishes: Wishes,
    flags: &mut Vec<&'static str>,
) -> io::Result<IoUring> {
    let mut last = io::Error::from_raw_os_error(libc::EINVAL);
    let setups = if wishes.sq_poll.is_some() || wishes.io_poll {
        &POLLED[..]
    } else {
        &SETUPS[..]
    };
    for setup in setups {
        let mut builder = IoUring::builder();
        let mut granted = Vec::new();
        builder.dontfork().setup_clamp().setup_cqsize(completions);
        if let Some(idle) = wishes.sq_poll {
            builder.setup_sqpoll(u32::try_from(idle.as_millis()).unwrap_or(u32::MAX).max(1));
            granted.push("SQPOLL");
        }
        if wishes.io_poll {
            builder.setup_iopoll();
            granted.push("IOPOLL");
        }
        if setup.single_issuer {
            builder.setup_single_issuer().setup_submit_all();
            granted.extend(["SINGLE_ISSUER", "SUBMIT_ALL"]);
        }
        if setup.defer_taskrun {
            builder.setup_defer_taskrun().setup_taskrun_flag();
            granted.push("DEFER_TASKRUN");
        }
        if setup.coop_taskrun {
            builder.setup_coop_taskrun().setup_taskrun_flag();
            granted.push("COOP_TASKRUN");
        }
        match builder.build(entries) {
            Ok(ring) => {
                flags.append(&mut granted);
                return Ok(ring);
            }
            // Only EINVAL speaks of the flags.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}
