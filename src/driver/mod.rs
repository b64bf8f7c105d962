//! The table of requests in flight, over one back end.
//!
//! Carries out the actions of each [`Transfer`], turns completions into its events, and keeps
//! within bounds what is in flight. No futures and no runtime: [`Driver::push`], [`Driver::turn`],
//! [`Driver::take`].
//!
//! May know: transfers, looks, operations, files. Must not know: which type of buffer lies behind
//! an address; it gets an address, a promise (see [`Driver::push`]), and if the caller goes away
//! the buffer itself, to be kept until the kernel is done.
//!
//! # What may be stuck
//!
//! Operations that touch memory which may fault (fault-ins, copies, offloaded reads and writes) can
//! be held by a fault that nobody resolves. They pass through the slow lane: a bounded number is in
//! flight, fewer than the workers there are, and the rest waits in order.

mod backend;
mod bounce;
mod carry;
mod deadlines;
mod hist;
pub(crate) mod op;
mod pinning;
mod refusal;
pub(crate) mod slot;
mod stats;
mod threads;
mod turn;
mod uring;
mod wake;

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Instant;

use backend::Backend;
use bounce::Bounce;
use carry::one;
use deadlines::{Deadlines, Whose};
pub use hist::Histogram;
use op::{Completion, Op};
pub(crate) use pinning::{Pinning, Unpinned};
use refusal::{admit, explain, explain_pin};
use slot::{Answer, Lane, List, Owner, Sent, Slot, Work, token};
pub(crate) use slot::{Ended, Key, Kind, Options, Plain, Request, Tell};
pub use stats::Stats;
use threads::Threads;
pub(crate) use threads::block_signals;
pub use uring::Timing;
use uring::Uring;
pub(crate) use uring::Wishes;
pub(crate) use wake::notify;

use crate::memory::Pinned;
use crate::memory::residency::{Range, Residency};
use crate::open_file::{FileShared, Retired};
use crate::sys::{self, Errno};
use crate::transfer::{Event, Geometry, Segment, Transfer, Trust};

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
        cold_pass: MIB,
        heavy: MIB / 2,
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
    pub(crate) timing: Timing,
    pub(crate) wishes: Wishes,
    /// Whether bounce buffers lie in huge pages where they can.
    pub(crate) huge_pages: bool,
    /// Whether huge pages are advised for absent memory of the callers that reads fill.
    pub(crate) advise_huge: bool,
}

/// Operations that may be stuck.
struct SlowLane {
    active: usize,
    limit: usize,
    queue: VecDeque<u32>,
}

// What every request uses stands first, in few cache lines.
#[repr(C)]
pub(crate) struct Driver {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// `None`: closed, to be used again.
    lists: Vec<Option<List>>,
    backend: Backend,
    /// Names this driver to [`Pinned`].
    id: u64,
    /// The time of a request is taken if its number has none of these bits. All of them: never.
    timed: u64,
    /// After so many more plain requests what is queued is started, and the turn is not waited for.
    /// See [`turn::Early`].
    early: turn::Early,
    pub(crate) stats: Stats,
    completions: Vec<Completion>,
    /// To be woken as soon as the driver is not borrowed.
    pub(crate) woken: Vec<Waker>,
    /// To be dropped as soon as the driver is not borrowed.
    pub(crate) graves: Vec<Box<dyn Any>>,
    /// Who takes turns when something is queued, where nobody calls `turn` anyway. Woken once.
    pub(crate) starter: Option<Waker>,
    /// Requests with memory that has to be looked at before they are submitted; some may be over
    /// already.
    unseen: Vec<Key>,
    /// For the looks of one turn.
    ranges: Vec<Range>,
    waiting: VecDeque<(u64, Waker)>,
    deadlines: Deadlines,
    now_ns: u64,
    now_stale: bool,
    epoch: Instant,
    reason: Option<String>,
    residency: Option<Residency>,
    slow: SlowLane,
    /// See [`Config::advise_huge`].
    advise_huge: bool,
    bounce: Option<Bounce>,
    bounce_queue: VecDeque<u32>,
    base: Geometry,
    pinnings: Vec<Pinning>,
    retired: Retired,
    unpinned: Unpinned,
    next_ticket: u64,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A number that no driver has and no other caller gets, to mark pinned memory with.
pub(crate) fn new_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

impl Driver {
    pub(crate) fn new(config: &Config) -> io::Result<Driver> {
        let depth = config.depth.clamp(1, 1 << 15);
        let mut stats = Stats::default();
        // Each request has at most a main operation and a fault-in ahead with the kernel.
        let uring =
            |stats: &mut Stats| match Uring::new(2 * depth, config.timing, config.wishes, stats) {
                Ok(uring) => Ok(Backend::Uring(Box::new(uring))),
                Err(error) => {
                    let why = explain(&error);
                    stats.fallback(why.clone());
                    Err((error, why))
                }
            };
        let (backend, reason) = match config.backend {
            BackendChoice::Threads => (
                Backend::Threads(Box::new(Threads::new()?)),
                Some("worker threads were asked for".to_owned()),
            ),
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
        let bounce = Bounce::new(config.huge_pages)
            .inspect_err(|error| {
                stats.fallback(format!(
                    "no bounce buffers, the page cache takes their work: {error}"
                ))
            })
            .ok();
        let slow = SlowLane {
            active: 0,
            limit: backend.slow_limit().max(1),
            queue: VecDeque::new(),
        };
        Ok(Driver {
            stats,
            woken: Vec::new(),
            graves: Vec::new(),
            starter: None,
            id: new_id(),
            reason,
            backend,
            slots: (0..depth).map(|_| Slot::new()).collect(),
            free: (0..depth).rev().collect(),
            lists: Vec::new(),
            residency,
            slow,
            advise_huge: config.advise_huge,
            base: base_geometry(if bounce.is_some() { bounce::SIZE } else { 0 }),
            bounce,
            bounce_queue: VecDeque::new(),
            pinnings: Vec::new(),
            retired: Retired::default(),
            unpinned: Unpinned::default(),
            completions: Vec::new(),
            unseen: Vec::new(),
            ranges: Vec::new(),
            waiting: VecDeque::new(),
            deadlines: Deadlines::default(),
            next_ticket: 0,
            epoch: Instant::now(),
            now_ns: 0,
            now_stale: true,
            timed: config.timing.mask().unwrap_or(u64::MAX),
            early: turn::Early::default(),
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
        Stats {
            in_flight: self.in_flight() as u64,
            look_calls,
            ..self.stats.clone()
        }
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
        let direct = file
            .direct_fd()
            .and_then(|fd| self.backend.register_file(fd));
        let buffered = self.backend.register_file(file.buffered_fd());
        file.set_places(buffered, direct);
        file.set_polled(self.backend.polls());
    }

    /// Pins a range, so that requests inside it need no look.
    ///
    /// # Safety
    ///
    /// The range stays mapped until the driver is gone, or for as long as it is not in
    /// [`Driver::unpinned`].
    pub(crate) unsafe fn pin(&mut self, addr: usize, len: usize) -> io::Result<Pinned> {
        self.tidy();
        // SAFETY: the caller's contract.
        let registered = unsafe { self.backend.register_buffers(addr, len) };
        let index = registered.inspect_err(|error| {
            self.stats
                .fallback(format!("memory is not pinned: {}", explain_pin(error)));
        })?;
        let pinned = Pinned {
            engine: self.id,
            base: addr,
            index,
        };
        self.pinnings.push(Pinning { pinned, len });
        Ok(pinned)
    }

    pub(crate) fn unpinned(&self) -> Unpinned {
        self.unpinned.clone()
    }

    /// The registration that holds all of a range.
    pub(crate) fn find_pinned(&self, addr: usize, len: usize) -> Option<Pinned> {
        let holds = |p: &&Pinning| {
            addr >= p.pinned.base && len <= p.len && addr - p.pinned.base <= p.len - len
        };
        self.pinnings.iter().find(holds).map(|p| p.pinned)
    }

    /// Gives back what was let go while the driver could not be asked.
    #[inline]
    pub(crate) fn tidy(&mut self) {
        if !self.retired.borrow().is_empty() || !self.unpinned.is_empty() {
            self.give_back();
        }
    }

    #[cold]
    fn give_back(&mut self) {
        loop {
            // Closing a place may drop nothing of ours, so the borrow is over before anything else
            // happens.
            let Some(index) = self.retired.borrow_mut().pop() else {
                break;
            };
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

    /// Starts a read or write of one range, if there is room and nothing speaks against sending all
    /// of it at once. Most requests end here.
    ///
    /// # Safety
    ///
    /// As for [`Driver::push`].
    pub(crate) unsafe fn push_plain(
        &mut self,
        file: &Rc<FileShared>,
        plain: &Plain,
        tell: Tell,
    ) -> Option<Key> {
        let Plain {
            direction,
            segment: Segment { addr, len },
            offset,
            ..
        } = *plain;
        if !file.takes_plain(direction, addr, len, offset) {
            return None;
        }
        let pinned = plain
            .pinned
            .as_ref()
            .filter(|pinned| pinned.engine == self.id);
        let trust = if pinned.is_some() {
            Trust::Full
        } else {
            plain.trust
        };
        if trust == Trust::Offload {
            return None;
        }
        let sent = Sent {
            addr,
            offset,
            len: u32::try_from(len).ok()?,
            direction,
            trust,
            pinned: pinned.is_some(),
        };
        if self.early.is_time() {
            self.start_early();
        }
        let index = self.free.pop()?;
        let slot = &mut self.slots[index as usize];
        let key = Key::new(index, slot.turn);
        slot.begin(
            file.clone(),
            if trust == Trust::Look {
                Work::Unseen
            } else {
                Work::Plain(sent)
            },
        );
        slot.answer = Answer::Completed;
        slot.priority = plain.options.priority;
        if let Tell::List { list, name } = tell {
            slot.owner = Owner::List { list, name };
        }
        if trust == Trust::Look {
            slot.cold.unseen = Some(sent);
            self.unseen.push(key);
        } else {
            slot.main = true;
            let (priority, memory) = (plain.options.priority, one(pinned, addr, len));
            // SAFETY: as in `start`.
            unsafe {
                self.backend.push_rw(
                    direction,
                    file.direct(),
                    memory,
                    offset,
                    priority,
                    token(index, Lane::Main),
                    &mut self.stats,
                )
            };
        }
        if plain.options.timeout_ns != 0 {
            self.set_deadline(key, plain.options.due());
        }
        self.count_start(index);
        Some(key)
    }

    #[cold]
    fn set_deadline(&mut self, key: Key, due: Option<Instant>) {
        if let Some(due) = due {
            self.deadlines
                .add(due, Whose::Request(key), &self.slots, &self.waiting);
        }
    }

    /// Counts a request, and notes when it started if its time is taken.
    #[inline]
    fn count_start(&mut self, index: u32) {
        let number = self.stats.requests;
        self.stats.requests += 1;
        if number & self.timed == 0 {
            self.note_start(index);
        }
    }

    #[cold]
    fn note_start(&mut self, index: u32) {
        if self.timed != u64::MAX {
            let now = self.now();
            let slot = &mut self.slots[index as usize];
            slot.timed = true;
            slot.cold.started_ns = now;
        }
    }

    /// Starts a request. There must be room: asked apart, because a request is large, and handing
    /// it back costs as much as starting it.
    ///
    /// # Safety
    ///
    /// The memory that a transfer names may be read, and for a read from the file written, by the
    /// kernel and by this driver from now until the result was taken with [`Driver::take`] or
    /// [`Driver::take_ended`]; or it was left to [`Driver::abandon`], whose buffer keeps it valid.
    pub(crate) unsafe fn push(&mut self, request: Request, tell: Tell) -> Key {
        let Some(index) = self.free.pop() else {
            unreachable!("has_room was not asked")
        };
        self.count_start(index);
        let slot = &mut self.slots[index as usize];
        debug_assert!(
            matches!(slot.work, Work::Free)
                && !slot.done
                && slot.owner == Owner::Asker
                && slot.cold.bounce.is_none()
        );
        let key = Key::new(index, slot.turn);
        slot.priority = request.priority;
        if let Tell::List { list, name } = tell {
            slot.owner = Owner::List { list, name };
        }
        self.set_deadline(key, request.due);
        let slot = &mut self.slots[index as usize];
        match request.kind {
            Kind::Transfer {
                direction,
                segments,
                offset,
                trust,
                pinned,
            } => {
                let total = match admit(&request.file, direction, &segments, offset) {
                    Ok(total) => total,
                    Err(result) => {
                        slot.work = Work::Simple;
                        self.end(index, result);
                        return key;
                    }
                };
                let pinned = pinned.filter(|pinned| pinned.engine == self.id);
                let trust = if pinned.is_some() { Trust::Full } else { trust };
                slot.cold.pinned = pinned;
                let geometry = request.file.geometry(direction);
                slot.work = Work::Transfer(Box::new(Transfer::new(
                    direction, trust, geometry, segments, offset, total,
                )));
                slot.file = Some(request.file);
                self.drive(index, Event::Start);
            }
            Kind::Sync { data_only } => {
                let op = Op::Sync {
                    file: request.file.buffered(),
                    data_only,
                };
                self.start_simple(index, request.file, op);
            }
            Kind::Allocate { offset, len } => {
                let op = Op::Allocate {
                    file: request.file.buffered(),
                    offset,
                    len,
                };
                self.start_simple(index, request.file, op);
            }
            Kind::SetLen { len } => {
                if self.backend.can_set_len() {
                    let op = Op::SetLen {
                        file: request.file.buffered(),
                        len,
                    };
                    self.start_simple(index, request.file, op);
                } else {
                    slot.work = Work::Simple;
                    let result = threads::carry_out(Op::SetLen {
                        file: request.file.descriptor(),
                        len,
                    });
                    self.end(index, if result < 0 { Err(-result) } else { Ok(0) });
                }
            }
        }
        key
    }

    fn start_simple(&mut self, index: u32, file: Rc<FileShared>, op: Op) {
        let slot = &mut self.slots[index as usize];
        slot.work = Work::Simple;
        slot.file = Some(file);
        self.start(index, op, Answer::Completed, false);
    }

    /// The result, if the request is over; its slot is free then.
    pub(crate) fn take(&mut self, key: Key, waker: &Waker) -> Option<Result<usize, Errno>> {
        let slot = &mut self.slots[key.index() as usize];
        debug_assert_eq!(slot.turn, key.turn());
        if slot.done {
            let result = slot.cold.result.take().unwrap_or(Err(libc::EIO));
            self.release(key.index());
            return Some(result);
        }
        match &slot.cold.waker {
            Some(known) if known.will_wake(waker) => {}
            _ => {
                let old = slot.cold.waker.replace(waker.clone());
                self.bury(old);
            }
        }
        None
    }

    /// Opens a list of results.
    pub(crate) fn open_list(&mut self) -> u32 {
        let place = self
            .lists
            .iter()
            .position(Option::is_none)
            .unwrap_or_else(|| {
                self.lists.push(None);
                self.lists.len() - 1
            });
        self.lists[place] = Some(List::default());
        place as u32
    }

    /// Closes a list. None of its requests may be in flight: they are over, or were abandoned.
    pub(crate) fn close_list(&mut self, list: u32) {
        let old = self.lists.get_mut(list as usize).and_then(Option::take);
        self.bury(old.and_then(|list| list.waker));
    }

    /// Swaps the results that a list has with `into`, which is empty. If there are none, `waker` is
    /// woken as soon as there are.
    pub(crate) fn take_ended(&mut self, list: u32, into: &mut Vec<Ended>, waker: Option<&Waker>) {
        let Some(list) = self.lists.get_mut(list as usize).and_then(Option::as_mut) else {
            return;
        };
        std::mem::swap(&mut list.ended, into);
        let Some(waker) = waker else { return };
        if into.is_empty()
            && !list
                .waker
                .as_ref()
                .is_some_and(|known| known.will_wake(waker))
        {
            let old = list.waker.replace(waker.clone());
            self.bury(old);
        }
    }

    /// Whether a list has results.
    pub(crate) fn has_ended(&self, list: u32) -> bool {
        matches!(self.lists.get(list as usize), Some(Some(list)) if !list.ended.is_empty())
    }

    /// Nobody waits for the request any more. It is cancelled as far as it can be; `buffer` is
    /// dropped when the kernel is done with it.
    pub(crate) fn abandon(&mut self, key: Key, buffer: Box<dyn Any>) {
        let index = key.index();
        let slot = &mut self.slots[index as usize];
        if slot.turn != key.turn() {
            // Of a list, and over.
            return self.graves.push(buffer);
        }
        let old = slot.cold.waker.take();
        if slot.done {
            self.graves.push(buffer);
            self.release(index);
        } else {
            self.stats.cancelled += 1;
            slot.owner = Owner::Nobody;
            slot.cold.keeps = Some(buffer);
            self.cancel(index);
        }
        self.bury(old);
    }

    /// Ends a request early, as far as that can be done. Whoever owns it still gets its result.
    pub(crate) fn cancel_one(&mut self, key: Key) {
        let slot = &self.slots[key.index() as usize];
        if slot.turn == key.turn() && !slot.done && !matches!(slot.work, Work::Free) {
            self.cancel(key.index());
        }
    }

    /// Keeps a waker for which there is no use until the driver is not borrowed: it may own a task,
    /// and that requests of this engine.
    #[inline]
    fn bury(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.graves.push(Box::new(waker));
        }
    }

    /// Ends a request early, as far as that can be done.
    fn cancel(&mut self, index: u32) {
        if let Work::Unseen = self.slots[index as usize].work {
            return self.end(index, Err(libc::ECANCELED));
        }
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
        } else if slot.cold.parked.take().is_some() {
            self.slow.queue.retain(|&queued| queued != index);
            self.answered(index, -libc::ECANCELED);
        } else if slot.cold.deferred.take().is_some() {
            self.bounce_queue.retain(|&queued| queued != index);
            self.drive_deferred(index, Event::Completed(Err(libc::ECANCELED)));
        }
        // Otherwise it waits for the fault-in ahead, whose end will find it cancelled.
    }

    /// Cancels everything that is in flight.
    pub(crate) fn cancel_all(&mut self) {
        for index in 0..self.slots.len() as u32 {
            if !matches!(self.slots[index as usize].work, Work::Free)
                && !self.slots[index as usize].done
            {
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
        slot.cold.result = None;
        slot.done = false;
        slot.owner = Owner::Asker;
        let (waker, keeps) = (slot.cold.waker.take(), slot.cold.keeps.take());
        self.vacate(index);
        self.bury(waker);
        self.graves.extend(keeps);
    }

    /// Frees the slot of a request whose owner has its result.
    #[inline(always)]
    fn vacate(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        debug_assert!(
            !slot.main
                && slot.cold.parked.is_none()
                && slot.cold.deferred.is_none()
                && slot.cold.bounce.is_none()
        );
        debug_assert!(!slot.timed && slot.cold.waker.is_none() && slot.cold.keeps.is_none());
        if !matches!(slot.work, Work::Plain(_)) {
            slot.cold.pinned = None;
            slot.cold.unseen = None;
            slot.cold.expired = false;
            slot.cold.result = None;
        }
        slot.work = Work::Free;
        slot.file = None;
        slot.turn = slot.turn.wrapping_add(1);
        self.free.push(index);
    }

    /// A place in the queue of those who found no free slot. `ticket` is what an earlier call
    /// returned.
    pub(crate) fn wait_for_slot(&mut self, ticket: Option<u64>, waker: &Waker) -> u64 {
        if let Some(ticket) = ticket
            && let Ok(at) = self
                .waiting
                .binary_search_by_key(&ticket, |(ticket, _)| *ticket)
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

    /// Also wakes whoever waits in that queue when `due` has come. To be called once for each
    /// ticket and time.
    pub(crate) fn remind(&mut self, ticket: u64, due: Instant) {
        self.deadlines
            .add(due, Whose::Ticket(ticket), &self.slots, &self.waiting);
    }

    /// Gives up a place in that queue; if it was called up already, the next in line is.
    pub(crate) fn leave_queue(&mut self, ticket: u64) {
        match self
            .waiting
            .binary_search_by_key(&ticket, |(ticket, _)| *ticket)
        {
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
}
