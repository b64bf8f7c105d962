//! What a cold request does to the warm ones beside it: nofault, a bare ring as it is and with
//! IOSQE_ASYNC on everything, tokio-uring.
//!
//! To reach, for nofault: the 99.9th percentile of the warm reads beside cold requests at most 1.5
//! of what it is alone. It is printed at the end, as medians of rounds that took turns. What is
//! measured, and how, is told in `rig`, which `nofault stall` shares.
//!
//! See `common` for the environment. `NOFAULT_COLD_DIR` names a directory for the file of the cold
//! requests, on another disk than `NOFAULT_DIR`; a loop device over memory unless told, which takes
//! root. Swapped-out memory takes a swap, and slow faults take root: what is not to be had is
//! skipped, with the reason.

#[path = "../../../benches/common/mod.rs"]
mod common;
#[path = "peer/tokio_uring.rs"]
mod tokio_uring_peer;

// The program's, in the places where they are in the program. Of what they hold, their tests too,
// this bench uses a part.
#[allow(dead_code, unused_imports, unused_macros)]
#[path = "../src/faults/mod.rs"]
mod faults;
#[allow(dead_code, unused_imports)]
#[path = "../src/figures/mod.rs"]
mod figures;
#[allow(dead_code, unused_imports)]
#[path = "../src/stall/rig/mod.rs"]
mod rig;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use common::{MIB, Mode, TestFile};
use io_uring::squeue::Flags;
use nofault::Engine;
use rig::bare::{self, Bare};
use rig::cold::Scale;
use rig::nofault::{ENGINE_DEPTH, Nofault};
use rig::place::{ColdFile, open_direct};
use rig::stream::Limits;
use rig::{Bench, Column, Peer, table};
use tokio_uring_peer::TokioUring;

fn columns(warm: &TestFile, cold: &ColdFile) -> Vec<Column<'static>> {
    let column = |name, peer: io::Result<Box<dyn Peer>>| Column {
        name,
        peer: peer.map_err(|e| e.to_string()),
    };
    let nofault = || {
        Ok(Box::new(Nofault::new(
            Engine::builder().depth(ENGINE_DEPTH).build()?,
            warm.path(),
            cold.path(),
        )?) as Box<_>)
    };
    let bare = |flags| {
        Ok(Box::new(Bare::new(
            common::bare_ring(bare::ENTRIES)?,
            &open_direct(warm.path())?,
            &cold.open()?,
            flags,
        )?) as Box<_>)
    };
    let tokio_uring = || Ok(Box::new(TokioUring::new(warm.path(), cold.path())?) as Box<_>);
    vec![
        column("nofault", nofault()),
        column("bare", bare(Flags::empty())),
        column("bare, all ASYNC", bare(Flags::ASYNC)),
        column("tokio-uring", tokio_uring()),
    ]
}

fn main() -> io::Result<()> {
    let (scale, round) = match common::mode() {
        Mode::Measure => (Scale::Full, Duration::from_millis(200)),
        Mode::Test | Mode::List => (Scale::Small, Duration::from_millis(10)),
    };
    let warm = TestFile::new(if scale == Scale::Full {
        256 * MIB
    } else {
        4 * MIB
    })?;
    warm.evict()?;
    let dir = std::env::var_os("NOFAULT_COLD_DIR").map(PathBuf::from);
    let beside = warm.path().parent().unwrap_or(warm.path());
    let cold = ColdFile::new(dir.as_deref(), beside, scale.largest()).map_err(io::Error::other)?;
    let mut bench = Bench::new(columns(&warm, &cold), warm.bytes, cold.bytes, scale)
        .map_err(io::Error::other)?;
    println!("cold requests read from {}", cold.place);
    if let Some(caution) = &cold.caution {
        println!("{caution}");
    }
    let stop = AtomicUsize::new(0);
    let limits = Limits {
        time: round,
        stop: &stop,
    };

    let mut criterion = common::criterion_for_long();
    for (side, kind) in bench.kinds() {
        let mut group = criterion.benchmark_group(format!("p99.9 of warm reads, {}", kind.name()));
        group.sampling_mode(criterion::SamplingMode::Flat);
        for (column, name) in bench.peers() {
            group.bench_function(name, |bencher| {
                let mut p999 = || {
                    // Memory that would not get cold is tried again.
                    let round = (0..10)
                        .find_map(|_| bench.round(side, column, limits).expect("a round failed"));
                    Duration::from_secs_f64(
                        round.expect("memory that gets cold").latency_us_p999 / 1e6,
                    )
                };
                bencher.iter_custom(|count| (0..count).map(|_| p999()).sum());
            });
        }
        group.finish();
    }
    criterion.final_summary();

    let rounds = common::rounds(11);
    if rounds == 0 {
        return Ok(());
    }
    let rows = bench.run(rounds, limits, |_, _| ());
    println!(
        "\nmedians of {rounds} rounds:\n{}",
        table::head().join("\n")
    );
    for row in &rows {
        println!(
            "\n{}\n{}",
            table::title(row),
            table::lines(row, usize::MAX).join("\n")
        );
    }
    bench.cautions().for_each(|caution| println!("\n{caution}"));
    println!("\n{}", table::verdict(&rows).join("\n"));
    Ok(())
}
