//! Cases that failed once, with the reason: they run before any that are drawn.

use super::case::{Cache, Call, Case, Place, Way};
use crate::common::zoo::{Kind, Piece};
use nofault::Policy;

fn piece(kind: Kind, skew: usize, len: usize, odd_page: usize, odd_pages: usize) -> Piece {
    Piece {
        kind,
        skew,
        len,
        odd_page,
        odd_pages,
    }
}

fn write(shape: usize, place: u64, call: Call, pieces: Vec<Piece>) -> Case {
    Case {
        way: Way::Write,
        ..read(shape, place, call, pieces)
    }
}

fn read(shape: usize, place: u64, call: Call, pieces: Vec<Piece>) -> Case {
    Case {
        shape,
        cache: Cache::AsItIs,
        way: Way::Read,
        call,
        place: Place::At(place),
        pieces,
        seed: 1,
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let raw = Call::Raw(Policy::Look);
    let vectored = Call::RawVectored(Policy::Look);
    vec![
        // An address range that ends outside user space is refused before anything else, at the end
        // of the file, too.
        read(0, 0, raw, vec![piece(Kind::Vast, 0, 0, 5, 1)]),
        read(0, 0, raw, vec![piece(Kind::Vast, 0, 0, 6, 1)]),
        // And whatever stands before it is not moved.
        read(
            0,
            0,
            vectored,
            vec![
                piece(Kind::Warm, 0, 1, 0, 1),
                piece(Kind::Kernel, 0, 0, 0, 1),
            ],
        ),
        read(
            5,
            0,
            vectored,
            vec![
                piece(Kind::ReadOnlyPart, 0, 4608, 61, 1),
                piece(Kind::Kernel, 0, 0, 0, 1),
            ],
        ),
        // Bytes up to the middle of the file's last block are wanted first, because the memory
        // behind is cold; the block is fetched whole and ends the file, which is not the end of
        // what was asked for.
        read(
            10,
            133_121,
            vectored,
            vec![
                piece(Kind::Warm, 0, 16_384, 0, 1),
                piece(Kind::Fresh, 0, 1, 0, 1),
            ],
        ),
        read(
            4,
            4096 + 7,
            vectored,
            vec![
                piece(Kind::Warm, 0, 300, 0, 1),
                piece(Kind::Fresh, 0, 5000, 0, 1),
            ],
        ),
        // XFS moves 3584 of these 4096 bytes, says so, and the file reads as zeros: a short direct
        // write is not to be believed.
        write(0, 0, raw, vec![piece(Kind::NoAccess, 512, 4096, 11, 1)]),
        write(6, 8192, raw, vec![piece(Kind::NoAccess, 512, 40_960, 5, 1)]),
        write(
            5,
            65_536 - 512,
            raw,
            vec![piece(Kind::NoAccess, 0, 12_288, 4, 1)],
        ),
        // On a device these take more than one bio, whose memory turns bad behind the first piece:
        // a write's EIO is believed only of memory that was faulted in.
        write(5, 0, raw, vec![piece(Kind::NoAccess, 512, 1 << 20, 0, 1)]),
        write(5, 512, raw, vec![piece(Kind::NoAccess, 0, 1_675_264, 1, 1)]),
        write(
            5,
            0,
            vectored,
            vec![
                piece(Kind::Fresh, 0, 4096, 0, 1),
                piece(Kind::Warm, 0, 4096, 0, 1),
                piece(Kind::NoAccess, 512, 1_040_384, 0, 1),
            ],
        ),
        write(
            5,
            0,
            vectored,
            vec![
                piece(Kind::Fresh, 0, 81_920, 0, 1),
                piece(Kind::NoAccess, 0, 4096, 0, 1),
                piece(Kind::ZeroPage, 512, 1_024_000, 0, 1),
            ],
        ),
        write(
            5,
            0,
            vectored,
            vec![
                piece(Kind::OtherFile { shared: false }, 0, 512, 0, 1),
                piece(Kind::Fresh, 0, 512, 0, 1),
                piece(Kind::NoAccess, 0, 1_024_000, 0, 1),
                piece(Kind::ZeroPage, 0, 24_576, 0, 1),
            ],
        ),
    ]
}
