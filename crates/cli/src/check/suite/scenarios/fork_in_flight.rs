//! fork(2) while requests are in flight: the bytes arrive in the parent's memory, and the child's
//! copies stay what they were or become that.
//!
//! Our own, after the old wrong of O_DIRECT that open(2) warns of: the page that the device fills
//! belonged to the child afterwards, and the parent kept a copy without the data. Since then pinned
//! pages are copied at fork; what is not pinned yet must be faulted in again.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::io::{Open, Request, told};
use super::super::memory::{Map, page};
use super::super::stop::{Doing, ensure};
use super::super::{Context, Outcome, Scenario, pattern, processes};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "fork-in-flight",
    number: "",
    story: "Reads and writes in flight while the process forks again and again keep their counts and their bytes.",
    randomised: false,
    run,
};

const REQUESTS: usize = 16;
const ROUNDS: usize = 8;

fn run(cx: &Context) -> Outcome {
    let part = cx.at_most(4 << 20, REQUESTS * page()) / REQUESTS;
    let len = part * REQUESTS;
    let (path, other) = (cx.path("file"), cx.path("other"));
    cx.pattern_file(&path, 1, len)?;
    let mut io = cx.io()?;
    let file = io.file(&path, Open::Read)?;
    let target = io.file(&other, Open::Create)?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let forker = scope.spawn(|| -> Outcome {
            while !over.load(Ordering::Relaxed) {
                // The child holds its copy of all memory until the next fork is done.
                let child = processes::start(|| Ok(()))?;
                processes::start(|| Ok(()))?.wait()?;
                child.wait()?;
            }
            Ok(())
        });
        let mut rounds = || -> Outcome {
            for round in 0..ROUNDS {
                let seed = 10 + round as u64;
                let filled = if round % 2 == 0 {
                    Map::anonymous(len)?
                } else {
                    Map::pattern(9, len)?
                };
                let sent = Map::pattern(seed, len)?;
                let range = |n: usize| n * part..(n + 1) * part;
                let mut requests: Vec<_> = (0..REQUESTS)
                    .map(|n| Request::read(file, filled.piece(range(n)), n * part))
                    .collect();
                requests.extend(
                    (0..REQUESTS).map(|n| Request::write(target, sent.piece(range(n)), n * part)),
                );
                for (n, result) in io.run(&requests, None)?.iter().enumerate() {
                    ensure!(
                        matches!(result, Ok(count) if *count == part),
                        "round {round}, request {n} gave {}",
                        told(result)
                    );
                }
                let mismatch = pattern::mismatch(&filled.get(0..len), 1, 0);
                ensure!(
                    mismatch.is_none(),
                    "round {round}: in the memory {}",
                    mismatch.unwrap_or_default()
                );
                let mismatch = pattern::mismatch(&cx.contents(&other)?, seed, 0);
                ensure!(
                    mismatch.is_none(),
                    "round {round}: in the file {}",
                    mismatch.unwrap_or_default()
                );
            }
            Ok(())
        };
        let ours = rounds();
        over.store(true, Ordering::Relaxed);
        ours.and(
            forker
                .join()
                .unwrap_or_else(
                    |_| Err(std::io::Error::other("the forking thread panicked").into()),
                )
                .doing("fork"),
        )
    })
}
