//! What a block carries so that it is known again, and whether what was read is that.
//!
//! The layout is fio's, so that either program verifies what the other one has written: a header of
//! 40 bytes, the checksum of what comes behind it, and the rest filled with random numbers or a
//! pattern. With `verify=pattern` there is the pattern and nothing else. May know: one block. Must
//! not know: requests, lanes, which blocks there are (that is `history`).

use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crc::{Crc, Table};
use fio_jobs::random::{Request, Rng, Stream};
use fio_jobs::{Options, PatternPart, Verify};
use rustix::fs::Advice;

use super::files::Target;

const MAGIC: u16 = 0xacca;
/// All of the header but its own checksum, which comes last.
const CHECKED: usize = 36;
const HEADER: usize = 40;
/// The header and the checksum of what is behind.
pub(super) const OVERHEAD: usize = HEADER + 4;

/// fio's `crc32`: the polynomial is the usual one, but the highest bit goes first and nothing is
/// inverted.
const CRC32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&crc::Algorithm {
    width: 32,
    poly: 0x04c1_1db7,
    init: 0,
    refin: false,
    refout: false,
    xorout: 0,
    check: 0x89a1_897f,
    residue: 0,
});

/// fio's CRC-32C is not inverted at the end.
fn crc32c(bytes: &[u8]) -> u32 {
    !crc32c::crc32c(bytes)
}

/// How the blocks of one worker are marked in one run.
pub(super) struct Marks {
    kind: Verify,
    pattern: Vec<PatternPart>,
    thread: u16,
    /// The seed of the first write; each further one has the next number. Another one in every run,
    /// so that what an earlier run has left behind is not taken for what this one has written.
    seed: u64,
    /// When the run began.
    time: (u32, u32),
}

/// The header, decoded.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    magic: u16,
    kind: u16,
    len: u32,
    seed: u64,
    offset: u64,
    time: (u32, u32),
    thread: u16,
    number: u16,
}

impl Header {
    fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let fields: [&[u8]; 9] = [
            &self.magic.to_le_bytes(),
            &self.kind.to_le_bytes(),
            &self.len.to_le_bytes(),
            &self.seed.to_le_bytes(),
            &self.offset.to_le_bytes(),
            &self.time.0.to_le_bytes(),
            &self.time.1.to_le_bytes(),
            &self.thread.to_le_bytes(),
            &self.number.to_le_bytes(),
        ];
        let mut at = 0;
        for field in fields {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
        debug_assert_eq!(at, CHECKED);
        let crc = crc32c(&bytes[..CHECKED]);
        bytes[CHECKED..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The fields, whether they make sense or not; and the header's own checksum.
    fn decode(bytes: &[u8; HEADER]) -> (Header, u32) {
        let mut at = 0;
        let mut number = |len: usize| {
            let field = bytes[at..at + len]
                .iter()
                .rev()
                .fold(0, |value: u64, &byte| value << 8 | u64::from(byte));
            at += len;
            field
        };
        let header = Header {
            magic: number(2) as u16,
            kind: number(2) as u16,
            len: number(4) as u32,
            seed: number(8),
            offset: number(8),
            time: (number(4) as u32, number(4) as u32),
            thread: number(2) as u16,
            number: number(2) as u16,
        };
        (header, number(4) as u32)
    }
}

impl Marks {
    /// What the job asks for; None if it verifies nothing. `thread` is the worker's number among
    /// all of the profile.
    fn new(options: &Options, thread: u32) -> Option<Marks> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Some(Marks {
            kind: options.verify?,
            pattern: options.verify_pattern.clone(),
            thread: thread as u16,
            seed: fastrand::u64(..),
            time: (now.as_secs() as u32, now.subsec_nanos()),
        })
    }

    /// Makes a block of what is written at this offset by the worker's write of this number.
    pub(super) fn fill(&self, block: &mut [u8], offset: u64, number: u64) {
        let seed = self.seed.wrapping_add(number);
        if self.pattern.is_empty() {
            let mut rng = Rng::new(seed, Stream::Contents);
            let mut parts = block.chunks_exact_mut(8);
            parts
                .by_ref()
                .for_each(|part| part.copy_from_slice(&rng.next_u64().to_le_bytes()));
            let rest = parts.into_remainder();
            rest.copy_from_slice(&rng.next_u64().to_le_bytes()[..rest.len()]);
        } else {
            let pattern = self.pattern_at(offset);
            block
                .chunks_mut(pattern.len())
                .for_each(|part| part.copy_from_slice(&pattern[..part.len()]));
        }
        let Some(kind) = self.kind_number() else {
            return;
        };
        let len = block.len() as u32;
        let Some((head, payload)) = block.split_at_mut_checked(OVERHEAD) else {
            // The plan lets no job through whose blocks have no room for it.
            debug_assert!(false, "a block of {len} bytes has no room for a header");
            return;
        };
        let header = Header {
            magic: MAGIC,
            kind,
            len,
            seed,
            offset,
            time: self.time,
            thread: self.thread,
            number: number as u16,
        }
        .encode();
        head[..HEADER].copy_from_slice(&header);
        head[HEADER..].copy_from_slice(&self.sum(payload).to_le_bytes());
    }

    /// Whether this is what was written at this offset; by the write of this number, if it is known
    /// which was the last. The error says what was found, and what was expected.
    pub(super) fn check(
        &self,
        block: &[u8],
        offset: u64,
        number: Option<u64>,
    ) -> Result<(), String> {
        let Some(kind) = self.kind_number() else {
            return self.check_pattern(block, offset);
        };
        let Some((head, rest)) = block.split_first_chunk::<HEADER>() else {
            return Err(no_room(block));
        };
        let Some((sum, payload)) = rest.split_first_chunk::<4>() else {
            return Err(no_room(block));
        };
        let (header, crc) = Header::decode(head);
        if header.magic != MAGIC {
            return Err(format!(
                "there is no header: its magic number is {:#06x}, not {MAGIC:#06x}",
                header.magic
            ));
        }
        let own = crc32c(&head[..CHECKED]);
        if own != crc {
            return Err(format!(
                "the header is damaged: its checksum is {own:#010x}, {crc:#010x} was written"
            ));
        }
        // 6 is CRC-32C too, as older releases of fio name it.
        if header.kind != kind && !(self.kind == Verify::Crc32c && header.kind == 6) {
            return Err(format!(
                "it was written with another checksum: kind {}, not {kind}",
                header.kind
            ));
        }
        if header.offset != offset {
            return Err(format!("the header is that of offset {}", header.offset));
        }
        if header.len as usize != block.len() {
            return Err(format!("it was written as a block of {} bytes", header.len));
        }
        if let Some(number) = number {
            let seed = self.seed.wrapping_add(number);
            if header.seed != seed || header.number != number as u16 {
                return Err(format!(
                    "it is not the last write: write {} of worker {} (seed {:#x}) is there, write {} of worker {} (seed {seed:#x}) was the last",
                    header.number, header.thread, header.seed, number as u16, self.thread
                ));
            }
        }
        let (found, expected) = (self.sum(payload), u32::from_le_bytes(*sum));
        if found != expected {
            return Err(format!(
                "its checksum is {found:#010x}, {expected:#010x} was written"
            ));
        }
        Ok(())
    }

    fn check_pattern(&self, block: &[u8], offset: u64) -> Result<(), String> {
        let pattern = self.pattern_at(offset);
        let mut from = 0;
        for part in block.chunks(pattern.len()) {
            if let Some(at) = part
                .iter()
                .zip(&pattern)
                .position(|(found, expected)| found != expected)
            {
                return Err(format!(
                    "byte {} is {:#04x}, the pattern has {:#04x} there",
                    from + at,
                    part[at],
                    pattern[at]
                ));
            }
            from += part.len();
        }
        Ok(())
    }

    /// What fio calls this kind; None for one without a header.
    fn kind_number(&self) -> Option<u16> {
        match self.kind {
            Verify::Crc32 => Some(4),
            Verify::Crc32c => Some(5),
            Verify::Pattern => None,
        }
    }

    fn sum(&self, payload: &[u8]) -> u32 {
        match self.kind {
            Verify::Crc32 => CRC32.checksum(payload),
            Verify::Crc32c | Verify::Pattern => crc32c(payload),
        }
    }

    /// Never empty where a pattern was asked for, which the parser sees to.
    fn pattern_at(&self, offset: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in &self.pattern {
            match part {
                PatternPart::Bytes(part) => bytes.extend(part),
                PatternPart::Offset => bytes.extend(offset.to_le_bytes()),
            }
        }
        debug_assert!(!bytes.is_empty());
        bytes
    }
}

fn no_room(block: &[u8]) -> String {
    format!("a block of {} bytes has no room for a header", block.len())
}

/// What one worker's verification needs.
pub(super) struct Verifier<'a> {
    pub(super) marks: Marks,
    /// The first difference ends the job.
    pub(super) fatal: bool,
    /// The job only reads, and verifies what it reads; as fio, one that writes too verifies
    /// afterwards.
    pub(super) checks_reads: bool,
    files: Vec<&'a Path>,
}

impl<'a> Verifier<'a> {
    /// None if the job verifies nothing.
    pub(super) fn new(
        options: &Options,
        targets: &[Target<'a>],
        thread: u32,
    ) -> Option<Verifier<'a>> {
        let marks = Marks::new(options, thread)?;
        let files = targets.iter().map(|target| target.path).collect();
        Some(Verifier {
            marks,
            fatal: options.verify_fatal,
            checks_reads: !options.mode.writes(),
            files,
        })
    }

    /// Whether a block that was read is what was written. The error names the file and the offset.
    pub(super) fn check(
        &self,
        request: &Request,
        block: &[u8],
        number: Option<u64>,
    ) -> Result<(), String> {
        self.marks
            .check(block, request.offset, number)
            .map_err(|difference| {
                let path = self
                    .files
                    .get(request.file)
                    .map(|path| path.display().to_string())
                    .unwrap_or_default();
                format!(
                    "{path}: the block of {} bytes at {}: {difference}",
                    request.bytes, request.offset
                )
            })
    }

    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    /// Drops what the page cache has of the files, which were synced, so that it is the device that
    /// is read.
    pub(super) fn drop_cache(&self) -> io::Result<()> {
        for path in &self.files {
            match rustix::fs::fadvise(std::fs::File::open(path)?, 0, None, Advice::DontNeed) {
                // What has no page cache has nothing to drop.
                Err(
                    rustix::io::Errno::INVAL
                    | rustix::io::Errno::NOSYS
                    | rustix::io::Errno::OPNOTSUPP,
                )
                | Ok(()) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fio_jobs::{JobFile, Surroundings};

    fn marks(text: &str) -> Marks {
        let file = JobFile::parse(
            "test.fio",
            &format!("[j]\nfilename=f\nsize=64k\nrw=write\n{text}"),
            &Surroundings::isolated(),
        );
        Marks::new(&file.expect("a job").groups[0].jobs[0].options, 3).expect("it verifies")
    }

    fn block(marks: &Marks, len: usize, offset: u64, number: u64) -> Vec<u8> {
        let mut block = vec![0; len];
        marks.fill(&mut block, offset, number);
        block
    }

    #[test]
    fn every_damaged_byte_is_found_and_an_intact_block_passes() {
        for text in [
            "verify=crc32c",
            "verify=crc32",
            "verify=crc32c\nverify_pattern=0xabcd%o",
            "verify=pattern\nverify_pattern=0xff%o\"abc\"",
        ] {
            let marks = marks(text);
            for len in [44, 45, 512, 1027] {
                let good = block(&marks, len, 4096, 70_000);
                assert_eq!(marks.check(&good, 4096, Some(70_000)), Ok(()), "{text}");
                assert_eq!(marks.check(&good, 4096, None), Ok(()), "{text}");
                for at in 0..len {
                    let mut bad = good.clone();
                    bad[at] ^= 0x10;
                    assert!(
                        marks.check(&bad, 4096, Some(70_000)).is_err()
                            && marks.check(&bad, 4096, None).is_err(),
                        "{text}: byte {at}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_block_of_another_place_or_size_or_write_is_found() {
        let marks = marks("verify=crc32c");
        let good = block(&marks, 512, 4096, 7);
        let said = |result: Result<(), String>| result.expect_err("it differs");
        assert!(said(marks.check(&good, 8192, None)).contains("offset 4096"));
        let whole = block(&marks, 1024, 4096, 7);
        assert!(said(marks.check(&whole[..512], 4096, None)).contains("1024 bytes"));
        // An earlier write of this run, one that has the same sixteen bits, and one of another run.
        assert!(
            said(marks.check(&good, 4096, Some(8)))
                .contains("not the last write: write 7 of worker 3")
        );
        assert!(said(marks.check(&good, 4096, Some(7 + 65_536))).contains("not the last write"));
        let later = self::marks("verify=crc32c");
        assert!(said(later.check(&good, 4096, Some(7))).contains("not the last write"));
        assert!(
            said(self::marks("verify=crc32").check(&good, 4096, None)).contains("another checksum")
        );
        assert!(said(marks.check(&[0; 512], 4096, None)).contains("0x0000, not 0xacca"));
        assert!(said(marks.check(&good[..43], 4096, None)).contains("no room"));
    }

    #[test]
    fn the_checksums_are_those_of_fio() {
        // What fio 3.33 has written: a block of 4 KiB with the pattern 0xa5, at 4096.
        let payload = [0xa5; 4096 - OVERHEAD];
        assert_eq!(
            (crc32c(&payload), CRC32.checksum(&payload)),
            (FIO_CRC32C, FIO_CRC32)
        );
        assert_eq!(CRC32.checksum(b"123456789"), CRC32.algorithm.check);
    }

    const FIO_CRC32C: u32 = 0x74ac_6db0;
    const FIO_CRC32: u32 = 0xfc1b_a7aa;

    #[test]
    fn the_header_has_the_layout_of_fio() {
        let header = Header {
            magic: MAGIC,
            kind: 5,
            len: 0x1000,
            seed: 0x00a4_cc01_c509_543c,
            offset: 0x1000,
            time: (0, 0x06b1_a713),
            thread: 1,
            number: 0,
        };
        // As fio 3.33 has written it.
        let bytes = [
            0xca, 0xac, 0x05, 0x00, 0x00, 0x10, 0x00, 0x00, 0x3c, 0x54, 0x09, 0xc5, 0x01, 0xcc,
            0xa4, 0x00, 0x00, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x13, 0xa7, 0xb1, 0x06, 0x01, 0,
            0, 0, 0x2f, 0x0c, 0x31, 0x24,
        ];
        assert_eq!(header.encode(), bytes);
        assert_eq!(Header::decode(&bytes), (header, 0x2431_0c2f));
    }
}
