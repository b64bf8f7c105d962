//! The state machine of one request: events in, actions out.

use std::rc::Rc;

use super::{Errno, IovIter, Segments, Stop};

/// The way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// How far the request's memory is trusted not to fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Trust {
    /// Registered with the ring, or vouched for by the caller: submitted without a look.
    Full,
    /// Looked at before every submission.
    Look,
    /// Looked at, and even what is resident is never submitted on the caller's thread.
    Offload,
}

/// Sizes that hold for all requests on one file, in bytes. All are powers of two, except that
/// `bounce` may be 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Geometry {
    /// False: the file has no direct path, everything is sent to the page cache.
    pub(crate) direct: bool,
    /// True: nothing may be split (a file opened to append, a file that the kernel makes up as it
    /// is read); each request is one call by the buffered descriptor.
    pub(crate) whole: bool,
    /// What a direct request's addresses must be multiples of.
    pub(crate) mem: usize,
    /// What a direct request's offset and length must be multiples of, for this direction.
    pub(crate) block: usize,
    /// The page size.
    pub(crate) page: usize,
    /// The first and largest window.
    pub(crate) window: usize,
    /// How much one bounce buffer holds; 0 where there are none.
    pub(crate) bounce: usize,
    /// The most one look and one submission may carry: longer ones hold up the submitting thread.
    pub(crate) pass: usize,
    /// The same where memory had to be faulted in: the device is given work early, and often
    /// enough.
    pub(crate) cold_pass: usize,
    /// A pass of a request that met absent memory is not submitted on this thread if it has so many
    /// bytes: to pin them takes long, and such a request is in no hurry that others would have to
    /// wait for.
    pub(crate) heavy: usize,
    /// How far ahead of the cursor memory is faulted in.
    pub(crate) ahead: usize,
    /// How many tries EAGAIN, EINTR and memory that vanishes between look and submission have,
    /// besides the halvings.
    pub(crate) tries: u32,
    /// A write whose direct middle would be shorter goes to the page cache whole.
    pub(crate) middle: usize,
}

/// What happened to the last action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// The request was admitted.
    Start,
    /// Answer to [`Action::Look`]: so many bytes from the cursor on are resident.
    Looked { bytes: usize, stop: Stop },
    /// Answer to [`Action::Submit`], [`Action::BounceRead`], [`Action::BounceWrite`] and
    /// [`Action::Buffered`].
    Completed(Result<usize, Errno>),
    /// Answer to [`Action::FaultIn`].
    FaultedIn(Result<(), Errno>),
    /// Answer to [`Action::CopyIn`] and [`Action::CopyOut`].
    Copied(Result<usize, Errno>),
    /// Answer to [`Action::AwaitAhead`]: the fault-in ahead of the cursor ended.
    AheadEnded,
}

/// What to do next. Every action but `Finish` is answered by exactly one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Say how many of the next `len` bytes are resident, without faulting.
    Look { len: usize },
    /// Send the next `len` bytes by the direct path. `offload`: not on this thread.
    Submit {
        offset: u64,
        len: usize,
        offload: bool,
    },
    /// Fault in the next `len` bytes, which are contiguous, off the submitting thread.
    FaultIn { len: usize },
    /// Nothing: wait until the fault-in ahead is done.
    AwaitAhead,
    /// Copy the next `len` bytes into the bounce buffer, off the submitting thread.
    CopyIn { len: usize },
    /// Write `len` bytes of the bounce buffer.
    BounceWrite { offset: u64, len: usize },
    /// Read `len` bytes into the bounce buffer.
    BounceRead { offset: u64, len: usize },
    /// Copy `len` bytes of the bounce buffer, from `skip` on, to the cursor, off the submitting
    /// thread.
    CopyOut { skip: usize, len: usize },
    /// Send the next `len` bytes by the page cache. `offload`: not on this thread, the memory may
    /// fault.
    Buffered {
        offset: u64,
        len: usize,
        offload: bool,
    },
    /// The one result.
    Finish(Result<usize, Errno>),
}

/// A fault-in that runs beside an action: `skip` bytes after the cursor, `len` bytes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ahead {
    pub(crate) skip: usize,
    pub(crate) len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    New,
    Looking,
    Submitted {
        len: usize,
    },
    FaultingIn {
        len: usize,
    },
    AwaitingAhead,
    CopyingIn {
        len: usize,
    },
    BounceWriting {
        len: usize,
    },
    BounceReading {
        skip: usize,
        want: usize,
        len: usize,
    },
    CopyingOut {
        len: usize,
        end: bool,
    },
    Buffering {
        len: usize,
        last: bool,
    },
    Finished,
}

/// One request from admission to its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Transfer {
    direction: Direction,
    trust: Trust,
    /// Shared by all requests on the file: a transfer is made for each request, and should be
    /// small.
    geometry: Rc<Geometry>,
    iter: IovIter,
    offset: u64,
    total: usize,
    /// Bytes moved by all passes so far.
    done_before: usize,
    /// The next fault-in.
    window: usize,
    /// The most the next submission may carry; lowered by EFAULT, EIO, and by having had to fault
    /// in.
    cap: usize,
    /// EIO was met on a read: the cap only falls from now on.
    bisecting: bool,
    /// Passes without progress that are left.
    budget: u32,
    stage: Stage,
    /// Where the fault-in ahead stands, as bytes from the request's start; what lies before was
    /// faulted in or looked at.
    frontier: usize,
    /// A fault-in ahead is under way.
    ahead: bool,
    /// A fault-in ahead failed: the cursor has to get there and find out why.
    ahead_failed: bool,
    /// The last look found memory that is not there: worth faulting in ahead.
    cold: bool,
    /// Submissions of this request must not be tried on the caller's thread.
    offload: bool,
    cancelled: bool,
}

/// What the next bytes are fit for.
enum Route {
    /// The file's main path, so many bytes at most.
    Main(usize),
    /// The page cache, for a ragged edge of a write.
    PageCache(usize),
    /// A bounce buffer, for a ragged edge of a read.
    Bounce,
}

impl Transfer {
    pub(crate) fn new(
        direction: Direction,
        trust: Trust,
        geometry: Rc<Geometry>,
        segments: Segments,
        offset: u64,
        total: usize,
    ) -> Self {
        let (window, cap) = (geometry.window, geometry.pass);
        let mut transfer = Transfer {
            direction,
            trust,
            geometry,
            iter: IovIter::new(segments),
            offset,
            total,
            done_before: 0,
            window,
            cap,
            bisecting: false,
            budget: 0,
            stage: Stage::New,
            frontier: 0,
            ahead: false,
            ahead_failed: false,
            cold: false,
            offload: trust == Trust::Offload,
            cancelled: false,
        };
        transfer.refill_budget();
        transfer
    }

    /// The cursor, to carry out an action with.
    pub(crate) fn iter(&self) -> &IovIter {
        &self.iter
    }

    pub(crate) fn direction(&self) -> Direction {
        self.direction
    }

    /// The caller is no longer interested. What is under way ends first; then the request finishes
    /// with what it has, or ECANCELED.
    pub(crate) fn cancel(&mut self) {
        self.cancelled = true;
    }

    pub(crate) fn window(&self) -> usize {
        self.window
    }

    /// Whether the answer to the last action is [`Event::Copied`].
    pub(crate) fn awaits_copy(&self) -> bool {
        matches!(
            self.stage,
            Stage::CopyingIn { .. } | Stage::CopyingOut { .. }
        )
    }

    /// Bytes moved so far.
    pub(crate) fn done_before(&self) -> usize {
        self.done_before
    }

    /// Takes what happened to the last action and says what comes next.
    ///
    /// An event that does not answer the last action would be a bug of the driver; it ends the
    /// request with EIO instead of a panic.
    pub(crate) fn step(&mut self, event: Event) -> Action {
        #[cfg(debug_assertions)]
        let before = self.measure();
        let mut action = match (self.stage, event) {
            (Stage::New, Event::Start) => self.plan(),
            (Stage::Looking, Event::Looked { bytes, stop }) => self.looked(bytes, stop),
            (Stage::Submitted { len }, Event::Completed(result)) => self.submitted(len, result),
            (Stage::FaultingIn { len }, Event::FaultedIn(result)) => self.faulted_in(len, result),
            (Stage::AwaitingAhead, Event::AheadEnded) => self.again(),
            (Stage::CopyingIn { len }, Event::Copied(result)) => self.copied_in(len, result),
            (Stage::BounceWriting { len }, Event::Completed(result)) => {
                self.bounce_written(len, result)
            }
            (Stage::BounceReading { skip, want, len }, Event::Completed(result)) => {
                self.bounce_read(skip, want, len, result)
            }
            (Stage::CopyingOut { len, end }, Event::Copied(result)) => {
                self.copied_out(len, end, result)
            }
            (Stage::Buffering { len, last }, Event::Completed(result)) => {
                self.buffered(len, last, result)
            }
            (stage, event) => {
                debug_assert!(false, "{event:?} does not answer {stage:?}");
                self.fail(libc::EIO)
            }
        };
        if self.cancelled && !matches!(action, Action::Finish(_)) {
            action = self.fail(libc::ECANCELED);
        }
        #[cfg(debug_assertions)]
        assert!(
            self.measure() < before,
            "{before:?} -> {:?} by {event:?}",
            self.measure()
        );
        action
    }

    /// What falls with every step, see the module's docs.
    #[cfg(debug_assertions)]
    fn measure(&self) -> (usize, u32, u8) {
        let rank = match self.stage {
            Stage::New => 4,
            Stage::Looking => 3,
            Stage::CopyingIn { .. }
            | Stage::BounceReading { .. }
            | Stage::FaultingIn { .. }
            | Stage::AwaitingAhead => 2,
            Stage::Submitted { .. }
            | Stage::BounceWriting { .. }
            | Stage::CopyingOut { .. }
            | Stage::Buffering { .. } => 1,
            Stage::Finished => return (0, 0, 0),
        };
        // One more than what is left, so that the end is below everything else.
        (self.rest() + 1, self.budget, rank)
    }

    fn rest(&self) -> usize {
        self.total - self.done_before
    }

    fn position(&self) -> u64 {
        self.offset + self.done_before as u64
    }

    fn refill_budget(&mut self) {
        // Every halving of the largest window down to one page may cost two passes (a submission
        // refused, a fault-in refused).
        let halvings = self
            .geometry
            .window
            .max(1)
            .ilog2()
            .saturating_sub(self.geometry.page.max(1).ilog2());
        self.budget = 2 * halvings + self.geometry.tries;
    }

    fn finish(&mut self, result: Result<usize, Errno>) -> Action {
        self.stage = Stage::Finished;
        Action::Finish(result)
    }

    /// Ends with the count if there is one: the error will be met again by whoever asks for the
    /// rest, as with pwrite(2).
    fn fail(&mut self, errno: Errno) -> Action {
        match self.done_before {
            0 => self.finish(Err(errno)),
            count => self.finish(Ok(count)),
        }
    }

    /// `bytes` more are moved.
    fn progress(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.rest());
        self.done_before += bytes;
        self.iter.advance(bytes);
        self.frontier = self.frontier.max(self.done_before);
        self.refill_budget();
    }

    /// The window may grow again.
    fn grow(&mut self) {
        self.window = (self.window * 2).min(self.geometry.window);
        if !self.bisecting {
            let most = if self.cold {
                self.geometry.cold_pass
            } else {
                self.geometry.pass
            };
            self.cap = self.cap.saturating_mul(2).min(most);
        }
    }

    /// A pass moved nothing: half the window, one try less.
    fn shrink(&mut self) {
        self.window = (self.window / 2).max(self.geometry.page);
        self.budget = self.budget.saturating_sub(1);
    }

    /// Another pass without progress.
    fn again(&mut self) -> Action {
        self.budget = self.budget.saturating_sub(1);
        self.plan()
    }

    /// The next action from the present position, with nothing under way.
    fn plan(&mut self) -> Action {
        let rest = self.rest();
        if self.total == 0 {
            // The kernel says what is wrong with the descriptor, if anything is.
            return self.send_buffered(0, true, false);
        }
        if rest == 0 {
            return self.finish(Ok(self.done_before));
        }
        if self.budget == 0 || self.geometry.whole {
            return self.send_rest_buffered();
        }
        match (self.route(), self.trust) {
            (Route::Bounce, Trust::Full) => self.start_bounce(rest),
            (Route::Main(len), Trust::Full) => self.send_resident(len, len, Stop::End),
            (Route::PageCache(len), Trust::Full) => self.send_buffered(len, false, self.offload),
            (Route::Main(len) | Route::PageCache(len), Trust::Look | Trust::Offload) => {
                self.look(len.min(self.cap))
            }
            (Route::Bounce, Trust::Look | Trust::Offload) => {
                self.look(rest.min(self.geometry.bounce.max(1)))
            }
        }
    }

    fn look(&mut self, len: usize) -> Action {
        self.stage = Stage::Looking;
        Action::Look { len }
    }

    /// What the bytes from here on are fit for, by the file's alignment alone.
    fn route(&self) -> Route {
        let Geometry {
            direct,
            block,
            page,
            middle,
            ..
        } = *self.geometry;
        let (rest, position) = (self.rest(), self.position());
        if !direct {
            return Route::Main(rest);
        }
        // What most requests are, without a division.
        if (position | rest as u64) & (block as u64 - 1) == 0 {
            return Route::Main(rest);
        }
        let (block, page) = (block as u64, page.max(block) as u64);
        let end = position + rest as u64;
        let ragged = !position.is_multiple_of(block);
        match self.direction {
            // A read may fetch more than was asked for: whole blocks into a bounce buffer.
            Direction::Read if ragged || (rest as u64) < block => Route::Bounce,
            Direction::Read => Route::Main(rest - (rest as u64 % block) as usize),
            // A write may not. Its edges go to the page cache in whole pages, so that one page is
            // never written by both paths at once.
            Direction::Write if !ragged && end.is_multiple_of(block) => Route::Main(rest),
            Direction::Write => {
                let head = if ragged {
                    position.next_multiple_of(page)
                } else {
                    position
                };
                let tail = end - end % page;
                if tail <= head || tail - head < middle as u64 {
                    return Route::PageCache(rest);
                }
                match (head - position) as usize {
                    0 => Route::Main((tail - position) as usize),
                    edge => Route::PageCache(edge),
                }
            }
        }
    }

    /// The bytes that the last look found, `bytes` of `len`, go out as far as the file's alignment
    /// allows.
    fn send_resident(&mut self, bytes: usize, len: usize, stop: Stop) -> Action {
        let bytes = bytes.min(self.cap);
        let offload = self.offload;
        if !self.geometry.direct {
            return match (bytes, stop) {
                (0, Stop::NotDirect { bytes }) => self.send_buffered(bytes.min(len), false, true),
                (0, _) => self.fault_in(),
                _ => self.send_buffered(bytes, false, offload),
            };
        }
        let Geometry { mem, block, .. } = *self.geometry;
        let aligned = self.iter.aligned_prefix(mem, block, len);
        let good = bytes.min(aligned) & !(block - 1);
        if good > 0 {
            self.stage = Stage::Submitted { len: good };
            let offload = offload || (self.cold && good >= self.geometry.heavy);
            return Action::Submit {
                offset: self.position(),
                len: good,
                offload,
            };
        }
        // Misaligned: what is there is copied, and what is not is faulted in first, so that no copy
        // holds a bounce buffer while it faults.
        if aligned == 0 && bytes >= block {
            return self.start_bounce(bytes & !(block - 1));
        }
        match stop {
            // A whole block at least, or the bounce would be as ragged as what it replaces.
            Stop::NotDirect { bytes: run } => {
                self.start_bounce(bytes.saturating_add(run).max(block))
            }
            Stop::Absent if self.iter.current().len > bytes => self.fault_in(),
            Stop::Absent | Stop::End => self.start_bounce(len),
        }
    }

    fn looked(&mut self, bytes: usize, stop: Stop) -> Action {
        self.frontier = self.frontier.max(self.done_before + bytes);
        if stop == Stop::Absent {
            self.cold = true;
            self.cap = self.cap.min(self.geometry.cold_pass);
        }
        match self.route() {
            Route::Main(len) => self.send_resident(bytes.min(len), len, stop),
            Route::PageCache(len) if bytes >= len => self.send_buffered(len, false, self.offload),
            Route::PageCache(len) => {
                // Whole pages of what is there, or else the missing page first: a write that faults
                // would hold the file's lock meanwhile.
                let (position, page) = (
                    self.position(),
                    self.geometry.page.max(self.geometry.block) as u64,
                );
                let end = (position + bytes as u64) / page * page;
                match stop {
                    _ if end > position => {
                        self.send_buffered((end - position) as usize, false, self.offload)
                    }
                    Stop::Absent if self.iter.current().len > bytes => self.fault_in(),
                    _ => self.send_buffered(len, false, true),
                }
            }
            Route::Bounce => match stop {
                _ if bytes > 0 => self.start_bounce(bytes),
                Stop::NotDirect { bytes: run } => self.start_bounce(run),
                Stop::Absent | Stop::End => self.fault_in(),
            },
        }
    }

    fn fault_in(&mut self) -> Action {
        if self.ahead {
            self.stage = Stage::AwaitingAhead;
            return Action::AwaitAhead;
        }
        self.ahead_failed = false;
        let here = self.iter.current();
        let len = self.window.min(here.len).min(self.rest());
        self.frontier = self.frontier.max(self.done_before + len);
        self.stage = Stage::FaultingIn { len };
        Action::FaultIn { len }
    }

    fn faulted_in(&mut self, len: usize, result: Result<(), Errno>) -> Action {
        match result {
            Ok(()) => {
                // What is there now is sent if the next look sees it; a look that still sees
                // nothing comes back here with less budget.
                self.shrink_unless_first();
                self.plan()
            }
            // One page, and it can't be pinned: the buffered path may still touch it, or gives the
            // error its name.
            Err(_) if len <= self.geometry.page => self.send_rest_buffered(),
            Err(_) => {
                self.shrink();
                self.plan()
            }
        }
    }

    /// A successful fault-in is no failure yet, but it costs a try: a page may vanish again and
    /// again before it is looked at.
    fn shrink_unless_first(&mut self) {
        let full = self.window == self.geometry.window;
        self.budget = self.budget.saturating_sub(1);
        if !full {
            self.window = (self.window / 2).max(self.geometry.page);
        }
    }

    /// Whether so many bytes more end inside a page of the file, which stands for the filesystem's
    /// block: that is not larger.
    fn ends_inside_a_page(&self, count: usize) -> bool {
        !(self.position() + count as u64).is_multiple_of(self.geometry.page as u64)
    }

    fn submitted(&mut self, len: usize, result: Result<usize, Errno>) -> Action {
        match result {
            Ok(0) if self.direction == Direction::Read => self.finish(Ok(self.done_before)),
            Ok(0) => self.send_rest_buffered(),
            // A short write that ends inside a block is no more to be believed than EFAULT: of a
            // block in which the memory ran out XFS counts the bytes and leaves zeros (Linux 6.18).
            // The page cache writes the same bytes again, and its count is true.
            Ok(count)
                if self.direction == Direction::Write
                    && count < len
                    && self.ends_inside_a_page(count) =>
            {
                self.send_rest_buffered()
            }
            Ok(count) => {
                let count = count.min(len);
                self.progress(count);
                self.grow();
                // A direct read that ends inside a block has met the end of the file; after whole
                // blocks only another read can tell.
                if self.direction == Direction::Read
                    && count < len
                    && count % self.geometry.block != 0
                {
                    return self.finish(Ok(self.done_before));
                }
                self.plan()
            }
            Err(libc::EFAULT) => {
                // Indeterminate: some of the range may have been transferred. The same bytes go
                // again in smaller windows.
                self.trust = if self.trust == Trust::Full {
                    Trust::Look
                } else {
                    self.trust
                };
                self.shrink();
                self.cap = self.window.max(self.geometry.block);
                if len <= self.geometry.page.max(self.geometry.block)
                    && self.window <= self.geometry.page
                {
                    return self.send_rest_buffered();
                }
                self.fault_in()
            }
            Err(libc::EIO) if self.direction == Direction::Read => self.bisect(len),
            Err(errno) => self.refused(errno),
        }
    }

    /// A read met a bad place. Halves, so that all before it is delivered, as the page cache would.
    fn bisect(&mut self, len: usize) -> Action {
        let least = self.geometry.page.max(self.geometry.block);
        if len <= least {
            // A bad place, or only a collision: where a page of a hole was made writable through a
            // mapping in this moment, ext4 and XFS answer EIO as well (iomap_dio_iter,
            // IOMAP_DELALLOC). The page cache can tell the one from the other.
            return self.send_rest_buffered();
        }
        self.bisecting = true;
        self.cap = (len / 2).next_multiple_of(least);
        if self.cap >= len {
            self.cap = least;
        }
        // The budget pays for it; a long request has more halvings than windows.
        if self.budget <= 1 {
            self.cap = least;
        }
        self.again()
    }

    /// The kernel said no to a request of ours.
    fn refused(&mut self, errno: Errno) -> Action {
        match errno {
            // The direct path asks to come again. The driver sends what comes again without NOWAIT.
            libc::EAGAIN | libc::EINTR if self.budget > 0 => {
                self.offload = true;
                self.again()
            }
            // Whatever the direct path can't do here, the buffered one answers for: it is the
            // measure of what is right.
            libc::EINVAL
            | libc::EOPNOTSUPP
            | libc::ENOTBLK
            | libc::ENOSPC
            | libc::EDQUOT
            | libc::EFBIG
            | libc::ENOMEM
            | libc::EFAULT
            | libc::EAGAIN
            | libc::EINTR => self.send_rest_buffered(),
            errno => self.fail(errno),
        }
    }

    fn start_bounce(&mut self, run: usize) -> Action {
        let Geometry {
            block,
            bounce,
            page,
            ..
        } = *self.geometry;
        let rest = self.rest();
        if bounce < block.max(1) {
            // Up to the end of a page, so that no page is written by both paths.
            let end = self
                .position()
                .saturating_add(run as u64)
                .next_multiple_of(page.max(block) as u64);
            return self.send_buffered(rest.min((end - self.position()) as usize), false, true);
        }
        match self.direction {
            Direction::Read => {
                let skip = (self.position() % block as u64) as usize;
                let want = run.min(rest).min(bounce - skip);
                let len = (skip + want).next_multiple_of(block);
                self.stage = Stage::BounceReading { skip, want, len };
                Action::BounceRead {
                    offset: self.position() - skip as u64,
                    len,
                }
            }
            Direction::Write => {
                let len = run.next_multiple_of(block).min(bounce).min(rest) & !(block - 1);
                self.stage = Stage::CopyingIn { len };
                Action::CopyIn { len }
            }
        }
    }

    fn copied_in(&mut self, len: usize, result: Result<usize, Errno>) -> Action {
        let block = self.geometry.block;
        match result.unwrap_or(0).min(len) & !(block - 1) {
            0 => self.send_rest_buffered(),
            len => {
                self.stage = Stage::BounceWriting { len };
                Action::BounceWrite {
                    offset: self.position(),
                    len,
                }
            }
        }
    }

    fn bounce_written(&mut self, len: usize, result: Result<usize, Errno>) -> Action {
        match result {
            Ok(0) => self.send_rest_buffered(),
            Ok(count) => {
                self.progress(count.min(len));
                self.plan()
            }
            Err(errno) => self.refused(errno),
        }
    }

    fn bounce_read(
        &mut self,
        skip: usize,
        want: usize,
        len: usize,
        result: Result<usize, Errno>,
    ) -> Action {
        match result {
            Ok(count) if count <= skip => self.finish(Ok(self.done_before)),
            Ok(count) => {
                let end = count < len && count % self.geometry.block != 0 && count - skip <= want;
                let len = (count.min(len) - skip).min(want);
                self.stage = Stage::CopyingOut { len, end };
                Action::CopyOut { skip, len }
            }
            // No halving for what is bounced: the buffered path reads page by page and delivers
            // what comes before the bad one, if there is one (`bisect`).
            Err(libc::EIO) => self.send_rest_buffered(),
            Err(errno) => self.refused(errno),
        }
    }

    fn copied_out(&mut self, len: usize, end: bool, result: Result<usize, Errno>) -> Action {
        let count = result.unwrap_or(0).min(len);
        self.progress(count);
        if count < len {
            // The memory ends here. The buffered path says how, and finds the last byte.
            self.budget = 0;
            return self.send_rest_buffered();
        }
        if end {
            self.finish(Ok(self.done_before))
        } else {
            self.plan()
        }
    }

    /// The last resort of a pass that can't be helped: the page cache takes the rest, and its
    /// answer is the answer.
    fn send_rest_buffered(&mut self) -> Action {
        self.budget = self.budget.saturating_sub(1);
        self.send_buffered(self.rest(), true, true)
    }

    fn send_buffered(&mut self, len: usize, last: bool, offload: bool) -> Action {
        self.stage = Stage::Buffering { len, last };
        Action::Buffered {
            offset: self.position(),
            len,
            offload,
        }
    }

    fn buffered(&mut self, len: usize, last: bool, result: Result<usize, Errno>) -> Action {
        match result {
            Ok(0) => self.finish(Ok(self.done_before)),
            Ok(count) => {
                let count = count.min(len);
                self.progress(count);
                self.grow();
                // What may not be split is one call, and the call's answer is the result.
                if self.rest() == 0 || self.geometry.whole {
                    return self.finish(Ok(self.done_before));
                }
                // Short: the end of the file, of the memory or of the space. Asking once more tells
                // which, and costs nothing else.
                if count < len || last {
                    self.send_rest_buffered()
                } else {
                    self.plan()
                }
            }
            Err(libc::EAGAIN | libc::EINTR) if self.budget > 0 => {
                self.budget -= 1;
                self.send_buffered(len, last, true)
            }
            Err(errno) => self.fail(errno),
        }
    }

    /// What to fault in while the last action is under way, if anything: asked after every step,
    /// and when a fault-in ahead ended.
    #[inline]
    pub(crate) fn ahead(&mut self) -> Option<Ahead> {
        if self.cold {
            self.ahead_of_cursor()
        } else {
            None
        }
    }

    fn ahead_of_cursor(&mut self) -> Option<Ahead> {
        let busy = matches!(
            self.stage,
            Stage::Submitted { .. } | Stage::FaultingIn { .. }
        );
        let useful = busy && self.cold && self.window == self.geometry.window;
        if !useful || self.ahead || self.ahead_failed || self.cancelled {
            return None;
        }
        let skip = self.frontier - self.done_before;
        if skip >= self.geometry.ahead || skip >= self.rest() {
            return None;
        }
        let next = self.iter.pieces(skip, self.rest() - skip).next()?;
        let len = next.len.min(self.geometry.window);
        self.ahead = true;
        Some(Ahead { skip, len })
    }

    /// The fault-in ahead ended. `true`: the machine waits for it and wants [`Event::AheadEnded`].
    pub(crate) fn ahead_ended(&mut self, end: usize, result: Result<(), Errno>) -> bool {
        self.ahead = false;
        match result {
            Ok(()) => self.frontier = self.frontier.max(end),
            Err(_) => self.ahead_failed = true,
        }
        self.stage == Stage::AwaitingAhead
    }

    /// The place of a fault-in ahead as bytes from the request's start, for
    /// [`Transfer::ahead_ended`].
    pub(crate) fn ahead_end(&self, ahead: Ahead) -> usize {
        self.done_before + ahead.skip + ahead.len
    }

    /// A fault-in ahead still touches the memory: the request must not be given back.
    pub(crate) fn is_ahead(&self) -> bool {
        self.ahead
    }
}
