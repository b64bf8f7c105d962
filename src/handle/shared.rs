//! What the handles, the files and the I/O threads of one `Handle` share.
//!
//! May know: admission, inboxes, mail. Must not know: engines, futures.
//!
//! Requests go by the inbox, which costs one atomic. Everything that is rare goes by mail, under a
//! lock.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::admission::{Admission, Share};
use super::after::After;
use super::cell::Cell;
use super::files::{FileName, Files};
use super::inbox::{Inbox, Pushed};
use crate::driver::{Stats, notify};
use crate::engine::{EngineInfo, Pin};
use crate::sys::address_space;

/// A rare message to an I/O thread.
pub(super) enum Mail {
    /// The request is to end early.
    Cancel(Arc<Cell>),
    /// The request waits to be admitted, and has a time at which it ends if it still does.
    Remind(Arc<Cell>),
    /// The file is closed.
    Forget(FileName),
    /// Register memory: with whatever `pin` makes of the engine.
    Pin(PinRequest, SyncSender<Pin>),
    Stats(SyncSender<Stats>),
    /// Nothing will be asked of the thread any more.
    Quit,
}

/// Memory to be registered with a ring: the range, and what keeps it mapped.
pub(super) struct PinRequest {
    pub(super) base: usize,
    pub(super) len: usize,
    pub(super) memory: Arc<dyn Send + Sync>,
}

/// Where an I/O thread gets its work from.
pub(super) struct Post {
    pub(super) inbox: Inbox,
    some_mail: AtomicBool,
    /// `None`: the thread is gone.
    mail: Mutex<Option<Vec<Mail>>>,
    wake: Arc<OwnedFd>,
}

impl Post {
    pub(super) fn new(wake: Arc<OwnedFd>) -> Post {
        Post {
            inbox: Inbox::new(),
            some_mail: AtomicBool::new(false),
            mail: Mutex::new(Some(Vec::new())),
            wake,
        }
    }

    /// Sends a message, unless the thread is gone.
    pub(super) fn send(&self, mail: Mail) -> bool {
        // Dropped behind the lock if nobody takes it.
        let mut mail = Some(mail);
        if let Some(all) = &mut *lock(&self.mail) {
            all.extend(mail.take());
        }
        if mail.is_none() && !self.some_mail.swap(true, Ordering::AcqRel) {
            notify(&self.wake);
        }
        mail.is_none()
    }

    /// Takes the messages. For the I/O thread.
    pub(super) fn read(&self) -> Vec<Mail> {
        // Whoever sends after this swap notifies again.
        if !self.some_mail.load(Ordering::Relaxed) || !self.some_mail.swap(false, Ordering::AcqRel)
        {
            return Vec::new();
        }
        lock(&self.mail)
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Takes the messages, and none any more. For the I/O thread, when it goes.
    pub(super) fn close(&self) -> Vec<Mail> {
        lock(&self.mail).take().unwrap_or_default()
    }
}

/// The threads that are gone, and who waits for that.
struct Gone {
    left: usize,
    /// What each has counted.
    stats: Vec<Option<Stats>>,
    wakers: Vec<Waker>,
}

pub(super) struct Shared {
    pub(super) admission: Admission,
    pub(super) posts: Box<[Arc<Post>]>,
    pub(super) files: Files,
    /// What the first thread's engine was granted.
    pub(super) info: EngineInfo,
    /// Marks memory that was registered with all of the threads.
    pub(super) id: u64,
    /// The address space that the threads live in.
    made_in: u64,
    gone: Mutex<Gone>,
}

thread_local! {
    /// Whether this is an I/O thread. Such a one must not wait for an answer from another: that one
    /// may wait for it.
    static IS_IO_THREAD: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    /// Counts the requests that this thread has made, from where the threads before it did not
    /// begin.
    static MADE: std::cell::Cell<usize> = std::cell::Cell::new(BEGIN.fetch_add(1, Ordering::Relaxed));
}

static BEGIN: AtomicUsize = AtomicUsize::new(0);

/// Says so of the thread that calls.
pub(super) fn become_io_thread() {
    IS_IO_THREAD.with(|is| is.set(true));
}

impl Shared {
    pub(super) fn new(
        admission: Admission,
        posts: Box<[Arc<Post>]>,
        info: EngineInfo,
        id: u64,
    ) -> Shared {
        let gone = Gone {
            left: posts.len(),
            stats: posts.iter().map(|_| None).collect(),
            wakers: Vec::new(),
        };
        Shared {
            admission,
            posts,
            files: Files::default(),
            info,
            id,
            made_in: address_space::generation(),
            gone: Mutex::new(gone),
        }
    }

    /// Whether this is the process that the I/O threads live in, and not a child of fork: there are
    /// no threads in a child, and a lock of theirs may be held there for ever.
    #[inline]
    pub(super) fn is_here(&self) -> bool {
        address_space::generation() == self.made_in
    }

    /// Sends a message to an I/O thread.
    pub(super) fn send(&self, thread: u8, mail: Mail) {
        if self.is_here() {
            self.posts[usize::from(thread)].send(mail);
        }
    }

    /// Which I/O thread is next: each thread that makes requests takes turns by itself, so that it
    /// shares no counter with the others.
    #[inline]
    pub(super) fn choose(&self) -> u8 {
        let threads = self.posts.len();
        if threads == 1 {
            return 0;
        }
        // While the thread is torn down there is no counter.
        let made = MADE
            .try_with(|made| made.replace(made.get().wrapping_add(1)))
            .unwrap_or(0);
        (made % threads) as u8
    }

    /// Hands a request that was let in to its thread.
    #[inline]
    pub(super) fn hand_on(&self, cell: Arc<Cell>) {
        let post = &self.posts[usize::from(cell.thread)];
        match post.inbox.push(cell) {
            Pushed::Quiet => {}
            Pushed::Wake => notify(&post.wake),
            Pushed::Gone(cell) => self.refuse(vec![cell]),
        }
    }

    /// As `hand_on`, for those who were let in out of the queue.
    pub(super) fn hand_on_all(&self, cells: &mut Vec<Arc<Cell>>) {
        cells.drain(..).for_each(|cell| self.hand_on(cell));
    }

    /// Ends requests that no thread will carry out. Runs foreign code.
    pub(super) fn refuse(&self, cells: Vec<Arc<Cell>>) {
        let mut after = After::default();
        for cell in cells {
            // SAFETY: it was in no I/O thread's hands, or that thread has given it here.
            unsafe { cell.finish(Err(libc::EPIPE), &mut after) };
        }
        after.run();
    }

    /// Gives back what requests had. `granted` gets those that are to be handed on.
    pub(super) fn release(&self, share: Share, granted: &mut Vec<Arc<Cell>>) {
        if self.admission.release(share, granted) {
            self.quit();
        }
    }

    /// Takes no more requests. The threads end when those in flight are over.
    pub(super) fn close(&self) {
        if self.is_here() && self.admission.close() {
            self.quit();
        }
    }

    /// Ends the threads.
    pub(super) fn quit(&self) {
        for thread in 0..self.posts.len() as u8 {
            self.send(thread, Mail::Quit);
        }
    }

    /// Ends everything at once, since a thread has come to an end that it should not have.
    pub(super) fn break_down(&self) {
        let waiting = self.admission.give_up();
        self.quit();
        self.refuse(waiting);
    }

    /// A thread leaves what it has counted. To be said before it closes its mail.
    pub(super) fn leave_stats(&self, thread: usize, stats: Stats) {
        if let Some(place) = lock(&self.gone).stats.get_mut(thread) {
            *place = Some(stats);
        }
    }

    /// A thread is gone, with all it had. Runs foreign code.
    pub(super) fn thread_is_gone(&self) {
        let mut after = After::default();
        let mut gone = lock(&self.gone);
        gone.left -= 1;
        if gone.left == 0 {
            after.wakers = std::mem::take(&mut gone.wakers);
        }
        drop(gone);
        after.run();
    }

    /// Waits for all threads to be gone.
    pub(super) fn poll_gone(&self, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker().clone();
        if !self.is_here() {
            return Poll::Ready(());
        }
        let mut gone = lock(&self.gone);
        if gone.left == 0 {
            drop(gone);
            return Poll::Ready(());
        }
        if !gone.wakers.iter().any(|known| known.will_wake(&waker)) {
            gone.wakers.push(waker);
        }
        Poll::Pending
    }

    /// Asks every thread the same, and gives the answers in their order: `None` of a thread that is
    /// gone, or if this is an I/O thread itself.
    pub(super) fn ask<R>(&self, mail: impl Fn(SyncSender<R>) -> Mail) -> Vec<Option<R>> {
        if IS_IO_THREAD.try_with(std::cell::Cell::get).unwrap_or(true) || !self.is_here() {
            return self.posts.iter().map(|_| None).collect();
        }
        let asked: Vec<_> = self
            .posts
            .iter()
            .map(|post| {
                let (sender, receiver) = sync_channel(1);
                post.send(mail(sender)).then_some(receiver)
            })
            .collect();
        // A thread that goes meanwhile drops its mail, and that ends the wait.
        asked
            .into_iter()
            .map(|receiver| receiver?.recv().ok())
            .collect()
    }

    /// What all threads have counted.
    pub(super) fn stats(&self) -> Stats {
        let answers = self.ask(Mail::Stats);
        let mut sum = Stats::default();
        if !self.is_here() {
            return sum;
        }
        let gone = lock(&self.gone);
        for (answer, left) in answers.iter().zip(&gone.stats) {
            if let Some(stats) = answer.as_ref().or(left.as_ref()) {
                sum.add(stats);
            }
        }
        sum.admission_waits += self.admission.waits();
        sum
    }

    /// Lets the threads see to what was let go from outside.
    pub(super) fn poke(&self) {
        if self.is_here() {
            self.posts.iter().for_each(|post| notify(&post.wake));
        }
    }
}

/// What the handles and the files hold. The I/O threads hold `Shared` only, so the last of these is
/// the end.
pub(super) struct Owner {
    pub(super) shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        // No future is left either, since each holds its file. What is in flight was abandoned, and
        // is the threads' to end.
        self.shared.close();
        self.shared.quit();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks panics.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
