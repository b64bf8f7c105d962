//! The back end without io_uring: positioned reads and writes by a bounded set of worker threads.
//!
//! Faults are taken by the workers, so nothing is ever taken on the submitting thread. A worker
//! that a fault holds for ever is lost, not waited for: it keeps the shared state alive, and
//! nothing else.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::fallback::{Fallback, errno_of};
use super::lane::LaneLimits;
use super::op::{Completion, Memory, Op, Wait};
use super::stats::Stats;
use super::wake;
use crate::open_file::priority;
use crate::sys;

/// Workers at most. They are started when work finds none idle.
pub(crate) const WORKERS: usize = 16;

struct Job {
    op: Op,
    token: u64,
}

// SAFETY: the pointer in an op leads to memory that whoever pushed the op keeps valid, and lends to
// the back end, until the completion.
unsafe impl Send for Job {}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    idle: usize,
    workers: usize,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    done: Mutex<Vec<Completion>>,
    event: Arc<OwnedFd>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that may panic runs under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Threads {
    shared: Arc<Shared>,
    queued: Vec<Job>,
}

impl Threads {
    /// Worker threads, which answer by an eventfd of their own.
    pub(crate) fn new(stats: &mut Stats) -> io::Result<Threads> {
        Ok(Threads::over(Arc::new(wake::eventfd()?), stats))
    }

    /// Worker threads that answer by this eventfd.
    pub(crate) fn over(event: Arc<OwnedFd>, stats: &mut Stats) -> Threads {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::default()),
            work: Condvar::new(),
            done: Mutex::new(Vec::new()),
            event,
        });
        let threads = Threads {
            shared,
            queued: Vec::new(),
        };
        if let Err(error) = spawn(&threads.shared) {
            let errno = errno_of(&error);
            stats.fallback(Fallback::FewerWorkers { errno });
        }
        threads
    }

    pub(crate) fn lane_limits(&self) -> LaneLimits {
        // Half of the workers are for requests that wait for the device.
        LaneLimits {
            suspect: WORKERS / 2,
            plain: WORKERS / 4,
        }
    }

    pub(crate) fn wake_fd(&self) -> Arc<OwnedFd> {
        self.shared.event.clone()
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    /// # Safety
    ///
    /// See [`Backend::push`](super::backend::Backend::push).
    pub(crate) unsafe fn push(&mut self, op: Op, token: u64) {
        self.queued.push(Job { op, token });
    }

    pub(crate) fn cancel(&mut self, token: u64) {
        let mut jobs: Vec<Job> = self
            .queued
            .extract_if(.., |job| job.token == token)
            .collect();
        let mut queue = lock(&self.shared.queue);
        if let Some(at) = queue.jobs.iter().position(|job| job.token == token) {
            jobs.extend(queue.jobs.remove(at));
        }
        drop(queue);
        if !jobs.is_empty() {
            lock(&self.shared.done).extend(jobs.iter().map(|job| Completion {
                token: job.token,
                result: -libc::ECANCELED,
            }));
            wake::notify(&self.shared.event);
        }
    }

    pub(crate) fn enter(&mut self, wait: Wait, stats: &mut Stats) -> io::Result<()> {
        if !self.queued.is_empty() {
            let mut queue = lock(&self.shared.queue);
            queue.jobs.extend(self.queued.drain(..));
            let missing = queue
                .jobs
                .len()
                .saturating_sub(queue.idle)
                .min(WORKERS - queue.workers.min(WORKERS));
            drop(queue);
            self.shared.work.notify_all();
            for _ in 0..missing {
                if let Err(error) = spawn(&self.shared) {
                    let errno = errno_of(&error);
                    stats.fallback(Fallback::FewerWorkers { errno });
                    break;
                }
            }
            self.work_here_if_alone();
        }
        stats.enters += 1;
        let timeout = match wait {
            Wait::No => return Ok(()),
            Wait::Forever => None,
            Wait::For(time) => Some(time),
        };
        if !lock(&self.shared.done).is_empty() {
            return Ok(());
        }
        poll(&self.shared.event, timeout)
    }

    /// Where no thread can be had at all, the calling thread is the worker.
    fn work_here_if_alone(&self) {
        let mut queue = lock(&self.shared.queue);
        if queue.workers > 0 {
            return;
        }
        let jobs = std::mem::take(&mut queue.jobs);
        drop(queue);
        let answers = jobs.into_iter().map(|job| Completion {
            token: job.token,
            result: carry_out(job.op),
        });
        let answers: Vec<Completion> = answers.collect();
        lock(&self.shared.done).extend(answers);
    }

    pub(crate) fn reap(&mut self, out: &mut Vec<Completion>) {
        wake::clear(&self.shared.event);
        out.append(&mut lock(&self.shared.done));
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Nobody waits for the workers: one may be stuck in a fault. The driver keeps what they
        // use.
        lock(&self.shared.queue).closed = true;
        self.shared.work.notify_all();
    }
}

/// Waits until the eventfd is readable, or the time is over.
pub(super) fn poll(event: &OwnedFd, timeout: Option<Duration>) -> io::Result<()> {
    let mut fd = libc::pollfd {
        fd: event.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // Rounded up, so that a short time is not a busy loop.
    let millis = timeout.map_or(-1, |time| {
        i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
    });
    // SAFETY: one pollfd of our own.
    if unsafe { libc::poll(&mut fd, 1, millis) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(())
}

fn spawn(shared: &Arc<Shared>) -> io::Result<()> {
    lock(&shared.queue).workers += 1;
    let for_worker = shared.clone();
    let spawned = std::thread::Builder::new()
        .name("nofault-io".into())
        .stack_size(128 << 10)
        .spawn(move || work(&for_worker));
    if let Err(error) = spawned {
        lock(&shared.queue).workers -= 1;
        return Err(error);
    }
    Ok(())
}

fn work(shared: &Shared) {
    block_signals();
    let mut priority = 0;
    loop {
        let mut queue = lock(&shared.queue);
        let job = loop {
            if let Some(job) = queue.jobs.pop_front() {
                break job;
            }
            if queue.closed {
                queue.workers -= 1;
                return;
            }
            queue.idle += 1;
            queue = shared
                .work
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        };
        drop(queue);
        if let Op::Rw {
            priority: wanted, ..
        } = job.op
            && wanted != priority
            && priority::set_own(wanted).is_ok()
        {
            priority = wanted;
        }
        let completion = Completion {
            token: job.token,
            result: carry_out(job.op),
        };
        let mut done = lock(&shared.done);
        let first = done.is_empty();
        done.push(completion);
        drop(done);
        if first {
            wake::notify(&shared.event);
        }
    }
}

/// A thread that does I/O for others must not take the program's signals; SIGXFSZ of a write past
/// the file size limit stays pending, and the write says EFBIG.
pub(crate) fn block_signals() {
    // SAFETY: an all-zero set is a valid place for sigfillset to fill; both calls get pointers to
    // it only.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
    }
}

/// Carries an operation out on the calling thread.
pub(super) fn carry_out(op: Op) -> i32 {
    let result = match op {
        Op::Rw {
            write,
            file,
            memory,
            offset,
            ..
        } => {
            let fd = file.descriptor();
            // SAFETY: whoever pushed the op keeps memory and descriptor valid until its completion;
            // the kernel checks the rest.
            unsafe { rw(write, fd, memory, offset as libc::off64_t) }
        }
        Op::Populate { addr, len, write } => {
            return sys::populate::populate(addr, len, write).map_or_else(|errno| -errno, |()| 0);
        }
        Op::Sync { file, data_only } => {
            let fd = file.descriptor();
            // SAFETY: neither call takes a pointer.
            let result = unsafe {
                if data_only {
                    libc::fdatasync(fd)
                } else {
                    libc::fsync(fd)
                }
            };
            result as isize
        }
        Op::Allocate { file, offset, len } => {
            let fd = file.descriptor();
            // SAFETY: the call takes no pointer.
            let result = unsafe { libc::fallocate64(fd, 0, offset as i64, len as i64) };
            result as isize
        }
        Op::SetLen { file, len } => {
            let fd = file.descriptor();
            // SAFETY: the call takes no pointer.
            let result = unsafe { libc::ftruncate64(fd, len as i64) };
            result as isize
        }
    };
    if result < 0 {
        -sys::errno()
    } else {
        i32::try_from(result).unwrap_or(i32::MAX)
    }
}

/// # Safety
///
/// The memory may be written for a read, and is read for a write.
unsafe fn rw(write: bool, fd: i32, memory: Memory, offset: libc::off64_t) -> isize {
    let pointer = std::ptr::with_exposed_provenance_mut;
    // SAFETY: the caller's contract.
    unsafe {
        match (write, memory) {
            (false, Memory::One { addr, len, .. }) => libc::pread64(fd, pointer(addr), len, offset),
            (true, Memory::One { addr, len, .. }) => libc::pwrite64(fd, pointer(addr), len, offset),
            (false, Memory::Many { iov, count }) => libc::preadv64(fd, iov, count as i32, offset),
            (true, Memory::Many { iov, count }) => libc::pwritev64(fd, iov, count as i32, offset),
        }
    }
}
