//! The cursor of a request over its memory: the kernel's `iov_iter`, over addresses only.
//!
//! May know: lengths and addresses. Must not read the memory at an address.

/// One contiguous piece of memory. The address is a number, because nothing in this layer may read
/// the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Segment {
    pub(crate) addr: usize,
    pub(crate) len: usize,
}

/// The end of the addresses that the kernel maps unless a process asks for the larger address space
/// of five-level page tables (DEFAULT_MAP_WINDOW).
#[cfg(target_arch = "x86_64")]
pub(crate) const USER_END: usize = (1 << 47) - 4096;
/// The end of the addresses that a process can map. Half of all addresses, which is at least as many
/// as any kernel gives a process: no address is refused that the kernel would take.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) const USER_END: usize = usize::MAX / 2;

/// The memory of one request. One segment, the common case, costs no allocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Segments {
    One(Segment),
    Many(Box<[Segment]>),
}

/// The most one read(2) or write(2) moves (MAX_RW_COUNT), with pages of 4 KiB.
pub(crate) const MAX_RW_COUNT: usize = 0x7fff_f000;

impl Segments {
    /// The segments of preadv(2). A vector of one piece is cut to the most that one call moves,
    /// before any other check (`__import_iovec_ubuf`).
    pub(crate) fn vector(segments: impl Iterator<Item = Segment>) -> Segments {
        let all: Box<[Segment]> = segments.collect();
        match all[..] {
            [one] if isize::try_from(one.len).is_ok() => Segments::One(Segment {
                len: one.len.min(MAX_RW_COUNT),
                ..one
            }),
            _ => Segments::Many(all),
        }
    }

    fn as_slice(&self) -> &[Segment] {
        match self {
            Segments::One(segment) => std::slice::from_ref(segment),
            Segments::Many(all) => all,
        }
    }

    /// The sum of the lengths, or `None` if it or one length is more than a signed size holds
    /// (`import_iovec`: EINVAL).
    pub(crate) fn total(&self) -> Option<usize> {
        let mut sum = 0usize;
        for segment in self.as_slice() {
            sum = sum
                .checked_add(segment.len)
                .filter(|&sum| sum <= isize::MAX as usize)?;
        }
        Some(sum)
    }

    pub(crate) fn count(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether all segments lie at addresses that a process can map (`access_ok`).
    pub(crate) fn are_user_addresses(&self) -> bool {
        self.as_slice().iter().all(|segment| {
            segment
                .addr
                .checked_add(segment.len)
                .is_some_and(|end| end <= USER_END)
        })
    }

    /// The segments as the kernel's struct, for a system call.
    pub(crate) fn to_iovecs(&self) -> Vec<libc::iovec> {
        let iovec = |segment: &Segment| libc::iovec {
            iov_base: std::ptr::with_exposed_provenance_mut(segment.addr),
            iov_len: segment.len,
        };
        self.as_slice().iter().map(iovec).collect()
    }
}

/// A cursor over the segments. It only moves forward.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IovIter {
    segments: Segments,
    index: usize,
    within: usize,
}

impl IovIter {
    pub(crate) fn new(segments: Segments) -> Self {
        let mut iter = IovIter {
            segments,
            index: 0,
            within: 0,
        };
        iter.skip_empty();
        iter
    }

    fn skip_empty(&mut self) {
        let all = self.segments.as_slice();
        while all
            .get(self.index)
            .is_some_and(|segment| segment.len == self.within)
        {
            self.index += 1;
            self.within = 0;
        }
    }

    /// Moves the cursor forward by `bytes`, at most to the end.
    pub(crate) fn advance(&mut self, mut bytes: usize) {
        while bytes > 0 {
            let Some(segment) = self.segments.as_slice().get(self.index) else {
                return;
            };
            let step = bytes.min(segment.len - self.within);
            self.within += step;
            bytes -= step;
            self.skip_empty();
        }
    }

    /// The pieces of the next `len` bytes, `skip` bytes after the cursor, in order. Empty pieces are
    /// left out.
    pub(crate) fn pieces(&self, skip: usize, len: usize) -> impl Iterator<Item = Segment> + '_ {
        let mut skip = skip;
        let mut left = len;
        let mut within = self.within;
        self.segments
            .as_slice()
            .get(self.index..)
            .unwrap_or(&[])
            .iter()
            .filter_map(move |segment| {
                let start = std::mem::take(&mut within);
                let passed = skip.min(segment.len - start);
                skip -= passed;
                let len = (segment.len - start - passed).min(left);
                left -= len;
                (len > 0).then(|| Segment {
                    addr: segment.addr.wrapping_add(start + passed),
                    len,
                })
            })
    }

    /// The contiguous bytes from the cursor on: the rest of its segment. Empty at the end.
    pub(crate) fn current(&self) -> Segment {
        match self.segments.as_slice().get(self.index) {
            Some(segment) => Segment {
                addr: segment.addr.wrapping_add(self.within),
                len: segment.len - self.within,
            },
            None => Segment { addr: 0, len: 0 },
        }
    }

    /// How many of the next `max` bytes one direct request can take: every piece starts at a
    /// multiple of `mem`, and every piece but the last is a multiple of `block` long
    /// (`bdev_iter_is_aligned`). The result is a multiple of `block`, both powers of two.
    pub(crate) fn aligned_prefix(&self, mem: usize, block: usize, max: usize) -> usize {
        if let Segments::One(_) = self.segments {
            let piece = self.current();
            return if piece.addr & (mem - 1) == 0 {
                piece.len.min(max) & !(block - 1)
            } else {
                0
            };
        }
        let mut sum = 0;
        for piece in self.pieces(0, max) {
            if piece.addr & (mem - 1) != 0 {
                break;
            }
            sum += piece.len & !(block - 1);
            if piece.len & (block - 1) != 0 {
                break;
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iter(parts: &[(usize, usize)]) -> IovIter {
        IovIter::new(Segments::Many(
            parts
                .iter()
                .map(|&(addr, len)| Segment { addr, len })
                .collect(),
        ))
    }

    #[test]
    fn pieces_cover_what_advance_left() {
        let parts = [(0, 0), (4096, 10), (8192, 0), (12288, 7), (16384, 5)];
        for start in 0..=22 {
            let mut at = iter(&parts);
            at.advance(start);
            for skip in 0..=(22 - start) {
                for len in 0..=(22 - start - skip) {
                    let got: Vec<usize> = at
                        .pieces(skip, len)
                        .flat_map(|p| p.addr..p.addr + p.len)
                        .collect();
                    let all: Vec<usize> = parts
                        .iter()
                        .flat_map(|&(addr, len)| addr..addr + len)
                        .collect();
                    assert_eq!(got, all[start + skip..start + skip + len]);
                }
            }
        }
    }

    #[test]
    fn a_ragged_or_misaligned_piece_ends_the_aligned_prefix() {
        assert_eq!(
            iter(&[(4096, 1024), (8192, 1000), (16384, 512)]).aligned_prefix(512, 512, 4096),
            1536
        );
        assert_eq!(iter(&[(4100, 1024)]).aligned_prefix(512, 512, 1024), 0);
        assert_eq!(iter(&[(4100, 1024)]).aligned_prefix(4, 512, 1024), 1024);
        assert_eq!(
            iter(&[(4096, 512), (8193, 512)]).aligned_prefix(4, 512, 1024),
            512
        );
        assert_eq!(iter(&[(4096, 4096)]).aligned_prefix(4, 512, 700), 512);
    }

    #[test]
    fn sizes_that_no_signed_size_holds_have_no_total() {
        assert_eq!(
            Segments::One(Segment {
                addr: 0,
                len: usize::MAX
            })
            .total(),
            None
        );
        let two = Segments::Many(Box::new([
            Segment {
                addr: 0,
                len: isize::MAX as usize,
            },
            Segment { addr: 0, len: 1 },
        ]));
        assert_eq!(two.total(), None);
    }
}
