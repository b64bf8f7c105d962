//! Which files a worker has, and which part of each it reads and writes.
//!
//! May know: a job, and how large files are that somebody else looked at. Must not know: the files
//! themselves.

use std::fmt;
use std::path::PathBuf;

use super::job::{Job, Options};
use super::kinds::Size;
use super::random::{Rng, Stream};

/// What is there already under the name of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    #[default]
    Nothing,
    /// A file with so many bytes, which can be made longer.
    File(u64),
    /// A device with so many bytes: what a job wants beyond them is left out.
    Device(u64),
}

impl Found {
    /// How large it is, if anything is there.
    pub fn bytes(self) -> Option<u64> {
        match self {
            Found::Nothing => None,
            Found::File(bytes) | Found::Device(bytes) => Some(bytes),
        }
    }
}

/// The part of a file that a worker reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileRegion {
    /// Where it starts, in bytes.
    pub offset: u64,
    /// How long it is, in bytes; at least one block.
    pub bytes: u64,
    /// How long the whole file is, in bytes, once it is laid out; not less than the region's end.
    pub file_bytes: u64,
}

impl FileRegion {
    /// A region of `bytes` from `offset` on, at the end of its file.
    pub fn new(offset: u64, bytes: u64) -> FileRegion {
        FileRegion {
            offset,
            bytes,
            file_bytes: offset.saturating_add(bytes),
        }
    }

    /// What the file must have at least, in bytes.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }
}

/// Why the regions of a job can't be told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayoutError {
    /// A file is not there, and neither `size` nor `filesize` says how large it is to be.
    #[allow(missing_docs)]
    NoSize { job: String, path: PathBuf },
    /// Less than one block is left of a file.
    #[allow(missing_docs)]
    TooSmall {
        job: String,
        path: PathBuf,
        bytes: u64,
        block: u64,
    },
    /// An offset or a size is beyond what a file may have.
    #[allow(missing_docs)]
    TooLarge { job: String },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayoutError::NoSize { job, path } => {
                write!(
                    out,
                    "{job}: {} is not there, and no size or filesize says how large it is to be",
                    path.display()
                )
            }
            LayoutError::TooSmall {
                job,
                path,
                bytes,
                block,
            } => {
                write!(
                    out,
                    "{job}: of {} there are {bytes} bytes to work on, less than one block of {block}",
                    path.display()
                )
            }
            LayoutError::TooLarge { job } => {
                write!(out, "{job}: an offset or a size is too large for a file")
            }
        }
    }
}

impl std::error::Error for LayoutError {}

impl Job {
    /// The files of one worker, `clone` from 0 to `numjobs` - 1. Workers with file names share
    /// them; generated files are each worker's own, unless the format leaves `$jobnum` out.
    pub fn files(&self, clone: u32) -> Vec<PathBuf> {
        let options = &self.options;
        if !options.filenames.is_empty() {
            return options.filenames.iter().map(PathBuf::from).collect();
        }
        let directory = options
            .directories
            .get(clone as usize % options.directories.len().max(1));
        let name = |number: u32| {
            let format = options
                .filename_format
                .replace("$jobname", &self.section)
                .replace("$clientuid", "");
            format
                .replace("$jobnum", &clone.to_string())
                .replace("$filenum", &number.to_string())
        };
        let path = |number| match directory {
            Some(directory) => PathBuf::from(format!("{directory}/{}", name(number))),
            None => PathBuf::from(name(number)),
        };
        (0..options.nrfiles).map(path).collect()
    }

    /// The region of each file of [`files`](Job::files). `existing` says what is there already, in
    /// the same order; files that are missing in it are taken not to be there. `seed` decides on
    /// sizes that are given as a range.
    ///
    /// # Errors
    ///
    /// See [`LayoutError`].
    pub fn regions(
        &self,
        clone: u32,
        existing: &[Found],
        seed: u64,
    ) -> Result<Vec<FileRegion>, LayoutError> {
        let files = self.files(clone);
        let mut sizes = Rng::new(seed, Stream::FileSizes);
        let region = |at: usize| {
            let found = existing.get(at).copied().unwrap_or_default();
            let there = found.bytes().unwrap_or(0);
            let offset = offset(&self.options, clone, there).ok_or_else(|| self.too_large())?;
            let wanted = match self.wanted(at, files.len(), found, offset, &mut sizes) {
                Some(wanted) => self.part_of(wanted, offset),
                None => {
                    return Err(LayoutError::NoSize {
                        job: self.name.clone(),
                        path: files[at].clone(),
                    });
                }
            };
            let bytes = match found {
                Found::Device(there) => wanted.min(there.saturating_sub(offset)),
                Found::Nothing | Found::File(_) => wanted,
            };
            let block = self.options.min_block();
            if bytes < block {
                return Err(LayoutError::TooSmall {
                    job: self.name.clone(),
                    path: files[at].clone(),
                    bytes,
                    block,
                });
            }
            // The kernel's own limit of a file.
            let end = offset
                .checked_add(bytes)
                .filter(|&end| end <= i64::MAX as u64)
                .ok_or_else(|| self.too_large())?;
            Ok(FileRegion {
                offset,
                bytes,
                file_bytes: end.max(there),
            })
        };
        (0..files.len()).map(region).collect()
    }

    /// How many bytes a worker reads and writes each time that it does its job, of which there are
    /// [`Options::loops`]: the regions once, or what `io_size` says. Where no block fits into what
    /// is left, it is less; a [`Course`](crate::random::Course) knows.
    pub fn io_bytes(&self, regions: &[FileRegion]) -> u64 {
        let (size, io_size) = self.amount(regions);
        io_size.unwrap_or(size)
    }

    /// The size of all files together, and `io_size` where it is given in bytes. As in fio, a
    /// percentage of it makes the size smaller.
    pub(crate) fn amount(&self, regions: &[FileRegion]) -> (u64, Option<u64>) {
        let options = &self.options;
        let files = regions.len().max(1) as u64;
        let there = regions
            .iter()
            .fold(0u64, |total, region| total.saturating_add(region.bytes));
        let mut total = match options.size {
            // Also where a device has less.
            Some(Size::Bytes(size)) if options.filesize.is_none() && size >= files => {
                there.max(size - size % files)
            }
            _ => there,
        };
        let mut io_size = None;
        match options.io_size {
            None => {}
            Some(Size::Bytes(bytes)) => io_size = Some(bytes),
            Some(Size::Percent(percent)) => total = part(total, percent),
        }
        let size = match options.size {
            Some(Size::Bytes(size)) => size.min(total),
            _ => total,
        };
        (size, io_size)
    }

    fn too_large(&self) -> LayoutError {
        LayoutError::TooLarge {
            job: self.name.clone(),
        }
    }

    /// How many bytes of a file behind `offset` the job asks for, before any percentage; None if
    /// neither the job nor the file itself has a size.
    fn wanted(
        &self,
        at: usize,
        files: usize,
        found: Found,
        offset: u64,
        sizes: &mut Rng,
    ) -> Option<u64> {
        let options = &self.options;
        let block = options.min_block();
        let rest = |bytes: u64| bytes.saturating_sub(offset);
        if let Some((low, high)) = options.filesize {
            // Drawn for each file, so that what is there already changes no other file's size.
            let drawn = low + sizes.below((high - low).saturating_add(1));
            return Some(rest(match found.bytes() {
                Some(there) if (low..=high).contains(&there) => there,
                _ if low == high => low,
                _ => (drawn - drawn % block).max(low),
            }));
        }
        if let Some(Size::Bytes(bytes)) = options.size {
            let (files, at) = (files.max(1) as u64, at as u64);
            let each = bytes / files;
            // What is left over goes to the first files, in whole blocks.
            let larger = (bytes - each * files) / block;
            let wanted = each + if at < larger { block } else { 0 };
            // Too little for so many files means as much as there is.
            if wanted > 0 || found == Found::Nothing {
                return Some(wanted);
            }
        }
        found.bytes().map(rest)
    }

    /// The part of what is wanted that a size in percent leaves. It is a part of the whole file,
    /// and not more than there is behind the offset.
    fn part_of(&self, wanted: u64, offset: u64) -> u64 {
        match self.options.size {
            Some(Size::Percent(percent)) if percent < 100 => {
                let bytes = part(offset.saturating_add(wanted), percent).min(wanted);
                bytes - bytes % self.options.min_block()
            }
            _ => wanted,
        }
    }
}

fn part(bytes: u64, percent: u8) -> u64 {
    (u128::from(bytes) * u128::from(percent) / 100) as u64
}

/// Where a worker starts. Percentages are of the file as it is before the job, so nothing of one
/// that is not there. A start that has a percentage in it is rounded up to a block.
fn offset(options: &Options, clone: u32, existing: u64) -> Option<u64> {
    let percentage = |size| match size {
        Size::Bytes(bytes) => (bytes, false),
        Size::Percent(percent) => (part(existing, percent), true),
    };
    let (start, of_file) = percentage(options.offset);
    let (increment, by_file) = percentage(options.offset_increment);
    let offset = increment
        .checked_mul(u64::from(clone))?
        .checked_add(start)?;
    if !(of_file || by_file) {
        return Some(offset);
    }
    offset.checked_next_multiple_of(match options.offset_align {
        0 => options.min_block(),
        align => align,
    })
}

#[cfg(test)]
mod tests;
