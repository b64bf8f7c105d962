//! The page cache: ragged edges of writes, memory that no direct request takes, files without a
//! direct path, and the last resort of every other route.

use super::{Action, Errno, Geometry, Stage, Transfer};

impl Transfer {
    /// The last resort: the page cache takes the rest, and its answer is the answer.
    pub(super) fn send_rest_buffered(&mut self) -> Action {
        self.budget = self.budget.saturating_sub(1);
        self.send_buffered(self.rest(), true, true)
    }

    /// The next `len` bytes go to the page cache. `last`: whatever is left after them follows by
    /// the page cache too.
    pub(super) fn send_buffered(&mut self, len: usize, last: bool, offload: bool) -> Action {
        self.stage = Stage::Buffering { len, last };
        Action::Buffered {
            offset: self.position(),
            len,
            offload,
        }
    }

    pub(super) fn buffered(
        &mut self,
        len: usize,
        last: bool,
        result: Result<usize, Errno>,
    ) -> Action {
        match result {
            Ok(0) => self.finish(Ok(self.done_before)),
            Ok(count) => {
                let count = count.min(len);
                // Doubt is about one page or one block at the cursor. A copy that moved fewer bytes
                // may have stopped where that page begins.
                let Geometry {
                    direct,
                    page,
                    block,
                    ..
                } = *self.geometry;
                self.not_pinnable |= direct && self.doubted && count >= len.min(page.max(block));
                self.progress(count);
                self.grow();
                if self.rest() == 0 {
                    return self.finish(Ok(self.done_before));
                }
                // A short count is the end of the file, of the memory or of the space. One more
                // request tells which.
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
}
