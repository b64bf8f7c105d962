//! The bounce buffer: whole blocks between the file and engine-owned memory, and a copy between
//! that memory and the caller's. For ragged reads, misaligned memory, and memory that no direct
//! request takes.

use super::{Action, Direction, Errno, Geometry, Stage, Transfer};

impl Transfer {
    /// The next `run` bytes go through a bounce buffer, or by the page cache where there is none.
    pub(super) fn start_bounce(&mut self, run: usize) -> Action {
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

    pub(super) fn copied_in(&mut self, len: usize, result: Result<usize, Errno>) -> Action {
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

    pub(super) fn bounce_written(&mut self, len: usize, result: Result<usize, Errno>) -> Action {
        match result {
            Ok(0) => self.send_rest_buffered(),
            Ok(count) => {
                self.progress(count.min(len));
                self.plan()
            }
            Err(errno) => self.refused(errno),
        }
    }

    /// `len` bytes were asked for, of which `want` after the first `skip` are the caller's.
    pub(super) fn bounce_read(
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
                self.copy_out(skip, len, end)
            }
            // A bounced read is not halved as a direct one is (`bisect`): the page cache reads page
            // by page, and delivers all that comes before the unreadable block, if there is one.
            Err(libc::EIO) => self.send_rest_buffered(),
            Err(errno) => self.refused(errno),
        }
    }

    /// `end`: the read before the copy met the end of the file.
    fn copy_out(&mut self, skip: usize, len: usize, end: bool) -> Action {
        self.stage = Stage::CopyingOut { skip, len, end };
        Action::CopyOut { skip, len }
    }

    pub(super) fn copied_out(
        &mut self,
        skip: usize,
        len: usize,
        end: bool,
        result: Result<usize, Errno>,
    ) -> Action {
        // The cancellation of the request has also reached the copy of bytes that the device had
        // brought. They are copied once more.
        if result == Err(libc::ECANCELED) && self.cancelled && self.budget > 0 {
            self.budget -= 1;
            return self.copy_out(skip, len, end);
        }
        let count = result.unwrap_or(0).min(len);
        self.progress(count);
        if count < len {
            // The usable memory ends here. The page cache finds its last byte and names the error.
            self.budget = 0;
            return self.send_rest_buffered();
        }
        if end {
            self.finish(Ok(self.done_before))
        } else {
            self.plan()
        }
    }
}
