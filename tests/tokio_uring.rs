//! An engine inside `tokio_uring::start`, and buffers of tokio-uring.

mod common;

use common::files;
use common::mapping::patterned;
use common::setup;
use nofault::tokio_uring::{Buf, drive};
use nofault::{File, IoBufExt};
use std::rc::Rc;
use tokio_uring::buf::fixed::FixedBufRegistry;

const BYTES: usize = 1 << 20;
const BLOCK: usize = 4096;
const SEED: u64 = 23;

#[test]
fn both_read_the_same_file_at_the_same_time() {
    let folder = files::folder();
    let path = folder.path().join("file");
    files::make_patterned(&path, BYTES, SEED);
    for backend in setup::backends() {
        tokio_uring::start(async {
            let engine = setup::engine(backend);
            tokio_uring::spawn(drive(&engine).unwrap());
            let new = Rc::new(File::open(&engine, &path).unwrap());
            let old = Rc::new(tokio_uring::fs::File::open(&path).await.unwrap());
            let tasks: Vec<_> = (0..64)
                .map(|task| {
                    let (old, new) = (old.clone(), new.clone());
                    tokio_uring::spawn(async move {
                        for round in 0..10 {
                            let block = (task * 31 + round) % (BYTES / BLOCK);
                            let offset = (block * BLOCK) as u64;
                            let (count, by_old) =
                                old.read_at(Vec::with_capacity(BLOCK), offset).await;
                            assert_eq!(count.unwrap(), BLOCK);
                            // The same buffer goes on to the other.
                            let (count, Buf(by_new)) = new.read_at(Buf(by_old), offset).await;
                            assert_eq!(count.unwrap(), BLOCK);
                            assert!(by_new == patterned(BYTES, SEED)[block * BLOCK..][..BLOCK]);
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(engine.stats().ended, 640);
        });
    }
}

/// A buffer of tokio-uring's traits and of nobody else's.
struct Theirs(Vec<u8>);

// SAFETY: the vector's heap block stays where it is when this is moved.
unsafe impl tokio_uring::buf::IoBuf for Theirs {
    fn stable_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }
    fn bytes_init(&self) -> usize {
        self.0.len()
    }
    fn bytes_total(&self) -> usize {
        self.0.capacity()
    }
}

// SAFETY: as above.
unsafe impl tokio_uring::buf::IoBufMut for Theirs {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }
    unsafe fn set_init(&mut self, count: usize) {
        if count > self.0.len() {
            // SAFETY: the caller's contract.
            unsafe { self.0.set_len(count) }
        }
    }
}

#[test]
fn a_buffer_of_theirs_is_written_and_filled() {
    let folder = files::folder();
    let path = folder.path().join("file");
    tokio_uring::start(async {
        let engine = setup::engine(setup::backends()[0]);
        tokio_uring::spawn(drive(&engine).unwrap());
        let file = File::create(&engine, &path).unwrap();
        let (result, Buf(Theirs(bytes))) = file
            .write_all_at(Buf(Theirs(patterned(10_000, SEED))), 5)
            .await;
        result.unwrap();
        assert_eq!(bytes.len(), 10_000);
        // What a write sends is what is initialised, and a read makes more of it so.
        let (count, Buf(Theirs(bytes))) =
            file.read_at(Buf(Theirs(Vec::with_capacity(6000))), 5).await;
        assert_eq!(count.unwrap(), bytes.len());
        assert!(bytes.len() >= 6000 && bytes == patterned(bytes.len(), SEED));
        // A slice, by the way of nofault.
        let (count, slice) = file
            .read_at(Buf(Theirs(vec![0; 100])).into_slice(10..30), 5)
            .await;
        assert_eq!(count.unwrap(), 20);
        assert_eq!(
            slice.into_inner().0.0,
            [vec![0; 10], patterned(20, SEED), vec![0; 70]].concat()
        );
        // Fixed buffers of tokio-uring's own ring are memory like any other.
        let registry = FixedBufRegistry::new([vec![0u8; BLOCK]]);
        registry.register().unwrap();
        let (count, Buf(fixed)) = file.read_at(Buf(registry.check_out(0).unwrap()), 5).await;
        assert_eq!(count.unwrap(), BLOCK);
        assert!(fixed[..] == patterned(BLOCK, SEED));
    });
}
