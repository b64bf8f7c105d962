//! A page that is written onto itself: the request ends, and the page is what it was.
//!
//! generic/729: the direct write drops the page cache of its range, and with it the mapping that it
//! reads from; each try to fault the page in again is undone by the next try to write. Here also
//! with pages made dirty just before, whose bytes must not be lost.

use super::super::io::{Direction, Io, Open, Request, told};
use super::super::memory::{Map, page};
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, pattern};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "page-onto-itself",
    number: "generic/729",
    story: "Pages of a shared mapping written onto themselves, or read into themselves, end and are what they were.",
    randomised: false,
    run,
};

#[derive(Clone, Copy, Debug)]
enum State {
    Cold,
    Touched,
    Dirty,
}

fn run(cx: &Context) -> Outcome {
    let mut io = cx.io()?;
    for direction in [Direction::Write, Direction::Read] {
        for state in [State::Cold, State::Touched, State::Dirty] {
            for pages in [1, 3, 64] {
                let what = format!("{direction:?} of {pages} pages, {state:?}");
                one(cx, &mut *io, direction, state, pages * page()).doing(what)?;
            }
        }
    }
    Ok(())
}

fn one(cx: &Context, io: &mut dyn Io, direction: Direction, state: State, len: usize) -> Outcome {
    let path = cx.path("file");
    cx.pattern_file(&path, 1, len)?;
    let mapped = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)?;
    let map = Map::file(&mapped, 0, len, true)?;
    let file = io.file(&path, Open::Write)?;
    let mut seed = 1;
    match state {
        State::Cold => {}
        State::Touched => drop(map.get(0..len)),
        State::Dirty => {
            seed = 2;
            map.put(0, &pattern::bytes(seed, 0, len));
        }
    }
    let result = io.one(Request {
        file,
        direction,
        pieces: vec![map.all()],
        offset: 0,
    })?;
    ensure!(
        matches!(result, Ok(count) if count == len),
        "gave {} instead of {len}",
        told(&result)
    );
    let mismatch = pattern::mismatch(&map.get(0..len), seed, 0);
    ensure!(
        mismatch.is_none(),
        "in the memory {}",
        mismatch.unwrap_or_default()
    );
    io.sync(file)?;
    io.close(file);
    drop(map);
    cx.cool(&path)?;
    let mismatch = pattern::difference(&cx.contents(&path)?, &pattern::bytes(seed, 0, len), 0);
    ensure!(
        mismatch.is_none(),
        "in the file {}",
        mismatch.unwrap_or_default()
    );
    Ok(())
}
