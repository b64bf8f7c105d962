//! Small random reads into memory that is there: what the engine costs on top of a bare ring.
//!
//! To reach: CPU per read from pinned buffers at depth 32 at most 1.05 of a bare ring with registered buffers and file. It is printed at the
//! end, as medians of runs that took turns. The device matters: on a slow one the thread sleeps between reads. A loop device over a tmpfs
//! (`NOFAULT_DIR`, see `common`) is bound by the CPU alone.

mod common;
#[path = "common/random_reads.rs"]
mod random_reads;

use std::io;
use std::time::{Duration, Instant};

use common::{MIB, Mode, TestFile};
use nofault::{AlignedBuf, Engine};
use random_reads::{BLOCK, Bare, BareKind, Nofault};

const DEPTHS: [usize; 4] = [1, 8, 32, 128];

const PEERS: [&str; 5] = ["nofault, pinned", "bare, registered", "nofault, foreign", "bare, plain", "bare, page cache"];

/// Runs that many reads, and says how often io_uring_enter was called.
type Peer = Box<dyn FnMut(u64) -> io::Result<u64>>;

/// Everybody who reads, at one depth, in the order of `PEERS`.
fn peers(file: &TestFile, depth: usize) -> io::Result<Vec<Peer>> {
    let pinned_engine = Engine::builder().depth(depth as u32).build()?;
    let pool = pinned_engine.pool(depth, BLOCK)?;
    if !pool.is_pinned() {
        println!("the pool is not pinned: {:?}", pinned_engine.stats().fallbacks);
    }
    let pool_buffers = (0..depth).filter_map(|_| pool.get()).collect();
    let mut pinned = Nofault::new(pinned_engine, file, pool_buffers)?;

    let engine = Engine::builder().depth(depth as u32).build()?;
    let own_buffer = |_| {
        let mut buffer = AlignedBuf::new(BLOCK)?;
        buffer.populate()?;
        Ok(buffer)
    };
    let own_buffers = (0..depth).map(own_buffer).collect::<io::Result<_>>()?;
    let mut foreign = Nofault::new(engine, file, own_buffers)?;

    let mut registered = Bare::new(file, depth, BareKind::Registered)?;
    let mut plain = Bare::new(file, depth, BareKind::Plain)?;
    let mut page_cache = Bare::new(file, depth, BareKind::PageCache)?;
    Ok(vec![
        Box::new(move |count| pinned.run(count)),
        Box::new(move |count| registered.run(count)),
        Box::new(move |count| foreign.run(count)),
        Box::new(move |count| plain.run(count)),
        Box::new(move |count| page_cache.run(count)),
    ])
}

/// `NOFAULT_ONLY` names one peer, to be run alone under a profiler.
fn only_one(file: &TestFile, name: &str) -> io::Result<()> {
    let wanted = PEERS.iter().position(|peer| *peer == name);
    let Some(peer) = wanted else { return Err(io::Error::other(format!("NOFAULT_ONLY is none of {PEERS:?}"))) };
    let mut run = peers(file, 32)?.swap_remove(peer);
    let (start, before, count) = (Instant::now(), common::cpu_time(libc::RUSAGE_SELF), 1_000_000);
    run(count)?;
    let per_read = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    let cpu = common::cpu_time(libc::RUSAGE_SELF) - before;
    println!("{name}: {count} reads at depth 32: {:.3} us each, CPU {:.3} us", per_read(start.elapsed()), per_read(cpu));
    Ok(())
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
    for depth in DEPTHS {
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
    println!("\n4 KiB random reads, medians of {rounds} rounds of {count} reads, in microseconds a read:");
    let mut line = String::new();
    for depth in DEPTHS {
        let mut peers = peers(&file, depth)?;
        let medians = common::interleaved(rounds, peers.len(), |peer| {
            let who = [libc::RUSAGE_SELF, libc::RUSAGE_THREAD];
            let (start, before) = (Instant::now(), who.map(common::cpu_time));
            let enters = peers[peer](count).expect("a read failed");
            let after = who.map(common::cpu_time);
            let us = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
            [us(start.elapsed()), us(after[0] - before[0]), us(after[1] - before[1]), count as f64 / enters as f64]
        });
        for (name, [elapsed, process, thread, batch]) in PEERS.iter().zip(&medians) {
            println!(
                "  depth {depth:3}  {name:18} elapsed {elapsed:7.3}  CPU {process:7.3}  of this thread {thread:7.3}  reads an enter {batch:5.1}"
            );
        }
        let ratio = |peer: usize, against: usize, number: usize| medians[peer][number] / medians[against][number];
        println!(
            "  depth {depth:3}  CPU: pinned / bare registered {:.3} (thread {:.3}), foreign / bare plain {:.3}; elapsed: {:.3}, {:.3}",
            ratio(0, 1, 1),
            ratio(0, 1, 2),
            ratio(2, 3, 1),
            ratio(0, 1, 0),
            ratio(2, 3, 0),
        );
        if depth == 32 {
            line = format!("CPU per read at depth 32, nofault pinned / bare registered: {:.3} (to reach: at most 1.05)", ratio(0, 1, 1));
        }
    }
    println!("{line}");
    Ok(())
}
