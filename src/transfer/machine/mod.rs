//! The state machine of one request: the state, the dispatcher, and what decides between routes.
//!
//! # Which methods a driver calls, and in which order
//!
//! 1. [`Transfer::new`], once.
//! 2. [`Transfer::step`] with [`Event::Start`], once. It returns the first [`Action`].
//! 3. The driver carries the action out on the memory at [`Transfer::iter`] and answers with `step`
//!    and the event that [`Event`] names for the action; `step` returns the next action. Exactly
//!    one action is under way at any time. [`Action::Finish`] is the last one: nothing may be
//!    called after it but the questions and `ahead_ended`.
//! 4. After every step [`Transfer::ahead`] says whether memory ahead of the cursor is to be faulted
//!    in beside the action; [`Transfer::ahead_end`] is asked then, before the next step. When that
//!    fault-in ended, well or badly, [`Transfer::ahead_ended`] is told; where it returns `true`, a
//!    step with [`Event::AheadEnded`] follows, otherwise [`Transfer::ahead`] is asked again.
//! 5. [`Transfer::cancel`] or [`Transfer::abandon`], at any time before `Finish`. The action under
//!    way ends first.
//!
//! # How the methods are named
//!
//! | family | methods | what they do |
//! |---|---|---|
//! | questions | `iter`, `direction`, `is_offloaded`, `window`, `done_before`, `awaits_copy`, `is_ahead`, `is_not_pinnable` | change nothing, may be asked at any time |
//! | answers, named by the participle | `looked`, `submitted`, `faulted_in`, `copied_in`, `copied_out`, `bounce_read`, `bounce_written`, `buffered` | called by `step` alone, one for each kind of action; take the event, return the next action |
//! | starts, named by the verb | `look`, `fault_in`, `start_bounce`, `send_resident`, `send_buffered`, `send_rest_buffered` | set the stage and return its action |
//! | decisions | `plan`, `again`, `route` | choose which start comes next |
//! | ends | `finish`, `fail` | return `Finish` |
//!
//! # The routes
//!
//! | file | route |
//! |---|---|
//! | `direct` | the caller's memory, by the direct path |
//! | `bounce` | whole blocks through engine-owned memory, and a copy |
//! | `page_cache` | the caller's memory, by the page cache |
//! | `fault_in` | no bytes move: absent memory is made resident, in windows |

mod bounce;
mod direct;
mod fault_in;
mod page_cache;

use std::rc::Rc;

use super::{Action, Direction, Errno, Event, Geometry, IovIter, Segments, Stop, Trust};

/// The action under way, with what its answer is judged by.
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
    /// `len` bytes of whole blocks, of which `want` bytes after the first `skip` are the caller's.
    BounceReading {
        skip: usize,
        want: usize,
        len: usize,
    },
    /// `end`: the bounce read before it met the end of the file.
    CopyingOut {
        skip: usize,
        len: usize,
        end: bool,
    },
    /// `last`: whatever is left afterwards goes to the page cache too.
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
    /// Shared by all requests on the file, to keep a transfer small.
    geometry: Rc<Geometry>,
    iter: IovIter,
    offset: u64,
    total: usize,
    /// Bytes moved by all passes so far.
    done_before: usize,
    /// The most that the next fault-in carries.
    window: usize,
    /// The most that the next submission carries; lowered by EFAULT, by EIO, and by absent memory.
    cap: usize,
    /// A direct pass met EIO: the cap only falls from now on.
    bisecting: bool,
    /// The memory at the cursor was faulted in with success, and no bytes have moved since.
    vetted: bool,
    /// The memory at the cursor could not be faulted in, or was refused although it was, and no
    /// bytes have moved since.
    doubted: bool,
    /// A copy has moved doubted memory.
    not_pinnable: bool,
    /// Passes without progress that are left.
    budget: u32,
    stage: Stage,
    /// Where the next fault-in ahead starts, as bytes from the request's start. All memory before
    /// it was faulted in or looked at.
    frontier: usize,
    /// A fault-in ahead is under way.
    ahead: bool,
    /// A fault-in ahead failed. The reason is found when the cursor reaches that memory; until then
    /// no other fault-in ahead is started.
    ahead_failed: bool,
    /// A look found absent memory: the memory ahead of the cursor is likely absent too.
    cold: bool,
    /// Submissions of this request go to a worker, not to the submitting thread.
    offload: bool,
    cancelled: bool,
    /// Cancelled, and nobody wants the bytes.
    abandoned: bool,
}

/// The route of the next bytes.
enum Route {
    /// The file's main path (direct if there is one), for so many bytes at most.
    Main(usize),
    /// The page cache, for so many bytes of a write's ragged edge.
    PageCache(usize),
    /// A bounce buffer, for a ragged edge of a read.
    Bounce,
}

impl Transfer {
    /// A request for `total` bytes at `offset`: all bytes of `segments`, or fewer where the caller
    /// has cut the request.
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
            vetted: false,
            doubted: false,
            not_pinnable: false,
            budget: 0,
            stage: Stage::New,
            frontier: 0,
            ahead: false,
            ahead_failed: false,
            cold: false,
            offload: trust == Trust::Offload,
            cancelled: false,
            abandoned: false,
        };
        transfer.refill_budget();
        transfer
    }

    /// The cursor: the memory of the action under way starts here.
    pub(crate) fn iter(&self) -> &IovIter {
        &self.iter
    }

    /// Whether the caller resolves the faults of the memory itself.
    pub(crate) fn is_offloaded(&self) -> bool {
        self.trust == Trust::Offload
    }

    pub(crate) fn direction(&self) -> Direction {
        self.direction
    }

    /// The caller wants no further passes. The action under way ends first; then the request
    /// finishes with the bytes moved, or with ECANCELED where there are none. A bounce read that has
    /// brought bytes is still followed by its copy: the device has answered, and the caller gets
    /// the answer.
    pub(crate) fn cancel(&mut self) {
        self.cancelled = true;
    }

    /// Nobody waits for the result any more. As [`Transfer::cancel`], but nothing at all is started
    /// after the action under way.
    pub(crate) fn abandon(&mut self) {
        self.cancelled = true;
        self.abandoned = true;
    }

    /// The most that the next fault-in carries, in bytes.
    pub(crate) fn window(&self) -> usize {
        self.window
    }

    /// Whether the request has met memory that can be touched but not pinned: no direct pass or no
    /// fault-in took it, and the page cache moved its bytes. Memory that a look keeps from direct
    /// passes by its kind ([`Stop::NotDirect`]) does not count: nobody tried to pin it. To be asked
    /// when the request has finished.
    pub(crate) fn is_not_pinnable(&self) -> bool {
        self.not_pinnable
    }

    #[cfg(test)]
    pub(super) fn is_vetted(&self) -> bool {
        self.vetted
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
    /// An event that does not answer the last action is a bug of the driver: debug builds panic,
    /// others end the request with EIO.
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
            (Stage::CopyingOut { skip, len, end }, Event::Copied(result)) => {
                self.copied_out(skip, len, end, result)
            }
            (Stage::Buffering { len, last }, Event::Completed(result)) => {
                self.buffered(len, last, result)
            }
            (stage, event) => {
                debug_assert!(false, "{event:?} does not answer {stage:?}");
                self.fail(libc::EIO)
            }
        };
        let goes_on = match action {
            Action::Finish(_) => true,
            Action::CopyOut { .. } => !self.abandoned,
            _ => !self.cancelled,
        };
        if !goes_on {
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

    /// The measure that falls with every step, see the docs of `transfer`.
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
        // One more than the bytes left, so that `Finished` is below every other stage.
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

    /// Ends with the count if there is one. The error is met again by the next request for the
    /// rest, as with pwrite(2).
    fn fail(&mut self, errno: Errno) -> Action {
        match self.done_before {
            0 => self.finish(Err(errno)),
            count => self.finish(Ok(count)),
        }
    }

    /// `bytes` more were moved.
    fn progress(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.rest());
        self.done_before += bytes;
        if bytes > 0 {
            self.vetted = false;
            self.doubted = false;
        }
        self.iter.advance(bytes);
        self.frontier = self.frontier.max(self.done_before);
        self.refill_budget();
    }

    /// Plans the next pass after one that moved nothing, at the price of one try.
    fn again(&mut self) -> Action {
        self.budget = self.budget.saturating_sub(1);
        self.plan()
    }

    /// The next action from the present position, with nothing under way.
    fn plan(&mut self) -> Action {
        let rest = self.rest();
        if self.total == 0 {
            // An empty request still asks the kernel, which checks the descriptor.
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

    /// The route of the bytes from the cursor on, by the file's alignment alone.
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
        // Most requests are aligned, and take no division.
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
            // A write must not change more than was asked for. Its edges go to the page cache in
            // whole pages, so that no page is written by both paths.
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

    fn looked(&mut self, bytes: usize, stop: Stop) -> Action {
        self.frontier = self.frontier.max(self.done_before + bytes);
        if stop == Stop::Absent {
            self.doubted |= self.vetted && bytes == 0;
            self.cold = true;
            self.cap = self.cap.min(self.geometry.cold_pass);
        }
        match self.route() {
            Route::Main(len) => self.send_resident(bytes.min(len), len, stop),
            Route::PageCache(len) if bytes >= len => self.send_buffered(len, false, self.offload),
            Route::PageCache(len) => {
                // Whole pages of the resident bytes; where there are none, the absent page is
                // faulted in first, because a buffered write that faults holds the file's lock.
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
}
