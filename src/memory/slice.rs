//! A range of an owned buffer, lent instead of the whole buffer.
//!
//! May know: the traits of `buf`. Must not know: any buffer in particular.

use std::fmt;
use std::ops::{Bound, Range, RangeBounds};

use super::buf::{IoBuf, IoBufMut, Pinned, SharedIoBuf};

/// A range of a buffer `B`, which the slice owns: give the slice to a request in place of the whole
/// buffer, and take the buffer back with [`into_inner`](Slice::into_inner). Made by
/// [`IoBufExt::into_slice`].
pub struct Slice<B> {
    inner: B,
    /// Never beyond the initialised bytes of `inner`, so that `set_init` leaves no gap.
    begin: usize,
    /// At least `begin`; may be beyond what `inner` has.
    end: usize,
}

/// Slicing, for every buffer.
pub trait IoBufExt: IoBuf + Sized {
    /// The bytes of `range` as a buffer of its own.
    ///
    /// Never panics: the range is cut to the buffer. The end is cut to the initialised bytes for a
    /// write, to the capacity for a read. The start is cut to the initialised bytes, because a read
    /// behind a gap would have to call the gap initialised: the slice `10..20` of an empty `Vec` of
    /// capacity 100 is `0..20`, and that of a `Vec` with ten bytes is `10..20`. [`Slice::range`]
    /// returns the range after the cut. A range whose end is before its start is empty.
    ///
    /// The buffer itself goes into the slice, nothing is copied. Not to be mistaken for the `slice`
    /// of `Bytes` and [`Region`](crate::Region), which borrow.
    ///
    /// ```
    /// use nofault::{IoBuf, IoBufExt};
    /// let middle = vec![1, 2, 3, 4, 5].into_slice(1..3);
    /// assert_eq!(middle.bytes_init(), 2);
    /// assert_eq!(middle.as_ref(), [2, 3]);
    /// assert_eq!(middle.into_inner(), [1, 2, 3, 4, 5]);
    /// ```
    fn into_slice(self, range: impl RangeBounds<usize>) -> Slice<Self> {
        let begin = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => usize::MAX,
        };
        // An empty range stays empty when its start is cut.
        let empty = end <= begin;
        let begin = begin.min(self.bytes_init());
        Slice {
            begin,
            end: if empty { begin } else { end },
            inner: self,
        }
    }
}

impl<B: IoBuf> IoBufExt for B {}

impl<B> Slice<B> {
    /// Gives the whole buffer back.
    pub fn into_inner(self) -> B {
        self.inner
    }

    /// The range, with the start cut as [`into_slice`](IoBufExt::into_slice) describes. The end is the one
    /// asked for (`usize::MAX` for an open range), and may be beyond the buffer.
    pub fn range(&self) -> Range<usize> {
        self.begin..self.end
    }
}

/// The bytes of the range, as far as the buffer has them.
impl<B: AsRef<[u8]>> AsRef<[u8]> for Slice<B> {
    fn as_ref(&self) -> &[u8] {
        let all = self.inner.as_ref();
        all.get(self.begin..self.end.min(all.len()))
            .unwrap_or_default()
    }
}

/// The bytes of the range, as far as the buffer has them.
impl<B: AsMut<[u8]>> AsMut<[u8]> for Slice<B> {
    fn as_mut(&mut self) -> &mut [u8] {
        let all = self.inner.as_mut();
        let end = self.end.min(all.len());
        all.get_mut(self.begin..end).unwrap_or_default()
    }
}

/// Shows the range, not the contents.
impl<B> fmt::Debug for Slice<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slice")
            .field("begin", &self.begin)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

// SAFETY: the inner buffer keeps the contract, and the slice is a part of its bytes: `begin` is at most its
// `bytes_init`, which does not fall while it is owned here, so the pointer and the length stay
// inside.
unsafe impl<B: IoBuf> IoBuf for Slice<B> {
    fn stable_ptr(&self) -> *const u8 {
        // SAFETY: `begin` is within the initialised bytes of one allocation.
        unsafe { self.inner.stable_ptr().add(self.begin) }
    }

    fn bytes_init(&self) -> usize {
        self.end
            .min(self.inner.bytes_init())
            .saturating_sub(self.begin)
    }

    fn pinned(&self) -> Option<Pinned> {
        self.inner.pinned()
    }
}

// SAFETY: a shared reference to the slice gives one to the inner buffer, and no more.
unsafe impl<B: SharedIoBuf> SharedIoBuf for Slice<B> {}

// SAFETY: as above, for the bytes up to `bytes_total` of the inner buffer.
unsafe impl<B: IoBufMut> IoBufMut for Slice<B> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        // SAFETY: `begin` is within the bytes of one allocation.
        unsafe { self.inner.stable_mut_ptr().add(self.begin) }
    }

    fn bytes_total(&self) -> usize {
        self.end
            .min(self.inner.bytes_total())
            .saturating_sub(self.begin)
    }

    unsafe fn set_init(&mut self, count: usize) {
        // SAFETY: the bytes before `begin` were initialised from the start, and the caller vouches
        // for `count` bytes from there; `count` is at most `bytes_total`, so the sum is within the
        // inner buffer.
        unsafe { self.inner.set_init(self.begin + count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::AlignedBuf;

    #[test]
    fn reading_into_a_slice_never_calls_a_gap_initialised() {
        for filled in [0, 3, 10] {
            let mut buf = Vec::with_capacity(64);
            buf.resize(filled, 9u8);
            let mut slice = buf.into_slice(5..20);
            let range = slice.range();
            assert_eq!(range, filled.min(5)..20);
            assert_eq!(slice.bytes_total(), 20 - range.start);
            // SAFETY: the four bytes are inside the capacity.
            unsafe { slice.stable_mut_ptr().write_bytes(7, 4) };
            // SAFETY: the four bytes were just written.
            unsafe { slice.set_init(4) };
            let buf = slice.into_inner();
            assert_eq!(buf.len(), filled.max(range.start + 4));
            assert!(buf[..range.start].iter().all(|byte| *byte == 9));
            assert_eq!(&buf[range.start..range.start + 4], [7; 4]);
        }
    }

    #[test]
    fn a_range_beyond_the_buffer_is_cut() {
        let all = (0..8u8).collect::<Vec<_>>();
        let expect = [(0, 8), (8, 0), (8, 0), (2, 0), (0, 0), (3, 5), (1, 2)];
        type Bounds = (Bound<usize>, Bound<usize>);
        let ranges: [Bounds; 7] = [
            (Bound::Unbounded, Bound::Unbounded),
            (Bound::Included(8), Bound::Unbounded),
            (Bound::Included(usize::MAX), Bound::Included(usize::MAX)),
            (Bound::Included(2), Bound::Excluded(1)),
            (Bound::Included(0), Bound::Excluded(0)),
            (Bound::Excluded(2), Bound::Excluded(usize::MAX)),
            (Bound::Included(1), Bound::Included(2)),
        ];
        for (range, (begin, len)) in ranges.into_iter().zip(expect) {
            let slice = all.clone().into_boxed_slice().into_slice(range);
            assert_eq!(
                (slice.range().start, slice.bytes_init(), slice.bytes_total()),
                (begin, len, len),
                "{range:?}"
            );
        }
        assert_eq!(AlignedBuf::new(0).unwrap().into_slice(1..).bytes_total(), 0);
    }

    #[test]
    fn a_slice_shows_the_bytes_that_it_sends() {
        for range in [0..3, 2..100, 8..9, 5..5] {
            let mut slice = (0..8u8).collect::<Vec<_>>().into_slice(range.clone());
            let shown = slice.as_ref().to_vec();
            assert_eq!(shown.len(), slice.bytes_init(), "{range:?}");
            assert!(
                shown
                    .iter()
                    .zip(range)
                    .all(|(byte, at)| usize::from(*byte) == at)
            );
            slice.as_mut().fill(9);
            let nines = slice.into_inner().iter().filter(|byte| **byte == 9).count();
            assert_eq!(nines, shown.len());
        }
    }

    #[test]
    fn a_slice_of_a_slice_counts_from_the_slice() {
        let outer = (0..16u8).collect::<Vec<_>>().into_slice(4..12);
        let start = outer.stable_ptr();
        let inner = outer.into_slice(2..100);
        assert_eq!(inner.stable_ptr().addr() - start.addr(), 2);
        assert_eq!(inner.bytes_init(), 6);
        assert_eq!(inner.into_inner().into_inner().len(), 16);
    }

    #[test]
    fn a_slice_of_registered_memory_is_registered() {
        struct Registered(Vec<u8>);
        // SAFETY: as for the Vec inside.
        unsafe impl IoBuf for Registered {
            fn stable_ptr(&self) -> *const u8 {
                self.0.stable_ptr()
            }

            fn bytes_init(&self) -> usize {
                self.0.bytes_init()
            }

            fn pinned(&self) -> Option<Pinned> {
                Some(Pinned {
                    engine: 1,
                    base: self.0.as_ptr().addr(),
                    index: 3,
                })
            }
        }
        let buf = Registered(vec![0; 8]);
        let pinned = buf.pinned();
        assert_eq!(buf.into_slice(2..4).pinned(), pinned);
    }
}
