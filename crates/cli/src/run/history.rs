//! Which blocks a worker has written, so that each is verified once, and against the write that was
//! the last.
//!
//! Where a job covers its files once there is nothing to keep: its requests are made once more.
//! Where blocks come again, or overlap, they are kept track of, at most [`MOST`] of them; what is
//! beyond that is not verified, and counted.

use std::collections::{BTreeMap, btree_map};

use fio_jobs::random::{Request, Requests};
use fio_jobs::{BlockSize, Options, PerDirection};

/// The blocks that a worker keeps track of at most: some 100 MiB of memory.
const MOST: usize = 1 << 21;

/// The writes of one worker since the last time that it verified.
pub(super) struct History {
    kept: Kept,
    /// The number of the next write.
    writes: u64,
    /// How many were there when the last verification began.
    verified: u64,
    /// Blocks of which there was no room to keep track.
    beyond: u64,
    most: usize,
}

enum Kept {
    /// Nothing will be verified.
    Nothing,
    /// No block comes twice. These requests are the same again; so many have been made, and the
    /// first write among them has this number.
    Pass {
        requests: Requests,
        made: u64,
        first: u64,
    },
    /// By file and offset; no two overlap. With any request, which the others are made from.
    Blocks {
        blocks: BTreeMap<(usize, u64), Block>,
        any: Option<Request>,
    },
}

#[derive(Clone, Copy)]
pub(super) struct Block {
    number: u64,
    bytes: u64,
}

impl History {
    /// Of a worker that makes these requests.
    pub(super) fn new(options: &Options, requests: &Requests) -> History {
        let kept = if options.verify.is_none() || !options.do_verify || !options.mode.writes() {
            Kept::Nothing
        } else if each_once(options) {
            Kept::Pass {
                requests: requests.clone(),
                made: 0,
                first: 0,
            }
        } else {
            Kept::Blocks {
                blocks: BTreeMap::new(),
                any: None,
            }
        };
        History {
            kept,
            writes: 0,
            verified: 0,
            beyond: 0,
            most: MOST,
        }
    }

    /// Whether there is anything to verify.
    pub(super) fn wants(&self) -> bool {
        !matches!(self.kept, Kept::Nothing) && self.writes > self.verified
    }

    /// The writes that were not verified yet.
    pub(super) fn left(&self) -> u64 {
        self.writes - self.verified
    }

    /// Takes in what is done next. The number of the write, if it is one.
    pub(super) fn made(&mut self, request: &Request) -> u64 {
        let number = self.writes;
        self.writes += u64::from(request.write);
        if let Kept::Pass { made, .. } = &mut self.kept {
            *made += 1;
        } else if request.write {
            self.keep(request, number);
        }
        number
    }

    /// The requests that come next are these. They may be for blocks that were written already.
    pub(super) fn next_pass(&mut self, next: &Requests) {
        let Kept::Pass {
            requests,
            made,
            first,
        } = &mut self.kept
        else {
            return;
        };
        if *made == 0 {
            *requests = next.clone();
            return;
        }
        let written = numbered(requests.clone(), *made, *first);
        self.kept = Kept::Blocks {
            blocks: BTreeMap::new(),
            any: None,
        };
        written.for_each(|(request, number)| self.keep(&request, number));
    }

    /// What was written since the last time, to be read: with the number of the last write to each
    /// block. Also how many more were written than there was room to keep track of. The next
    /// request is the first one of another pass.
    pub(super) fn take(&mut self) -> (Blocks, u64) {
        self.verified = self.writes;
        let blocks = match &mut self.kept {
            Kept::Nothing => Blocks::Kept {
                blocks: BTreeMap::new().into_iter(),
                any: None,
            },
            Kept::Pass {
                requests,
                made,
                first,
            } => {
                let (made, first) = (std::mem::take(made), std::mem::replace(first, self.writes));
                Blocks::Pass(Box::new(numbered(requests.clone(), made, first)))
            }
            Kept::Blocks { blocks, any } => Blocks::Kept {
                blocks: std::mem::take(blocks).into_iter(),
                any: *any,
            },
        };
        (blocks, std::mem::take(&mut self.beyond))
    }

    fn keep(&mut self, request: &Request, number: u64) {
        let Kept::Blocks { blocks, any } = &mut self.kept else {
            return;
        };
        any.get_or_insert(*request);
        let end = request.offset + request.bytes;
        // Of a block that is overwritten in part the rest can't be verified, its checksum is of all
        // of it. No two overlap, so only the last one that starts before can reach into this one.
        while let Some((&at, _)) = blocks
            .range((request.file, 0)..(request.file, end))
            .next_back()
            .filter(|((_, start), block)| start + block.bytes > request.offset)
        {
            blocks.remove(&at);
        }
        if blocks.len() < self.most {
            blocks.insert(
                (request.file, request.offset),
                Block {
                    number,
                    bytes: request.bytes,
                },
            );
        } else {
            self.beyond += 1;
        }
    }
}

/// Whether no two requests of a pass overlap, and all that `Requests` makes of a file is there
/// again in a clone.
fn each_once(options: &Options) -> bool {
    let (random, modes) = (
        options.mode.is_random(),
        [options.mode.reads(), options.mode.writes()],
    );
    let blocks = [&options.block.read, &options.block.write];
    let mut sizes = (0..2)
        .filter(|&direction| modes[direction])
        .map(|direction| blocks[direction]);
    let same = match sizes.next() {
        Some(first @ BlockSize::Fixed(_)) => sizes.all(|size| size == first),
        _ => false,
    };
    let straight = options.modifier == 0 || random && options.modifier == 1;
    // Which direction comes next is then a matter of time.
    let rated =
        options.rate != PerDirection::both(None) || options.rate_iops != PerDirection::both(None);
    let timed = modes == [true, true] && rated;
    same && straight && !timed && (!random || options.covers())
}

/// The writes among so many requests, with their numbers.
fn numbered(requests: Requests, made: u64, first: u64) -> impl Iterator<Item = (Request, u64)> {
    let made = usize::try_from(made).unwrap_or(usize::MAX);
    requests
        .take(made)
        .filter(|request| request.write)
        .zip(first..)
}

/// Blocks to read, with the numbers of their writes.
pub(super) enum Blocks {
    Pass(Box<dyn Iterator<Item = (Request, u64)>>),
    Kept {
        blocks: btree_map::IntoIter<(usize, u64), Block>,
        any: Option<Request>,
    },
}

impl Iterator for Blocks {
    type Item = (Request, u64);

    fn next(&mut self) -> Option<(Request, u64)> {
        let (mut request, number) = match self {
            Blocks::Pass(requests) => requests.next()?,
            Blocks::Kept { blocks, any } => {
                let ((file, offset), Block { number, bytes }) = blocks.next()?;
                let mut request = (*any)?;
                (request.file, request.offset, request.bytes) = (file, offset, bytes);
                (request, number)
            }
        };
        request.write = false;
        Some((request, number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fio_jobs::{FileRegion, JobFile, Surroundings};

    const REGION: u64 = 64 << 10;

    /// What is verified after so many requests, against what was written there last.
    fn verified(text: &str, count: usize) -> (History, Vec<(usize, u64, u64, u64)>) {
        let text = format!("[j]\nfilename=f:g\nsize=128k\nverify=crc32c\n{text}");
        let file = JobFile::parse("test.fio", &text, &Surroundings::isolated()).expect("a job");
        let options = &file.groups[0].jobs[0].options;
        let mut requests =
            Requests::new(options, &[FileRegion::new(0, REGION); 2], 1).expect("requests");
        let mut history = History::new(options, &requests);
        // By 512 bytes, the number of the write that was the last one there.
        let mut last = vec![None; 2 * REGION as usize / 512];
        let mut whole = Vec::new();
        for _ in 0..count {
            let request = requests.next().unwrap_or_else(|| {
                requests.next_pass();
                history.next_pass(&requests);
                requests.next().expect("a pass has requests")
            });
            let number = history.made(&request);
            if request.write {
                let at = (request.file as u64 * REGION + request.offset) as usize / 512;
                last[at..at + request.bytes as usize / 512].fill(Some(number));
                whole.push((request.file, request.offset, request.bytes, number));
            }
        }
        whole.retain(|&(file, offset, bytes, number)| {
            let at = (file as u64 * REGION + offset) as usize / 512;
            last[at..at + bytes as usize / 512]
                .iter()
                .all(|&last| last == Some(number))
        });
        whole.sort_unstable();
        let (blocks, beyond) = history.take();
        assert_eq!(beyond, 0);
        let mut blocks: Vec<_> = blocks
            .map(|(request, number)| {
                assert!(!request.write);
                (request.file, request.offset, request.bytes, number)
            })
            .collect();
        blocks.sort_unstable();
        assert_eq!(blocks, whole, "{text}");
        (history, blocks)
    }

    #[test]
    fn every_block_is_verified_once_and_against_its_last_write() {
        for text in [
            "rw=write",
            "rw=randwrite",
            "rw=randrw",
            "rw=rw",
            "rw=randwrite\nnorandommap",
            "rw=randwrite\nnorandommap\nbsrange=4k-16k\nblockalign=512",
            "rw=randwrite\nbsrange=4k-16k",
            "rw=randwrite:8",
            "rw=write:4k",
            "rw=randwrite\nrandom_distribution=zipf:1.2",
            "rw=rw\nbs=4k,16k",
            "rw=randrw\nrate_iops=,100",
        ] {
            // Less than a pass, one, and several.
            for count in [1, 10, 32, 100, 333] {
                verified(text, count);
            }
        }
    }

    #[test]
    fn what_covers_the_files_once_needs_no_memory() {
        for (text, count) in [("rw=write", 32), ("rw=randwrite", 32), ("rw=randrw", 20)] {
            assert!(
                matches!(verified(text, count).0.kept, Kept::Pass { .. }),
                "{text}"
            );
        }
        assert!(matches!(
            verified("rw=randwrite", 33).0.kept,
            Kept::Blocks { .. }
        ));
    }

    #[test]
    fn the_next_time_only_what_was_written_since_is_verified() {
        let (mut history, blocks) = verified("rw=randwrite", 32);
        assert!(!history.wants() && history.left() == 0);
        let Kept::Pass { requests, .. } = &history.kept else {
            panic!("one pass")
        };
        let mut requests = requests.clone();
        requests.next_pass();
        history.take();
        history.next_pass(&requests);
        let request = requests.next().expect("a request");
        assert_eq!(history.made(&request), blocks.len() as u64);
        assert!(history.wants() && history.left() == 1);
        let again: Vec<_> = history
            .take()
            .0
            .map(|(read, number)| (read.file, read.offset, number))
            .collect();
        assert_eq!(again, [(request.file, request.offset, 32)]);
    }

    #[test]
    fn nothing_is_kept_where_nothing_will_be_verified() {
        for text in ["rw=randwrite\ndo_verify=0", "rw=read"] {
            let text = format!("[j]\nfilename=f\nsize=64k\nverify=crc32c\n{text}");
            let file = JobFile::parse("test.fio", &text, &Surroundings::isolated()).expect("a job");
            let options = &file.groups[0].jobs[0].options;
            let mut requests =
                Requests::new(options, &[FileRegion::new(0, REGION)], 1).expect("requests");
            let mut history = History::new(options, &requests);
            history.made(&requests.next().expect("a request"));
            assert!(
                !history.wants() && matches!(history.kept, Kept::Nothing),
                "{text}"
            );
        }
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let text = "[j]\nfilename=f\nsize=64k\nverify=crc32c\nrw=randwrite\nnorandommap\nnorandommap=1\nbs=4k";
        let file = JobFile::parse("test.fio", text, &Surroundings::isolated()).expect("a job");
        let options = &file.groups[0].jobs[0].options;
        let mut requests =
            Requests::new(options, &[FileRegion::new(0, REGION)], 1).expect("requests");
        let mut history = History {
            most: 3,
            ..History::new(options, &requests)
        };
        for request in requests.by_ref().take(16) {
            history.made(&request);
        }
        let (blocks, beyond) = history.take();
        assert!(blocks.count() == 3 && beyond > 0);
    }
}
