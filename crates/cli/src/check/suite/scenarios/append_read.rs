//! One thread appends, another reads at the end all the time: whatever it gets is what was
//! appended, never zeros of a page that has its place but not its bytes yet.
//!
//! generic/465: the size grew before the direct write's data was on the disk.

use std::path::Path;

use super::super::io::{FileId, Io, Open};
use super::super::memory::{Map, page};
use super::super::pattern::{Random, bytes, mismatch};
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, race};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "append-read",
    number: "generic/465",
    story: "A reader at the end of a file that is appended to gets what was appended, never zeros.",
    randomised: true,
    run,
};

const SEED: u64 = 1;

struct Reader {
    io: Box<dyn Io>,
    file: FileId,
    map: Map,
    random: Random,
}

fn run(cx: &Context) -> Outcome {
    let path = cx.path("file");
    let most = cx.at_most(16 << 20, 64 * page());
    // In whole pages, then also ragged, then to a descriptor that appends by itself.
    for (how, ragged) in [
        (Open::Create, false),
        (Open::Create, true),
        (Open::Append, false),
    ] {
        std::fs::write(&path, b"")?;
        let make = || {
            let mut io = cx.io()?;
            let file = io.file(&path, Open::Read)?;
            Ok(Reader {
                io,
                file,
                map: Map::anonymous(64 * page())?,
                random: cx.random(),
            })
        };
        let work = || append(cx, &path, how, ragged, most);
        race::beside(make, |reader| read(reader, &path), work)
            .doing(format_args!("{how:?}, ragged: {ragged}"))?;
        let wrong = mismatch(&cx.contents(&path)?, SEED, 0);
        ensure!(
            wrong.is_none(),
            "{how:?}, ragged: {ragged}, at the end: {}",
            wrong.unwrap_or_default()
        );
    }
    Ok(())
}

fn append(cx: &Context, path: &Path, how: Open, ragged: bool, most: usize) -> Outcome {
    let mut io = cx.io()?;
    // The reader has the file open already: it is not made anew.
    let file = io.file(
        path,
        if how == Open::Append {
            how
        } else {
            Open::Write
        },
    )?;
    let unit = if ragged { io.unit(file) } else { page() };
    if ragged && unit > 1 {
        return Ok(());
    }
    let mut random = cx.random();
    let map = Map::anonymous(32 * page())?;
    let mut end = 0;
    for _ in race::rounds(300) {
        let len = (1 + random.below(32 * page() / unit)) * unit;
        if end + len > most {
            break;
        }
        map.put(0, &bytes(SEED, end, len));
        io.write_all(
            file,
            map.piece(0..len),
            if how == Open::Append { 0 } else { end },
        )?;
        end += len;
    }
    let size = std::fs::metadata(path).doing("stat")?.len();
    ensure!(size == end as u64, "the size is {size} instead of {end}");
    Ok(())
}

fn read(reader: &mut Reader, path: &Path) -> Outcome {
    let size = std::fs::metadata(path).doing("stat")?.len() as usize;
    let unit = reader.io.unit(reader.file);
    // Around the end, where there was nothing a moment ago.
    let start = (size + 8 * page()).saturating_sub(reader.random.below(48 * page())) / unit * unit;
    let len = (1 + reader.random.below(64 * page() / unit)) * unit;
    let count = reader
        .io
        .read(reader.file, reader.map.piece(0..len), start)?;
    let wrong = mismatch(&reader.map.get(0..count), SEED, start);
    ensure!(
        wrong.is_none(),
        "a read of {len} bytes at {start} gave {count}, of which {}",
        wrong.unwrap_or_default()
    );
    ensure!(
        count >= len.min(size.saturating_sub(start)),
        "a read of {len} bytes at {start} of at least {size} gave {count}"
    );
    Ok(())
}
