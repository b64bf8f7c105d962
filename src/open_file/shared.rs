//! An open file as one driver sees it: descriptors, their places in the ring's table, and the sizes
//! that hold for its requests.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;

use super::align::Alignment;
use super::facts::Kind;
use super::opened::Opened;
use super::place::FileRef;
use crate::sys::Errno;
use crate::transfer::{Direction, Geometry, USER_END};

/// Places in the ring's table that were given up. The driver takes them back in its next turn.
pub(crate) type Retired = Rc<RefCell<Vec<u32>>>;

/// The open file, shared by the handle and the requests in flight on it.
pub(crate) struct FileShared {
    // The fields that every request reads stand together.
    plain_reads: Plain,
    plain_writes: Plain,
    /// The main path: direct if there is one.
    main: Cell<FileRef>,
    buffered: Cell<FileRef>,
    reads: Sizes,
    writes: Sizes,
    /// The descriptors' places in the ring's table: of the buffered one, of the direct one.
    places: Cell<[Option<u32>; 2]>,
    /// Direct requests must not be tried on the submitting thread.
    offload: bool,
    retired: Retired,
    opened: Arc<Opened>,
}

/// Pages of memory that one bio holds (BIO_MAX_VECS).
///
/// A block device answers a request that needs more of them with -EAGAIN on the submitting thread,
/// which costs a trip through io-wq, and with -EIO where the memory of a later bio is bad. A buffer
/// that starts inside a page spans one page more: its requests take the trip. Registered memory is
/// one bio, however long.
const BIO_PAGES: usize = 256;

/// The ranges that are sent whole by one operation on the file's main path, in one direction.
struct Plain {
    /// Bits that no address has.
    addr: usize,
    /// Bits that no offset and no length has.
    range: u64,
    /// The most bytes of foreign memory; 0 where every request needs a closer look.
    most: usize,
    /// The same for registered memory.
    most_pinned: usize,
    /// The highest address.
    highest: usize,
}

/// The sizes for requests in one direction.
struct Sizes {
    foreign: Rc<Geometry>,
    /// For registered memory.
    pinned: Rc<Geometry>,
}

impl Plain {
    /// `allowed`: requests in this direction need no closer look.
    fn new(
        alignment: Alignment,
        allowed: bool,
        block: u32,
        pass: usize,
        pinned_pass: usize,
    ) -> Plain {
        let too_large = !((1 << 62) - 1);
        Plain {
            // Without a direct path all alignments are 1.
            addr: alignment.mem as usize - 1,
            range: (u64::from(block) - 1) | too_large,
            most: if allowed { pass } else { 0 },
            most_pinned: if allowed { pinned_pass } else { 0 },
            highest: USER_END - pass.max(pinned_pass),
        }
    }
}

impl FileShared {
    /// An open file, for the driver that `base` and `retired` are of.
    pub(crate) fn new(opened: Arc<Opened>, base: Geometry, retired: Retired) -> FileShared {
        let (facts, alignment) = (opened.facts, opened.alignment());
        let direct = opened.direct_fd().is_some();
        let pass = if facts.kind == Kind::Device && direct {
            base.pass.min(BIO_PAGES * base.page)
        } else {
            base.pass
        };
        let offload = direct && facts.offload;
        let plain = |direction, block| {
            let allowed = opened.is_ordinary()
                && !facts.one_call()
                && !offload
                && facts.refusal(direction).is_none();
            Plain::new(alignment, allowed, block, pass, base.pass)
        };
        let sized = |block: u32| {
            let (mem, block) = (alignment.mem as usize, block as usize);
            let pinned = Geometry {
                direct,
                whole: facts.one_call(),
                mem,
                block,
                ..base
            };
            Sizes {
                foreign: Rc::new(Geometry {
                    pass,
                    cold_pass: base.cold_pass.min(pass),
                    ..pinned
                }),
                pinned: Rc::new(pinned),
            }
        };
        let raw = FileRef::new(opened.buffered_fd().as_raw_fd(), None);
        let shared = FileShared {
            plain_reads: plain(Direction::Read, alignment.read_offset),
            plain_writes: plain(Direction::Write, alignment.offset),
            main: Cell::new(raw),
            buffered: Cell::new(raw),
            reads: sized(alignment.read_offset),
            writes: sized(alignment.offset),
            places: Cell::new([None; 2]),
            offload,
            retired,
            opened,
        };
        shared.set_places(None, None);
        shared
    }

    pub(crate) fn opened(&self) -> &Arc<Opened> {
        &self.opened
    }

    pub(crate) fn buffered_fd(&self) -> BorrowedFd<'_> {
        self.opened.buffered_fd()
    }

    pub(crate) fn direct_fd(&self) -> Option<BorrowedFd<'_>> {
        self.opened.direct_fd()
    }

    /// The descriptors have these places in the ring's table.
    pub(crate) fn set_places(&self, buffered: Option<u32>, direct: Option<u32>) {
        self.places.set([buffered, direct]);
        let buffered = FileRef::new(self.buffered_fd().as_raw_fd(), buffered);
        self.buffered.set(buffered);
        self.main.set(
            self.direct_fd()
                .map_or(buffered, |fd| FileRef::new(fd.as_raw_fd(), direct)),
        );
    }

    /// Has completions on the direct path polled for, or no longer, because the device refused.
    pub(crate) fn set_polled(&self, polled: bool) {
        let polled = polled && self.direct_fd().is_some();
        self.main.set(FileRef {
            polled,
            ..self.main.get()
        });
    }

    pub(crate) fn buffered(&self) -> FileRef {
        self.buffered.get()
    }

    /// The buffered descriptor itself, for a call on this thread.
    pub(crate) fn descriptor(&self) -> FileRef {
        FileRef::new(self.buffered_fd().as_raw_fd(), None)
    }

    /// The direct descriptor, or the buffered one where there is none.
    #[inline]
    pub(crate) fn direct(&self) -> FileRef {
        self.main.get()
    }

    /// The sizes for requests in this direction. `pinned`: on registered memory.
    pub(crate) fn geometry(&self, direction: Direction, pinned: bool) -> Rc<Geometry> {
        let sizes = match direction {
            Direction::Read => &self.reads,
            Direction::Write => &self.writes,
        };
        if pinned {
            sizes.pinned.clone()
        } else {
            sizes.foreign.clone()
        }
    }

    /// Whether a request of no bytes does nothing, see [`Opened::is_ordinary`].
    pub(crate) fn is_ordinary(&self) -> bool {
        self.opened.is_ordinary()
    }

    /// Whether direct requests must not be tried on the submitting thread.
    pub(crate) fn must_offload(&self) -> bool {
        self.offload
    }

    /// Whether one operation on the file's main path takes all of a range, as far as the file and
    /// the numbers can tell. A range that is refused here may still be right: [`FileShared::admit`]
    /// and a transfer look at it more closely. `pinned`: the range is registered memory.
    #[inline]
    pub(crate) fn takes_plain(
        &self,
        direction: Direction,
        addr: usize,
        len: usize,
        offset: u64,
        pinned: bool,
    ) -> bool {
        let plain = match direction {
            Direction::Read => &self.plain_reads,
            Direction::Write => &self.plain_writes,
        };
        let most = if pinned {
            plain.most_pinned
        } else {
            plain.most
        };
        (addr & plain.addr) as u64 | (len as u64 | offset) & plain.range == 0
            && len.wrapping_sub(1) < most
            && addr <= plain.highest
    }

    /// What the kernel checks first, see [`Opened::admit`].
    pub(crate) fn admit(
        &self,
        direction: Direction,
        offset: u64,
        total: Option<usize>,
        vectored: bool,
    ) -> Result<usize, Errno> {
        self.opened.admit(direction, offset, total, vectored)
    }

    /// Gives up the places in the ring's table.
    pub(crate) fn retire(&self) {
        let places = self.places.take().into_iter().flatten();
        // Borrowed only to push and to drain, never across foreign code.
        if let Ok(mut retired) = self.retired.try_borrow_mut() {
            retired.extend(places);
        }
    }
}

impl Drop for FileShared {
    fn drop(&mut self) {
        self.retire();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;

    /// Where a try on the submitting thread is not safe no request goes the plain way, registered
    /// memory or not: a transfer sends it to a worker.
    #[test]
    fn nothing_is_plain_on_a_file_whose_requests_must_be_offloaded() {
        let dir = tempfile::tempdir().expect("a directory");
        for offload in [false, true] {
            let file = std::fs::File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(dir.path().join("file"))
                .expect("a file");
            let mut opened = Opened::new(file, true).expect("opened");
            if opened.direct_fd().is_none() {
                println!("SKIP: {}", opened.path);
                return;
            }
            opened.facts.offload = offload;
            let base = crate::transfer::Geometry {
                direct: false,
                whole: false,
                mem: 1,
                block: 1,
                page: sys::page_size(),
                window: 1 << 20,
                bounce: 0,
                pass: 1 << 20,
                cold_pass: 1 << 20,
                heavy: 1 << 20,
                ahead: 1 << 20,
                tries: 1,
                middle: 1 << 16,
            };
            let shared = FileShared::new(Arc::new(opened), base, Retired::default());
            assert_eq!(shared.must_offload(), offload);
            for direction in [Direction::Read, Direction::Write] {
                for pinned in [false, true] {
                    let plain = shared.takes_plain(direction, 1 << 20, 65536, 0, pinned);
                    assert_eq!(plain, !offload, "{direction:?}, pinned {pinned}");
                }
            }
        }
    }
}
