//! The request of a case, made on both sides, and its comparison.

use super::case::{Call, Case, Way};
use super::compare::{name_of, same_buffers, same_files, same_outcome};
use super::ground::{Difference, Pair, Side};
use crate::common::files;
use crate::common::mapping::patterned;
use crate::common::sys::{self, Seg, Twin};
use crate::common::zoo::{self, Around, Built, Kind};
use bytes::Bytes;
use nofault::{AlignedBuf, Engine};
use std::os::fd::AsRawFd;

/// The request's buffers on one side. Only the first piece counts for a call with one segment.
fn build(case: &Case, size: u64, own: &std::fs::File, side: &Side) -> Vec<Built> {
    let mut at = Some(case.offset(size));
    let mut built = Vec::new();
    let pieces = if matches!(case.call, Call::Raw(_)) {
        &case.pieces[..case.pieces.len().min(1)]
    } else {
        &case.pieces
    };
    for (index, piece) in pieces.iter().enumerate() {
        let around = Around {
            other: &side.other,
            short: &side.short,
            own,
            at,
        };
        let mut next = zoo::build(piece, case.seed + index as u64 * 31, &around);
        let end = at.and_then(|at| at.checked_add(next.seg.1 as u64));
        // What stands in the last page behind the end of the file is nobody's: XFS shows what was
        // in the memory before.
        let own = matches!(piece.kind, Kind::SameRange { .. });
        next.restless |= own && case.way == Way::Write && end.is_none_or(|end| end > size);
        at = end;
        built.push(next);
    }
    built
}

pub(crate) fn raw(
    case: &Case,
    engine: &Engine,
    pair: &Pair,
    sides: &[Side; 2],
) -> Result<&'static str, Difference> {
    let ours = build(case, pair.size, &pair.ours, &sides[0]);
    let theirs = build(case, pair.size, &pair.theirs, &sides[1]);
    let _twin = case
        .pieces
        .iter()
        .any(|piece| piece.kind == Kind::Cow)
        .then(Twin::fork);
    let segs = |built: &[Built]| built.iter().map(|b| b.seg).collect::<Vec<Seg>>();
    let (our_segs, their_segs) = (segs(&ours), segs(&theirs));
    let single = |segs: &[Seg]| segs.first().copied().unwrap_or((0, 0));
    let offset = case.offset(pair.size);

    let fd = pair.theirs.as_raw_fd();
    // SAFETY: the zoo's memory is named by no Rust reference and outlives this function's requests.
    let expected = unsafe {
        match (case.way, case.call) {
            (Way::Read, Call::Raw(_)) => sys::pread(fd, single(&their_segs), offset),
            (Way::Write, Call::Raw(_)) => sys::pwrite(fd, single(&their_segs), offset),
            (Way::Read, _) => sys::preadv(fd, &their_segs, offset),
            (Way::Write, _) => sys::pwritev(fd, &their_segs, offset),
        }
    };
    let file = &pair.direct;
    let (address, len) = single(&our_segs);
    // SAFETY: as above; `block_on` returns only when the request has ended.
    let got = sys::outcome_of(unsafe {
        match (case.way, case.call) {
            (Way::Read, Call::Raw(policy)) => {
                engine.block_on(file.read_raw_at(address as *mut u8, len, offset, policy))
            }
            (Way::Write, Call::Raw(policy)) => {
                engine.block_on(file.write_raw_at(address as *const u8, len, offset, policy))
            }
            (Way::Read, Call::RawVectored(policy)) => {
                let segs = our_segs
                    .iter()
                    .map(|&(address, len)| (address as *mut u8, len))
                    .collect();
                engine.block_on(file.readv_raw_at(segs, offset, policy))
            }
            (Way::Write, Call::RawVectored(policy)) => {
                let segs = our_segs
                    .iter()
                    .map(|&(address, len)| (address as *const u8, len))
                    .collect();
                engine.block_on(file.writev_raw_at(segs, offset, policy))
            }
            _ => unreachable!("raw calls only"),
        }
    });
    same_outcome(got, expected)?;
    let count = got.unwrap_or(0);
    let wanted = our_segs
        .iter()
        .fold(0_usize, |sum, seg| sum.saturating_add(seg.1));
    // After a short copy XFS shows old memory in the rest of what was asked for, on the buffered
    // side (Linux 6.18): no measure for anybody.
    let torn = case.way == Way::Write && count < wanted && on_xfs(&pair.theirs);
    if case.way == Way::Write {
        let mut except = restless(&ours, offset);
        if torn {
            except.push(offset.saturating_add(count as u64)..offset.saturating_add(wanted as u64));
        }
        same_files(pair, case, count, &except)?;
    }
    // A mapping of the file shows what [vvar] left in it.
    let restless = torn || ours.iter().any(|built| built.restless);
    if !(restless
        && case.way == Way::Write
        && case
            .pieces
            .iter()
            .any(|piece| matches!(piece.kind, Kind::SameRange { .. })))
    {
        same_buffers(case.way, &ours, &theirs, count)?;
    }
    Ok(name_of(got, wanted))
}

fn on_xfs(file: &std::fs::File) -> bool {
    // SAFETY: statfs is plain old data, and the struct is ours.
    unsafe {
        let mut stat: libc::statfs = std::mem::zeroed();
        libc::fstatfs(file.as_raw_fd(), &mut stat) == 0 && stat.f_type == libc::XFS_SUPER_MAGIC
    }
}

/// The file ranges that memory was written to which changes by itself.
fn restless(built: &[Built], offset: u64) -> Vec<std::ops::Range<u64>> {
    let mut at = offset;
    let mut ranges = Vec::new();
    for part in built {
        let end = at.saturating_add(part.seg.1 as u64);
        if part.restless {
            ranges.push(at..end);
        }
        at = end;
    }
    ranges
}

pub(crate) fn safe(case: &Case, engine: &Engine, pair: &Pair) -> Result<&'static str, Difference> {
    let lens: Vec<usize> = case.pieces.iter().map(|piece| piece.len).collect();
    let first = lens.first().copied().unwrap_or(0);
    let offset = case.offset(pair.size);
    let file = &pair.direct;
    let single = |bytes: Vec<u8>| vec![bytes];
    let make = |len: usize, index: usize| patterned(len, case.seed + index as u64 * 31);
    let fresh = |len: usize| Vec::<u8>::with_capacity(len);
    // What nofault gives, and what its buffers hold then: for a read, what was read.
    let (result, held): (std::io::Result<usize>, Vec<Vec<u8>>) = match (case.way, case.call) {
        (Way::Write, Call::VecVectored) => {
            let buffers = lens
                .iter()
                .enumerate()
                .map(|(index, &len)| make(len, index))
                .collect();
            engine.block_on(file.writev_at(buffers, offset))
        }
        (Way::Read, Call::VecVectored) => {
            let buffers = lens.iter().map(|&len| Vec::with_capacity(len)).collect();
            engine.block_on(file.readv_at(buffers, offset))
        }
        (Way::Write, Call::Vec) => split(
            engine.block_on(file.write_at(make(first, 0), offset)),
            single,
        ),
        (Way::Write, Call::Boxed) => split(
            engine.block_on(file.write_at(make(first, 0).into_boxed_slice(), offset)),
            |b| single(b.into_vec()),
        ),
        (Way::Write, Call::Aligned) => {
            let mut buffer = AlignedBuf::new(first).unwrap();
            buffer.copy_from_slice(&make(first, 0));
            split(engine.block_on(file.write_at(buffer, offset)), |b| {
                single(b.to_vec())
            })
        }
        (Way::Write, _) => split(
            engine.block_on(file.write_at(Bytes::from(make(first, 0)), offset)),
            |b| single(b.to_vec()),
        ),
        (Way::Read, Call::Boxed) => split(
            engine.block_on(file.read_at(vec![0; first].into_boxed_slice(), offset)),
            |b| single(b.into_vec()),
        ),
        (Way::Read, Call::Aligned) => split(
            engine.block_on(file.read_at(AlignedBuf::new(first).unwrap(), offset)),
            |b| single(b.to_vec()),
        ),
        (Way::Read, Call::Bytes) => {
            let buffer = bytes::BytesMut::with_capacity(first);
            split(engine.block_on(file.read_at(buffer, offset)), |b| {
                single(b.to_vec())
            })
        }
        (Way::Read, _) => split(engine.block_on(file.read_at(fresh(first), offset)), single),
    };
    let got = sys::outcome_of(result);

    let vectored = case.call == Call::VecVectored;
    let used = if vectored {
        &lens[..]
    } else {
        &lens[..lens.len().min(1)]
    };
    let mut buffers: Vec<Vec<u8>> = match case.way {
        Way::Write => used
            .iter()
            .enumerate()
            .map(|(index, &len)| make(len, index))
            .collect(),
        Way::Read => used.iter().map(|&len| vec![0; len]).collect(),
    };
    if buffers.is_empty() && !vectored {
        buffers.push(Vec::new());
    }
    let segs: Vec<Seg> = buffers
        .iter_mut()
        .map(|buffer| (buffer.as_mut_ptr() as usize, buffer.len()))
        .collect();
    let fd = pair.theirs.as_raw_fd();
    // SAFETY: the vectors live to the function's end and nothing else looks at them during the
    // call.
    let expected = unsafe {
        match (case.way, vectored) {
            (Way::Read, false) => sys::pread(fd, segs[0], offset),
            (Way::Write, false) => sys::pwrite(fd, segs[0], offset),
            (Way::Read, true) => sys::preadv(fd, &segs, offset),
            (Way::Write, true) => sys::pwritev(fd, &segs, offset),
        }
    };
    same_outcome(got, expected)?;
    let count = got.unwrap_or(0);
    let mut left = count;
    for (index, (mine, other)) in held.iter().zip(&buffers).enumerate() {
        let compared = if case.way == Way::Read {
            left.min(other.len())
        } else {
            other.len()
        };
        left -= left.min(other.len());
        // A buffer that came back shorter than what was read into it is told here too.
        if mine.get(..compared) != Some(&other[..compared]) {
            let what =
                files::first_difference(&mine[..compared.min(mine.len())], &other[..compared], 0);
            return Err(Difference::new(format!(
                "the bytes of buffer {index}: {what}"
            )));
        }
    }
    if case.way == Way::Write {
        same_files(pair, case, count, &[])?;
    }
    Ok(name_of(got, used.iter().sum()))
}

fn split<B>(
    ended: (std::io::Result<usize>, B),
    held: impl FnOnce(B) -> Vec<Vec<u8>>,
) -> (std::io::Result<usize>, Vec<Vec<u8>>) {
    (ended.0, held(ended.1))
}
