//! How long the calls that submit a large read hold up their thread: nofault beside a bare ring.
//!
//! To reach: the longest call for 32 MiB of fresh memory at most 1/20 of the bare ring's. It is
//! printed at the end, as medians of runs that took turns. See `common` for the environment.

mod common;

use std::fs::File;
use std::io;
use std::time::Duration;

use common::{KIB, MIB, Memory, Mode, State, TestFile};
use io_uring::squeue::Flags;
use nofault::{Engine, Policy, Timing};

#[derive(Clone, Copy)]
enum Peer {
    Nofault,
    Bare,
    BareAsync,
}

const PEERS: [(&str, Peer); 3] = [
    ("nofault", Peer::Nofault),
    ("bare", Peer::Bare),
    ("bare, IOSQE_ASYNC", Peer::BareAsync),
];

/// The calls of one request.
#[derive(Clone, Copy)]
struct Calls {
    longest: Duration,
    mean: Duration,
    count: u64,
}

struct Bench {
    file: TestFile,
    direct: File,
}

impl Bench {
    /// One read. Engine and ring are new each time: their counters can't be set back, and so that
    /// all peers have the same start.
    fn read(&self, peer: Peer, state: State) -> io::Result<Calls> {
        let memory = Memory::new(self.file.bytes, state)?;
        let flags = match peer {
            Peer::Nofault => return self.read_nofault(&memory),
            Peer::Bare => Flags::empty(),
            Peer::BareAsync => Flags::ASYNC,
        };
        let elapsed = common::bare_read(&mut common::bare_ring(8)?, &self.direct, &memory, flags)?;
        Ok(Calls {
            longest: elapsed.submit,
            mean: elapsed.submit,
            count: 1,
        })
    }

    fn read_nofault(&self, memory: &Memory) -> io::Result<Calls> {
        let engine = Engine::builder().timing(Timing::Every).build()?;
        let file = nofault::File::open(&engine, self.file.path())?;
        // SAFETY: the memory outlives the request, which has ended when `block_on` returns.
        let read = unsafe { file.read_raw_at(memory.as_ptr(), memory.len(), 0, Policy::Look) };
        if engine.block_on(read)? != memory.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let times = engine.stats().submit_time;
        Ok(Calls {
            longest: times.max(),
            mean: times.mean(),
            count: times.count(),
        })
    }
}

fn main() -> io::Result<()> {
    let bytes = if common::mode() == Mode::Measure {
        32 * MIB
    } else {
        512 * KIB
    };
    let file = TestFile::new(bytes)?;
    let bench = Bench {
        direct: file.open_direct()?,
        file,
    };

    let mut criterion = common::criterion_for_long();
    for (what, pick) in [
        ("longest", (|calls| calls.longest) as fn(Calls) -> Duration),
        ("mean", |calls| calls.mean),
    ] {
        for state in State::BOTH {
            let mut group =
                criterion.benchmark_group(format!("submit call, {what}, {}", state.name()));
            for (name, peer) in PEERS {
                group.bench_function(name, |bencher| {
                    let read = || bench.read(peer, state).map(pick);
                    bencher.iter_custom(|count| {
                        (0..count)
                            .map(|_| read())
                            .sum::<io::Result<Duration>>()
                            .expect("a read failed")
                    });
                });
            }
            group.finish();
        }
    }
    criterion.final_summary();

    let rounds = common::rounds(31);
    if rounds == 0 {
        return Ok(());
    }
    println!(
        "\n{} KiB read, medians of {rounds} rounds, in microseconds of calls that submit:",
        bytes / KIB
    );
    let mut longest = [f64::NAN; 2];
    for state in State::BOTH {
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        let medians = common::interleaved(rounds, PEERS.len(), |peer| {
            let calls = bench.read(PEERS[peer].1, state).expect("a read failed");
            [us(calls.longest), us(calls.mean), calls.count as f64]
        });
        for ((name, _), [longest, mean, count]) in PEERS.iter().zip(&medians) {
            println!(
                "  {:4} {name:20} longest {longest:8.1}  mean {mean:8.1}  calls {count:4}  all {:8.1}",
                state.name(),
                mean * count
            );
        }
        if state == State::Cold {
            longest = [medians[0][0], medians[1][0]];
        }
    }
    println!(
        "longest submit call, cold, nofault / bare: {:.4}",
        longest[0] / longest[1]
    );
    Ok(())
}
