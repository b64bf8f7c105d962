//! The direct path: what of the looked-at bytes is submitted, and what each answer of the device or
//! the filesystem means.
//!
//! # EIO
//!
//! A direct pass answers EIO for more than a failing device: a block device does so for an
//! asynchronous pass of more than one bio whose memory turns bad (block/fops.c), and ext4 and XFS
//! for a read of a page of a hole that a mapping makes writable at that moment.
//!
//! A read is halved (`bisect`) down to one page, which the page cache then reads: all bytes before
//! an unreadable block are delivered.
//!
//! A write has its memory faulted in, in windows that halve until one succeeds (`vet`). Memory that
//! can't be faulted in goes to the page cache, whose answer is the answer. A window that was
//! faulted in is written once more. If the answer is still EIO, the error is the device's own, and
//! **the write tells it**: the bytes never reached the page cache, so no sync tells it a second
//! time. Bytes that did go to the page cache (ragged edges, memory that can't be pinned) are the
//! other way round: their write succeeds, and the next sync of the file tells the error. Each error
//! is told once, by the one or the other.
//!
//! The number of passes is bounded. At one position: at most one fault-in for each halving of the
//! window, one more write, one request to the page cache. Over a whole request: EIO limits later
//! passes to the window that was vetted, and that limit only falls.

use super::{Action, Direction, Errno, Geometry, Stage, Stop, Transfer, Trust};

impl Transfer {
    /// The last look found `bytes` of `len` bytes resident. As many of them are submitted as the
    /// file's alignment allows; where that is none, the bytes take another route.
    pub(super) fn send_resident(&mut self, bytes: usize, len: usize, stop: Stop) -> Action {
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
        // Misaligned: resident memory is copied, absent memory is faulted in first, so that no copy
        // holds a bounce buffer while it faults.
        if aligned == 0 && bytes >= block {
            return self.start_bounce(bytes & !(block - 1));
        }
        match stop {
            // A whole block at least, or the bounced bytes would end as ragged as these.
            Stop::NotDirect { bytes: run } => {
                self.start_bounce(bytes.saturating_add(run).max(block))
            }
            Stop::Absent if self.iter.current().len > bytes => self.fault_in(),
            Stop::Absent | Stop::End => self.start_bounce(len),
        }
    }

    pub(super) fn submitted(&mut self, len: usize, result: Result<usize, Errno>) -> Action {
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
                self.doubted |= self.vetted;
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
            Err(libc::EIO) => match self.direction {
                Direction::Read => self.bisect(len),
                Direction::Write => self.vet(),
            },
            Err(errno) => self.refused(errno),
        }
    }

    /// Whether so many bytes more end inside a page of the file. A filesystem's block is not larger
    /// than a page, so a whole page is a whole block.
    fn ends_inside_a_page(&self, count: usize) -> bool {
        !(self.position() + count as u64).is_multiple_of(self.geometry.page as u64)
    }

    /// A read met an unreadable block. The read is halved, so that all bytes before the block are
    /// delivered, as the page cache delivers them.
    fn bisect(&mut self, len: usize) -> Action {
        let least = self.geometry.page.max(self.geometry.block);
        if len <= least {
            // An unreadable block, or only a collision: where a page of a hole was made writable
            // through a mapping in this moment, ext4 and XFS answer EIO as well (iomap_dio_iter,
            // IOMAP_DELALLOC). The page cache can tell the one from the other.
            return self.send_rest_buffered();
        }
        self.bisecting = true;
        self.cap = (len / 2).next_multiple_of(least);
        if self.cap >= len {
            self.cap = least;
        }
        // The budget pays for every halving. A request longer than the window has more halvings
        // than budget, so the last one goes to the least size at once.
        if self.budget <= 1 {
            self.cap = least;
        }
        self.again()
    }

    /// A write met EIO. Its memory is faulted in, to tell bad memory from a bad device.
    fn vet(&mut self) -> Action {
        // A window that was faulted in before the first EIO is only a part of that pass.
        if self.vetted && self.is_vetting() {
            return self.fail(libc::EIO);
        }
        self.bisecting = true;
        self.budget = self.budget.saturating_sub(1);
        self.fault_in()
    }

    /// The kernel refused a direct or bounced request.
    pub(super) fn refused(&mut self, errno: Errno) -> Action {
        match errno {
            // The direct path asks to be tried again. The driver sends the second try without
            // NOWAIT.
            libc::EAGAIN | libc::EINTR if self.budget > 0 => {
                self.offload = true;
                self.again()
            }
            // The page cache answers for whatever the direct path can't do here: its answer is the
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
}
