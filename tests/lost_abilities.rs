//! Abilities that are lost after the engine was built, or that only seem to be there: every request
//! ends, with its bytes or with a clear error.

mod common;

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use common::child::{become_nobody, end_now, limit, watched};
use common::setup::{DEADLINE, backends, engine};
use common::skip;
use nofault::{AlignedBuf, Backend, Engine, File, Handle, OpenOptions, Queue, handle};

const MIB: usize = 1 << 20;

fn file_of_ones(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("file");
    std::fs::write(&path, vec![1; 4 * MIB]).expect("a file");
    path
}

/// From now on this system call answers `errno`, in this thread and those that it makes.
fn forbid(call: libc::c_long, errno: i32) {
    // Load the number of the call; if it is `call` answer the errno, else allow.
    let statement = |code: u16, jt: u8, jf: u8, k: u32| libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        statement(0x20, 0, 0, 0),
        statement(0x15, 0, 1, call as u32),
        statement(0x06, 0, 0, 0x0005_0000 | errno as u32),
        statement(0x06, 0, 0, 0x7fff_0000),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program and its filter live for the calls, which copy them.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let set = libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        );
        assert_eq!(set, 0, "seccomp: {}", io::Error::last_os_error());
    }
}

/// One request of each kind; all must end well.
fn every_kind_of_request_works(engine: &Engine, file: &File) {
    engine.block_on(async {
        let cold = file.read_at(AlignedBuf::new(MIB).expect("memory"), 0).await;
        assert_eq!(
            (cold.0.expect("a cold read"), &cold.1[..3]),
            (MIB, &[1; 3][..])
        );
        let ragged = file.read_at(Vec::with_capacity(5000), 77).await;
        assert_eq!(
            (ragged.0.expect("a ragged read"), ragged.1),
            (5000, vec![1; 5000])
        );
        let written = file.write_at(vec![2; 5000], 77).await;
        assert_eq!(written.0.expect("a ragged write"), 5000);
        let back = file.read_at(Vec::with_capacity(5000), 77).await;
        assert_eq!((back.0.expect("a read"), back.1), (5000, vec![2; 5000]));
        file.sync_all().await.expect("sync_all");
        file.sync_data().await.expect("sync_data");
        file.set_len(3 * MIB as u64).await.expect("set_len");
        assert_eq!(file.len().expect("a length"), 3 * MIB as u64);
        match file.allocate(0, 4 * MIB as u64).await {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            allocated => allocated.expect("allocate"),
        }
    });
    let mut queue = Queue::new(engine);
    (0..200u64).for_each(|block| queue.read_at(file, vec![0; 4096], block * 4096, ()));
    engine.block_on(async {
        while let Some(done) = queue.next().await {
            assert_eq!(done.result.expect("a read of the queue"), 4096);
        }
    });
}

fn open(engine: &Engine, path: &Path) -> File {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .open(engine, path)
        .expect("the file")
}

#[test]
fn a_ring_that_can_not_be_entered_any_more_is_handed_over_to_threads() {
    let name = "a_ring_that_can_not_be_entered_any_more_is_handed_over_to_threads";
    watched(name, DEADLINE, || {
        let dir = common::files::folder();
        let path = file_of_ones(dir.path());
        let engine = engine(Backend::Uring);
        let file = open(&engine, &path);
        // Queued, and not yet with the kernel; one of them cancelled.
        let before = file.read_at(AlignedBuf::new(4096).expect("memory"), 0);
        drop(file.read_at(AlignedBuf::new(4096).expect("memory"), 4096));
        forbid(libc::SYS_io_uring_enter, libc::EPERM);
        let (result, buffer) = engine.block_on(before);
        assert_eq!((result.expect("a read"), &buffer[..3]), (4096, &[1; 3][..]));
        every_kind_of_request_works(&engine, &file);
        let info = engine.info().to_string();
        assert!(info.contains("can't be entered"), "{info}");
        assert!(!engine.stats().fallbacks.is_empty());
        end_now();
    });
}

#[test]
fn an_engine_may_be_dropped_after_its_ring_was_lost() {
    let name = "an_engine_may_be_dropped_after_its_ring_was_lost";
    watched(name, DEADLINE, || {
        let dir = common::files::folder();
        let path = file_of_ones(dir.path());
        let engine = Engine::builder()
            .drain_timeout(Duration::from_millis(10))
            .build();
        let engine = engine.expect("an engine");
        let file = open(&engine, &path);
        let reads: Vec<_> = (0..40)
            .map(|i| file.read_at(AlignedBuf::new(64 << 10).expect("memory"), i << 16))
            .collect();
        forbid(libc::SYS_io_uring_enter, libc::EPERM);
        drop((reads, file, engine));
        end_now();
    });
}

/// RLIMIT_NPROC, or a container's pids cgroup at its limit: the kernel makes no worker, and no thread
/// can be made either.
#[test]
fn requests_that_need_a_worker_work_where_no_task_can_be_made() {
    let name = "requests_that_need_a_worker_work_where_no_task_can_be_made";
    if !common::sys::is_root() {
        skip!(name, "becomes another user, which only root can");
    }
    watched(name, DEADLINE, || {
        let dir = common::files::folder();
        let path = file_of_ones(dir.path());
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .expect("chmod");
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .open(&path)
            .expect("the file");
        become_nobody();
        // SAFETY: numbers only.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
        limit(libc::RLIMIT_NPROC, 1);
        for backend in backends() {
            file.write_all_at(&vec![1; 4 * MIB], 0).expect("ones again");
            let engine = engine(backend);
            let file = file.try_clone().expect("a descriptor");
            let file = File::from_std(&engine, file).expect("the file");
            let refused = std::thread::Builder::new().spawn(|| ()).is_err();
            assert!(refused, "a thread could be made: the limit does not hold");
            every_kind_of_request_works(&engine, &file);
            let fallbacks = engine.stats().fallbacks;
            assert!(
                !fallbacks.is_empty(),
                "{backend:?}: the lost ability is noted"
            );
        }
        end_now();
    });
}

/// Forks; the child runs `body`, and must leave by `_exit`. Gives the child's wait status.
fn in_a_child(body: impl FnOnce()) -> i32 {
    // SAFETY: the child calls nothing but `body` and `_exit`; no other thread of this process holds
    // a lock that the body takes.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork");
    if child == 0 {
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_err();
        // SAFETY: ends the child here.
        unsafe { libc::_exit(i32::from(unwound)) };
    }
    let mut status = 0;
    // SAFETY: the child is ours and was not waited for.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    status
}

#[test]
fn a_child_of_fork_may_drop_and_ask_all_that_it_has_inherited() {
    let name = "a_child_of_fork_may_drop_and_ask_all_that_it_has_inherited";
    watched(name, DEADLINE, || {
        for backend in backends() {
            let dir = common::files::folder();
            let path = file_of_ones(dir.path());
            let engine = engine(backend);
            let file = open(&engine, &path);
            let pool = engine.pool(4, MIB).expect("a pool");
            let cold = || AlignedBuf::new(MIB).expect("memory");
            let mut read = Some(file.read_at(cold(), 0));
            let mut pooled = Some(file.read_at(pool.get().expect("a buffer"), 0));
            let mut ragged = Some(file.read_at(Vec::with_capacity(5000), 77));
            let mut queue = Queue::new(&engine);
            queue.read_at(&file, cold(), MIB as u64, ());
            engine.turn(Some(Duration::ZERO)).expect("a turn");
            let dropped = in_a_child(|| drop((read.take(), pooled.take(), ragged.take())));
            assert_eq!(dropped, 0, "{backend:?}: drops in a child");
            let asked = in_a_child(|| {
                let answer = engine.block_on(read.take().expect("the read")).0;
                let errno = answer.expect_err("the parent's request").raw_os_error();
                assert_eq!(errno, Some(libc::ENOTRECOVERABLE));
                let answer = engine.block_on(file.read_at(vec![0; 4096], 0)).0;
                let errno = answer.expect_err("the parent's engine").raw_os_error();
                assert_eq!(errno, Some(libc::ENOTRECOVERABLE));
                assert!(queue.try_next().is_some_and(|done| done.result.is_err()));
                assert_eq!(engine.stats().in_flight, 2);
                // An engine of the child's own works.
                let own = common::setup::engine(Backend::Uring);
                let file = open(&own, &path);
                every_kind_of_request_works(&own, &file);
            });
            assert_eq!(asked, 0, "{backend:?}: questions in a child");
            std::fs::write(&path, vec![1; 4 * MIB]).expect("the file again");
            let unwound = in_a_child(|| {
                drop((queue, pool));
                drop((read.take(), pooled.take(), ragged.take()));
                drop(file);
                drop(engine);
                panic!("out of the child's body");
            });
            assert_eq!(
                libc::WEXITSTATUS(unwound),
                1,
                "{backend:?}: unwinds in a child"
            );
        }
        end_now();
    });
}

#[test]
fn a_child_of_fork_may_drop_and_ask_a_handle_that_it_has_inherited() {
    let name = "a_child_of_fork_may_drop_and_ask_a_handle_that_it_has_inherited";
    watched(name, DEADLINE, || {
        for backend in backends() {
            let dir = common::files::folder();
            let path = file_of_ones(dir.path());
            let handle = Handle::builder()
                .backend(backend)
                .threads(2)
                .build()
                .expect("a handle");
            let file = handle::File::open(&handle, &path).expect("the file");
            let pool = handle.pool(4, MIB).expect("a pool");
            let mut read = Some(file.read_at(AlignedBuf::new(MIB).expect("memory"), 0));
            let mut pooled = Some(file.read_at(pool.get().expect("a buffer"), 0));
            let recoverable = |result: io::Result<usize>| match result {
                // Over before the fork.
                Ok(count) => assert_eq!(count, MIB),
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOTRECOVERABLE)),
            };
            let asked = in_a_child(|| {
                recoverable(handle.block_on(read.take().expect("the read")).0);
                let fresh = handle.block_on(file.read_at(vec![0; 4096], 0)).0;
                let errno = fresh.expect_err("the parent's handle").raw_os_error();
                assert_eq!(errno, Some(libc::ENOTRECOVERABLE));
                let opened = handle::File::open(&handle, &path).expect("open");
                assert!(handle.block_on(opened.sync_all()).is_err());
                assert_eq!(handle.stats().requests, 0);
                handle.block_on(handle.shutdown());
            });
            assert_eq!(asked, 0, "{backend:?}: questions in a child");
            let dropped = in_a_child(|| {
                drop((read.take(), pooled.take()));
                drop((file, pool, handle));
                panic!("out of the child's body");
            });
            assert_eq!(
                libc::WEXITSTATUS(dropped),
                1,
                "{backend:?}: drops in a child"
            );
        }
        end_now();
    });
}
