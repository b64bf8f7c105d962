//! Which files a worker has, and which part of each it reads and writes.
//!
//! May know: a job, and how large files are that somebody else looked at. Must not know: the files
//! themselves.

use std::fmt;
use std::path::PathBuf;

use super::job::{Job, Options};
use super::kinds::Size;
use super::random::{Rng, Stream};

/// The part of a file that a worker reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileRegion {
    /// Where it starts, in bytes.
    pub offset: u64,
    /// How long it is, in bytes; at least one block.
    pub bytes: u64,
}

impl FileRegion {
    /// A region of `bytes` from `offset` on.
    pub fn new(offset: u64, bytes: u64) -> FileRegion {
        FileRegion { offset, bytes }
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

    /// The region of each file of [`files`](Job::files). `existing` has the bytes of each that is
    /// there, in the same order; of those that are missing there it is as if they were not. `seed`
    /// decides on sizes that are given as a range.
    ///
    /// # Errors
    ///
    /// See [`LayoutError`].
    pub fn regions(
        &self,
        clone: u32,
        existing: &[Option<u64>],
        seed: u64,
    ) -> Result<Vec<FileRegion>, LayoutError> {
        let files = self.files(clone);
        let mut sizes = Rng::new(seed, Stream::FileSizes);
        let regions = (0..files.len()).map(|at| {
            let existing = existing.get(at).copied().flatten();
            let size = self.file_size(files.len() as u64, existing, &mut sizes);
            let offset = offset(&self.options, clone, existing.unwrap_or(0))
                .ok_or_else(|| self.too_large())?;
            let bytes = match (size, existing) {
                (Some(bytes), _) => bytes,
                (None, Some(existing)) => self.part_of(existing, offset),
                (None, None) => {
                    return Err(LayoutError::NoSize {
                        job: self.name.clone(),
                        path: files[at].clone(),
                    });
                }
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
            offset
                .checked_add(bytes)
                .filter(|&end| end <= i64::MAX as u64)
                .ok_or_else(|| self.too_large())?;
            Ok(FileRegion { offset, bytes })
        });
        regions.collect()
    }

    /// How many bytes a worker reads and writes each time that it does its job, of which there are
    /// [`Options::loops`]: the regions once, or what `io_size` says.
    pub fn io_bytes(&self, regions: &[FileRegion]) -> u64 {
        let total = regions
            .iter()
            .fold(0u64, |total, region| total.saturating_add(region.bytes));
        let size = match self.options.size {
            Some(Size::Bytes(size)) => size.min(total),
            _ => total,
        };
        match self.options.io_size {
            None => size,
            Some(Size::Bytes(bytes)) => bytes,
            Some(Size::Percent(percent)) => part(size, percent),
        }
    }

    fn too_large(&self) -> LayoutError {
        LayoutError::TooLarge {
            job: self.name.clone(),
        }
    }

    /// What the job itself says of the size of a file.
    fn file_size(&self, files: u64, existing: Option<u64>, sizes: &mut Rng) -> Option<u64> {
        if let Some((low, high)) = self.options.filesize {
            let block = self.options.min_block();
            let size = low + sizes.below((high - low).saturating_add(1));
            return Some(if low == high {
                low
            } else {
                (size - size % block).max(low)
            });
        }
        match self.options.size {
            // Too little for so many files means as much as there is.
            Some(Size::Bytes(bytes)) if bytes / files > 0 || existing.is_none() => {
                Some(bytes / files)
            }
            _ => None,
        }
    }

    /// What is left of an existing file behind `offset`, or the part of it that the job asks for.
    fn part_of(&self, existing: u64, offset: u64) -> u64 {
        let left = existing.saturating_sub(offset);
        match self.options.size {
            Some(Size::Percent(percent)) if percent < 100 => {
                let bytes = part(existing, percent).min(left);
                bytes - bytes % self.options.min_block()
            }
            _ => left,
        }
    }
}

fn part(bytes: u64, percent: u8) -> u64 {
    (u128::from(bytes) * u128::from(percent) / 100) as u64
}

/// Where a worker starts. Percentages are of the file as it is before the job, so nothing of one
/// that is not there.
fn offset(options: &Options, clone: u32, existing: u64) -> Option<u64> {
    let increment = match options.offset_increment {
        Size::Bytes(bytes) => bytes,
        Size::Percent(percent) => part(existing, percent),
    };
    let increment = increment.checked_mul(u64::from(clone))?;
    match options.offset {
        Size::Bytes(bytes) => bytes.checked_add(increment),
        Size::Percent(percent) => {
            let align = if options.offset_align > 0 {
                options.offset_align
            } else {
                options.min_block()
            };
            part(existing, percent)
                .checked_add(increment)?
                .checked_next_multiple_of(align)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JobFile, Surroundings};

    const K: u64 = 1024;

    fn job(text: &str) -> Job {
        let file = JobFile::parse(
            "test.fio",
            &format!("[j]\n{text}"),
            &Surroundings::isolated(),
        )
        .unwrap();
        file.groups[0].jobs[0].clone()
    }

    fn regions(text: &str, existing: &[Option<u64>]) -> Result<Vec<(u64, u64)>, LayoutError> {
        let regions = job(text).regions(0, existing, 1)?;
        Ok(regions
            .iter()
            .map(|region| (region.offset, region.bytes))
            .collect())
    }

    #[test]
    fn files_are_named_as_fio_names_them() {
        let names = |text: &str, clone| {
            job(text)
                .files(clone)
                .iter()
                .map(|path| path.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("size=1m\nnumjobs=2", 1), ["j.1.0"]);
        assert_eq!(
            names("size=1m\nname=other\nnrfiles=2", 0),
            ["j.0.0", "j.0.1"]
        );
        assert_eq!(names("size=1m\ndirectory=a:b\nnumjobs=3", 1), ["b/j.1.0"]);
        assert_eq!(names("size=1m\ndirectory=a:b\nnumjobs=3", 2), ["a/j.2.0"]);
        assert_eq!(
            names("size=1m\nfilename_format=x.$jobnum.$filenum", 0),
            ["x.0.0"]
        );
        assert_eq!(
            names("size=1m\nfilename=x:y\\:z\ndirectory=d:e\nnrfiles=7", 1),
            ["d/x", "d/y:z"]
        );
    }

    /// What fio 3.33 did with the same lines: the offsets of its requests, and the sizes of the
    /// files that it left.
    #[test]
    fn regions_are_what_fio_makes_of_the_same_lines() {
        for (text, existing, expected) in [
            ("size=64k\noffset=16k", None, (16 * K, 64 * K)),
            ("size=64k\noffset=16k", Some(32 * K), (16 * K, 64 * K)),
            ("size=64k\noffset=16k", Some(128 * K), (16 * K, 64 * K)),
            ("offset=16k", Some(32 * K), (16 * K, 16 * K)),
            ("size=64k\noffset=50%", None, (0, 64 * K)),
            ("size=64k\noffset=50%", Some(128 * K), (64 * K, 64 * K)),
            ("size=64k\noffset=50%", Some(96 * K), (48 * K, 64 * K)),
            ("size=50%", Some(32 * K), (0, 16 * K)),
            ("size=50%\noffset=25%", Some(32 * K), (8 * K, 16 * K)),
            ("size=100%\noffset=25%", Some(32 * K), (8 * K, 24 * K)),
            ("filesize=64k\nsize=16k", None, (0, 64 * K)),
            ("size=30k", None, (0, 30 * K)),
        ] {
            assert_eq!(
                regions(&format!("filename=f\n{text}"), &[existing]),
                Ok(vec![expected]),
                "{text} {existing:?}"
            );
        }
        assert_eq!(
            regions("nrfiles=3\nsize=64k", &[None; 3]),
            Ok(vec![(0, 21845); 3])
        );
        assert_eq!(
            regions("nrfiles=3\nfilesize=16k", &[None; 3]),
            Ok(vec![(0, 16 * K); 3])
        );
        let second = job("filename=f\nsize=16k\nnumjobs=2\noffset_increment=16k")
            .regions(1, &[None], 1)
            .unwrap();
        assert_eq!(
            (second[0].offset, second[0].bytes, second[0].end()),
            (16 * K, 16 * K, 32 * K)
        );
    }

    #[test]
    fn the_amount_is_the_size_or_what_io_size_says() {
        for (text, expected) in [
            ("size=64k", 64 * K),
            ("size=64k\nio_size=32k", 32 * K),
            ("size=64k\nio_size=96k", 96 * K),
            ("size=64k\nio_size=50%", 32 * K),
            ("size=64k\nfilesize=32k", 32 * K),
            ("size=16k\nfilesize=64k", 16 * K),
        ] {
            let job = job(&format!("filename=f\n{text}"));
            assert_eq!(
                job.io_bytes(&job.regions(0, &[None], 1).unwrap()),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_range_of_file_sizes_is_kept_and_repeatable() {
        let job = job("nrfiles=50\nfilesize=4k-64k");
        let regions = job.regions(0, &[None; 50], 7).unwrap();
        assert!(
            regions
                .iter()
                .all(|region| (4 * K..=64 * K).contains(&region.bytes)
                    && region.bytes % (4 * K) == 0)
        );
        assert!(
            regions
                .iter()
                .any(|region| region.bytes != regions[0].bytes)
        );
        assert_eq!(job.regions(0, &[None; 50], 7).unwrap(), regions);
        assert_ne!(job.regions(0, &[None; 50], 8).unwrap(), regions);
    }

    #[test]
    fn what_has_no_size_or_does_not_fit_is_an_error() {
        assert!(matches!(
            regions("filename=f", &[None]),
            Err(LayoutError::NoSize { .. })
        ));
        assert!(matches!(
            regions("filename=f\nsize=50%", &[]),
            Err(LayoutError::NoSize { .. })
        ));
        assert!(matches!(
            regions("filename=f\noffset=32k", &[Some(32 * K)]),
            Err(LayoutError::TooSmall { bytes: 0, .. })
        ));
        assert!(matches!(
            regions("nrfiles=3\nsize=8k", &[None; 3]),
            Err(LayoutError::TooSmall { .. })
        ));
        assert!(matches!(
            regions("filename=f\nsize=8191p\noffset=8191p", &[None]),
            Err(LayoutError::TooLarge { .. })
        ));
        let far = job("filename=f\nsize=1m\nnumjobs=4000\noffset_increment=8000p");
        assert!(matches!(
            far.regions(3999, &[None], 1),
            Err(LayoutError::TooLarge { .. })
        ));
    }
}
