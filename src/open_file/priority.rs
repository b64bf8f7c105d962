//! Priorities of I/O, as ioprio_set(2) has them.

use std::io;

/// A class of I/O priority and a level within it, 0 (first) to 7. See ioprio_set(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority(pub(crate) u16);

const CLASS_SHIFT: u16 = 13;
const WHO_PROCESS: libc::c_int = 1;

impl Priority {
    /// Served before all other requests. Needs CAP_SYS_ADMIN or CAP_SYS_NICE.
    #[must_use]
    pub const fn real_time(level: u8) -> Priority {
        Priority::of(1, level)
    }

    /// The class of every process that has not asked for another; its level is 4 then.
    #[must_use]
    pub const fn best_effort(level: u8) -> Priority {
        Priority::of(2, level)
    }

    /// Served only while the device has no other request.
    #[must_use]
    pub const fn idle() -> Priority {
        Priority::of(3, 0)
    }

    const fn of(class: u16, level: u8) -> Priority {
        let level = if level > 7 { 7 } else { level };
        Priority(class << CLASS_SHIFT | level as u16)
    }

    /// Fails where this thread may not use the priority. The priority is set for a moment, and the
    /// thread's own is put back.
    pub(crate) fn check(self) -> io::Result<()> {
        // SAFETY: neither call takes a pointer.
        let before = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0) };
        if before < 0 {
            return Err(io::Error::last_os_error());
        }
        set_own(self.0)?;
        // Some kernels tell a level for a thread without a class, and refuse to set the same value.
        set_own(before as u16).or_else(|_| set_own(0))
    }
}

/// Sets the priority of the calling thread; 0 takes its own priority away.
pub(crate) fn set_own(priority: u16) -> io::Result<()> {
    // SAFETY: the call takes no pointer.
    match unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            WHO_PROCESS,
            0,
            libc::c_int::from(priority),
        )
    } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
