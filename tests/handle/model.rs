//! Random requests on a file through a handle, and the same ones by pread and pwrite on a second
//! file.

use crate::common::files;
use crate::common::mapping::patterned;
use nofault::handle::File;
use nofault::{AlignedBuf, Handle, IoBufExt};
use std::os::unix::fs::FileExt;

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    /// Mostly small, mostly at the edge of something.
    fn number(&mut self, end: u64) -> u64 {
        let bits = self.below(u64::from(end.ilog2()) + 1);
        let number = self.below(1 << bits);
        match self.below(3) {
            0 => number & !4095,
            1 => number & !511,
            _ => number,
        }
    }
}

/// `plain` and `twin` are alike; `plain` is the file that the handle has open.
pub(crate) fn compare(
    handle: &Handle,
    file: &File,
    plain: &std::fs::File,
    twin: &std::fs::File,
    requests: usize,
) {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for number in 0..requests {
        let (offset, len) = (random.number(1 << 21), random.number(1 << 18) as usize);
        let bytes = patterned(len, number as u64);
        let what = format!("request {number}: offset {offset}, {len} bytes");
        if random.below(2) == 0 {
            let expected = twin.write_at(&bytes, offset).unwrap();
            let count = match random.below(3) {
                0 => handle.block_on(file.write_at(bytes, offset)).0,
                1 => {
                    let (head, tail) = bytes.split_at(len / 3);
                    handle
                        .block_on(file.writev_at(vec![head.to_vec(), tail.to_vec()], offset))
                        .0
                }
                _ => {
                    let mut aligned = AlignedBuf::new(len + 1).unwrap();
                    aligned[..len].copy_from_slice(&bytes);
                    handle
                        .block_on(file.write_at(aligned.into_slice(..len), offset))
                        .0
                }
            };
            assert_eq!(count.unwrap(), expected, "write, {what}");
        } else {
            let mut model = vec![0; len];
            let expected = twin.read_at(&mut model, offset).unwrap();
            let (count, buffer) = match random.below(2) {
                0 => {
                    let (count, slice) = handle
                        .block_on(file.read_at(Vec::with_capacity(len).into_slice(..len), offset));
                    (count, slice.into_inner())
                }
                _ => {
                    let (count, slice) = handle.block_on(
                        file.read_at(AlignedBuf::new(len + 1).unwrap().into_slice(..len), offset),
                    );
                    (count, slice.into_inner()[..expected].to_vec())
                }
            };
            assert_eq!(count.unwrap(), expected, "read, {what}");
            assert!(buffer == model[..expected], "read, {what}: other bytes");
        }
    }
    assert_eq!(files::difference(plain, twin, 0..0, &[]), None);
}
