//! Writes into holes with many in flight: whole blocks, neighbouring sectors of one block, and
//! ragged ones. What was not written stays zero.
//!
//! generic/198 and generic/240: a direct write of a part of a block has to zero the rest, once,
//! whoever comes first.

use super::super::io::{FileId, Io, Open, Request, told};
use super::super::memory::Map;
use super::super::model::Model;
use super::super::pattern::{Random, bytes};
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, race};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "holes",
    number: "generic/198, generic/240",
    story: "Blocks, sectors of one block and ragged pieces written into holes are there, with zeros around them.",
    randomised: true,
    run,
};

const BLOCK: usize = 4096;
const SECTOR: usize = 512;
const FLIGHTS: usize = 16;

fn run(cx: &Context) -> Outcome {
    let len = cx.at_most(4 << 20, 64 * BLOCK);
    let mut io = cx.io()?;
    let mut random = cx.random();
    let mut sectors = true;
    for _ in race::rounds(12) {
        let path = cx.path("file");
        let file = io.file(&path, Open::Create)?;
        io.set_len(file, len)?;
        let mut model = Model::new(path, len, io.unit(file));
        model.bytes.resize(len, 0);
        // Ragged or in whole blocks, as the way allows.
        for _ in 0..4 {
            let ranges = model.apart(&mut random, FLIGHTS, 8 * BLOCK);
            at_once(&mut *io, file, &mut model, random.next(), &ranges).doing("apart")?;
        }
        for _ in 0..8 {
            if sectors {
                sectors = neighbours(&mut *io, file, &mut model, &mut random)
                    .doing("sectors of one block")?;
            }
        }
        let map = Map::anonymous(len)?;
        model.read(&mut *io, file, &map, 0, 0..len)?;
        io.close(file);
        model.check(cx)?;
    }
    Ok(())
}

fn at_once(
    io: &mut dyn Io,
    file: FileId,
    model: &mut Model,
    seed: u64,
    ranges: &[std::ops::Range<usize>],
) -> Outcome {
    let mut maps = Vec::new();
    for range in ranges {
        let map = Map::anonymous(range.len())?;
        map.put(0, &bytes(seed, range.start, range.len()));
        maps.push(map);
    }
    let requests: Vec<_> = maps
        .iter()
        .zip(ranges)
        .map(|(map, range)| Request::write(file, map.piece(0..range.len()), range.start))
        .collect();
    for (result, range) in io.run(&requests, None)?.iter().zip(ranges) {
        ensure!(
            matches!(result, Ok(count) if *count == range.len()),
            "a write of {range:?} gave {}",
            told(result)
        );
        model.written(seed, range.clone());
    }
    Ok(())
}

/// Some sectors of one block that is probably a hole, at once. False where the device has larger
/// sectors.
fn neighbours(
    io: &mut dyn Io,
    file: FileId,
    model: &mut Model,
    random: &mut Random,
) -> Result<bool, super::super::Stop> {
    let block = random.below(model.most / BLOCK) * BLOCK;
    let seed = random.next();
    let chosen = random.next() | 1 << random.below(BLOCK / SECTOR);
    let sectors: Vec<_> = (0..BLOCK / SECTOR)
        .filter(|sector| chosen >> sector & 1 == 1)
        .collect();
    let map = Map::anonymous(BLOCK)?;
    map.put(0, &bytes(seed, block, BLOCK));
    let request = |sector: &usize| {
        Request::write(
            file,
            map.piece(sector * SECTOR..(sector + 1) * SECTOR),
            block + sector * SECTOR,
        )
    };
    let results = io.run(&sectors.iter().map(request).collect::<Vec<_>>(), None)?;
    let refused = |result: &std::io::Result<usize>| matches!(result, Err(error) if error.raw_os_error() == Some(libc::EINVAL));
    if model.unit > 1 && results.iter().all(refused) {
        return Ok(false);
    }
    for (result, sector) in results.iter().zip(&sectors) {
        let at = block + sector * SECTOR;
        ensure!(
            matches!(result, Ok(SECTOR)),
            "a write of a sector at {at} gave {}",
            told(result)
        );
        model.written(seed, at..at + SECTOR);
    }
    Ok(true)
}
