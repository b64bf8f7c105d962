//! Faulting in: the window, which shrinks when a pass moves nothing and grows with progress, and
//! the fault-in that runs ahead of the cursor.

use super::super::protocol::Ahead;
use super::{Action, Direction, Errno, Stage, Transfer};

impl Transfer {
    /// The next window of absent memory is faulted in, or the fault-in ahead that already does so
    /// is waited for.
    pub(super) fn fault_in(&mut self) -> Action {
        if self.ahead {
            self.stage = Stage::AwaitingAhead;
            return Action::AwaitAhead;
        }
        self.ahead_failed = false;
        self.vetted = false;
        let here = self.iter.current();
        let window = self.window.max(self.least_window());
        let len = window.min(here.len).min(self.rest());
        self.frontier = self.frontier.max(self.done_before + len);
        self.stage = Stage::FaultingIn { len };
        Action::FaultIn { len }
    }

    pub(super) fn faulted_in(&mut self, len: usize, result: Result<(), Errno>) -> Action {
        match result {
            Ok(()) => {
                // The next look says what of the window is resident. If it finds nothing, the
                // request comes back here with less budget.
                self.shrink_unless_first();
                self.vetted = true;
                if self.is_vetting() {
                    // The next pass carries vetted memory only. (A piece shorter than a block is
                    // never submitted, so one block is not too many.)
                    let block = self.geometry.block;
                    self.cap = self.cap.min((len & !(block - 1)).max(block));
                }
                self.plan()
            }
            // One page that can't be faulted in. The page cache may still reach it by a copy, or
            // gives the error its name.
            Err(_) if len <= self.least_window() => {
                self.doubted = true;
                self.send_rest_buffered()
            }
            Err(_) => {
                self.shrink();
                // While a write is vetted it is not sent again before a window was faulted in.
                if self.is_vetting() && self.budget > 0 {
                    self.fault_in()
                } else {
                    self.plan()
                }
            }
        }
    }

    /// The smallest window: one page, and while a write is vetted a whole block, because the next
    /// pass carries whole blocks of that window.
    fn least_window(&self) -> usize {
        if self.is_vetting() {
            self.geometry.page.max(self.geometry.block)
        } else {
            self.geometry.page
        }
    }

    /// A write met EIO: its passes carry nothing but memory that was faulted in.
    pub(super) fn is_vetting(&self) -> bool {
        self.bisecting && self.direction == Direction::Write
    }

    /// A pass made progress: the window and the cap may grow again.
    pub(super) fn grow(&mut self) {
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
    pub(super) fn shrink(&mut self) {
        self.window = (self.window / 2).max(self.geometry.page);
        self.budget = self.budget.saturating_sub(1);
    }

    /// A successful fault-in is no failure, but it costs a try: a page may be reclaimed again and
    /// again before it is looked at.
    fn shrink_unless_first(&mut self) {
        let full = self.window == self.geometry.window;
        self.budget = self.budget.saturating_sub(1);
        if !full {
            self.window = (self.window / 2).max(self.geometry.page);
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

    /// The place where a fault-in ahead ends, as bytes from the request's start: the first argument
    /// of [`Transfer::ahead_ended`].
    pub(crate) fn ahead_end(&self, ahead: Ahead) -> usize {
        self.done_before + ahead.skip + ahead.len
    }

    /// The fault-in ahead ended. `true`: the last action was [`Action::AwaitAhead`], and
    /// [`Event::AheadEnded`](super::Event::AheadEnded) is its answer.
    pub(crate) fn ahead_ended(&mut self, end: usize, result: Result<(), Errno>) -> bool {
        self.ahead = false;
        match result {
            Ok(()) => self.frontier = self.frontier.max(end),
            Err(_) => self.ahead_failed = true,
        }
        self.stage == Stage::AwaitingAhead
    }

    /// A fault-in ahead still touches the memory: the buffer must not be given back.
    pub(crate) fn is_ahead(&self) -> bool {
        self.ahead
    }
}
