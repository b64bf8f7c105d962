//! Appends from memory that was never touched, or that is a cold mapping of another file: the count
//! is whole, and the file grows by exactly that.
//!
//! generic/362: btrfs faulted the buffer in, tried again, and took the position from the grown
//! file, so that the data was appended twice.

use super::super::io::Open;
use super::super::memory::{Map, page};
use super::super::pattern::{Random, difference};
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, Stop, pattern, race};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "append-unfaulted",
    number: "generic/362",
    story: "Appends from memory that is not there yet are whole, and the file grows by exactly that.",
    randomised: true,
    run,
};

const APPENDS: usize = 8;

fn run(cx: &Context) -> Outcome {
    let mut io = cx.io()?;
    let most = cx.at_most(2 << 20, APPENDS * page()) / APPENDS;
    let mut random = cx.random();
    let path = cx.path("file");
    for round in race::rounds(12) {
        let _ = std::fs::remove_file(&path);
        let how = if round % 2 == 0 {
            Open::Append
        } else {
            Open::Create
        };
        let file = io.file(&path, how)?;
        let mut wanted = Vec::new();
        for append in 0..APPENDS {
            let (map, bytes) = memory(cx, &mut random, append, io.unit(file), most)?;
            // Where the descriptor does not say so, the offset is the end.
            let offset = if how == Open::Append { 0 } else { wanted.len() };
            let count = io.write(file, map.piece(0..bytes.len()), offset)?;
            ensure!(
                count == bytes.len(),
                "{how:?}: an append of {} bytes gave {count}",
                bytes.len()
            );
            wanted.extend(bytes);
            let size = std::fs::metadata(&path).doing("stat")?.len();
            ensure!(
                size == wanted.len() as u64,
                "{how:?}: after an append of {count} bytes the size is {size} instead of {}",
                wanted.len()
            );
        }
        io.sync(file)?;
        cx.cool(&path)?;
        let wrong = difference(&cx.contents(&path)?, &wanted, 0);
        ensure!(wrong.is_none(), "{how:?}: {}", wrong.unwrap_or_default());
        io.close(file);
    }
    Ok(())
}

/// Memory to append, and what it holds: anonymous (zeros) for even numbers, else a cold mapping of
/// a file.
fn memory(
    cx: &Context,
    random: &mut Random,
    number: usize,
    unit: usize,
    most: usize,
) -> Result<(Map, Vec<u8>), Stop> {
    let len = (1 + random.below(most / unit)) * unit;
    if number.is_multiple_of(2) {
        let map = Map::anonymous(len)?;
        let mut bytes = vec![0; len];
        // A page here and there, also the first or the last.
        for _ in 0..random.below(3) {
            let at = random.below(len);
            map.put(at, &[7]);
            bytes[at] = 7;
        }
        return Ok((map, bytes));
    }
    let source = cx.path(&format!("source{number}"));
    let seed = 100 + number as u64;
    cx.pattern_file(&source, seed, len)?;
    let opened = std::fs::File::open(&source).doing("open what is mapped")?;
    Ok((Map::read_only(&opened, len)?, pattern::bytes(seed, 0, len)))
}
