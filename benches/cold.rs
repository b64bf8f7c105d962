//! What a large read takes into memory that is not there yet, and into memory that is: nofault
//! beside a bare ring and pread(2).
//!
//! To reach: cold at most 1.05 of warm. It is printed at the end, as medians of runs that took
//! turns. See `common` for the environment.

mod common;

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use common::{KIB, MIB, Memory, Mode, State, TestFile};
use io_uring::IoUring;
use io_uring::squeue::Flags;
use nofault::{Engine, Policy};

#[derive(Clone, Copy)]
enum Peer {
    Nofault,
    Bare,
    BareAsync,
    Pread,
    Cached,
    Uncached,
}

const PEERS: [(&str, Peer); 6] = [
    ("nofault", Peer::Nofault),
    ("bare", Peer::Bare),
    ("bare, IOSQE_ASYNC", Peer::BareAsync),
    ("pread, O_DIRECT", Peer::Pread),
    ("pread, cached", Peer::Cached),
    ("pread, evicted", Peer::Uncached),
];

struct Bench {
    file: TestFile,
    direct: File,
    buffered: File,
    ring: IoUring,
    nofault: nofault::File,
    engine: Engine,
}

impl Bench {
    fn new(bytes: usize) -> io::Result<Bench> {
        let file = TestFile::new(bytes)?;
        let engine = Engine::new()?;
        Ok(Bench {
            direct: file.open_direct()?,
            buffered: file.open_buffered()?,
            ring: common::bare_ring(8)?,
            nofault: nofault::File::open(&engine, file.path())?,
            engine,
            file,
        })
    }

    /// One read of the file. The memory is mapped before and unmapped after the time that counts.
    fn read(&mut self, peer: Peer, state: State) -> io::Result<Duration> {
        let memory = Memory::new(self.file.bytes, state)?;
        match peer {
            Peer::Nofault => {
                let start = Instant::now();
                // SAFETY: the memory outlives the request, which has ended when `block_on` returns.
                let read = unsafe {
                    self.nofault
                        .read_raw_at(memory.as_ptr(), memory.len(), 0, Policy::Look)
                };
                let count = self.engine.block_on(read)?;
                let elapsed = start.elapsed();
                if count == memory.len() {
                    Ok(elapsed)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                }
            }
            Peer::Bare => {
                Ok(common::bare_read(&mut self.ring, &self.direct, &memory, Flags::empty())?.total)
            }
            Peer::BareAsync => {
                Ok(common::bare_read(&mut self.ring, &self.direct, &memory, Flags::ASYNC)?.total)
            }
            Peer::Pread => common::pread(&self.direct, &memory),
            Peer::Cached => {
                self.file.cache()?;
                common::pread(&self.buffered, &memory)
            }
            Peer::Uncached => {
                self.file.evict()?;
                common::pread(&self.buffered, &memory)
            }
        }
    }
}

fn main() -> io::Result<()> {
    let bytes = if common::mode() == Mode::Measure {
        32 * MIB
    } else {
        512 * KIB
    };
    let mut bench = Bench::new(bytes)?;

    let mut criterion = common::criterion_for_long();
    for state in State::BOTH {
        let mut group =
            criterion.benchmark_group(format!("read {} KiB, {}", bytes / KIB, state.name()));
        group
            .throughput(criterion::Throughput::Bytes(bytes as u64))
            .sampling_mode(criterion::SamplingMode::Flat);
        for (name, peer) in PEERS {
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|count| {
                    (0..count)
                        .map(|_| bench.read(peer, state))
                        .sum::<io::Result<Duration>>()
                        .expect("a read failed")
                });
            });
        }
        group.finish();
    }
    criterion.final_summary();

    let rounds = common::rounds(31);
    if rounds == 0 {
        return Ok(());
    }
    // Cold and warm of one peer take turns as well: they are what is compared.
    let runs: Vec<_> = PEERS
        .iter()
        .flat_map(|(_, peer)| State::BOTH.map(|state| (*peer, state)))
        .collect();
    let medians = common::interleaved(rounds, runs.len(), |run| {
        [bench
            .read(runs[run].0, runs[run].1)
            .expect("a read failed")
            .as_secs_f64()
            * 1e3]
    });
    println!(
        "\n{} KiB read, medians of {rounds} rounds, in milliseconds:",
        bytes / KIB
    );
    for ((name, _), pair) in PEERS.iter().zip(medians.chunks_exact(2)) {
        let (warm, cold) = (pair[0][0], pair[1][0]);
        println!(
            "  {name:20} warm {warm:8.3}  cold {cold:8.3}  cold / warm {:.3}",
            cold / warm
        );
    }
    let (nofault, bare) = (
        [medians[0][0], medians[1][0]],
        [medians[2][0], medians[3][0]],
    );
    println!(
        "elapsed, nofault cold / warm: {:.3}; bare: {:.3}",
        nofault[1] / nofault[0],
        bare[1] / bare[0]
    );
    println!(
        "elapsed, nofault / bare: warm {:.3}, cold {:.3}",
        nofault[0] / bare[0],
        nofault[1] / bare[1]
    );
    Ok(())
}
