//! What is compared after a case: the outcome, the buffers' bytes, the files.

use super::case::{Case, Way};
use super::ground::{Difference, Pair};
use crate::common::files;
use crate::common::sys::{self, Outcome, PAGE};
use crate::common::zoo::Built;
use std::os::fd::AsRawFd;

pub(crate) fn name_of(outcome: Outcome, wanted: usize) -> &'static str {
    match outcome {
        Ok(0) => "nothing",
        Ok(count) if count < wanted => "short",
        Ok(_) => "whole",
        Err(libc::EFAULT) => "EFAULT",
        Err(libc::EINVAL) => "EINVAL",
        Err(libc::EFBIG) => "EFBIG",
        Err(_) => "another error",
    }
}

fn show(outcome: Outcome) -> String {
    match outcome {
        Ok(count) => format!("{count} bytes"),
        Err(errno) => format!("{}", std::io::Error::from_raw_os_error(errno)),
    }
}

pub(crate) fn same_outcome(ours: Outcome, theirs: Outcome) -> Result<(), Difference> {
    if ours == theirs {
        Ok(())
    } else {
        Err(Difference::new(format!(
            "nofault gives {}, the buffered path {}",
            show(ours),
            show(theirs)
        )))
    }
}

pub(crate) fn same_files(
    pair: &Pair,
    case: &Case,
    count: usize,
    except: &[std::ops::Range<u64>],
) -> Result<(), Difference> {
    // A direct write that meets pages of its range in the page cache again afterwards leaves EIO
    // for the next fsync.
    if let Some(errno) = sys::take_write_error(pair.ours.as_raw_fd()) {
        return Err(Difference::new(format!(
            "the next fsync would give errno {errno}: direct and buffered writes collided"
        )));
    }
    let start = case.offset(pair.size).min(i64::MAX as u64);
    files::difference(
        &pair.ours,
        &pair.theirs,
        start..start.saturating_add(count as u64),
        except,
    )
    .map_or(Ok(()), |what| Err(Difference::new(what)))
}

/// Longest stretch of one segment that is compared, in bytes.
const LOOK: usize = 3 << 20;

/// Before and behind the segment nothing may have changed; in it the first `count` bytes of a read,
/// and all bytes of a write, are compared.
pub(crate) fn same_buffers(
    way: Way,
    ours: &[Built],
    theirs: &[Built],
    count: usize,
) -> Result<(), Difference> {
    let mut left = count;
    for (index, (our, their)) in ours.iter().zip(theirs).enumerate() {
        let (start, len) = our.seg;
        let moved = left.min(len);
        left -= moved;
        if our.restless {
            continue;
        }
        let compared = match way {
            Way::Read => moved,
            Way::Write => len.min(LOOK),
        };
        let end = start.saturating_add(len);
        let stretches = [
            (
                "before",
                our.visible.start,
                start.saturating_sub(our.visible.start),
            ),
            ("in", start, compared),
            ("behind", end, our.visible.end.saturating_sub(end).min(PAGE)),
        ];
        for (where_, from, len) in stretches {
            let mine = sys::peek(from, len);
            let other = sys::peek(their.seg.0.wrapping_add(from.wrapping_sub(start)), len);
            if mine != other {
                let what = files::first_difference(&mine, &other, 0);
                return Err(Difference::new(format!(
                    "the buffer's bytes {where_} segment {index}: {what}"
                )));
            }
        }
    }
    Ok(())
}
