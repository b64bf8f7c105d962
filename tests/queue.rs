//! The queue: many requests of one task, without a future for each.

mod common;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use nofault::{Engine, File, IoBuf, IoBufMut, Queue};

const BLOCK: usize = 4096;

fn engine(depth: u32) -> Engine {
    Engine::builder().depth(depth).build().expect("an engine")
}

/// A file whose blocks have their number in every byte.
fn numbered(engine: &Engine, blocks: u8) -> (tempfile::TempDir, File) {
    let dir = common::files::folder();
    let path = dir.path().join("file");
    std::fs::write(
        &path,
        (0..blocks)
            .flat_map(|block| [block; BLOCK])
            .collect::<Vec<_>>(),
    )
    .expect("a file");
    let file = nofault::OpenOptions::new()
        .read(true)
        .write(true)
        .open(engine, &path)
        .expect("the file");
    (dir, file)
}

#[test]
fn every_request_comes_back_once_with_its_tag_and_its_bytes() {
    let engine = engine(4);
    let (_dir, file) = numbered(&engine, 64);
    let mut queue = Queue::new(&engine);
    // Sixteen times what the engine takes at once.
    for block in 0..64u64 {
        queue.read_at(
            &file,
            Vec::with_capacity(BLOCK),
            block * BLOCK as u64,
            block,
        );
    }
    assert_eq!(queue.len(), 64);
    let mut seen = [0; 64];
    engine.block_on(async {
        while let Some(done) = queue.next().await {
            assert_eq!(done.result.expect("a read"), BLOCK);
            assert_eq!(done.buffer, vec![done.tag as u8; BLOCK]);
            seen[done.tag as usize] += 1;
        }
    });
    assert_eq!(seen, [1; 64]);
    assert!(queue.is_empty());
}

#[test]
fn reads_and_writes_share_a_queue_with_futures_beside_them() {
    let engine = engine(2);
    let (_dir, file) = numbered(&engine, 8);
    let mut queue = Queue::new(&engine);
    engine.block_on(async {
        queue.write_at(&file, vec![100; BLOCK], 0, "write");
        let beside = file.read_at(Vec::with_capacity(BLOCK), 7 * BLOCK as u64);
        queue.write_at(&file, vec![101; BLOCK], BLOCK as u64, "write");
        queue.read_at(&file, Vec::with_capacity(BLOCK), 2 * BLOCK as u64, "read");
        let (result, buffer) = beside.await;
        assert_eq!((result.expect("a read"), buffer[0]), (BLOCK, 7));
        let mut tags = Vec::new();
        while let Some(done) = queue.next().await {
            assert_eq!(done.result.expect("a request"), BLOCK);
            tags.push(done.tag);
        }
        tags.sort_unstable();
        assert_eq!(tags, ["read", "write", "write"]);
        let (_, buffer) = file.read_at(Vec::with_capacity(2 * BLOCK), 0).await;
        assert_eq!((buffer[0], buffer[BLOCK]), (100, 101));
    });
}

#[test]
fn an_error_is_a_result_like_any_other() {
    let engine = engine(4);
    let dir = common::files::folder();
    let path = dir.path().join("file");
    std::fs::write(&path, [1; BLOCK]).expect("a file");
    let file = File::open(&engine, &path).expect("the file");
    let mut queue = Queue::new(&engine);
    queue.write_at(&file, vec![0u8; BLOCK], 0, 1);
    queue.read_at(&file, Vec::with_capacity(BLOCK), u64::MAX, 2);
    queue.read_at(&file, Vec::with_capacity(BLOCK), BLOCK as u64, 3);
    engine.block_on(async {
        let mut results = [None, None, None];
        while let Some(done) = queue.next().await {
            results[done.tag - 1] = Some(done.result.map_err(|error| error.raw_os_error()));
        }
        assert_eq!(
            results,
            [
                Some(Err(Some(libc::EBADF))),
                Some(Err(Some(libc::EINVAL))),
                Some(Ok(0))
            ]
        );
        // Empty: nothing to wait for.
        assert!(queue.next().await.is_none());
    });
}

/// Counts how many of it are alive.
struct Counted(Vec<u8>, Rc<Cell<usize>>);

impl Counted {
    fn new(alive: &Rc<Cell<usize>>) -> Counted {
        alive.set(alive.get() + 1);
        Counted(Vec::with_capacity(BLOCK), alive.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.set(self.1.get() - 1);
    }
}

// SAFETY: the vector does its part, and nobody else touches it.
unsafe impl IoBuf for Counted {
    fn stable_ptr(&self) -> *const u8 {
        self.0.stable_ptr()
    }
    fn bytes_init(&self) -> usize {
        self.0.bytes_init()
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Counted {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.0.stable_mut_ptr()
    }
    fn bytes_total(&self) -> usize {
        self.0.bytes_total()
    }
    unsafe fn set_init(&mut self, len: usize) {
        // SAFETY: the caller's contract.
        unsafe { self.0.set_init(len) };
    }
}

#[test]
fn a_queue_that_is_dropped_leaves_no_buffer_behind() {
    let engine = engine(4);
    let (_dir, file) = numbered(&engine, 16);
    let alive = Rc::new(Cell::new(0));
    let mut queue = Queue::new(&engine);
    for block in 0..16 {
        queue.read_at(&file, Counted::new(&alive), block * BLOCK as u64, ());
    }
    // Some are over and not taken, some are in flight, some wait.
    engine.turn(Some(Duration::from_secs(10))).expect("a turn");
    drop(queue);
    for _ in 0..1000 {
        if engine.stats().in_flight == 0 {
            break;
        }
        engine.turn(Some(Duration::from_secs(10))).expect("a turn");
    }
    assert_eq!((engine.stats().in_flight, alive.get()), (0, 0));
    // And the slots are free for others.
    engine.block_on(async {
        let mut queue = Queue::new(&engine);
        queue.read_at(&file, Counted::new(&alive), 0, ());
        assert_eq!(
            queue
                .next()
                .await
                .expect("a request")
                .result
                .expect("a read"),
            BLOCK
        );
    });
}

#[test]
fn driven_by_hand() -> io::Result<()> {
    let engine = engine(4);
    let (_dir, file) = numbered(&engine, 1);
    let mut queue = Queue::new(&engine);
    assert!(queue.try_next().is_none());
    queue.read_at(&file, Vec::with_capacity(BLOCK), 0, ());
    let done = loop {
        if let Some(done) = queue.try_next() {
            break done;
        }
        engine.turn(None)?;
    };
    assert_eq!(done.result?, BLOCK);
    Ok(())
}

#[test]
#[should_panic(expected = "another engine")]
fn a_file_of_another_engine_is_refused() {
    let (one, other) = (engine(1), engine(1));
    let (_dir, file) = numbered(&other, 1);
    Queue::new(&one).read_at(&file, Vec::with_capacity(BLOCK), 0, ());
}

#[test]
fn the_time_of_those_who_wait_for_room_runs_too() {
    let engine = engine(1);
    let (_dir, file) = numbered(&engine, 4);
    let in_no_time = file.with_timeout(Duration::from_nanos(1));
    let mut queue = Queue::new(&engine);
    queue.read_at(&file, Vec::with_capacity(BLOCK), 0, "in time");
    queue.read_at(&in_no_time, Vec::with_capacity(BLOCK), 0, "late");
    // A future waits for the only slot as well.
    let beside = in_no_time.read_at(Vec::<u8>::with_capacity(BLOCK), 0);
    engine.block_on(async {
        assert_eq!(
            beside.await.0.expect_err("its time is over").kind(),
            io::ErrorKind::TimedOut
        );
        while let Some(done) = queue.next().await {
            match done.tag {
                "in time" => assert_eq!(done.result.expect("a read"), BLOCK),
                _ => assert_eq!(
                    done.result.expect_err("its time is over").kind(),
                    io::ErrorKind::TimedOut
                ),
            }
        }
    });
    // A second is time enough.
    let (count, _) = engine.block_on(
        file.with_timeout(Duration::from_secs(100))
            .read_at(Vec::with_capacity(BLOCK), 0),
    );
    assert_eq!(count.expect("a read"), BLOCK);
}

/// Of many that have ended at once the followers are started before the last of them is asked for,
/// and a turn tells of those that have ended since.
#[test]
fn after_many_ends_at_once_the_first_followers_do_not_wait_for_the_last() {
    let engine = engine(32);
    let dir = common::files::folder();
    let path = dir.path().join("file");
    std::fs::write(&path, vec![7; 64 * BLOCK]).expect("a file");
    // The page cache has it: reads end as soon as they are started.
    let file = nofault::OpenOptions::new()
        .read(true)
        .direct(false)
        .open(&engine, &path)
        .expect("the file");
    let pool = engine.pool(32, BLOCK).expect("a pool");
    if engine.info().backend != nofault::BackendKind::Uring || !pool.is_pinned() {
        common::note_skip("early starts", "no io_uring, or no locked memory");
        return;
    }
    let mut queue = Queue::new(&engine);
    // Some filesystems (overlayfs) have the kernel's workers read.
    for block in 0..32 {
        queue.read_at(
            &file,
            pool.get().expect("a buffer"),
            block * BLOCK as u64,
            (),
        );
        if engine.turn(Some(Duration::ZERO)).expect("a turn") != 1 {
            common::note_skip(
                "early starts",
                "reads from the page cache of this filesystem do not end when they are started",
            );
            return;
        }
        drop(queue.try_next());
    }
    for block in 0..32 {
        queue.read_at(
            &file,
            pool.get().expect("a buffer"),
            block * BLOCK as u64,
            (),
        );
    }
    assert_eq!(engine.turn(None).expect("a turn"), 32);
    assert_eq!(engine.stats().early_starts, 0);
    let mut buffers: Vec<_> = std::iter::from_fn(|| queue.try_next())
        .map(|done| done.buffer)
        .collect();
    for block in 0..9 {
        queue.read_at(
            &file,
            buffers.pop().expect("a buffer"),
            block * BLOCK as u64,
            (),
        );
    }
    assert_eq!(engine.stats().early_starts, 1);
    assert_eq!(
        engine.stats().ended,
        32 + 32 + 8,
        "eight were started when the ninth came"
    );
    assert_eq!(
        engine.turn(None).expect("a turn"),
        9,
        "a turn tells of what has ended since the last"
    );
    assert_eq!(
        std::iter::from_fn(|| queue.try_next())
            .filter(|done| matches!(done.result, Ok(BLOCK)))
            .count(),
        9
    );
}
