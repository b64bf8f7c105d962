//! Priorities of I/O, as ioprio_set(2) has them.

use std::io;

/// A class of I/O priority and a level within it, 0 (first) to 7. See ioprio_set(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority(pub(crate) u16);

const CLASS_SHIFT: u16 = 13;
const WHO_PROCESS: libc::c_int = 1;

impl Priority {
    /// Before all others. Needs CAP_SYS_ADMIN or CAP_SYS_NICE.
    #[must_use]
    pub const fn real_time(level: u8) -> Priority {
        Priority::of(1, level)
    }

    /// The class that everybody has; level 4 unless told.
    #[must_use]
    pub const fn best_effort(level: u8) -> Priority {
        Priority::of(2, level)
    }

    /// Only when nobody else wants the device.
    #[must_use]
    pub const fn idle() -> Priority {
        Priority::of(3, 0)
    }

    const fn of(class: u16, level: u8) -> Priority {
        let level = if level > 7 { 7 } else { level };
        Priority(class << CLASS_SHIFT | level as u16)
    }

    /// Whether this thread may use it: set for a moment, and put back.
    pub(crate) fn check(self) -> io::Result<()> {
        // SAFETY: neither call takes a pointer.
        let before = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0) };
        if before < 0 {
            return Err(io::Error::last_os_error());
        }
        set_own(self.0)?;
        // Some kernels tell a level of those who have no class, and don't take it back.
        set_own(before as u16).or_else(|_| set_own(0))
    }
}

/// Gives the calling thread a priority; 0: none of its own.
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
