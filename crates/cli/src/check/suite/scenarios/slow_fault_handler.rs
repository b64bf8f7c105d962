//! Two requests are started together; the memory of the first one is behind a userfaultfd handler,
//! which resolves nothing before the second one has ended, and is slow then.
//!
//! Our own. A bare ring takes the faults of the first request in the very call that was to start
//! both, so the second does not even begin.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::super::io::{Direction, Io, Open, Request, told};
use super::super::memory::{Map, page};
use super::super::stop::{Doing, ensure};
use super::super::userfault::Userfault;
use super::super::{Context, Outcome, Scenario, pattern};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "slow-fault-handler",
    number: "",
    story: "A request whose memory comes late from a userfaultfd handler does not hold up the one started after it.",
    randomised: false,
    run,
};

/// What the handler grants the second request before it takes it for held up.
const PATIENCE: Duration = Duration::from_secs(3);
const PAGES: usize = 16;

fn run(cx: &Context) -> Outcome {
    let mut io = cx.io()?;
    one(cx, &mut *io, Direction::Read).doing("read")?;
    one(cx, &mut *io, Direction::Write).doing("write")
}

fn one(cx: &Context, io: &mut dyn Io, direction: Direction) -> Outcome {
    let len = PAGES * page();
    let path = cx.path("file");
    cx.pattern_file(&path, 1, 2 * len)?;
    let file = io.file(&path, Open::Write)?;
    let cold = Map::anonymous(len)?;
    let warm = Map::anonymous(len)?;
    (0..PAGES).for_each(|n| warm.set_atom(n * page(), 0));
    let handler = Userfault::over(&cold)?;
    let (over, held_up) = (AtomicBool::new(false), AtomicBool::new(false));
    let (warm_seen, handling) = (&warm, &handler);
    let results = std::thread::scope(|scope| {
        let thread = scope.spawn(|| -> Outcome {
            let mut late = None;
            while !over.load(Ordering::Relaxed) {
                let Some(offset) = handling.wait(5).doing("wait for a fault")? else {
                    continue;
                };
                let deadline = *late.get_or_insert_with(|| Instant::now() + PATIENCE);
                // The last page that the second request fills says that it is done; nothing but
                // looking tells.
                while warm_seen.atom(len - 1) == 0 && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(1));
                }
                held_up.fetch_or(warm_seen.atom(len - 1) == 0, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
                handling
                    .provide(offset, &pattern::bytes(2, offset, page()))
                    .doing("provide a page")?;
            }
            Ok(())
        });
        let requests = [
            Request {
                file,
                direction,
                pieces: vec![cold.all()],
                offset: 0,
            },
            Request::read(file, warm.all(), len),
        ];
        let results = io.run(&requests, None);
        over.store(true, Ordering::Relaxed);
        thread
            .join()
            .unwrap_or_else(|_| Err(std::io::Error::other("the handler panicked").into()))
            .and(results)
    })?;
    for result in &results {
        ensure!(
            matches!(result, Ok(count) if *count == len),
            "gave {} instead of {len}",
            told(result)
        );
    }
    ensure!(
        !held_up.load(Ordering::Relaxed),
        "the second request was held up by the page faults of the first one"
    );
    io.close(file);
    let seed = if direction == Direction::Read { 1 } else { 2 };
    let mismatch = pattern::mismatch(&cold.get(0..len), seed, 0)
        .or_else(|| pattern::mismatch(&warm.get(0..len), 1, len));
    ensure!(
        mismatch.is_none(),
        "in the memory {}",
        mismatch.unwrap_or_default()
    );
    let mismatch = pattern::mismatch(&cx.contents(&path)?[..len], seed, 0);
    ensure!(
        mismatch.is_none(),
        "in the file {}",
        mismatch.unwrap_or_default()
    );
    Ok(())
}
