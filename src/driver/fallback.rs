//! The abilities that an engine may be without, and what to do about each.
//!
//! May know: errnos and what they mean for whom. Must not know: who asks for an ability.

use std::fmt;
use std::io;

use crate::sys::Errno;

/// An ability that was asked for, or that is used where the kernel has it, and that was lost. The
/// requests go another way, with the same results. `Display` says what to do about it.
///
/// Each is listed once in [`Stats::fallbacks`](crate::Stats::fallbacks):
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let engine = nofault::Engine::builder().io_poll(true).build()?;
/// for fallback in engine.stats().fallbacks {
///     match fallback {
///         nofault::Fallback::UringRefused { errno } => eprintln!("no io_uring: errno {errno}"),
///         other => eprintln!("{other}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fallback {
    /// There is no io_uring: worker threads carry the requests out.
    UringRefused {
        /// What io_uring_setup(2), or the proof that the ring works, answered: ENOSYS, EPERM,
        /// EACCES, ENOMEM, EMFILE ...; EOPNOTSUPP for an io_uring before Linux 5.11.
        errno: i32,
    },
    /// There is no kernel thread that takes submissions
    /// ([`sq_poll`](crate::EngineBuilder::sq_poll)): they take a system call.
    NoSubmissionThread {
        /// What io_uring_setup(2) answered.
        errno: i32,
    },
    /// There is no ring whose completions are polled for
    /// ([`io_poll`](crate::EngineBuilder::io_poll)): they come by interrupts.
    NoPolledRing {
        /// What io_uring_setup(2) answered.
        errno: i32,
    },
    /// A file's device has no polled queues: the completions of that file come by interrupts.
    NoPolledQueues,
    /// Waiting counts as waiting for I/O all the same
    /// ([`no_iowait`](crate::EngineBuilder::no_iowait)): the kernel is older than Linux 6.15.
    WaitsCount,
    /// Memory can't be looked at: all foreign memory goes by copies, made off the thread.
    NoLook {
        /// What opening /proc/self/pagemap answered.
        errno: i32,
    },
    /// There are no bounce buffers: the page cache does their work.
    NoBounceBuffers {
        /// What memfd_create(2), ftruncate(2) or mmap(2) answered; EFBIG for an RLIMIT_FSIZE that
        /// is too small.
        errno: i32,
    },
    /// Memory that was to be pinned is not: requests with it are looked at as with any other.
    NotPinned {
        /// What io_uring_register(2) answered: ENOMEM over RLIMIT_MEMLOCK, EFAULT for memory that
        /// can't be registered; EOPNOTSUPP for worker threads and before Linux 5.19, ENOSPC where
        /// the ring's table is full.
        errno: i32,
    },
    /// There are fewer worker threads than wanted: less is done at once. Where there is none, the
    /// engine's own thread does their work.
    FewerWorkers {
        /// What starting a thread answered.
        errno: i32,
    },
    /// The kernel makes no worker task (io-wq), because RLIMIT_NPROC or a pids cgroup is at its
    /// limit: what needs one is done on the engine's own thread.
    NoKernelWorker,
    /// The kernel no longer lets the process enter the ring: worker threads have taken over.
    RingLost {
        /// What io_uring_enter(2) answered.
        errno: i32,
    },
    /// Bounce buffers do not lie in huge pages: the kernel has none for shared memory (`never` in
    /// /sys/kernel/mm/transparent_hugepage/shmem_enabled), or found none free.
    BounceInSmallPages,
    /// Memory of 2 MiB and more that was pinned does not all lie in huge pages: a large request has
    /// many segments. See [`huge_pages`](crate::memory::huge_pages) for what the machine grants.
    PinnedInSmallPages,
    /// The kernel took no advice to use huge pages for the caller's memory
    /// ([`advise_huge`](crate::EngineBuilder::advise_huge)).
    NotAdvised {
        /// What madvise(2), or opening /proc/self/pagemap, answered: EINVAL of a kernel without
        /// huge pages, or for memory that can't have any.
        errno: i32,
    },
    /// There is no timer in the runtime's reactor: deadlines are looked for without pause.
    NoTimer {
        /// What timerfd_create(2) or epoll_ctl(2) answered.
        errno: i32,
    },
}

/// The errno of an error; of one that the engine has found by itself, the errno that the fields of
/// [`Fallback`] name for it.
pub(crate) fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().unwrap_or(match error.kind() {
        io::ErrorKind::Unsupported => libc::EOPNOTSUPP,
        io::ErrorKind::StorageFull => libc::ENOSPC,
        io::ErrorKind::FileTooLarge => libc::EFBIG,
        _ => libc::EIO,
    })
}

impl Fallback {
    /// There is no io_uring, because of this.
    pub(super) fn no_uring(error: &io::Error) -> Fallback {
        Fallback::UringRefused {
            errno: errno_of(error),
        }
    }
}

fn text(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Fallback::UringRefused { errno } => match errno {
                libc::ENOSYS => f.write_str(
                    "the kernel has no io_uring (ENOSYS); Linux 5.11 or later is needed, or a \
                     sandbox hides it",
                ),
                libc::EOPNOTSUPP => f.write_str("io_uring is older than Linux 5.11"),
                libc::EPERM => f.write_str(
                    "io_uring is forbidden (EPERM): by a container's seccomp profile, or by sysctl \
                     kernel.io_uring_disabled; allow io_uring_setup, io_uring_enter and \
                     io_uring_register, or set the sysctl to 0",
                ),
                libc::EACCES => f.write_str("io_uring is forbidden by a security module (EACCES)"),
                libc::ENOMEM => f.write_str(
                    "no memory for the ring (ENOMEM); raise RLIMIT_MEMLOCK (ulimit -l), or build \
                     the engine with a smaller depth",
                ),
                libc::EMFILE => {
                    f.write_str("too many open files (EMFILE); raise RLIMIT_NOFILE (ulimit -n)")
                }
                errno => write!(f, "io_uring can't be used: {}", text(errno)),
            },
            Fallback::NoSubmissionThread { errno } => write!(
                f,
                "no kernel thread for submissions (SQPOLL): {}",
                text(errno)
            ),
            Fallback::NoPolledRing { errno } => {
                write!(
                    f,
                    "completions are not polled for (IOPOLL): {}",
                    text(errno)
                )
            }
            Fallback::NoPolledQueues => f.write_str(
                "completions are not polled for on a file whose device has no polled queues \
                 (EOPNOTSUPP)",
            ),
            Fallback::WaitsCount => {
                f.write_str("waiting counts as waiting for I/O: NO_IOWAIT needs Linux 6.15")
            }
            Fallback::NoLook { errno } => write!(
                f,
                "no look at memory, all of the caller's goes by copies: /proc/self/pagemap: {}",
                text(errno)
            ),
            Fallback::NoBounceBuffers { errno } => {
                f.write_str("no bounce buffers, the page cache takes their work: ")?;
                match errno {
                    libc::EFBIG => f.write_str("the file size limit (RLIMIT_FSIZE) is below 4 MiB"),
                    errno => write!(f, "{}", text(errno)),
                }
            }
            Fallback::NotPinned { errno } => {
                f.write_str("memory is not pinned: ")?;
                match errno {
                    libc::ENOMEM => f.write_str(
                        "over RLIMIT_MEMLOCK (ENOMEM); raise it (ulimit -l), or ask for less",
                    ),
                    libc::EFAULT => f.write_str(
                        "this kind of memory can't be registered (EFAULT): a shared mapping of a \
                         file, or not writable",
                    ),
                    libc::EOPNOTSUPP => f.write_str(
                        "only io_uring has registered buffers, and a table of them since Linux 5.19",
                    ),
                    libc::ENOSPC => f.write_str(
                        "the ring's table of registered buffers is full; register fewer, larger \
                         pieces",
                    ),
                    errno => write!(f, "{}", text(errno)),
                }
            }
            Fallback::FewerWorkers { errno } => {
                write!(
                    f,
                    "fewer worker threads than wanted, at worst none: {}",
                    text(errno)
                )
            }
            Fallback::NoKernelWorker => f.write_str(
                "the kernel makes no worker (RLIMIT_NPROC or a pids cgroup at its limit): what needs \
                 one is done on the engine's own thread; raise the limit",
            ),
            Fallback::RingLost { errno } => write!(
                f,
                "io_uring can't be entered any more, worker threads take over: {}",
                text(errno)
            ),
            Fallback::BounceInSmallPages => f.write_str(
                "bounce buffers are not in huge pages: none for shared memory, see \
                 /sys/kernel/mm/transparent_hugepage/shmem_enabled",
            ),
            Fallback::PinnedInSmallPages => f.write_str(
                "pinned memory is not all in huge pages, large requests are slower: see \
                 /sys/kernel/mm/transparent_hugepage/enabled",
            ),
            Fallback::NotAdvised { errno } => write!(
                f,
                "huge pages were not advised for memory of the caller: {}",
                text(errno)
            ),
            Fallback::NoTimer { errno } => write!(
                f,
                "deadlines are looked for without pause: no timer in the reactor: {}",
                text(errno)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_names_its_errno_and_a_way_out() {
        for (errno, word) in [
            (libc::ENOSYS, "ENOSYS"),
            (libc::EPERM, "seccomp"),
            (libc::EACCES, "EACCES"),
            (libc::ENOMEM, "RLIMIT_MEMLOCK"),
            (libc::EMFILE, "RLIMIT_NOFILE"),
            (libc::EOPNOTSUPP, "5.11"),
            (libc::EINVAL, "os error 22"),
        ] {
            let text = Fallback::UringRefused { errno }.to_string();
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn an_error_of_the_engine_itself_has_an_errno_too() {
        let of = |kind| errno_of(&io::Error::new(kind, "words"));
        assert_eq!(of(io::ErrorKind::Unsupported), libc::EOPNOTSUPP);
        assert_eq!(of(io::ErrorKind::StorageFull), libc::ENOSPC);
        assert_eq!(of(io::ErrorKind::FileTooLarge), libc::EFBIG);
        assert_eq!(of(io::ErrorKind::Other), libc::EIO);
        assert_eq!(errno_of(&text(libc::EPERM)), libc::EPERM);
    }
}
