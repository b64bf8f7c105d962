//! The file zoo: files of every shape, made in pairs that are alike, and compared through fresh
//! buffered reads.

use super::mapping::patterned;
use super::sys::{self, PAGE};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const KIB: u64 = 1024;
/// `fallocate`: blocks only, the size stays.
const KEEP_SIZE: i32 = libc::FALLOC_FL_KEEP_SIZE;

/// What a file looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Data from the first to the last byte.
    Dense(u64),
    /// Data and holes by turns, 12 KiB each, starting with data.
    Holes(u64),
    /// A size and not one block.
    OneHole(u64),
    /// Blocks that were allocated and never written, data in the middle third.
    Preallocated(u64),
    /// Data, and 128 KiB of blocks behind the end.
    Reserve(u64),
    /// Nothing.
    Empty,
}

/// The shapes that the parity test draws from; the later ones are the larger ones.
pub(crate) const SHAPES: [Shape; 16] = [
    Shape::Empty,
    Shape::Dense(1),
    Shape::Dense(511),
    Shape::Dense(4096),
    Shape::Dense(5000),
    Shape::Dense(64 * KIB),
    Shape::Dense(64 * KIB + 512),
    Shape::Dense(200_000),
    Shape::Dense(256 * KIB),
    Shape::Holes(256 * KIB),
    Shape::Holes(150_001),
    Shape::OneHole(100 * KIB),
    Shape::Preallocated(192 * KIB),
    Shape::Reserve(60 * KIB),
    Shape::Reserve(33_333),
    Shape::Dense(4096 * KIB),
];

impl Shape {
    /// The file's size in bytes.
    pub(crate) fn size(self) -> u64 {
        match self {
            Self::Dense(size)
            | Self::Holes(size)
            | Self::OneHole(size)
            | Self::Preallocated(size)
            | Self::Reserve(size) => size,
            Self::Empty => 0,
        }
    }

    /// Makes the file look like this, whatever it was. Seeds differ from shape to shape.
    pub(crate) fn lay_out(self, file: &File) {
        let fd = file.as_raw_fd();
        let size = self.size();
        sys::ftruncate(fd, 0);
        let contents = patterned(size as usize, size ^ 0x55);
        let write = |from: u64, to: u64| {
            file.write_all_at(&contents[from as usize..to as usize], from)
                .expect("lay out a file");
        };
        match self {
            Self::Empty => (),
            Self::Dense(_) => write(0, size),
            Self::Holes(_) => {
                for from in (0..size).step_by(24 * KIB as usize) {
                    write(from, (from + 12 * KIB).min(size));
                }
                sys::ftruncate(fd, size);
            }
            Self::OneHole(_) => sys::ftruncate(fd, size),
            Self::Preallocated(_) => {
                // Where the filesystem cannot, a hole stands there instead.
                let _ = sys::fallocate(fd, 0, 0, size);
                sys::ftruncate(fd, size);
                write(size / 3, size * 2 / 3);
            }
            Self::Reserve(_) => {
                write(0, size);
                let _ = sys::fallocate(fd, KEEP_SIZE, 0, size + 128 * KIB);
            }
        }
    }
}

/// A temporary folder where `NOFAULT_DIR` says, or on the disk that holds the build.
pub(crate) fn folder() -> tempfile::TempDir {
    let base = std::env::var_os("NOFAULT_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    folder_in(&base).unwrap_or_else(|error| panic!("a folder in {}: {error}", base.display()))
}

/// A temporary folder inside another.
pub(crate) fn folder_in(base: &Path) -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("nofault-").tempdir_in(base)
}

/// Makes a file and opens it for reading and writing, buffered.
pub(crate) fn make(path: &Path) -> File {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Makes a file full of the seed's pattern, with nothing of it in the page cache.
pub(crate) fn make_patterned(path: &Path, len: usize, seed: u64) -> File {
    let file = make(path);
    file.write_all_at(&patterned(len, seed), 0)
        .expect("fill the file");
    sys::drop_cache(file.as_raw_fd());
    file
}

/// Files up to this size are compared whole, in bytes.
const WHOLE: u64 = 8 << 20;

/// Where two files differ, or `None`. Of enormous sparse files the start and the surroundings of
/// `near` are compared. `except` is a range of bytes that may differ.
pub(crate) fn difference(
    a: &File,
    b: &File,
    near: std::ops::Range<u64>,
    except: &[std::ops::Range<u64>],
) -> Option<String> {
    let (a, b) = (a.as_raw_fd(), b.as_raw_fd());
    let (size_a, size_b) = (sys::size_of_file(a), sys::size_of_file(b));
    if size_a != size_b {
        return Some(format!("the size is {size_a} and should be {size_b}"));
    }
    let slack = 4 * PAGE as u64;
    let ranges = if size_b <= WHOLE {
        vec![std::ops::Range {
            start: 0,
            end: size_b,
        }]
    } else {
        vec![
            0..512 * KIB,
            near.start.saturating_sub(slack)..near.end.saturating_add(slack).min(size_b),
        ]
    };
    for range in ranges.into_iter().filter(|range| range.start < range.end) {
        let len = (range.end - range.start) as usize;
        let (mut left, mut right) = (
            sys::read_range(a, range.start, len),
            sys::read_range(b, range.start, len),
        );
        for hole in except {
            for bytes in [&mut left, &mut right] {
                let from = hole
                    .start
                    .clamp(range.start, range.start + bytes.len() as u64)
                    - range.start;
                let to = hole
                    .end
                    .clamp(range.start, range.start + bytes.len() as u64)
                    - range.start;
                bytes[from as usize..to as usize].fill(0);
            }
        }
        if left != right {
            return Some(format!(
                "the file's bytes: {}",
                first_difference(&left, &right, range.start)
            ));
        }
    }
    None
}

/// Says where two byte strings part.
pub(crate) fn first_difference(left: &[u8], right: &[u8], start: u64) -> String {
    match left.iter().zip(right).position(|(l, r)| l != r) {
        Some(at) => {
            let count = left.iter().zip(right).filter(|(l, r)| l != r).count();
            let last = left
                .iter()
                .zip(right)
                .rposition(|(l, r)| l != r)
                .unwrap_or(at);
            format!(
                "at {} there is {:#04x} and should be {:#04x}; {count} bytes differ, the last at {}",
                start + at as u64,
                left[at],
                right[at],
                start + last as u64
            )
        }
        None => format!("{} bytes and should be {}", left.len(), right.len()),
    }
}
