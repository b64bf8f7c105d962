//! A timer that is a descriptor, timerfd_create(2): for reactors whose own timers may not be
//! switched on.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

pub(crate) struct Timer(OwnedFd);

impl Timer {
    /// A timer that is not set. Reading it is of no interest, so nothing has to be done when it has
    /// run out.
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

    /// Sets it, counted from now; it becomes readable then. Takes back what it was set to before,
    /// and whether it had run out.
    pub(crate) fn set(&self, time: Duration) {
        // Zero would switch it off.
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
        // SAFETY: the struct is ours and lives for the call. It fails for a bad descriptor or a bad
        // time only, and these are good.
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
