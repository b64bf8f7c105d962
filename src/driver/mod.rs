//! The table of requests in flight, over one back end.
//!
//! Carries out the actions of each [`Transfer`], turns completions into its events, and keeps within bounds what is in flight. No futures and
//! no runtime: [`Driver::push`], [`Driver::turn`], [`Driver::take`].
//!
//! May know: transfers, looks, operations, files. Must not know: which type of buffer lies behind an address; it gets an address, a promise
//! (see [`Driver::push`]), and if the caller goes away the buffer itself, to be kept until the kernel is done.
//!
//! # What may be stuck
//!
//! Operations that touch memory which may fault (fault-ins, copies, offloaded reads and writes) can be held by a fault that nobody resolves. They
//! pass through the slow lane: a bounded number is in flight, fewer than the workers there are, and the rest waits in order.

mod backend;
mod bounce;
mod hist;
pub(crate) mod op;
pub(crate) mod slot;
mod stats;
mod threads;
mod uring;
mod wake;

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use backend::Backend;
use bounce::Bounce;
pub use hist::Histogram;
use op::{Completion, Memory, Op, Wait};
use slot::{Answer, Lane, Slot, Work, token, untoken};
pub(crate) use slot::{Key, Kind, Plain, Request};
pub use stats::Stats;
use threads::Threads;
pub use uring::SubmitTiming;
use uring::Uring;
pub(crate) use wake::notify;

use crate::file::{FileShared, Retired};
use crate::memory::residency::{Residency, Stop};
use crate::memory::{Access, Pinned};
use crate::sys::{self, Errno};
use crate::transfer::{Action, Direction, Event, Geometry, Segment, Segments, Transfer, Trust};

/// Sizes in bytes and counts that hold for every request. See [`Geometry`].
fn base_geometry(bounce: usize) -> Geometry {
    const MIB: usize = 1 << 20;
    Geometry {
        direct: false,
        whole: false,
        mem: 1,
        block: 1,
        page: sys::page_size(),
        window: MIB,
        bounce,
        pass: 32 * MIB,
        cold_pass: 4 * MIB,
        ahead: 8 * MIB,
        tries: 6,
        middle: 64 << 10,
    }
}

/// Pieces of one operation at most (UIO_MAXIOV).
const MAX_PIECES: usize = 1024;

/// What carries the operations out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BackendChoice {
    /// io_uring, or worker threads where the kernel refuses it.
    #[default]
    Auto,
    /// io_uring, or an error.
    Uring,
    /// Worker threads.
    Threads,
}

/// How a driver is set up.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) depth: u32,
    pub(crate) backend: BackendChoice,
    pub(crate) timing: SubmitTiming,
}

/// One registered range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pinning {
    pub(crate) pinned: Pinned,
    pub(crate) len: usize,
}

/// Memory that was pinned and is no longer needed. Filled from any thread; the memory is dropped after its registration.
#[derive(Clone, Default)]
pub(crate) struct Unpinned(Arc<UnpinnedList>);

#[derive(Default)]
struct UnpinnedList {
    some: AtomicBool,
    list: Mutex<Vec<(Pinning, Box<dyn Send + Sync>)>>,
}

impl Unpinned {
    pub(crate) fn push(&self, pinning: Pinning, memory: Box<dyn Send + Sync>) {
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner).push((pinning, memory));
        self.0.some.store(true, Ordering::Release);
    }

    fn take(&self) -> Vec<(Pinning, Box<dyn Send + Sync>)> {
        // Asked on every turn: a load, and a write only where there is something.
        if !self.0.some.load(Ordering::Relaxed) || !self.0.some.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.0.list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Operations that may be stuck.
struct SlowLane {
    active: usize,
    limit: usize,
    queue: VecDeque<u32>,
}

pub(crate) struct Driver {
    pub(crate) stats: Stats,
    /// To be woken as soon as the driver is not borrowed.
    pub(crate) woken: Vec<Waker>,
    /// To be dropped as soon as the driver is not borrowed.
    pub(crate) graves: Vec<Box<dyn Any>>,
    /// Names this driver to [`Pinned`].
    id: u64,
    reason: Option<String>,
    backend: Backend,
    slots: Vec<Slot>,
    free: Vec<u32>,
    residency: Option<Residency>,
    slow: SlowLane,
    bounce: Option<Bounce>,
    bounce_queue: VecDeque<u32>,
    base: Geometry,
    pinnings: Vec<Pinning>,
    retired: Retired,
    unpinned: Unpinned,
    completions: Vec<Completion>,
    waiting: VecDeque<(u64, Waker)>,
    next_ticket: u64,
    epoch: Instant,
    now_ns: u64,
    now_stale: bool,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Driver {
    pub(crate) fn new(config: &Config) -> io::Result<Driver> {
        let depth = config.depth.clamp(1, 1 << 15);
        let mut stats = Stats::default();
        // Each request has at most a main operation and a fault-in ahead with the kernel.
        let uring = |stats: &mut Stats| match Uring::new(2 * depth, config.timing) {
            Ok(uring) => Ok(Backend::Uring(Box::new(uring))),
            Err(error) => {
                let why = explain(&error);
                stats.fallback(why.clone());
                Err((error, why))
            }
        };
        let (backend, reason) = match config.backend {
            BackendChoice::Threads => (Backend::Threads(Box::new(Threads::new()?)), Some("worker threads were asked for".to_owned())),
            BackendChoice::Uring => match uring(&mut stats) {
                Ok(backend) => (backend, None),
                Err((error, why)) => return Err(io::Error::new(error.kind(), why)),
            },
            BackendChoice::Auto => match uring(&mut stats) {
                Ok(backend) => (backend, None),
                Err((_, why)) => (Backend::Threads(Box::new(Threads::new()?)), Some(why)),
            },
        };
        let residency = Residency::new()
            .inspect_err(|error| {
                stats.fallback(format!("no look at memory, all of the caller's goes by copies: /proc/self/pagemap: {error}"))
            })
            .ok();
        let bounce =
            Bounce::new().inspect_err(|error| stats.fallback(format!("no bounce buffers, the page cache takes their work: {error}"))).ok();
        let slow = SlowLane { active: 0, limit: backend.slow_limit().max(1), queue: VecDeque::new() };
        Ok(Driver {
            stats,
            woken: Vec::new(),
            graves: Vec::new(),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            reason,
            backend,
            slots: (0..depth).map(|_| Slot::new()).collect(),
            free: (0..depth).rev().collect(),
            residency,
            slow,
            base: base_geometry(if bounce.is_some() { bounce::SIZE } else { 0 }),
            bounce,
            bounce_queue: VecDeque::new(),
            pinnings: Vec::new(),
            retired: Retired::default(),
            unpinned: Unpinned::default(),
            completions: Vec::new(),
            waiting: VecDeque::new(),
            next_ticket: 0,
            epoch: Instant::now(),
            now_ns: 0,
            now_stale: true,
        })
    }

    pub(crate) fn backend_name(&self) -> &'static str {
        self.backend.name()
    }

    pub(crate) fn backend_flags(&self) -> Vec<&'static str> {
        self.backend.flags()
    }

    /// Why the first choice of back end was not taken.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    pub(crate) fn wake_fd(&self) -> Arc<OwnedFd> {
        self.backend.wake_fd()
    }

    /// The sizes that hold for every file.
    pub(crate) fn geometry(&self) -> Geometry {
        self.base
    }

    pub(crate) fn retired(&self) -> Retired {
        self.retired.clone()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn stats(&self) -> Stats {
        let look_calls = self.residency.as_ref().map_or(0, Residency::system_calls);
        Stats { in_flight: self.in_flight() as u64, look_calls, ..self.stats.clone() }
    }

    fn now(&mut self) -> u64 {
        if std::mem::take(&mut self.now_stale) {
            self.now_ns = self.epoch.elapsed().as_nanos() as u64;
        }
        self.now_ns
    }

    /// Gives the file's descriptors places in the ring's table, if there are any.
    pub(crate) fn adopt(&mut self, file: &FileShared) {
        self.tidy();
        let direct = file.direct_fd().and_then(|fd| self.backend.register_file(fd));
        let buffered = self.backend.register_file(file.buffered_fd());
        file.set_fixed(buffered, direct);
    }

    /// Pins a range, so that requests inside it need no look.
    ///
    /// # Safety
    ///
    /// The range stays mapped until the driver is gone, or for as long as it is not in [`Driver::unpinned`].
    pub(crate) unsafe fn pin(&mut self, addr: usize, len: usize) -> io::Result<Pinned> {
        self.tidy();
        // SAFETY: the caller's contract.
        let registered = unsafe { self.backend.register_buffers(addr, len) };
        let index = registered.inspect_err(|error| {
            self.stats.fallback(format!("memory is not pinned: {}", explain_pin(error)));
        })?;
        let pinned = Pinned { engine: self.id, base: addr, index };
        self.pinnings.push(Pinning { pinned, len });
        Ok(pinned)
    }

    pub(crate) fn unpinned(&self) -> Unpinned {
        self.unpinned.clone()
    }

    /// The registration that holds all of a range.
    pub(crate) fn find_pinned(&self, addr: usize, len: usize) -> Option<Pinned> {
        let holds = |p: &&Pinning| addr >= p.pinned.base && len <= p.len && addr - p.pinned.base <= p.len - len;
        self.pinnings.iter().find(holds).map(|p| p.pinned)
    }

    /// Gives back what was let go while the driver could not be asked.
    pub(crate) fn tidy(&mut self) {
        loop {
            // Closing a place may drop nothing of ours, so the borrow is over before anything else happens.
            let Some(index) = self.retired.borrow_mut().pop() else { break };
            self.backend.unregister_file(index);
        }
        for (gone, memory) in self.unpinned.take() {
            self.backend.unregister_buffers(gone.pinned.index, gone.len);
            self.pinnings.retain(|kept| kept.pinned != gone.pinned);
            self.graves.push(Box::new(memory));
        }
    }

    /// Whether one more request may be in flight.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Starts a read or write of one range, if there is room and nothing speaks against sending all of it at once. Most requests end here.
    ///
    /// # Safety
    ///
    /// As for [`Driver::push`].
    pub(crate) unsafe fn push_plain(&mut self, file: &Rc<FileShared>, plain: Plain, pinned: Option<Pinned>) -> Option<Key> {
        let Plain { direction, segment, offset, .. } = plain;
        if !file.takes_plain(direction, segment.addr, segment.len, offset) {
            return None;
        }
        let pinned = pinned.filter(|pinned| pinned.engine == self.id);
        let trust = if pinned.is_some() { Trust::Full } else { plain.trust };
        if trust != Trust::Full {
            // What is not all there is looked at once more by its transfer, after what else has to be checked.
            if trust == Trust::Offload || self.free.is_empty() || self.look_at(direction, std::iter::once(segment)).1 != Stop::End {
                return None;
            }
        }
        let index = self.free.pop()?;
        self.stats.requests += 1;
        let started_ns = self.now();
        let slot = &mut self.slots[index as usize];
        slot.started_ns = started_ns;
        slot.pinned = pinned;
        slot.work = Work::Plain(Plain { trust, ..plain });
        slot.file = Some(file.clone());
        slot.answer = Answer::Completed;
        slot.main = true;
        let memory = one(pinned, segment.addr, segment.len);
        let op = Op::Rw { write: direction == Direction::Write, file: file.direct(), memory, offset, offload: false };
        // SAFETY: as in `start`.
        unsafe { self.backend.push(op, token(index, Lane::Main), &mut self.stats) };
        Some(Key(index))
    }

    /// Starts a request. There must be room: asked apart, because a request is large, and handing it back costs as much as starting it.
    ///
    /// # Safety
    ///
    /// The memory that a transfer names may be read, and for a read from the file written, by the kernel and by this driver from now until
    /// the result was taken with [`Driver::take`]; or it was left to [`Driver::abandon`], whose buffer keeps it valid.
    pub(crate) unsafe fn push(&mut self, request: Request) -> Key {
        let Some(index) = self.free.pop() else { unreachable!("has_room was not asked") };
        let started_ns = self.now();
        self.stats.requests += 1;
        let slot = &mut self.slots[index as usize];
        debug_assert!(matches!(slot.work, Work::Free) && !slot.done && slot.orphan.is_none() && slot.bounce.is_none());
        slot.started_ns = started_ns;
        match request.kind {
            Kind::Transfer { direction, segments, offset, trust, pinned } => {
                let total = match admit(&request.file, direction, &segments, offset) {
                    Ok(total) => total,
                    Err(result) => {
                        slot.work = Work::Simple;
                        self.end(index, result);
                        return Key(index);
                    }
                };
                let pinned = pinned.filter(|pinned| pinned.engine == self.id);
                let trust = if pinned.is_some() { Trust::Full } else { trust };
                slot.pinned = pinned;
                let geometry = request.file.geometry(direction);
                slot.work = Work::Transfer(Transfer::new(direction, trust, geometry, segments, offset, total));
                slot.file = Some(request.file);
                self.drive(index, Event::Start);
            }
            Kind::Sync { data_only } => {
                let op = Op::Sync { file: request.file.buffered(), data_only };
                self.start_simple(index, request.file, op);
            }
            Kind::Allocate { offset, len } => {
                let op = Op::Allocate { file: request.file.buffered(), offset, len };
                self.start_simple(index, request.file, op);
            }
            Kind::SetLen { len } => {
                let op = Op::SetLen { file: request.file.buffered(), len };
                if self.backend.can_set_len() {
                    self.start_simple(index, request.file, op);
                } else {
                    slot.work = Work::Simple;
                    let result = threads::carry_out(op);
                    self.end(index, if result < 0 { Err(-result) } else { Ok(0) });
                }
            }
        }
        Key(index)
    }

    fn start_simple(&mut self, index: u32, file: Rc<FileShared>, op: Op) {
        let slot = &mut self.slots[index as usize];
        slot.work = Work::Simple;
        slot.file = Some(file);
        self.start(index, op, Answer::Completed, false);
    }

    /// The result, if the request is over; its slot is free then.
    pub(crate) fn take(&mut self, key: Key, waker: &Waker) -> Option<Result<usize, Errno>> {
        let slot = &mut self.slots[key.0 as usize];
        if slot.done {
            let result = slot.result.take().unwrap_or(Err(libc::EIO));
            self.release(key.0);
            return Some(result);
        }
        match &slot.waker {
            Some(known) if known.will_wake(waker) => {}
            _ => {
                let old = slot.waker.replace(waker.clone());
                self.bury(old);
            }
        }
        None
    }

    /// Nobody waits for the request any more. It is cancelled as far as it can be; `buffer` is dropped when the kernel is done with it.
    pub(crate) fn abandon(&mut self, key: Key, buffer: Box<dyn Any>) {
        let index = key.0;
        let slot = &mut self.slots[index as usize];
        let old = slot.waker.take();
        if slot.done {
            self.graves.push(buffer);
            self.release(index);
        } else {
            self.stats.cancelled += 1;
            slot.orphan = Some(buffer);
            self.cancel(index);
        }
        self.bury(old);
    }

    /// Keeps a waker for which there is no use until the driver is not borrowed: it may own a task, and that requests of this engine.
    #[inline]
    fn bury(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.graves.push(Box::new(waker));
        }
    }

    /// Ends a request early, as far as that can be done.
    fn cancel(&mut self, index: u32) {
        self.unfold(index);
        let slot = &mut self.slots[index as usize];
        if let Work::Transfer(transfer) = &mut slot.work {
            transfer.cancel();
            if transfer.is_ahead() {
                self.backend.cancel(token(index, Lane::Ahead));
            }
        }
        if slot.main {
            self.backend.cancel(token(index, Lane::Main));
        } else if slot.parked.take().is_some() {
            self.slow.queue.retain(|&queued| queued != index);
            self.answered(index, -libc::ECANCELED);
        } else if slot.deferred.take().is_some() {
            self.bounce_queue.retain(|&queued| queued != index);
            self.drive_deferred(index, Event::Completed(Err(libc::ECANCELED)));
        }
        // Otherwise it waits for the fault-in ahead, whose end will find it cancelled.
    }

    /// Cancels everything that is in flight.
    pub(crate) fn cancel_all(&mut self) {
        for index in 0..self.slots.len() as u32 {
            if !matches!(self.slots[index as usize].work, Work::Free) && !self.slots[index as usize].done {
                self.cancel(index);
            }
        }
    }

    /// Frees the slots of requests that are over and that nobody can take, as when the engine goes.
    pub(crate) fn forget_done(&mut self) {
        for index in 0..self.slots.len() as u32 {
            if self.slots[index as usize].done {
                self.release(index);
            }
        }
    }

    fn release(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        debug_assert!(!slot.main && slot.parked.is_none() && slot.deferred.is_none() && slot.bounce.is_none());
        slot.work = Work::Free;
        slot.file = None;
        slot.pinned = None;
        slot.result = None;
        slot.done = false;
        let old = slot.waker.take();
        self.bury(old);
        self.free.push(index);
    }

    /// A place in the queue of those who found no free slot. `ticket` is what an earlier call returned.
    pub(crate) fn wait_for_slot(&mut self, ticket: Option<u64>, waker: &Waker) -> u64 {
        if let Some(ticket) = ticket
            && let Ok(at) = self.waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket)
        {
            if !self.waiting[at].1.will_wake(waker) {
                let old = std::mem::replace(&mut self.waiting[at].1, waker.clone());
                self.bury(Some(old));
            }
            return ticket;
        }
        if ticket.is_none() {
            self.stats.admission_waits += 1;
        }
        self.next_ticket += 1;
        self.waiting.push_back((self.next_ticket, waker.clone()));
        self.next_ticket
    }

    /// Gives up a place in that queue; if it was called up already, the next in line is.
    pub(crate) fn leave_queue(&mut self, ticket: u64) {
        match self.waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket) {
            Ok(at) => {
                let old = self.waiting.remove(at).map(|(_, waker)| waker);
                self.bury(old);
            }
            Err(_) => self.call_up(1),
        }
    }

    fn call_up(&mut self, count: usize) {
        for _ in 0..count.min(self.free.len()) {
            match self.waiting.pop_front() {
                Some((_, waker)) => self.woken.push(waker),
                None => break,
            }
        }
    }

    /// Starts what is queued, waits as told unless something is over already, and carries requests on. Returns how many came to their end.
    pub(crate) fn turn(&mut self, wait: Wait) -> io::Result<usize> {
        self.tidy();
        let before = self.stats.ended;
        let deadline = match wait {
            Wait::For(time) => Instant::now().checked_add(time),
            _ => None,
        };
        let mut wait = wait;
        // Each round but the last carries at least one operation on, and the measure of its transfer falls.
        loop {
            let entered = self.backend.enter(wait, &mut self.stats);
            let mut completions = std::mem::take(&mut self.completions);
            self.backend.reap(&mut completions);
            self.now_stale = true;
            let idle = completions.is_empty();
            for completion in completions.drain(..) {
                self.completed(completion);
            }
            self.completions = completions;
            entered?;
            if self.stats.ended != before || idle || wait == Wait::No {
                break;
            }
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                wait = if left.is_zero() { Wait::No } else { Wait::For(left) };
            }
        }
        if self.backend.has_queued() {
            self.backend.enter(Wait::No, &mut self.stats)?;
        }
        if !self.waiting.is_empty() {
            self.call_up(self.free.len());
        }
        self.now_stale = true;
        Ok((self.stats.ended - before) as usize)
    }

    fn completed(&mut self, completion: Completion) {
        let (index, lane) = untoken(completion.token);
        match lane {
            Lane::Main => {
                let slot = &mut self.slots[index as usize];
                slot.main = false;
                if std::mem::take(&mut slot.slow) {
                    self.leave_slow_lane();
                }
                self.answered(index, completion.result);
            }
            Lane::Ahead => {
                self.leave_slow_lane();
                self.ahead_ended(index, completion.result);
            }
        }
    }

    /// Makes the transfer of a plain request, as it is after its submission.
    #[cold]
    fn unfold(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if let (Work::Plain(plain), Some(file)) = (&slot.work, &slot.file) {
            slot.work = Work::Transfer(plain.submitted(file.geometry(plain.direction)));
        }
    }

    /// The main operation of a slot has its result.
    fn answered(&mut self, index: u32, result: i32) {
        let slot = &mut self.slots[index as usize];
        if let Work::Plain(plain) = &slot.work {
            if result as usize == plain.segment.len && result > 0 {
                match plain.direction {
                    Direction::Read => self.stats.bytes_read += result as u64,
                    Direction::Write => self.stats.bytes_written += result as u64,
                }
                return self.end(index, Ok(result as usize));
            }
            self.unfold(index);
        }
        let slot = &mut self.slots[index as usize];
        let result = if result < 0 { Err(-result) } else { Ok(result as usize) };
        let event = match slot.answer {
            Answer::Completed => Event::Completed(result),
            Answer::FaultedIn => Event::FaultedIn(result.map(drop)),
            Answer::Copied => Event::Copied(result),
            Answer::Prepared if result == Err(libc::ECANCELED) => {
                slot.deferred = None;
                return self.drive_deferred(index, Event::Completed(result));
            }
            Answer::Prepared => {
                // If it failed the pages will be faulted in by the submission, which is slower and nothing else.
                if let (Some(bounce), Some(place)) = (&mut self.bounce, slot.bounce) {
                    bounce.set_prepared(place);
                }
                match slot.deferred.take() {
                    Some(action) => return self.carry_out(index, action),
                    None => Event::Completed(Err(libc::ECANCELED)),
                }
            }
        };
        match slot.work {
            Work::Transfer(_) => {
                self.count(event);
                self.drive(index, event);
            }
            Work::Simple => self.end(index, result),
            Work::Free | Work::Plain(_) => debug_assert!(false, "a completion for a free slot"),
        }
    }

    fn count(&mut self, event: Event) {
        match event {
            Event::Completed(Err(libc::EAGAIN | libc::EINTR)) => self.stats.retries += 1,
            Event::Completed(Err(libc::EFAULT)) => self.stats.reclaimed += 1,
            Event::FaultedIn(Err(_)) => self.stats.fault_in_failed += 1,
            _ => {}
        }
    }

    /// Tells the transfer what happened and does what it says, until it has to wait or is over.
    fn drive(&mut self, index: u32, event: Event) {
        let mut event = event;
        loop {
            let Work::Transfer(transfer) = &mut self.slots[index as usize].work else { return };
            let (window, done) = (transfer.window(), transfer.done_before());
            let action = transfer.step(event);
            self.stats.windows_shrunk += u64::from(transfer.window() < window);
            if done > 0 && transfer.done_before() > done {
                self.stats.resubmissions += 1;
            }
            match action {
                Action::Look { len } => event = self.look(index, len),
                action => return self.carry_out(index, action),
            }
        }
    }

    /// The answer to an action that was deferred and is not going to be carried out.
    fn drive_deferred(&mut self, index: u32, event: Event) {
        let slot = &mut self.slots[index as usize];
        if let Work::Transfer(transfer) = &mut slot.work {
            // The action may have been the first half of a bounce, which is answered by a copy.
            let event = if transfer.awaits_copy() { Event::Copied(Err(libc::ECANCELED)) } else { event };
            self.drive(index, event);
        }
    }

    fn look(&mut self, index: u32, len: usize) -> Event {
        let Work::Transfer(transfer) = &self.slots[index as usize].work else { return Event::Looked { bytes: 0, stop: Stop::Absent } };
        let (bytes, stop) = look_at(&mut self.residency, transfer.direction(), transfer.iter().pieces(0, len));
        self.count_look(bytes, stop);
        Event::Looked { bytes, stop }
    }

    fn look_at(&mut self, direction: Direction, pieces: impl Iterator<Item = Segment>) -> (usize, Stop) {
        let (bytes, stop) = look_at(&mut self.residency, direction, pieces);
        self.count_look(bytes, stop);
        (bytes, stop)
    }

    fn count_look(&mut self, bytes: usize, stop: Stop) {
        self.stats.looked += 1;
        match stop {
            Stop::End => self.stats.resident += 1,
            _ => self.stats.prefix_submissions += u64::from(bytes > 0),
        }
    }

    /// Does what the transfer said.
    fn carry_out(&mut self, index: u32, action: Action) {
        let slot = &mut self.slots[index as usize];
        let (Work::Transfer(transfer), Some(file)) = (&slot.work, &slot.file) else { return };
        let write = transfer.direction() == Direction::Write;
        // What most requests need, and nothing else.
        match action {
            Action::Submit { offset, len, offload } if slot.bounce.is_none() => {
                let file = file.direct();
                let memory = self.memory(index, 0, len);
                self.start(index, Op::Rw { write, file, memory, offset, offload }, Answer::Completed, offload);
                return self.start_ahead(index);
            }
            Action::Finish(result) if slot.bounce.is_none() => return self.finish(index, result),
            _ => {}
        }
        let bounces =
            matches!(action, Action::CopyIn { .. } | Action::CopyOut { .. } | Action::BounceRead { .. } | Action::BounceWrite { .. });
        if bounces {
            return self.carry_out_bounce(index, action);
        }
        if let (Some(bounce), Some(place)) = (&mut self.bounce, slot.bounce.take()) {
            bounce.give_back(place);
            let (main, buffered) = (file.direct(), file.buffered());
            return self.carry_out_main(index, action, write, main, buffered, true);
        }
        let (main, buffered) = (file.direct(), file.buffered());
        self.carry_out_main(index, action, write, main, buffered, false);
    }

    fn carry_out_main(&mut self, index: u32, action: Action, write: bool, main: op::FileRef, buffered: op::FileRef, freed: bool) {
        match action {
            Action::Submit { offset, len, offload } => {
                let memory = self.memory(index, 0, len);
                self.start(index, Op::Rw { write, file: main, memory, offset, offload }, Answer::Completed, offload);
            }
            Action::Buffered { offset, len, offload } => {
                self.stats.buffered += u64::from(len > 0);
                let memory = self.memory(index, 0, len);
                self.start(index, Op::Rw { write, file: buffered, memory, offset, offload }, Answer::Completed, offload);
            }
            Action::FaultIn { len } => {
                self.stats.fault_in_rounds += 1;
                let op = self.populate(index, 0, len);
                self.start(index, op, Answer::FaultedIn, true);
            }
            Action::Finish(result) => self.finish(index, result),
            // The end of the fault-in ahead is the answer.
            Action::AwaitAhead => {}
            Action::Look { .. }
            | Action::CopyIn { .. }
            | Action::CopyOut { .. }
            | Action::BounceRead { .. }
            | Action::BounceWrite { .. } => {
                debug_assert!(false, "{action:?} is carried out elsewhere");
            }
        }
        self.start_ahead(index);
        if freed {
            self.bounce_freed();
        }
    }

    fn carry_out_bounce(&mut self, index: u32, action: Action) {
        let slot = &mut self.slots[index as usize];
        let Some(bounce) = &mut self.bounce else {
            debug_assert!(false, "no bounce without buffers");
            return self.drive_deferred(index, Event::Completed(Err(libc::ENOMEM)));
        };
        let Some(place) = slot.bounce.or_else(|| bounce.take()) else {
            slot.deferred = Some(action);
            self.bounce_queue.push_back(index);
            return;
        };
        slot.bounce = Some(place);
        let addr = bounce.addr(place);
        if !bounce.is_prepared(place) {
            // Its pages are not there yet: they too are faulted in off this thread.
            slot.deferred = Some(action);
            return self.start(index, Op::Populate { addr, len: bounce::SIZE, write: true }, Answer::Prepared, true);
        }
        let (Work::Transfer(transfer), Some(file)) = (&slot.work, &slot.file) else { return };
        let (memfd, start) = (bounce.file(), bounce.offset(place));
        let write = transfer.direction() == Direction::Write;
        let (file, pinned) = (file.direct(), slot.pinned.is_some());
        match action {
            Action::CopyIn { len } => {
                self.stats.bounced += 1;
                let memory = self.memory(index, 0, len);
                self.start(index, Op::Rw { write: true, file: memfd, memory, offset: start, offload: true }, Answer::Copied, true);
            }
            Action::CopyOut { skip, len } if pinned => {
                // Pinned memory can neither fault nor be bad: the copy is made at once.
                let mut from = addr + skip;
                for piece in transfer.iter().pieces(0, len) {
                    let to = std::ptr::with_exposed_provenance_mut::<u8>(piece.addr);
                    // SAFETY: the bounce buffer is this slot's and holds `skip + len` bytes; `to` is memory that the request lends to the
                    // driver (`push`), and that is registered with the ring, so it is mapped and writable.
                    unsafe { std::ptr::copy_nonoverlapping(std::ptr::with_exposed_provenance::<u8>(from), to, piece.len) };
                    from += piece.len;
                }
                self.drive(index, Event::Copied(Ok(len)));
            }
            Action::CopyOut { skip, len } => {
                let memory = self.memory(index, 0, len);
                let offset = start + skip as u64;
                self.start(index, Op::Rw { write: false, file: memfd, memory, offset, offload: true }, Answer::Copied, true);
            }
            Action::BounceRead { offset, len } | Action::BounceWrite { offset, len } => {
                self.stats.bounced += u64::from(!write);
                let memory = Memory::One { addr, len, fixed: None };
                self.start(index, Op::Rw { write, file, memory, offset, offload: false }, Answer::Completed, false);
            }
            _ => debug_assert!(false, "{action:?} needs no bounce buffer"),
        }
    }

    fn bounce_freed(&mut self) {
        if let Some(index) = self.bounce_queue.pop_front()
            && let Some(action) = self.slots[index as usize].deferred.take()
        {
            self.carry_out_bounce(index, action);
        }
    }

    /// The memory of the next operation: `len` bytes, `skip` bytes after the cursor.
    fn memory(&mut self, index: u32, skip: usize, len: usize) -> Memory {
        let slot = &mut self.slots[index as usize];
        let Work::Transfer(transfer) = &slot.work else { return Memory::One { addr: 0, len: 0, fixed: None } };
        let current = transfer.iter().current();
        let pinned = slot.pinned;
        if skip == 0 && len > 0 && len <= current.len {
            return one(pinned, current.addr, len);
        }
        let mut pieces = transfer.iter().pieces(skip, len);
        let Some(first) = pieces.next() else { return Memory::One { addr: 0, len: 0, fixed: None } };
        let Some(second) = pieces.next() else { return one(pinned, first.addr, first.len) };
        slot.iovecs.clear();
        slot.iovecs.extend(
            [first, second]
                .into_iter()
                .chain(pieces)
                .map(|piece| libc::iovec { iov_base: std::ptr::with_exposed_provenance_mut(piece.addr), iov_len: piece.len }),
        );
        Memory::Many { iov: slot.iovecs.as_ptr(), count: slot.iovecs.len() as u32 }
    }

    /// Faulting in the whole pages around `len` contiguous bytes, `skip` bytes after the cursor.
    fn populate(&self, index: u32, skip: usize, len: usize) -> Op {
        let Work::Transfer(transfer) = &self.slots[index as usize].work else { return Op::Populate { addr: 0, len: 0, write: false } };
        let page = sys::page_size();
        let here = transfer.iter().pieces(skip, len).next().map_or(0, |piece| piece.addr);
        let addr = here & !(page - 1);
        // Where the end of the address space is near, what is asked for is not there, and the kernel says so.
        let len = here.saturating_add(len).saturating_sub(addr).checked_next_multiple_of(page).unwrap_or(usize::MAX & !(page - 1));
        Op::Populate { addr, len, write: transfer.direction() == Direction::Read }
    }

    /// Starts a slot's main operation. `slow`: it may be stuck, and waits for a place among those.
    fn start(&mut self, index: u32, op: Op, answer: Answer, slow: bool) {
        let slot = &mut self.slots[index as usize];
        debug_assert!(!slot.main && slot.parked.is_none());
        slot.answer = answer;
        if slow {
            if self.slow.active >= self.slow.limit {
                slot.parked = Some(op);
                self.slow.queue.push_back(index);
                self.stats.slow_lane_waits += 1;
                return;
            }
            self.slow.active += 1;
        }
        slot.main = true;
        slot.slow = slow;
        // SAFETY: the memory is valid until the request is over, by the contract of `push`, or belongs to the slot (iovecs) or to this
        // driver (bounce); neither is touched before the completion. The slot keeps the file, and with it the descriptor, as long.
        unsafe { self.backend.push(op, token(index, Lane::Main), &mut self.stats) };
    }

    fn leave_slow_lane(&mut self) {
        self.slow.active -= 1;
        if let Some(index) = self.slow.queue.pop_front()
            && let Some(op) = self.slots[index as usize].parked.take()
        {
            let answer = self.slots[index as usize].answer;
            self.start(index, op, answer, true);
        }
    }

    /// Faults in what comes next while the main operation is under way, if the slow lane has a place that nobody waits for.
    fn start_ahead(&mut self, index: u32) {
        if self.slow.active >= self.slow.limit {
            return;
        }
        let slot = &mut self.slots[index as usize];
        if slot.done || slot.result.is_some() {
            return;
        }
        let Work::Transfer(transfer) = &mut slot.work else { return };
        let Some(ahead) = transfer.ahead() else { return };
        slot.ahead_end = transfer.ahead_end(ahead);
        let op = self.populate(index, ahead.skip, ahead.len);
        self.slow.active += 1;
        self.stats.fault_in_ahead += 1;
        // SAFETY: as in `start`; the request is not over before its fault-in ahead is (`finish`).
        unsafe { self.backend.push(op, token(index, Lane::Ahead), &mut self.stats) };
    }

    fn ahead_ended(&mut self, index: u32, result: i32) {
        let slot = &mut self.slots[index as usize];
        let Work::Transfer(transfer) = &mut slot.work else { return };
        let awaited = transfer.ahead_ended(slot.ahead_end, if result < 0 { Err(-result) } else { Ok(()) });
        match slot.result {
            Some(result) => self.end(index, result),
            None if awaited => self.drive(index, Event::AheadEnded),
            None => self.start_ahead(index),
        }
    }

    /// The transfer has its result. It is given out when nothing touches the memory any more.
    fn finish(&mut self, index: u32, result: Result<usize, Errno>) {
        let slot = &mut self.slots[index as usize];
        slot.result = Some(result);
        if let Work::Transfer(transfer) = &slot.work {
            if let Ok(count) = result {
                match transfer.direction() {
                    Direction::Read => self.stats.bytes_read += count as u64,
                    Direction::Write => self.stats.bytes_written += count as u64,
                }
            }
            if transfer.is_ahead() {
                return self.backend.cancel(token(index, Lane::Ahead));
            }
        }
        self.end(index, result);
    }

    /// The request is over.
    fn end(&mut self, index: u32, result: Result<usize, Errno>) {
        let now = self.now();
        let slot = &mut self.slots[index as usize];
        slot.result = Some(result);
        slot.done = true;
        self.stats.ended += 1;
        self.stats.latency.record(now.saturating_sub(slot.started_ns));
        if let Some(buffer) = slot.orphan.take() {
            self.graves.push(buffer);
            self.release(index);
        } else if let Some(waker) = slot.waker.take() {
            // Many requests of one task end in one turn: it is woken once.
            if !self.woken.last().is_some_and(|last| last.will_wake(&waker)) {
                self.woken.push(waker);
            }
        }
    }

    /// Waits until nothing is in flight, at most until the deadline.
    pub(crate) fn drain(&mut self, time: Duration) {
        let Some(deadline) = Instant::now().checked_add(time) else { return };
        loop {
            self.forget_done();
            let left = deadline.saturating_duration_since(Instant::now());
            if self.in_flight() == 0 || left.is_zero() || self.turn(Wait::For(left)).is_err() {
                return;
            }
        }
    }
}

/// Whether a read or write may be tried at all, and how much of it one call would move; or else its result.
///
/// What the kernel refuses before it looks at memory is refused here, in its order. Where an address is none of a process's at all
/// (`access_ok`), or a device has something to say about nothing, the kernel itself is asked: such a call moves nothing.
fn admit(file: &FileShared, direction: Direction, segments: &Segments, offset: u64) -> Result<usize, Result<usize, Errno>> {
    if segments.count() > MAX_PIECES {
        return Err(Err(libc::EINVAL));
    }
    let total = segments.total();
    if segments.are_user_addresses() && (total != Some(0) || file.is_ordinary()) {
        let total = total.ok_or(Err(libc::EINVAL))?;
        return file.admit(direction, offset, total, segments.count() != 1).map_err(Err);
    }
    let iovecs: Vec<libc::iovec> = segments.to_iovecs();
    let memory = match segments {
        Segments::One(one) => Memory::One { addr: one.addr, len: one.len, fixed: None },
        Segments::Many(_) => Memory::Many { iov: iovecs.as_ptr(), count: iovecs.len() as u32 },
    };
    let write = direction == Direction::Write;
    Err(match threads::carry_out(Op::Rw { write, file: file.buffered(), memory, offset, offload: false }) {
        errno @ ..0 => Err(-errno),
        count => Ok(count as usize),
    })
}

/// Looks without faulting. Without the means to look, all of it counts as memory that a direct request must not be given.
fn look_at(residency: &mut Option<Residency>, direction: Direction, pieces: impl Iterator<Item = Segment>) -> (usize, Stop) {
    let access = match direction {
        Direction::Read => Access::Fill,
        Direction::Write => Access::Send,
    };
    let mut bytes = 0;
    for piece in pieces {
        let Some(residency) = residency else { return (0, Stop::NotDirect { bytes: piece.len }) };
        let look = residency.look(piece.addr, piece.len, access);
        bytes += look.bytes;
        if look.stop != Stop::End {
            return (bytes, look.stop);
        }
    }
    (bytes, Stop::End)
}

/// One range, in its registered buffer if there is one.
#[inline]
fn one(pinned: Option<Pinned>, addr: usize, len: usize) -> Memory {
    let fixed = pinned.and_then(|pinned| {
        let (from, to) = (addr - pinned.base, addr - pinned.base + len - 1);
        let entry = from / Pinned::ENTRY_BYTES;
        (entry == to / Pinned::ENTRY_BYTES).then(|| pinned.index + entry as u16)
    });
    Memory::One { addr, len, fixed }
}

/// What a refused io_uring means, and what to do.
fn explain(error: &io::Error) -> String {
    let what = match error.raw_os_error() {
        Some(libc::ENOSYS) => "the kernel has no io_uring (ENOSYS); Linux 5.11 or later is needed, or a sandbox hides it",
        Some(libc::EPERM) => {
            "io_uring is forbidden (EPERM): by a container's seccomp profile, or by sysctl kernel.io_uring_disabled; \
             allow io_uring_setup, io_uring_enter and io_uring_register, or set the sysctl to 0"
        }
        Some(libc::EACCES) => "io_uring is forbidden by a security module (EACCES)",
        Some(libc::ENOMEM) => "no memory for the ring (ENOMEM); raise RLIMIT_MEMLOCK (ulimit -l), or build the engine with a smaller depth",
        Some(libc::EMFILE) => "too many open files (EMFILE); raise RLIMIT_NOFILE (ulimit -n)",
        _ => return format!("io_uring can't be used: {error}"),
    };
    what.to_owned()
}

fn explain_pin(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOMEM) => "over RLIMIT_MEMLOCK (ENOMEM); raise it (ulimit -l), or ask for less".to_owned(),
        Some(libc::EFAULT) => "this kind of memory can't be registered (EFAULT): a shared mapping of a file, or not writable".to_owned(),
        _ => error.to_string(),
    }
}
