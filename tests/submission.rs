//! The thread that submits takes no page fault for memory that is resident, pinned, or cold and
//! looked at.
//!
//! Counted by the kernel (getrusage of the thread), never timed.

mod common;

use common::files;
use common::futures::join_all;
use common::mapping::{Mapping, patterned};
use common::setup;
use common::sys::{PAGE, thread_faults};
use nofault::{AlignedBuf, Backend, Engine, File, OpenOptions, Policy, PoolBuf, RegionBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

const REQUESTS: usize = 16;
const LEN: usize = 64 << 10;
const BYTES: usize = REQUESTS * LEN;
const SEED: u64 = 9;
/// Rounds before the counted ones: first uses of code, of the allocator and of the engine's tables
/// fault too.
const WARM_UP: usize = 6;
const COUNTED: usize = 16;

/// One test at a time, on a heap that has been touched: an allocation that reaches a page of the
/// heap for the first time is a fault, too, but no request's.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    #[cfg(target_env = "gnu")]
    // SAFETY: numbers only: the heap keeps what is freed.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, 256 << 20);
    }
    drop((0..1000).map(|_| vec![1_u8; 4096]).collect::<Vec<_>>());
    guard
}

fn stage(backend: Backend) -> (tempfile::TempDir, Engine, File) {
    let folder = files::folder();
    let path = folder.path().join("file");
    files::make_patterned(&path, BYTES, SEED);
    let engine = setup::engine(backend);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&engine, &path)
        .unwrap();
    (folder, engine, file)
}

/// Minor and major faults of this thread while the requests are made, submitted and reaped: one
/// pair for each counted round.
fn faults_of<T>(
    mut prepare: impl FnMut() -> T,
    mut work: impl FnMut(&mut T),
    mut check: impl FnMut(T),
) -> Vec<(i64, i64)> {
    let mut rounds = Vec::new();
    for round in 0..WARM_UP + COUNTED {
        let mut things = prepare();
        let before = thread_faults();
        work(&mut things);
        let after = thread_faults();
        if round >= WARM_UP {
            rounds.push((after.0 - before.0, after.1 - before.1));
        }
        check(things);
    }
    rounds
}

/// No request faulted. One that does so does it in every round and for most of its pages. What is
/// let pass is one round in eight with a few minor faults: `malloc` reaching a page of the heap for
/// the first time, or a worker thread that is started late.
fn assert_quiet(rounds: &[(i64, i64)], what: std::fmt::Arguments<'_>) {
    let quiet = rounds.iter().filter(|&&faults| faults == (0, 0)).count();
    let (minor, major) = rounds
        .iter()
        .fold((0, 0), |sum, faults| (sum.0 + faults.0, sum.1 + faults.1));
    assert!(
        quiet * 8 >= rounds.len() * 7 && minor < REQUESTS as i64 && major == 0,
        "{what}: (minor, major) faults: {rounds:?}"
    );
}

fn transfer(engine: &Engine, file: &File, memory: &Mapping, policy: Policy, write: bool) {
    let at = |index: usize| (memory.address() + index * LEN) as *mut u8;
    let results = if write {
        // SAFETY: the mapping outlives `block_on`, which returns when all requests have ended.
        engine.block_on(join_all((0..REQUESTS).map(|i| unsafe {
            file.write_raw_at(at(i), LEN, (i * LEN) as u64, policy)
        })))
    } else {
        // SAFETY: as above.
        engine.block_on(join_all((0..REQUESTS).map(|i| unsafe {
            file.read_raw_at(at(i), LEN, (i * LEN) as u64, policy)
        })))
    };
    for result in results {
        assert_eq!(result.expect("the request"), LEN);
    }
}

fn small_pages() -> Mapping {
    let memory = Mapping::anon(BYTES);
    // Otherwise one fault may bring 2 MiB at once; where there are no huge pages, this is refused
    // and not needed.
    let _ = memory.advise(0..BYTES, libc::MADV_NOHUGEPAGE);
    memory
}

fn resident() -> Mapping {
    let memory = small_pages();
    memory.fill(0..BYTES, SEED);
    memory
}

#[test]
fn resident_memory_faults_nowhere() {
    let _alone = alone();
    for backend in setup::backends() {
        let (_folder, engine, file) = stage(backend);
        for write in [false, true] {
            let work = |memory: &mut Mapping| transfer(&engine, &file, memory, Policy::Look, write);
            let check = |memory: Mapping| assert!(memory.bytes() == patterned(BYTES, SEED));
            assert_quiet(
                &faults_of(resident, work, check),
                format_args!("{backend:?}, write: {write}"),
            );
        }
    }
}

#[test]
fn cold_memory_faults_on_other_threads_only() {
    let _alone = alone();
    for backend in setup::backends() {
        let (_folder, engine, file) = stage(backend);
        let work = |memory: &mut Mapping| transfer(&engine, &file, memory, Policy::Look, false);
        let check = |memory: Mapping| assert!(memory.bytes() == patterned(BYTES, SEED));
        assert_quiet(
            &faults_of(small_pages, work, check),
            format_args!("{backend:?}, read into fresh memory"),
        );
        let work = |memory: &mut Mapping| transfer(&engine, &file, memory, Policy::Look, true);
        assert_quiet(
            &faults_of(small_pages, work, drop),
            format_args!("{backend:?}, write from fresh memory"),
        );
    }
}

/// A read breaks the sharing of the zero page: memory that was only looked at is cold for it.
#[test]
fn memory_that_was_only_read_is_cold_for_a_read() {
    let _alone = alone();
    for backend in setup::backends() {
        let (_folder, engine, file) = stage(backend);
        let prepare = || {
            let memory = small_pages();
            memory.touch_to_read();
            memory
        };
        let work = |memory: &mut Mapping| transfer(&engine, &file, memory, Policy::Look, false);
        let check = |memory: Mapping| assert!(memory.bytes() == patterned(BYTES, SEED));
        assert_quiet(
            &faults_of(prepare, work, check),
            format_args!("{backend:?}"),
        );
    }
}

#[test]
fn cold_memory_of_unaligned_requests_faults_on_other_threads_only() {
    let _alone = alone();
    for backend in setup::backends() {
        let (_folder, engine, file) = stage(backend);
        let work = |memory: &mut Mapping| {
            let requests = (0..REQUESTS).map(|i| {
                let address = (memory.address() + i * LEN + 3) as *mut u8;
                // SAFETY: the mapping outlives `block_on`.
                unsafe { file.read_raw_at(address, LEN - PAGE, (i * LEN + 5) as u64, Policy::Look) }
            });
            for result in engine.block_on(join_all(requests)) {
                assert_eq!(result.expect("the request"), LEN - PAGE);
            }
        };
        assert_quiet(
            &faults_of(small_pages, work, drop),
            format_args!("{backend:?}"),
        );
    }
}

#[test]
fn pool_memory_faults_nowhere() {
    let _alone = alone();
    for backend in setup::backends() {
        let (_folder, engine, file) = stage(backend);
        let pool = engine.pool(REQUESTS, LEN).unwrap();
        let expected = patterned(BYTES, SEED);
        let prepare = || {
            (0..REQUESTS)
                .map(|_| pool.get().expect("a free pool buffer"))
                .collect::<Vec<_>>()
        };

        let work = |buffers: &mut Vec<PoolBuf>| {
            let requests = buffers
                .drain(..)
                .enumerate()
                .map(|(i, buffer)| file.read_at(buffer, (i * LEN) as u64));
            for (i, (result, buffer)) in engine.block_on(join_all(requests)).into_iter().enumerate()
            {
                assert_eq!(result.expect("the request"), LEN);
                assert!(buffer[..] == expected[i * LEN..(i + 1) * LEN]);
                buffers.push(buffer);
            }
        };
        assert_quiet(
            &faults_of(prepare, work, drop),
            format_args!("{backend:?}, pinned: {}", pool.is_pinned()),
        );
    }
}

/// The arena is never touched before: registering it is what brings it in.
#[test]
fn registered_memory_faults_nowhere() {
    let _alone = alone();
    for backend in setup::backends() {
        let (_folder, engine, file) = stage(backend);
        let region = engine.register(AlignedBuf::new(BYTES).unwrap());
        let prepare = || {
            (0..REQUESTS)
                .map(|i| region.slice(i * LEN..(i + 1) * LEN).expect("a free part"))
                .collect::<Vec<_>>()
        };
        let work = |parts: &mut Vec<RegionBuf>| {
            let requests = parts
                .drain(..)
                .enumerate()
                .map(|(i, part)| file.read_at(part, (i * LEN) as u64));
            for (result, part) in engine.block_on(join_all(requests)) {
                assert_eq!(result.expect("the request"), LEN);
                parts.push(part);
            }
        };
        assert_quiet(
            &faults_of(prepare, work, drop),
            format_args!("{backend:?}, pinned: {}", region.is_pinned()),
        );
    }
}

/// The counter itself: a bare submission of cold memory does fault on this thread. Without this the
/// tests above could not fail.
#[test]
fn trusted_cold_memory_faults_here_and_the_counter_sees_it() {
    let _alone = alone();
    if !setup::backends().contains(&Backend::Uring) {
        common::skip!(
            "trusted_cold_memory_faults_here_and_the_counter_sees_it",
            "NOFAULT_BACKEND asks for another back end"
        );
    }
    let (_folder, engine, file) = stage(Backend::Uring);
    let work = |memory: &mut Mapping| transfer(&engine, &file, memory, Policy::Trust, false);
    let rounds = faults_of(small_pages, work, drop);
    assert!(
        rounds.iter().all(|&(minor, _)| minor >= REQUESTS as i64),
        "(minor, major) faults: {rounds:?}"
    );
}
