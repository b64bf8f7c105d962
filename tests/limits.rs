//! Where something is missing or forbidden the results stay right, and the engine says what it does
//! without.
//!
//! Each test changes its whole process (limits, user, seccomp), so each has one of its own.

mod common;

use common::child::{self, watched};
use common::files;
use common::futures::join_all;
use common::mapping::{Mapping, patterned};
use common::setup::{self, DEADLINE};
use common::sys::{self, PAGE};
use nofault::{AlignedBuf, Backend, Engine, File};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

const BYTES: usize = 1 << 20;
const SEED: u64 = 33;

/// A file made before the process loses its rights, so that it is in reach afterwards.
struct Prepared {
    direct: std::fs::File,
    plain: std::fs::File,
}

fn prepare() -> Prepared {
    let folder = files::folder();
    let path = folder.path().join("file");
    let plain = files::make_patterned(&path, BYTES, SEED);
    let mut options = std::fs::File::options();
    options.read(true).write(true);
    let direct = options
        .custom_flags(libc::O_DIRECT)
        .open(&path)
        .or_else(|_| options.custom_flags(0).open(&path))
        .unwrap();
    // The engine opens the other half by itself, as whatever user the process is by then.
    plain
        .set_permissions(std::fs::Permissions::from_mode(0o666))
        .unwrap();
    // The folder is removed at once: the user `nobody` could not do it later.
    Prepared { direct, plain }
}

impl Prepared {
    /// What an engine is given. Where the other half can't be opened, as /proc/self is closed, that
    /// is the buffered one: of a direct descriptor alone only aligned requests can be served.
    fn handed_over(&self) -> std::fs::File {
        let closed = std::fs::read_dir("/proc/self/fd").is_err();
        let file = if closed { &self.plain } else { &self.direct };
        file.try_clone().unwrap()
    }
}

/// Work of every sort, each answer compared with what it must be.
fn ordinary_work(engine: &Engine, prepared: &Prepared) {
    let file = File::from_std(engine, prepared.handed_over()).unwrap();
    let mut model = sys::read_range(sys::fd_of(&prepared.plain), 0, BYTES);

    let reads = (0..64).map(|index| file.read_at(vec![0; 16384], index * 16384));
    for (index, (result, bytes)) in engine.block_on(join_all(reads)).into_iter().enumerate() {
        assert_eq!(result.expect("a read"), 16384);
        assert!(bytes == model[index * 16384..(index + 1) * 16384]);
    }
    for (offset, len) in [
        (0, 65536),
        (4096, 8192),
        (777, 5000),
        (511, 1),
        (BYTES - 100, 100),
    ] {
        let bytes = patterned(len, offset as u64 + 1);
        let (result, bytes) = engine.block_on(file.write_at(bytes, offset as u64));
        assert_eq!(result.expect("a write"), len);
        model[offset..offset + len].copy_from_slice(&bytes);
    }
    let cold = Mapping::anon(BYTES);
    // SAFETY: the mapping outlives `block_on`.
    let count = engine.block_on(unsafe {
        file.read_raw_at(cold.address() as *mut u8, BYTES, 0, Default::default())
    });
    assert_eq!(count.expect("a read into fresh memory"), BYTES);
    assert!(cold.bytes() == model);

    cold.protect(16 * PAGE..20 * PAGE, libc::PROT_NONE);
    // SAFETY: as above.
    let count = engine.block_on(unsafe {
        file.read_raw_at(cold.address() as *mut u8, BYTES, 4096, Default::default())
    });
    assert_eq!(count.expect("a read of the prefix"), 16 * PAGE);
    assert!(cold.prefix(16 * PAGE) == model[4096..4096 + 16 * PAGE]);
    assert!(
        sys::read_range(sys::fd_of(&prepared.plain), 0, BYTES + 1) == model,
        "the file"
    );
}

/// Pool and region buffers serve whether they could be pinned or not.
fn pool_and_region_work(
    engine: &Engine,
    prepared: &Prepared,
    count: usize,
    bytes: usize,
) -> (bool, bool) {
    let file = File::from_std(engine, prepared.handed_over()).unwrap();
    let expected = sys::read_range(sys::fd_of(&prepared.plain), 0, BYTES);
    let pool = engine.pool(count, bytes).expect("a pool, pinned or not");
    let reads = (0..count).map(|index| {
        file.read_at(
            pool.get().expect("a buffer"),
            (index * bytes % BYTES) as u64,
        )
    });
    for (index, (result, buffer)) in engine.block_on(join_all(reads)).into_iter().enumerate() {
        assert_eq!(result.expect("a read into the pool"), bytes);
        assert!(buffer[..] == expected[index * bytes % BYTES..][..bytes]);
    }
    let region = engine.register(AlignedBuf::new(BYTES).unwrap());
    let part = region.slice(0..BYTES).expect("the whole region");
    let (result, part) = engine.block_on(file.read_at(part, 0));
    assert_eq!(result.expect("a read into the region"), BYTES);
    assert!(part[..] == expected);
    (pool.is_pinned(), region.is_pinned())
}

fn without_memlock(name: &str, bytes: u64) {
    watched(name, DEADLINE, || {
        let prepared = prepare();
        child::limit(libc::RLIMIT_MEMLOCK, bytes);
        if sys::is_root() {
            // Root may lock all memory whatever the limit says.
            child::become_nobody();
            child::stay_dumpable();
        }
        for backend in setup::backends() {
            // Newer kernels (6.14) count the ring's own pages too: under a limit of 0 there is
            // none, and threads take over.
            let backend = if backend == Backend::Uring {
                Backend::Auto
            } else {
                backend
            };
            let engine = Engine::builder()
                .backend(backend)
                .build()
                .expect("an engine");
            assert!(
                engine.info().backend == nofault::BackendKind::Uring
                    || engine.info().reason.is_some(),
                "{}",
                engine.info()
            );
            ordinary_work(&engine, &prepared);
            let (pool, region) = pool_and_region_work(&engine, &prepared, 16, 65536);
            assert!(
                !pool && !region,
                "1 MiB was pinned under a limit of {bytes} bytes"
            );
            ordinary_work(&engine, &prepared);
        }
    });
}

#[test]
fn a_small_memlock_limit_costs_only_the_pinning() {
    without_memlock("a_small_memlock_limit_costs_only_the_pinning", 64 << 10);
}

#[test]
fn no_memlock_at_all_costs_only_the_pinning() {
    without_memlock("no_memlock_at_all_costs_only_the_pinning", 0);
}

/// Without the limit the same pool is pinned: what the two tests above miss is the limit's doing.
#[test]
fn enough_memlock_pins_pool_and_region() {
    let name = "enough_memlock_pins_pool_and_region";
    watched(name, DEADLINE, || {
        let prepared = prepare();
        if !setup::backends().contains(&Backend::Uring) {
            common::skip!(name, "NOFAULT_BACKEND asks for another back end");
        }
        let engine = setup::engine(Backend::Uring);
        assert_eq!(
            pool_and_region_work(&engine, &prepared, 16, 65536),
            (true, true)
        );
    });
}

/// A process that changed its user may not look into /proc/self: no pagemap.
#[test]
fn results_stay_right_when_the_page_map_is_closed() {
    let name = "results_stay_right_when_the_page_map_is_closed";
    watched(name, DEADLINE, || {
        if !sys::is_root() {
            common::skip!(name, "needs root to change the user");
        }
        let prepared = prepare();
        child::become_nobody();
        assert!(
            std::fs::File::open("/proc/self/pagemap").is_err(),
            "it is open: the test tests nothing"
        );
        for backend in setup::backends() {
            let engine = setup::engine(backend);
            ordinary_work(&engine, &prepared);
        }
    });
}

fn without_io_uring(name: &str, calls: &[libc::c_long], errno: i32, errno_name: &str) {
    watched(name, DEADLINE, || {
        let prepared = prepare();
        child::forbid(calls, errno);
        let engine = Engine::new().expect("an engine without io_uring");
        let info = engine.info();
        assert_eq!(info.backend, nofault::BackendKind::Threads, "{info}");
        let reason = info.reason.clone().unwrap_or_default();
        assert!(
            reason.contains(errno_name),
            "the reason must say which it is: {reason:?}"
        );
        ordinary_work(&engine, &prepared);
        pool_and_region_work(&engine, &prepared, 4, 65536);
    });
}

#[test]
fn threads_take_over_where_io_uring_is_not_permitted() {
    without_io_uring(
        "threads_take_over_where_io_uring_is_not_permitted",
        &[libc::SYS_io_uring_setup],
        libc::EPERM,
        "EPERM",
    );
}

#[test]
fn threads_take_over_where_io_uring_does_not_exist() {
    let calls = [
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
    ];
    without_io_uring(
        "threads_take_over_where_io_uring_does_not_exist",
        &calls,
        libc::ENOSYS,
        "ENOSYS",
    );
}

#[test]
fn threads_take_over_where_io_uring_has_no_memory() {
    without_io_uring(
        "threads_take_over_where_io_uring_has_no_memory",
        &[libc::SYS_io_uring_setup],
        libc::ENOMEM,
        "ENOMEM",
    );
}

/// A filter that lets the ring be made and then forbids its use.
#[test]
fn threads_take_over_where_a_ring_can_be_made_but_not_entered() {
    let name = "threads_take_over_where_a_ring_can_be_made_but_not_entered";
    without_io_uring(name, &[libc::SYS_io_uring_enter], libc::EPERM, "EPERM");
}

fn without(name: &str, calls: &[libc::c_long], errnos: &[i32]) {
    // A filter cannot be taken back, so each errno has its own process; the last one is this test's
    // name again.
    watched(name, DEADLINE, || {
        for &errno in errnos {
            // SAFETY: libtest's main thread only waits for this one; the child ends by `_exit`
            // without running any handler.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                let worked = std::panic::catch_unwind(|| {
                    let prepared = prepare();
                    child::forbid(calls, errno);
                    for backend in setup::backends() {
                        // Where io_uring needs the call, threads take over.
                        let backend = if backend == Backend::Uring {
                            Backend::Auto
                        } else {
                            backend
                        };
                        let engine = Engine::builder()
                            .backend(backend)
                            .build()
                            .expect("an engine");
                        ordinary_work(&engine, &prepared);
                        pool_and_region_work(&engine, &prepared, 4, 65536);
                    }
                });
                // SAFETY: ends the process and nothing else.
                unsafe { libc::_exit(i32::from(worked.is_err())) };
            }
            let mut status = 0;
            // SAFETY: our own child.
            unsafe { libc::waitpid(pid, &mut status, 0) };
            assert_eq!(status, 0, "with errno {errno} from calls {calls:?}");
        }
    });
}

#[test]
fn results_stay_right_without_buffer_registration() {
    without(
        "results_stay_right_without_buffer_registration",
        &[libc::SYS_io_uring_register],
        &[libc::EPERM, libc::EINVAL],
    );
}

#[test]
fn results_stay_right_without_process_vm_calls() {
    let calls = [libc::SYS_process_vm_readv, libc::SYS_process_vm_writev];
    without(
        "results_stay_right_without_process_vm_calls",
        &calls,
        &[libc::EPERM, libc::ENOSYS],
    );
}

#[test]
fn results_stay_right_without_mincore_and_scans() {
    let calls = [libc::SYS_mincore, libc::SYS_ioctl];
    without(
        "results_stay_right_without_mincore_and_scans",
        &calls,
        &[libc::EPERM, libc::ENOSYS],
    );
}

#[test]
fn results_stay_right_without_memfd_and_userfaultfd() {
    let calls = [libc::SYS_memfd_create, libc::SYS_userfaultfd];
    without(
        "results_stay_right_without_memfd_and_userfaultfd",
        &calls,
        &[libc::EPERM, libc::ENOSYS],
    );
}

#[test]
fn results_stay_right_without_statx_and_preadv2() {
    let calls = [libc::SYS_statx, libc::SYS_preadv2, libc::SYS_pwritev2];
    without(
        "results_stay_right_without_statx_and_preadv2",
        &calls,
        &[libc::ENOSYS],
    );
}

#[test]
fn a_back_end_that_was_asked_for_by_name_is_not_replaced_in_silence() {
    let name = "a_back_end_that_was_asked_for_by_name_is_not_replaced_in_silence";
    watched(name, DEADLINE, || {
        child::forbid(&[libc::SYS_io_uring_setup], libc::EPERM);
        match Engine::builder().backend(Backend::Uring).build() {
            Err(error) => assert!(error.to_string().contains("io_uring"), "{error}"),
            Ok(engine) => assert!(engine.info().reason.is_some(), "{}", engine.info()),
        }
    });
}
