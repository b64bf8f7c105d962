//! The buffer zoo: memory of every kind that a request may be given, built twice alike for the two
//! paths that are compared.
//!
//! It knows what the kernel makes of a page, and nothing of requests.

use super::mapping::{ANON, Mapping, READ, READ_WRITE, patterned};
use super::sys::{self, PAGE, Seg};
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;

const HUGE: usize = 2 << 20;
const MADV_GUARD_INSTALL: i32 = 102;

/// What stands behind the addresses of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anonymous, written.
    Warm,
    /// Anonymous, never touched.
    Fresh,
    /// Anonymous, read only: the zero page everywhere.
    ZeroPage,
    /// Anonymous, written, then PROT_READ.
    ReadOnly,
    /// Anonymous, written, some pages PROT_READ.
    ReadOnlyPart,
    /// Anonymous, written, then some pages PROT_NONE.
    NoAccess,
    /// Anonymous, written, with pages unmapped.
    Hole,
    /// Anonymous, written, with guard pages.
    Guard,
    /// A file mapping that goes on behind the end of the file; shared or private.
    BeyondEnd { shared: bool },
    /// Another file of the same filesystem.
    OtherFile { shared: bool },
    /// The bytes of the very file, the very range that the request is about.
    SameRange { shared: bool },
    /// Anonymous, written, shared with a child that lives as long as the request.
    Cow,
    /// memfd_secret.
    Secret,
    /// The kernel's [vvar] pages: special, and not to be pinned.
    Vvar,
    /// Shared anonymous memory, written.
    SharedAnon,
    /// A mapping of a memfd, not touched.
    Memfd,
    /// Transparent huge pages, written.
    Huge,
    /// 4 GiB of addresses, of which only the first pages can be used; the length is one of
    /// `VAST_LENGTHS`.
    Vast,
    /// Address zero.
    Null,
    /// An address of the kernel's half.
    Kernel,
}

/// Lengths around MAX_RW_COUNT (0x7ffff000), around 2 GiB, and such as no mapping can hold.
pub(crate) const VAST_LENGTHS: [usize; 8] = [
    0x7fff_efff,
    0x7fff_f000,
    0x7fff_f001,
    0x8000_0000,
    3 << 30,
    (1 << 47) - PAGE,
    isize::MAX as usize,
    usize::MAX,
];

/// One segment to build.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) kind: Kind,
    /// Where in its first page the segment starts, in bytes. `SameRange` takes the file offset's
    /// instead.
    pub(crate) skew: usize,
    /// Bytes. `Vast` takes one of `VAST_LENGTHS` instead.
    pub(crate) len: usize,
    /// Which page the bad or odd part starts at, modulo the number of pages.
    pub(crate) odd_page: usize,
    /// How many pages are bad or odd, at most to the end.
    pub(crate) odd_pages: usize,
}

/// What a segment may need from outside.
pub(crate) struct Around<'a> {
    /// Other files, filled with the pattern of `OTHER_SEED`, at least as long as any segment: one
    /// for private mappings, one for shared ones, since a private page shows what goes into the
    /// shared one for only as long as nothing has copied it.
    pub(crate) other: &'a [File; 2],
    /// Files of `SHORT_BYTES` bytes to map beyond their end, likewise.
    pub(crate) short: &'a [File; 2],
    /// A descriptor (read and write) of the file that the request is about, and where this
    /// segment's bytes are in it.
    pub(crate) own: &'a File,
    pub(crate) at: Option<u64>,
}

pub(crate) const OTHER_SEED: u64 = 77;
pub(crate) const SHORT_BYTES: usize = 2 * PAGE + 100;

/// A segment that stands, and what keeps it standing.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) seg: Seg,
    /// What of it may be looked at when the request is over, before the segment, in it and behind
    /// it.
    pub(crate) visible: Range<usize>,
    /// Its bytes change by themselves, so they are not compared.
    pub(crate) restless: bool,
    _keep: Option<Mapping>,
    _file: Option<OwnedFd>,
}

/// True if the kernel here has this kind of memory; says once why not.
pub(crate) fn available(kind: Kind) -> bool {
    static SECRET: OnceLock<bool> = OnceLock::new();
    static GUARD: OnceLock<bool> = OnceLock::new();
    static VVAR: OnceLock<bool> = OnceLock::new();
    let told = |what, ok: bool, reason: &str| {
        if !ok {
            super::note_skip(what, reason);
        }
        ok
    };
    match kind {
        Kind::Secret => *SECRET.get_or_init(|| {
            told(
                "memfd_secret buffers",
                secret(PAGE).is_some(),
                "memfd_secret is refused",
            )
        }),
        Kind::Guard => *GUARD.get_or_init(|| {
            let mapping = Mapping::anon(PAGE);
            let ok = mapping.advise(0..PAGE, MADV_GUARD_INSTALL).is_ok();
            told(
                "guard page buffers",
                ok,
                "MADV_GUARD_INSTALL is refused (Linux 6.13)",
            )
        }),
        Kind::Vvar => *VVAR.get_or_init(|| {
            told(
                "[vvar] buffers",
                vvar().is_some(),
                "no [vvar] in /proc/self/maps",
            )
        }),
        _ => true,
    }
}

fn secret(len: usize) -> Option<(Mapping, OwnedFd)> {
    let fd = sys::memfd_secret().ok()?;
    sys::ftruncate(fd.as_raw_fd(), len as u64);
    let mapping = Mapping::new(len, READ_WRITE, libc::MAP_SHARED, fd.as_raw_fd(), 0).ok()?;
    Some((mapping, fd))
}

/// The range of addresses of [vvar].
pub(crate) fn vvar() -> Option<Range<usize>> {
    static RANGE: OnceLock<Option<Range<usize>>> = OnceLock::new();
    RANGE
        .get_or_init(|| {
            let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
            let line = maps.lines().find(|line| line.ends_with("[vvar]"))?;
            let (start, end) = line.split_whitespace().next()?.split_once('-')?;
            Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
        })
        .clone()
}

/// Builds one segment. The same piece and seed give the same bytes and the same shape each time.
pub(crate) fn build(piece: &Piece, seed: u64, around: &Around<'_>) -> Built {
    let &Piece { skew, len, .. } = piece;
    let room = (skew + len).next_multiple_of(PAGE).max(PAGE);
    let kind = if available(piece.kind) {
        piece.kind
    } else {
        Kind::Warm
    };
    let start = (piece.odd_page % (room / PAGE)) * PAGE;
    let odd = start..(start + piece.odd_pages.max(1) * PAGE).min(room);
    match kind {
        Kind::Warm | Kind::Cow => anon(piece, room, seed, |_| ()),
        Kind::Fresh => whole(piece, Mapping::anon(room), None),
        Kind::ZeroPage => {
            let mapping = Mapping::anon(room);
            mapping.touch_to_read();
            whole(piece, mapping, None)
        }
        Kind::ReadOnly => anon(piece, room, seed, |mapping| mapping.protect(0..room, READ)),
        Kind::ReadOnlyPart => anon(piece, room, seed, |mapping| mapping.protect(odd, READ)),
        Kind::NoAccess => anon(piece, room, seed, |mapping| {
            mapping.protect(odd, libc::PROT_NONE)
        }),
        Kind::Hole => anon(piece, room, seed, |mapping| mapping.punch(odd)),
        Kind::Guard => anon(piece, room, seed, |mapping| {
            mapping
                .advise(odd, MADV_GUARD_INSTALL)
                .expect("guard pages");
        }),
        Kind::BeyondEnd { shared } => {
            let from = piece.odd_page % 4 * PAGE;
            file(
                piece,
                room,
                shared,
                &around.short[usize::from(shared)],
                from as u64,
            )
        }
        Kind::OtherFile { shared } => file(
            piece,
            room,
            shared,
            &around.other[usize::from(shared)],
            (piece.odd_page % 4 * PAGE) as u64,
        ),
        Kind::SameRange { shared } => same_range(piece, shared, seed, around),
        Kind::Secret => {
            let (mapping, fd) = secret(room).expect("memfd_secret");
            mapping.fill(0..room, seed);
            whole(piece, mapping, Some(fd))
        }
        Kind::SharedAnon => {
            let mapping = Mapping::new(
                room,
                READ_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
            .expect("shared anon");
            mapping.fill(0..room, seed);
            whole(piece, mapping, None)
        }
        Kind::Memfd => {
            let fd = sys::memfd().expect("memfd");
            sys::ftruncate(fd.as_raw_fd(), room as u64);
            let mapping = Mapping::new(room, READ_WRITE, libc::MAP_SHARED, fd.as_raw_fd(), 0)
                .expect("memfd mapping");
            whole(piece, mapping, Some(fd))
        }
        Kind::Huge => {
            let room = room.next_multiple_of(HUGE);
            let mapping = Mapping::anon(room);
            // Refused where the kernel has no huge pages: then it is warm memory like any other.
            let _ = mapping.advise(0..room, libc::MADV_HUGEPAGE);
            mapping.fill(0..skew + len, seed);
            let mut built = whole(piece, mapping, None);
            built.visible = built.visible.start..(built.seg.0 + built.seg.1).next_multiple_of(PAGE);
            built
        }
        Kind::Vast => vast(piece, seed),
        Kind::Vvar => {
            let range = vvar().expect("checked by available");
            let start = range.start + piece.odd_page % (range.len() / PAGE) * PAGE + skew;
            bare((start, len), true)
        }
        Kind::Null => bare((0, len), false),
        Kind::Kernel => bare((0xffff_8880_0000_0000_u64 as usize + skew, len), false),
    }
}

fn anon(piece: &Piece, room: usize, seed: u64, then: impl FnOnce(&Mapping)) -> Built {
    let mapping = Mapping::anon(room);
    mapping.fill(0..room, seed);
    then(&mapping);
    whole(piece, mapping, None)
}

fn whole(piece: &Piece, mapping: Mapping, file: Option<OwnedFd>) -> Built {
    let seg = (mapping.address() + piece.skew, piece.len);
    let visible = mapping.address()..mapping.address() + mapping.len();
    Built {
        seg,
        visible,
        restless: false,
        _keep: Some(mapping),
        _file: file,
    }
}

fn bare(seg: Seg, restless: bool) -> Built {
    Built {
        seg,
        visible: seg.0..seg.0,
        restless,
        _keep: None,
        _file: None,
    }
}

fn file(piece: &Piece, room: usize, shared: bool, file: &File, from: u64) -> Built {
    let flags = if shared {
        libc::MAP_SHARED
    } else {
        libc::MAP_PRIVATE
    };
    let mapping =
        Mapping::new(room, READ_WRITE, flags, file.as_raw_fd(), from).expect("file mapping");
    whole(piece, mapping, None)
}

fn same_range(piece: &Piece, shared: bool, seed: u64, around: &Around<'_>) -> Built {
    let flags = if shared {
        libc::MAP_SHARED
    } else {
        libc::MAP_PRIVATE
    };
    let mapped = around.at.and_then(|at| {
        let skew = at as usize % PAGE;
        let mapping = Mapping::new(
            skew + piece.len,
            READ_WRITE,
            flags,
            around.own.as_raw_fd(),
            at - skew as u64,
        )
        .ok()?;
        Some(whole(&Piece { skew, ..*piece }, mapping, None))
    });
    // Offsets that no mapping can have: ordinary memory, on both sides.
    mapped.unwrap_or_else(|| {
        anon(
            piece,
            (piece.skew + piece.len).next_multiple_of(PAGE).max(PAGE),
            seed,
            |_| (),
        )
    })
}

fn vast(piece: &Piece, seed: u64) -> Built {
    let reach = (piece.odd_pages % 80).max(1) * PAGE;
    let mapping = Mapping::new(4 << 30, libc::PROT_NONE, ANON | libc::MAP_NORESERVE, -1, 0)
        .expect("4 GiB of addresses");
    mapping.protect(0..reach, READ_WRITE);
    mapping.fill(0..reach, seed);
    let address = mapping.address();
    let len = VAST_LENGTHS[piece.odd_page % VAST_LENGTHS.len()];
    Built {
        seg: (address + piece.skew, len),
        visible: address..address + reach,
        restless: false,
        _keep: Some(mapping),
        _file: None,
    }
}

/// Puts the pattern back into the file that `OtherFile` maps.
pub(crate) fn refresh_other(other: &File, bytes: usize) {
    use std::os::unix::fs::FileExt;
    static CONTENTS: OnceLock<Vec<u8>> = OnceLock::new();
    let contents = CONTENTS.get_or_init(|| patterned(8 << 20, OTHER_SEED));
    other
        .write_all_at(&contents[..bytes], 0)
        .expect("the other file");
}
