//! Whether a file can do direct I/O, and at which alignment.
//!
//! statx is asked first. Where it does not answer, a block device is asked for the size of its
//! sectors, and on a file reads are tried. What none of these tells is taken to be 4096. The block
//! size in sysfs is never asked: it is wrong for stacked and copy-on-write filesystems.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::memory::AlignedBuf;
use crate::sys;

/// What a direct request on a file must be a multiple of, in bytes. A request that is not still
/// works: it goes another way, see [`File`](crate::File).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alignment {
    /// The address of each piece of memory.
    pub mem: u32,
    /// Offset and length of a write.
    pub offset: u32,
    /// Offset and length of a read.
    pub read_offset: u32,
}

impl Alignment {
    pub(crate) const NONE: Alignment = Alignment {
        mem: 1,
        offset: 1,
        read_offset: 1,
    };
}

/// Where the alignment of a file was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlignmentSource {
    /// statx(2) with STATX_DIOALIGN.
    Statx,
    /// The size of a block device's sectors, see ioctl BLKSSZGET.
    Sectors,
    /// Direct reads that were tried.
    Probe,
    /// Nothing could be tried, so 4096 is assumed: more than any disk asks for today.
    Assumed,
}

impl fmt::Display for AlignmentSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AlignmentSource::Statx => "statx",
            AlignmentSource::Sectors => "sectors",
            AlignmentSource::Probe => "probe",
            AlignmentSource::Assumed => "assumed",
        })
    }
}

/// The least that is believed of a filesystem which does not answer statx. Some (btrfs) take what
/// is less aligned, and do it buffered.
const LEAST: u32 = 4096;
/// Larger blocks than this are not looked for.
const MOST: u32 = 65536;

/// The alignment of a descriptor that was opened with O_DIRECT, or `None` where direct I/O does not
/// work.
pub(super) fn find(
    direct: BorrowedFd<'_>,
    block_device: bool,
    readable: bool,
) -> io::Result<Option<(Alignment, AlignmentSource)>> {
    if let Some(told) = sys::stat::dio_align(direct) {
        if told.mem == 0 || told.offset == 0 {
            return Ok(None);
        }
        // All alignments in the kernel are powers of two; one that is not would break the
        // arithmetic, so it is rounded.
        let power = |bytes: u32| bytes.checked_next_power_of_two().unwrap_or(MOST);
        let offset = power(told.offset);
        let read_offset = told.read_offset.map_or(offset, power);
        return Ok(Some((
            Alignment {
                mem: power(told.mem),
                offset,
                read_offset,
            },
            AlignmentSource::Statx,
        )));
    }
    let alignment = |bytes| Alignment {
        mem: bytes,
        offset: bytes,
        read_offset: bytes,
    };
    if block_device && let Ok(bytes @ 1..=MOST) = sys::stat::sector_bytes(direct) {
        return Ok(Some((
            alignment(bytes.next_power_of_two()),
            AlignmentSource::Sectors,
        )));
    }
    if !readable {
        return Ok(Some((alignment(LEAST), AlignmentSource::Assumed)));
    }
    let mut buffer = AlignedBuf::new(MOST as usize)?;
    let mut bytes = LEAST;
    while bytes <= MOST {
        // SAFETY: at most MOST bytes into a buffer of that size.
        let count = unsafe {
            libc::pread64(
                direct.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                bytes as usize,
                0,
            )
        };
        match count {
            // At the end of the file nothing is checked, so an empty file tells nothing.
            0 => return Ok(Some((alignment(LEAST), AlignmentSource::Assumed))),
            1.. => return Ok(Some((alignment(bytes), AlignmentSource::Probe))),
            _ if io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) => bytes *= 2,
            // Something else is wrong with this file: whoever reads it will be told.
            _ => return Ok(Some((alignment(LEAST), AlignmentSource::Assumed))),
        }
    }
    Ok(None)
}
