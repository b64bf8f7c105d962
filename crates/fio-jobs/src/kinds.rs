//! What options can be: the types of single values.

use std::fmt;

/// One value for reads and one for writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerDirection<T> {
    /// For reads.
    pub read: T,
    /// For writes.
    pub write: T,
}

impl<T> PerDirection<T> {
    /// The same for both.
    pub fn both(value: T) -> PerDirection<T>
    where
        T: Clone,
    {
        PerDirection {
            read: value.clone(),
            write: value,
        }
    }

    /// The one for writes, or the one for reads.
    pub fn get(&self, write: bool) -> &T {
        if write { &self.write } else { &self.read }
    }
}

/// Which requests a job makes (`rw`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Mode {
    #[default]
    Read,
    Write,
    RandRead,
    RandWrite,
    /// Reads and writes, each from the start to the end.
    ReadWrite,
    RandReadWrite,
}

impl Mode {
    /// Whether there are reads.
    pub fn reads(self) -> bool {
        !matches!(self, Mode::Write | Mode::RandWrite)
    }

    /// Whether there are writes.
    pub fn writes(self) -> bool {
        !matches!(self, Mode::Read | Mode::RandRead)
    }

    /// Whether the offsets are random.
    pub fn is_random(self) -> bool {
        matches!(self, Mode::RandRead | Mode::RandWrite | Mode::RandReadWrite)
    }
}

/// What the number behind `rw` does (`rw=randread:8`), if there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sequencer {
    /// Random requests: the ones between two new offsets follow each other. Sequential ones: so
    /// many bytes are left out after each.
    #[default]
    Sequential,
    /// Random requests: the ones between two new offsets are at the same offset.
    Identical,
}

/// Bytes, or hundredths of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Size {
    /// Bytes.
    Bytes(u64),
    /// 1 to 100.
    Percent(u8),
}

/// The sizes of the requests of one direction, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockSize {
    /// All the same (`bs`).
    Fixed(u64),
    /// The multiples of the smallest up to the largest, and the largest, about equally often
    /// (`bsrange`). With [`Options::block_unaligned`](super::Options::block_unaligned) every size
    /// between them; as in fio the largest one then stands for all that would be larger.
    #[allow(missing_docs)]
    Range { min: u64, max: u64 },
    /// Each size as often as its percentage says (`bssplit`). The percentages add up to 100; there
    /// are 2 to 64 parts, none of them of 0 %.
    Split(Vec<SplitPart>),
}

impl BlockSize {
    /// The smallest.
    pub fn min(&self) -> u64 {
        match self {
            BlockSize::Fixed(bytes) => *bytes,
            BlockSize::Range { min, .. } => *min,
            BlockSize::Split(parts) => parts.iter().map(|part| part.bytes).min().unwrap_or(0),
        }
    }

    /// The largest: what a buffer must hold.
    pub fn max(&self) -> u64 {
        match self {
            BlockSize::Fixed(bytes) => *bytes,
            BlockSize::Range { max, .. } => *max,
            BlockSize::Split(parts) => parts.iter().map(|part| part.bytes).max().unwrap_or(0),
        }
    }
}

/// One size of [`BlockSize::Split`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitPart {
    /// The size in bytes.
    pub bytes: u64,
    /// How many of a hundred requests have it.
    pub percent: u8,
}

/// By which of fio's engines the job is to be done (`ioengine`). It decides which of fio's columns
/// this is; nofault's own do the job in their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum IoEngine {
    Sync,
    #[default]
    Psync,
    Vsync,
    Pvsync,
    Pvsync2,
    IoUring,
    Libaio,
    Posixaio,
}

impl IoEngine {
    /// Whether this engine has never more than one request in flight, whatever the depth is.
    pub fn is_synchronous(self) -> bool {
        matches!(
            self,
            IoEngine::Sync
                | IoEngine::Psync
                | IoEngine::Vsync
                | IoEngine::Pvsync
                | IoEngine::Pvsync2
        )
    }
}

/// The memory of the buffers (`mem`, `iomem`). It is allocated once for each worker, as much as its
/// depth needs, and used again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Memory {
    /// The heap.
    #[default]
    Malloc,
    /// System V shared memory.
    Shm,
    /// The same in huge pages.
    ShmHuge,
    /// A private anonymous mapping; with a name a mapping of that file.
    Mmap(Option<String>),
    /// The same in huge pages; the file is then on a hugetlbfs.
    MmapHuge(Option<String>),
    /// A shared mapping, anonymous or of that file.
    MmapShared(Option<String>),
}

/// Which offsets are likely (`random_distribution`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Distribution {
    /// All the same.
    #[default]
    Random,
    /// Zipf's, with this exponent, which is not 1.
    #[allow(missing_docs)]
    Zipf { theta: f64, center: Option<f64> },
    /// Pareto's: with a power of 0.2, a fifth of the blocks gets four fifths of the requests.
    #[allow(missing_docs)]
    Pareto { power: f64, center: Option<f64> },
    /// fio's bell: the mean of twelve uniform numbers (so its standard deviation is a twelfth of
    /// the region), and on top of that a uniform deviation that spans so many hundredths of the
    /// region. Its centre has no effect, because the blocks are scattered.
    #[allow(missing_docs)]
    Normal { deviation: f64, center: Option<f64> },
}

/// Whether each write is to be on the disk when it completes (`sync`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SyncMode {
    /// No.
    #[default]
    None,
    /// The file is opened with O_SYNC.
    Sync,
    /// The file is opened with O_DSYNC.
    Dsync,
}

/// How what was written is verified (`verify`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verify {
    /// A header and a CRC-32C in each block.
    Crc32c,
    /// A header and a CRC-32 in each block.
    Crc32,
    /// No header: the block is [`Options::verify_pattern`](super::Options::verify_pattern), over
    /// and over.
    Pattern,
}

/// A piece of a pattern (`verify_pattern`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternPart {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The block's offset in the file, as eight bytes, the lowest first (`%o`).
    Offset,
}

/// An option that only real fio heeds, kept as it was given, so that what is printed means the same
/// to fio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FioOnly {
    /// The option's name.
    pub name: &'static str,
    /// Its value, if it has one.
    pub value: Option<String>,
    /// The engines that have this option; empty if it is no engine's in particular.
    pub engines: &'static [IoEngine],
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Mode::Read => "read",
            Mode::Write => "write",
            Mode::RandRead => "randread",
            Mode::RandWrite => "randwrite",
            Mode::ReadWrite => "rw",
            Mode::RandReadWrite => "randrw",
        })
    }
}

impl fmt::Display for IoEngine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            IoEngine::Sync => "sync",
            IoEngine::Psync => "psync",
            IoEngine::Vsync => "vsync",
            IoEngine::Pvsync => "pvsync",
            IoEngine::Pvsync2 => "pvsync2",
            IoEngine::IoUring => "io_uring",
            IoEngine::Libaio => "libaio",
            IoEngine::Posixaio => "posixaio",
        })
    }
}
