//! Writes of random ranges, many in flight, from memory of any alignment, in pieces and cold; the
//! file is cut and extended between them. Each range is read back, and in the end the whole file,
//! from the page cache and from the disk.
//!
//! generic/538 and generic/551: direct writes to places in all states, also unaligned, lost data or
//! left stale bytes.

use std::ops::Range;

use super::super::io::{Direction, FileId, Io, Open, Request, told};
use super::super::memory::{Map, page};
use super::super::model::Model;
use super::super::pattern::{Random, bytes};
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, Stop, race};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "write-verify",
    number: "generic/538, generic/551",
    story: "Random writes in flight together, also ragged, in pieces and cold, are read back as written.",
    randomised: true,
    run,
};

const FLIGHTS: usize = 8;
const LONGEST: usize = 512 << 10;

fn run(cx: &Context) -> Outcome {
    let most = cx.at_most(6 << 20, 64 * page());
    let mut io = cx.io()?;
    let mut random = cx.random();
    let path = cx.path("file");
    let file = io.file(&path, Open::Create)?;
    let mut model = Model::new(path, most, io.unit(file));
    for round in race::rounds(60) {
        let words = format!("round {round}");
        writes(cx, &mut *io, file, &mut model, &mut random).doing(&words)?;
        match random.below(8) {
            0 => {
                let len = random.below(most / model.unit) * model.unit;
                io.set_len(file, len).doing("cut or extend the file")?;
                model.bytes.resize(len, 0);
            }
            1 => cx.cool(&model.path)?,
            2 => io.sync(file).doing("sync the file")?,
            _ => {}
        }
        for _ in 0..4 {
            let range = model.somewhere(&mut random, most, LONGEST);
            let shift = if model.unit == 1 { random.below(64) } else { 0 };
            let map = Map::anonymous(shift + range.len())?;
            model
                .read(&mut *io, file, &map, shift, range)
                .doing(&words)?;
        }
    }
    io.close(file);
    model.check(cx)
}

/// A write's memory: a mapping, and where in it the bytes begin.
struct Source {
    map: Map,
    shift: usize,
    range: Range<usize>,
}

impl Source {
    /// One request, in up to four pieces.
    fn request(&self, file: FileId, unit: usize, random: &mut Random) -> Request<'_> {
        let len = self.range.len();
        let mut cuts: Vec<usize> = (0..random.below(4))
            .map(|_| random.below(len / unit) * unit)
            .chain([0, len])
            .collect();
        cuts.sort_unstable();
        cuts.dedup();
        let pieces = cuts
            .windows(2)
            .map(|cut| self.map.piece(self.shift + cut[0]..self.shift + cut[1]))
            .collect();
        Request {
            file,
            direction: Direction::Write,
            pieces,
            offset: self.range.start as u64,
        }
    }
}

fn writes(
    cx: &Context,
    io: &mut dyn Io,
    file: FileId,
    model: &mut Model,
    random: &mut Random,
) -> Outcome {
    let seed = random.next();
    let mut sources = Vec::new();
    for (number, range) in model
        .apart(random, FLIGHTS, LONGEST)
        .into_iter()
        .enumerate()
    {
        sources.push(source(cx, number, seed, range, model.unit, random)?);
    }
    let requests: Vec<_> = sources
        .iter()
        .map(|source| source.request(file, model.unit, random))
        .collect();
    for (result, Source { range, .. }) in io.run(&requests, None)?.iter().zip(&sources) {
        ensure!(
            matches!(result, Ok(count) if *count == range.len()),
            "a write of {range:?} gave {}",
            told(result)
        );
        model.written(seed, range.clone());
    }
    Ok(())
}

/// Ordinary memory, or now and then a cold mapping of a file.
fn source(
    cx: &Context,
    number: usize,
    seed: u64,
    range: Range<usize>,
    unit: usize,
    random: &mut Random,
) -> Result<Source, Stop> {
    let shift = if unit == 1 {
        random.below(3) * random.below(page())
    } else {
        0
    };
    let mut filled = vec![0; shift];
    filled.extend(bytes(seed, range.start, range.len()));
    let map = if random.below(8) == 0 {
        let path = cx.path(&format!("source{number}"));
        std::fs::write(&path, &filled).doing("write what is mapped")?;
        cx.cool(&path)?;
        Map::read_only(
            &std::fs::File::open(&path).doing("open what is mapped")?,
            filled.len(),
        )?
    } else {
        let map = Map::anonymous(filled.len())?;
        map.put(0, &filled);
        map
    };
    Ok(Source { map, shift, range })
}
