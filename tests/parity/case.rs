//! What one case of the parity test is, and how cases are drawn.

use crate::common::files::SHAPES;
use crate::common::zoo::{Kind, Piece};
use nofault::Policy;
use proptest::prelude::*;
use proptest::sample::select;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Read,
    Write,
}

/// Which of the crate's calls makes the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// One segment of foreign memory; `pread` or `pwrite` beside it.
    Raw(Policy),
    /// All segments; `preadv` or `pwritev` beside it.
    RawVectored(Policy),
    /// The safe calls, with buffers as long as the segments.
    Vec,
    VecVectored,
    Boxed,
    Aligned,
    Bytes,
}

/// Where the request starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    At(u64),
    /// Relative to the file's end.
    Near(i64),
}

/// What of the direct file is in the page cache before the request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cache {
    AsItIs,
    Dropped,
}

/// One operation on one file with one set of buffers.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Index into `SHAPES`.
    pub(crate) shape: usize,
    pub(crate) cache: Cache,
    pub(crate) way: Way,
    pub(crate) call: Call,
    pub(crate) place: Place,
    pub(crate) pieces: Vec<Piece>,
    /// What the buffers hold beforehand.
    pub(crate) seed: u64,
}

impl Case {
    /// The request's offset in bytes, as a number without sign as the crate takes it, on a file of
    /// `size` bytes.
    pub(crate) fn offset(&self, size: u64) -> u64 {
        match self.place {
            Place::At(offset) => offset,
            Place::Near(delta) => size.saturating_add_signed(delta),
        }
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        8 => Just(Kind::Warm),
        6 => Just(Kind::Fresh),
        3 => Just(Kind::ZeroPage),
        2 => Just(Kind::ReadOnly),
        3 => Just(Kind::ReadOnlyPart),
        6 => Just(Kind::NoAccess),
        4 => Just(Kind::Hole),
        3 => Just(Kind::Guard),
        3 => any::<bool>().prop_map(|shared| Kind::BeyondEnd { shared }),
        3 => any::<bool>().prop_map(|shared| Kind::OtherFile { shared }),
        6 => any::<bool>().prop_map(|shared| Kind::SameRange { shared }),
        1 => Just(Kind::Cow),
        3 => Just(Kind::Secret),
        2 => Just(Kind::Vvar),
        1 => Just(Kind::SharedAnon),
        2 => Just(Kind::Memfd),
        1 => Just(Kind::Huge),
        2 => Just(Kind::Vast),
        1 => Just(Kind::Null),
        1 => Just(Kind::Kernel),
    ]
}

fn skews() -> impl Strategy<Value = usize> {
    prop_oneof![6 => Just(0_usize), 3 => (0_usize..8).prop_map(|n| n * 512), 1 => Just(4_usize), 3 => 0_usize..4096]
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => Just(0_usize),
        6 => 1_usize..64,
        8 => (1_usize..40).prop_map(|n| n * 512),
        16 => (1_usize..24).prop_map(|n| n * 4096),
        12 => 1_usize..70_000,
        4 => (1_usize..80).prop_map(|n| n * 4096),
        // Longer than the first window of 1 MiB.
        1 => (250_usize..600).prop_map(|n| n * 4096),
        1 => 1_000_000_usize..1_300_000,
    ]
}

fn pieces() -> impl Strategy<Value = Piece> {
    (kinds(), skews(), lengths(), 0_usize..64, 1_usize..6).prop_map(
        |(kind, skew, len, odd_page, odd_pages)| {
            // Up to 79 usable pages in the vast one.
            let odd_pages = if kind == Kind::Vast {
                odd_pages * odd_page % 79 + 1
            } else {
                odd_pages
            };
            Piece {
                kind,
                skew,
                len,
                odd_page,
                odd_pages,
            }
        },
    )
}

fn places() -> impl Strategy<Value = Place> {
    let edge = i64::MAX as u64;
    prop_oneof![
        6 => Just(Place::At(0)),
        8 => (0_u64..64).prop_map(|n| Place::At(n * 4096)),
        4 => (0_u64..512).prop_map(|n| Place::At(n * 512)),
        5 => (0_u64..300_000).prop_map(Place::At),
        4 => (-20_000_i64..20_000).prop_map(Place::Near),
        2 => (-40_i64..40).prop_map(|n| Place::Near(n * 512)),
        2 => Just(Place::Near(0)),
        1 => select(vec![
            // 1 TiB; ext4's largest file and what is around it; the largest offset; negative ones,
            // of which -1 has a meaning in io_uring.
            1 << 40,
            (1 << 40) + 7,
            (1 << 44) - 4096,
            (1 << 44) - 4096 - 512,
            (1 << 44) - 100,
            1 << 44,
            edge,
            edge - 4095,
            edge - 100_000,
            edge + 1,
            u64::MAX,
            u64::MAX - 4095,
        ]).prop_map(Place::At),
    ]
}

fn calls() -> impl Strategy<Value = Call> {
    prop_oneof![
        10 => Just(Call::Raw(Policy::Look)),
        3 => Just(Call::Raw(Policy::Offload)),
        10 => Just(Call::RawVectored(Policy::Look)),
        3 => Just(Call::RawVectored(Policy::Offload)),
        1 => Just(Call::Vec),
        1 => Just(Call::VecVectored),
        1 => Just(Call::Boxed),
        1 => Just(Call::Aligned),
        1 => Just(Call::Bytes),
    ]
}

fn shapes() -> impl Strategy<Value = usize> {
    // The last one is 4 MiB, to be written anew after each write.
    prop_oneof![80 => 0..SHAPES.len() - 1, 1 => Just(SHAPES.len() - 1)]
}

/// Draws a case.
pub(crate) fn cases() -> impl Strategy<Value = Case> {
    let caches = prop_oneof![4 => Just(Cache::AsItIs), 1 => Just(Cache::Dropped)];
    let ways = prop_oneof![Just(Way::Read), Just(Way::Write)];
    let counts = prop_oneof![4 => 1_usize..2, 3 => 2_usize..6, 1 => 0_usize..12];
    let buffers = counts.prop_flat_map(|count| prop::collection::vec(pieces(), count));
    (
        shapes(),
        caches,
        ways,
        calls(),
        places(),
        buffers,
        0_u64..1000,
    )
        .prop_map(|(shape, cache, way, call, place, pieces, seed)| Case {
            shape,
            cache,
            way,
            call,
            place,
            pieces,
            seed,
        })
}
