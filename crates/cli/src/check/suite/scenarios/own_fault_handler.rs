//! The submitting thread itself is the one that resolves the page faults of its own buffers, by
//! userfaultfd, while it waits.
//!
//! Our own. A bare ring never comes back from the call that submits: the thread waits for itself.

use super::super::io::{Direction, Io, Open, Request, told};
use super::super::memory::{Map, page};
use super::super::stop::{Doing, ensure};
use super::super::userfault::Userfault;
use super::super::{Context, Outcome, Scenario, pattern};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "own-fault-handler",
    number: "",
    story: "Requests whose memory the submitting thread itself provides, by userfaultfd, end.",
    randomised: false,
    run,
};

fn run(cx: &Context) -> Outcome {
    let mut io = cx.io()?;
    for pages in [1, 16, 256] {
        one(cx, &mut *io, Direction::Read, pages * page())
            .doing(format_args!("read, {pages} pages"))?;
        one(cx, &mut *io, Direction::Write, pages * page())
            .doing(format_args!("write, {pages} pages"))?;
    }
    Ok(())
}

fn one(cx: &Context, io: &mut dyn Io, direction: Direction, len: usize) -> Outcome {
    let path = cx.path("file");
    cx.pattern_file(&path, 1, len)?;
    let file = io.file(&path, Open::Write)?;
    let map = Map::anonymous(len)?;
    let handler = Userfault::over(&map)?;
    let mut served = Ok(());
    let requests = [Request {
        file,
        direction,
        pieces: vec![map.all()],
        offset: 0,
    }];
    let results = io.run(
        &requests,
        Some(&mut || {
            if served.is_ok() {
                served = handler.serve(1, 2);
            }
        }),
    )?;
    served.doing("serve the faults")?;
    ensure!(
        matches!(results[0], Ok(count) if count == len),
        "gave {} instead of {len}",
        told(&results[0])
    );
    io.close(file);
    let seed = if direction == Direction::Read { 1 } else { 2 };
    let mismatch = pattern::mismatch(&map.get(0..len), seed, 0);
    ensure!(
        mismatch.is_none(),
        "in the memory {}",
        mismatch.unwrap_or_default()
    );
    let mismatch = pattern::mismatch(&cx.contents(&path)?, seed, 0);
    ensure!(
        mismatch.is_none(),
        "in the file {}",
        mismatch.unwrap_or_default()
    );
    Ok(())
}
