//! A timer that is a descriptor, timerfd_create(2): for a runtime that was built without its time
//! driver.
//!
//! May know: timerfd. Must not know: which requests have a deadline.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// The descriptor becomes readable when the time that was set is over.
pub(crate) struct Timer(OwnedFd);

impl Timer {
    /// A timer that is not set. Its descriptor is polled and never read: setting it anew also makes
    /// it unreadable again.
    pub(crate) fn new() -> io::Result<Timer> {
        // SAFETY: the call takes no pointer.
        let fd = unsafe {
            libc::timerfd_create(
                libc::CLOCK_MONOTONIC,
                libc::TFD_CLOEXEC | libc::TFD_NONBLOCK,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, so nobody else closes it.
        Ok(Timer(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The descriptor becomes readable after `time`, counted from now. An earlier setting is
    /// replaced, even one whose time is over.
    pub(crate) fn set(&self, time: Duration) {
        // A time of zero would switch the timer off.
        let time = time.max(Duration::from_nanos(1));
        let seconds = libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX);
        let it_value = libc::timespec {
            tv_sec: seconds,
            tv_nsec: time.subsec_nanos().into(),
        };
        let once = libc::itimerspec {
            it_interval: libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value,
        };
        // SAFETY: the struct lives on this stack frame for the call. The call fails only for a bad
        // descriptor or a bad time; the descriptor is ours, and the time is in range.
        unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &once, std::ptr::null_mut()) };
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_becomes_readable_when_its_time_is_over() {
        let timer = Timer::new().unwrap();
        let readable = |timeout| {
            let mut fd = libc::pollfd {
                fd: timer.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one pollfd of our own.
            unsafe { libc::poll(&mut fd, 1, timeout) == 1 }
        };
        assert!(!readable(0));
        timer.set(Duration::ZERO);
        assert!(readable(-1));
        timer.set(Duration::MAX);
        assert!(!readable(0));
        timer.set(Duration::from_millis(1));
        assert!(readable(-1));
    }
}
