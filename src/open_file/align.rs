//! Whether a file can do direct I/O, and at which alignment.
//!
//! statx is asked first. Where it does not answer, a block device is asked for the size of its
//! sectors, and on a file reads are tried. What none of these tells is taken to be 4096. The block
//! size in sysfs is never asked: it is wrong for stacked and copy-on-write filesystems.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::memory::AlignedBuf;
use crate::sys;

/// The numbers of bytes that a direct request on a file must be a multiple of. A request that is
/// not aligned works all the same: a bounce buffer or the page cache serves it, see
/// [`File`](crate::File).
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

/// The three sizes in bytes: `mem 4, offset 512`; that of reads where it is another.
impl fmt::Display for Alignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mem {}, offset {}", self.mem, self.offset)?;
        if self.read_offset != self.offset {
            write!(f, " ({} to read)", self.read_offset)?;
        }
        Ok(())
    }
}

impl Alignment {
    /// Everything is allowed.
    pub(crate) const NONE: Alignment = Alignment::of(1);

    /// The same for memory, reads and writes.
    const fn of(bytes: u32) -> Alignment {
        Alignment {
            mem: bytes,
            offset: bytes,
            read_offset: bytes,
        }
    }
}

/// Where the alignment of a file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlignmentSource {
    /// statx(2) with STATX_DIOALIGN.
    Statx,
    /// The size of a block device's sectors, see ioctl BLKSSZGET.
    Sectors,
    /// Direct reads of several lengths, of which the shortest that worked.
    Probe,
    /// No read could be tried, so 4096 is assumed: no disk of today asks for more.
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

/// The shortest read that is tried on a filesystem which does not answer statx. Some (btrfs) accept
/// shorter ones and serve them through the page cache.
const LEAST: u32 = 4096;
/// The longest read that is tried.
const MOST: u32 = 65536;

/// What the kernel tells of direct I/O on a file, before anything is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It works at this alignment.
    Alignment(Alignment, AlignmentSource),
    /// It does not work.
    NoDirect,
    /// This kernel or filesystem does not say.
    Nothing,
}

/// Asks statx, and a block device for its sectors. Any descriptor of the file will do.
pub(super) fn told(fd: BorrowedFd<'_>, block_device: bool) -> Told {
    if let Some(told) = sys::stat::dio_align(fd) {
        if told.mem == 0 || told.offset == 0 {
            return Told::NoDirect;
        }
        // All alignments in the kernel are powers of two; one that is not would break the
        // arithmetic, so it is rounded.
        let power = |bytes: u32| bytes.checked_next_power_of_two().unwrap_or(MOST);
        let offset = power(told.offset);
        return Told::Alignment(
            Alignment {
                mem: power(told.mem),
                offset,
                read_offset: told.read_offset.map_or(offset, power),
            },
            AlignmentSource::Statx,
        );
    }
    match sys::stat::sector_bytes(fd) {
        Ok(bytes @ 1..=MOST) if block_device => Told::Alignment(
            Alignment::of(bytes.next_power_of_two()),
            AlignmentSource::Sectors,
        ),
        _ => Told::Nothing,
    }
}

/// Finds the alignment of a descriptor that was opened with O_DIRECT by reads of its first bytes,
/// or `None` where direct I/O does not work. Reads change the file's access time, as any read does.
pub(super) fn probe(
    direct: BorrowedFd<'_>,
    readable: bool,
) -> Option<(Alignment, AlignmentSource)> {
    let assumed = Some((Alignment::of(LEAST), AlignmentSource::Assumed));
    let Some(mut buffer) = AlignedBuf::new(MOST as usize).ok().filter(|_| readable) else {
        return assumed;
    };
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
            0 => return assumed,
            1.. => return Some((Alignment::of(bytes), AlignmentSource::Probe)),
            _ if sys::errno() == libc::EINVAL => bytes *= 2,
            // Something else is wrong with this file: its next read will tell.
            _ => return assumed,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alignment_is_shown_in_words() {
        let all_same = Alignment {
            mem: 4,
            offset: 512,
            read_offset: 512,
        };
        assert_eq!(all_same.to_string(), "mem 4, offset 512");
        let of_reads = Alignment {
            offset: 4096,
            ..all_same
        };
        assert_eq!(of_reads.to_string(), "mem 4, offset 4096 (512 to read)");
    }
}
