//! A read at the last block of a file, which has 300 bytes, gives 300.
//!
//! generic/210: the direct read is of whole blocks, and its count once was, too.

use super::super::io::Open;
use super::super::memory::Map;
use super::super::stop::ensure;
use super::super::{Context, Outcome, Scenario, pattern};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "last-block",
    number: "generic/210",
    story: "A read of a last block of 300 bytes gives 300, at the end of the file 0, beyond it 0.",
    randomised: false,
    run,
};

const BLOCK: usize = 4096;
const TAIL: usize = 300;

fn run(cx: &Context) -> Outcome {
    let mut io = cx.io()?;
    let size = 3 * BLOCK + TAIL;
    let path = cx.path("file");
    cx.pattern_file(&path, 1, size)?;
    let file = io.file(&path, Open::Read)?;
    let any = io.unit(file) == 1;
    let mut asked = vec![
        (3 * BLOCK, BLOCK),
        (3 * BLOCK, 8 * BLOCK),
        (0, 4 * BLOCK),
        (2 * BLOCK, 4 * BLOCK),
        (4 * BLOCK, BLOCK),
        (64 * BLOCK, BLOCK),
    ];
    if any {
        asked.extend([
            (size, BLOCK),
            (size - 1, 1),
            (size - 1, BLOCK),
            (3 * BLOCK + 100, 100),
            (3 * BLOCK + 100, BLOCK),
            (1, size),
            (1, size + BLOCK),
        ]);
    }
    for cold in [true, false] {
        for &(offset, len) in &asked {
            let map = if cold {
                Map::anonymous(len + BLOCK)?
            } else {
                Map::pattern(9, len + BLOCK)?
            };
            let beyond = map.get(len..len + BLOCK);
            let count = io.read(file, map.piece(0..len), offset)?;
            let wanted = len.min(size.saturating_sub(offset));
            ensure!(
                count == wanted,
                "a read of {len} bytes at {offset} of {size} gave {count} instead of {wanted}"
            );
            let mismatch = pattern::mismatch(&map.get(0..count), 1, offset);
            ensure!(
                mismatch.is_none(),
                "a read of {len} bytes at {offset}: {}",
                mismatch.unwrap_or_default()
            );
            ensure!(
                map.get(len..len + BLOCK) == beyond,
                "a read of {len} bytes at {offset} changed memory behind its buffer"
            );
        }
    }
    Ok(())
}
