//! A read over several extents into a buffer of which only the first page is there gives the whole
//! count.
//!
//! generic/678: btrfs returned the bytes up to the page that was not there, and io_uring passed
//! that on as a short read in the middle of the file, which MariaDB took for corruption.

use std::io::Write;

use super::super::io::{Open, Request, told};
use super::super::memory::Map;
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, pattern};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "cold-buffer-extents",
    number: "generic/678",
    story: "A read over several extents into a buffer with only its first page present gives the whole count.",
    randomised: false,
    run,
};

const EXTENT: usize = 128 << 10;

fn run(cx: &Context) -> Outcome {
    let len = cx.at_most(4 << 20, EXTENT);
    let path = cx.path("file");
    let bytes = pattern::bytes(1, 0, len);
    {
        // Two files grow by turns, each piece brought to the disk, so that neither is in one
        // extent.
        let mut other = std::fs::File::create(cx.path("other"))?;
        let mut file = std::fs::File::create(&path)?;
        for extent in bytes.chunks(EXTENT) {
            file.write_all(extent)?;
            file.sync_data()?;
            other.write_all(&extent[..4096])?;
            other.sync_data()?;
        }
    }
    cx.cool(&path)?;
    let mut io = cx.io()?;
    let file = io.file(&path, Open::Read)?;
    for touched in [Some(0), None, Some(len / 2), Some(len - 1)] {
        let map = Map::anonymous(len)?;
        if let Some(at) = touched {
            map.set_atom(at, 7);
        }
        let count = io.read(file, map.all(), 0)?;
        ensure!(
            count == len,
            "only the byte at {touched:?} touched: gave {count} instead of {len}"
        );
        let mismatch = pattern::mismatch(&map.get(0..len), 1, 0);
        ensure!(
            mismatch.is_none(),
            "only the byte at {touched:?} touched: {}",
            mismatch.unwrap_or_default()
        );
    }
    // The same as several requests in flight.
    let map = Map::anonymous(len)?;
    map.set_atom(0, 7);
    let part = len / 4;
    let requests: Vec<_> = (0..4)
        .map(|n| Request::read(file, map.piece(n * part..(n + 1) * part), n * part))
        .collect();
    for (n, result) in io.run(&requests, None)?.iter().enumerate() {
        ensure!(
            matches!(result, Ok(count) if *count == part),
            "request {n} of 4 gave {} instead of {part}",
            told(result)
        );
    }
    let mismatch = pattern::mismatch(&map.get(0..part * 4), 1, 0);
    ensure!(
        mismatch.is_none(),
        "4 requests: {}",
        mismatch.unwrap_or_default()
    );
    // And as one vector of several such buffers.
    let maps = [Map::anonymous(part)?, Map::anonymous(part)?];
    maps[1].set_atom(0, 7);
    let pieces = maps.iter().map(Map::all).collect();
    let result = io
        .one(Request {
            pieces,
            ..Request::read(file, maps[0].all(), 0)
        })?
        .doing("read into two buffers")?;
    ensure!(
        result == 2 * part,
        "a vector gave {result} instead of {}",
        2 * part
    );
    let mismatch = pattern::mismatch(&maps[1].get(0..part), 1, part);
    ensure!(
        mismatch.is_none(),
        "a vector: {}",
        mismatch.unwrap_or_default()
    );
    Ok(())
}
