//! Small random reads into memory that is there: what the engine costs on top of a bare ring.
//!
//! To reach: CPU per read at depth 32, from pinned buffers at most 1.02 of a bare ring with
//! registered buffers and file, from foreign memory at most 1.10 of a bare ring without. It is
//! printed at the end, as medians of runs that took turns. The device matters: on a slow one the
//! thread sleeps between reads. A loop device over a tmpfs (`NOFAULT_DIR`, see `common`) is bound
//! by the CPU alone. `NOFAULT_DEPTHS` names the depths, such as `8,32`.
//!
//! The last line: two engines on two threads against one, on reads that the page cache serves.
//! Nothing is shared between them, so it tells whether the engine itself scales; to reach: at least
//! 1.8 times the reads.

mod common;
#[path = "common/random_reads.rs"]
mod random_reads;

use std::io;
use std::time::{Duration, Instant};

use common::{MIB, Mode, TestFile};
use nofault::{AlignedBuf, Engine};
use random_reads::{BLOCK, Bare, BareKind, Nofault, Queued};

const PEERS: [&str; 7] = [
    "queue, pinned",
    "futures, pinned",
    "bare, registered",
    "queue, foreign",
    "futures, foreign",
    "bare, plain",
    "bare, page cache",
];
const QUEUE_PINNED: usize = 0;
const FUTURES_PINNED: usize = 1;
const REGISTERED: usize = 2;
const QUEUE_FOREIGN: usize = 3;
const FUTURES_FOREIGN: usize = 4;
const PLAIN: usize = 5;

fn depths() -> Vec<usize> {
    let asked = std::env::var("NOFAULT_DEPTHS").ok();
    let depths = asked.map(|text| {
        text.split(',')
            .filter_map(|depth| depth.parse().ok())
            .filter(|depth| *depth > 0)
            .collect()
    });
    depths.unwrap_or_else(|| vec![1, 8, 32, 128])
}

/// Runs that many reads, and says how often io_uring_enter was called.
type Peer = Box<dyn FnMut(u64) -> io::Result<u64>>;

/// Everybody who reads, at one depth, in the order of `PEERS`.
fn peers(file: &TestFile, depth: usize) -> io::Result<Vec<Peer>> {
    let pinned = || {
        let engine = Engine::builder().depth(depth as u32).build()?;
        let pool = engine.pool(depth, BLOCK)?;
        if !pool.is_pinned() {
            println!("the pool is not pinned: {:?}", engine.stats().fallbacks);
        }
        io::Result::Ok((engine, (0..depth).filter_map(|_| pool.get()).collect()))
    };
    let foreign = || {
        let own_buffer = |_| {
            let mut buffer = AlignedBuf::new(BLOCK)?;
            buffer.populate()?;
            Ok(buffer)
        };
        let buffers = (0..depth).map(own_buffer).collect::<io::Result<_>>()?;
        io::Result::Ok((Engine::builder().depth(depth as u32).build()?, buffers))
    };
    let (engine, buffers) = pinned()?;
    let mut queue_pinned = Queued::new(engine, file, buffers)?;
    let (engine, buffers) = pinned()?;
    let mut futures_pinned = Nofault::new(engine, file, buffers)?;
    let (engine, buffers) = foreign()?;
    let mut queue_foreign = Queued::new(engine, file, buffers)?;
    let (engine, buffers) = foreign()?;
    let mut futures_foreign = Nofault::new(engine, file, buffers)?;
    let mut registered = Bare::new(file, depth, BareKind::Registered)?;
    let mut plain = Bare::new(file, depth, BareKind::Plain)?;
    let mut page_cache = Bare::new(file, depth, BareKind::PageCache)?;
    Ok(vec![
        Box::new(move |count| queue_pinned.run(count)),
        Box::new(move |count| futures_pinned.run(count)),
        Box::new(move |count| registered.run(count)),
        Box::new(move |count| queue_foreign.run(count)),
        Box::new(move |count| futures_foreign.run(count)),
        Box::new(move |count| plain.run(count)),
        Box::new(move |count| page_cache.run(count)),
    ])
}

/// `NOFAULT_ONLY` names one peer, to be run alone under a profiler.
fn only_one(file: &TestFile, name: &str) -> io::Result<()> {
    let wanted = PEERS.iter().position(|peer| *peer == name);
    let Some(peer) = wanted else {
        return Err(io::Error::other(format!(
            "NOFAULT_ONLY is none of {PEERS:?}"
        )));
    };
    let mut run = peers(file, 32)?.swap_remove(peer);
    let (start, before, count) = (
        Instant::now(),
        common::cpu_time(libc::RUSAGE_SELF),
        1_000_000,
    );
    run(count)?;
    let per_read = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    let cpu = common::cpu_time(libc::RUSAGE_SELF) - before;
    println!(
        "{name}: {count} reads at depth 32: {:.3} us each, CPU {:.3} us",
        per_read(start.elapsed()),
        per_read(cpu)
    );
    Ok(())
}

/// How many times the reads of one engine two make in the same time, on a thread each, from the
/// page cache.
fn two_engines(file: &TestFile, rounds: usize, count: u64) -> io::Result<f64> {
    file.cache()?;
    let depth = 32;
    let reads = |engine: Engine| -> io::Result<Duration> {
        let pool = engine.pool(depth, BLOCK)?;
        let file = Queued::buffered(
            engine,
            file,
            (0..depth).filter_map(|_| pool.get()).collect(),
        );
        let mut queued = file?;
        queued.run(count / 10)?;
        let start = Instant::now();
        queued.run(count)?;
        Ok(start.elapsed())
    };
    let engine = || Engine::builder().depth(depth as u32).build();
    let mut times = Vec::new();
    for _ in 0..rounds {
        let one = reads(engine()?)?;
        let two: Vec<io::Result<Duration>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2).map(|_| scope.spawn(|| reads(engine()?))).collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
                })
                .collect()
        });
        let longest = two
            .into_iter()
            .collect::<io::Result<Vec<_>>>()?
            .into_iter()
            .max()
            .unwrap_or_default();
        times.push(2.0 * one.as_secs_f64() / longest.as_secs_f64());
    }
    Ok(common::median(&times))
}

fn main() -> io::Result<()> {
    let measure = common::mode() == Mode::Measure;
    let file = TestFile::new(if measure { 256 * MIB } else { MIB })?;
    if let Some(name) = std::env::var_os("NOFAULT_ONLY") {
        return only_one(&file, &name.to_string_lossy());
    }

    let mut criterion = criterion::Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for depth in depths() {
        let mut group = criterion.benchmark_group(format!("4 KiB random reads, depth {depth}"));
        group.throughput(criterion::Throughput::Elements(1));
        for (name, mut run) in PEERS.into_iter().zip(peers(&file, depth)?) {
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|count| {
                    let start = Instant::now();
                    run(count).expect("a read failed");
                    start.elapsed()
                });
            });
        }
        group.finish();
    }
    criterion.final_summary();

    // Many short turns: what else the machine does changes within tens of milliseconds.
    let rounds = common::rounds(81);
    if rounds == 0 {
        return Ok(());
    }
    let count = if measure { 2000 } else { 200 };
    println!(
        "\n4 KiB random reads, medians of {rounds} rounds of {count} reads, in microseconds a read:"
    );
    let mut line = String::new();
    for depth in depths() {
        let mut peers = peers(&file, depth)?;
        let medians = common::interleaved(rounds, peers.len(), |peer| {
            let who = [libc::RUSAGE_SELF, libc::RUSAGE_THREAD];
            let (start, before) = (Instant::now(), who.map(common::cpu_time));
            let enters = peers[peer](count).expect("a read failed");
            let after = who.map(common::cpu_time);
            let us = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
            [
                us(start.elapsed()),
                us(after[0] - before[0]),
                us(after[1] - before[1]),
                count as f64 / enters as f64,
            ]
        });
        for (name, [elapsed, process, thread, batch]) in PEERS.iter().zip(&medians) {
            println!(
                "  depth {depth:3}  {name:18} elapsed {elapsed:7.3}  CPU {process:7.3}  of this thread {thread:7.3}  reads an enter {batch:5.1}"
            );
        }
        let ratio = |peer: usize, against: usize, number: usize| {
            medians[peer][number] / medians[against][number]
        };
        let ratios = [
            (QUEUE_PINNED, REGISTERED),
            (FUTURES_PINNED, REGISTERED),
            (QUEUE_FOREIGN, PLAIN),
            (FUTURES_FOREIGN, PLAIN),
        ];
        for (peer, against) in ratios {
            println!(
                "  depth {depth:3}  {:16} / {:16}  CPU {:.3} (of the thread {:.3}), elapsed {:.3}",
                PEERS[peer],
                PEERS[against],
                ratio(peer, against, 1),
                ratio(peer, against, 2),
                ratio(peer, against, 0),
            );
        }
        if depth == 32 {
            line = format!(
                "CPU per read at depth 32: pinned / bare registered {:.3}, foreign / bare plain {:.3}",
                ratio(QUEUE_PINNED, REGISTERED, 1),
                ratio(QUEUE_FOREIGN, PLAIN, 1),
            );
        }
    }
    println!("{line}");
    let (rounds, count) = if measure { (21, 50_000) } else { (1, 200) };
    println!(
        "reads from the page cache, two engines against one: {:.2} times",
        two_engines(&file, rounds, count)?
    );
    Ok(())
}
