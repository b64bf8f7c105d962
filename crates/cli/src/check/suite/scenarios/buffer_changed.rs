//! A thread changes the buffer while it is being written. The write is whole and no error, each
//! byte in the file is an old or a new one, and the file can be read afterwards.
//!
//! generic/761: on btrfs the checksum was of other bytes than those on the disk, and each later
//! read failed with EIO.

use super::super::io::Open;
use super::super::memory::{Map, page};
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, race};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "buffer-changed",
    number: "generic/761",
    story: "A buffer that changes while it is written leaves a file of old and new bytes that can be read.",
    randomised: true,
    run,
};

const OLD: u8 = 0x11;
const NEW: u8 = 0x22;

fn run(cx: &Context) -> Outcome {
    let len = cx.at_most(1 << 20, 16 * page());
    let map = Map::anonymous(len)?;
    map.put(0, &vec![OLD; len]);
    let flip = |random: &mut super::super::pattern::Random| {
        for _ in 0..256 {
            map.set_atom(
                random.below(len),
                if random.below(2) == 0 { OLD } else { NEW },
            );
        }
        Ok(())
    };
    race::beside(|| Ok(cx.random()), flip, || writes(cx, &map, len))
}

fn writes(cx: &Context, map: &Map, len: usize) -> Outcome {
    let path = cx.path("file");
    let mut io = cx.io()?;
    let file = io.file(&path, Open::Create)?;
    let unit = io.unit(file);
    let mut random = cx.random();
    let back = Map::anonymous(len)?;
    let mut size = 0;
    for round in race::rounds(60) {
        // Whole, then with ragged edges or misaligned memory where the way takes it.
        let cut = random.below(len / 2 / unit) * unit;
        let start = if round % 2 == 0 {
            0
        } else {
            random.below(8 * page() / unit) * unit
        };
        let piece = cut..len;
        let count = io
            .write(file, map.piece(piece.clone()), start)
            .doing(format_args!("round {round}"))?;
        ensure!(
            count == piece.len(),
            "round {round}: a write of {} gave {count}",
            piece.len()
        );
        size = size.max(start + count);
        // From the disk, where checksums are looked at.
        cx.cool(&path)?;
        let seen = cx.contents(&path).doing(format_args!("round {round}"))?;
        ensure!(
            seen.len() == size,
            "round {round}: the file has {} bytes instead of {}",
            seen.len(),
            size
        );
        let known = |byte: &u8| matches!(*byte, OLD | NEW);
        let strange = seen
            .iter()
            .skip(start)
            .take(count)
            .position(|byte| !known(byte));
        ensure!(
            strange.is_none(),
            "round {round}: the byte at {strange:?} was never in the buffer"
        );
        let read = io
            .read(file, back.piece(0..count), start)
            .doing(format_args!("round {round}"))?;
        ensure!(
            back.get(0..read) == seen[start..start + read],
            "round {round}: both ways of reading differ"
        );
    }
    Ok(())
}
