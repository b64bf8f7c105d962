//! Several processes, each with a part of one file, write there through the column and through the
//! page cache in turn, and read it back both ways: each finds what it wrote last.
//!
//! generic/418: the direct write dropped the page cache too early or not at all, and a later
//! buffered read saw the old bytes.

use std::os::unix::fs::FileExt;

use super::super::io::Open;
use super::super::memory::Map;
use super::super::model::Model;
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, pattern, processes, race};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "mixed-processes",
    number: "generic/418",
    story: "Processes that write their part of a file directly and buffered in turn read what they wrote.",
    randomised: true,
    run,
};

const PROCESSES: usize = 4;
const LONGEST: usize = 64 << 10;

fn run(cx: &Context) -> Outcome {
    let part = cx.at_most(PROCESSES << 18, PROCESSES << 16) / PROCESSES;
    let path = cx.path("file");
    cx.pattern_file(&path, 0, PROCESSES * part)?;
    processes::together(cx, PROCESSES, |index, cx| {
        process(cx, index, part).doing(format_args!("process {index}"))
    })
}

fn process(cx: &Context, index: usize, part: usize) -> Outcome {
    let base = index * part;
    let path = cx.path("file");
    let mut io = cx.io()?;
    let file = io.file(&path, Open::Write)?;
    let other = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .doing("open the file once more")?;
    let mut model = Model::new(path, part, io.unit(file));
    model.bytes = pattern::bytes(0, base, part);
    let mut random = pattern::Random::new(cx.seed.wrapping_mul(100) + index as u64);
    let map = Map::anonymous(2 * LONGEST)?;
    for round in race::rounds(2000) {
        let range = model.somewhere(&mut random, part, LONGEST);
        let seed = random.next();
        let bytes = pattern::bytes(seed, range.start, range.len());
        if random.below(3) > 0 {
            map.put(0, &bytes);
            io.write_all(file, map.piece(0..range.len()), base + range.start)?;
        } else {
            other
                .write_all_at(&bytes, (base + range.start) as u64)
                .doing("a buffered write")?;
        }
        model.written(seed, range.clone());
        // The same range, and something around it.
        let around = model.somewhere(&mut random, part, LONGEST);
        for range in [range, around] {
            let len = range.len();
            let mut seen = vec![0; len];
            if random.below(2) == 0 {
                let count = io.read(file, map.piece(0..len), base + range.start)?;
                ensure!(
                    count == len,
                    "round {round}: a read of {len} bytes gave {count}"
                );
                model
                    .compare(&map.get(0..len), &range)
                    .doing(format_args!("round {round}, read by the column"))?;
            } else {
                other
                    .read_exact_at(&mut seen, (base + range.start) as u64)
                    .doing("a buffered read")?;
                model
                    .compare(&seen, &range)
                    .doing(format_args!("round {round}, read through the page cache"))?;
            }
        }
    }
    Ok(())
}
