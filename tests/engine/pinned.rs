//! Pools and regions: who has which part, and that the bytes are right.

use super::{SEED, each_stage};
use crate::common::futures::join_all;
use crate::common::mapping::patterned;
use crate::common::setup;
use nofault::{AlignedBuf, OpenOptions};

#[test]
fn a_pool_gives_as_many_buffers_as_it_has_and_takes_them_back() {
    each_stage(16, |stage| {
        let pool = stage.engine.pool(4, 8192).unwrap();
        let mut held: Vec<_> = (0..4).map(|_| pool.get().expect("a free buffer")).collect();
        assert!(pool.get().is_none(), "there are only four");
        let mut addresses: Vec<_> = held.iter().map(|buffer| buffer.as_ptr() as usize).collect();
        addresses.sort_unstable();
        assert!(
            addresses.windows(2).all(|pair| pair[1] - pair[0] >= 8192),
            "two buffers overlap"
        );
        assert!(held.iter().all(|buffer| buffer.len() == 8192));
        drop(held.pop());
        let again = pool.get().expect("the one that was given back");
        assert!(pool.get().is_none());
        drop(pool);
        // A buffer outlives its pool.
        let file = stage.file("file", 100_000);
        let (result, again) = stage.engine.block_on(file.read_at(again, 4096));
        assert_eq!(result.unwrap(), 8192);
        assert!(again[..] == patterned(100_000, SEED)[4096..4096 + 8192]);
    });
}

#[test]
fn pool_buffers_carry_any_request() {
    each_stage(16, |stage| {
        let file = stage.file("file", 1 << 20);
        let pool = stage.engine.pool(8, 65536).unwrap();
        let mut model = patterned(1 << 20, SEED);
        for round in 0..40_usize {
            // Aligned and not, so that the fixed path and the copies take turns on the same
            // buffers.
            let places: Vec<usize> = (0..8)
                .map(|i| (i * 120_000 + round * if round % 2 == 0 { 4096 } else { 1013 }) % 950_000)
                .collect();
            let reads = places
                .iter()
                .map(|&at| file.read_at(pool.get().expect("all are back"), at as u64));
            for ((result, mut buffer), &at) in stage
                .engine
                .block_on(join_all(reads))
                .into_iter()
                .zip(&places)
            {
                assert_eq!(result.unwrap(), 65536);
                assert!(
                    buffer[..] == model[at..at + 65536],
                    "round {round}, at {at}"
                );
                buffer.iter_mut().for_each(|byte| *byte = !*byte);
                model[at..at + 65536].copy_from_slice(&buffer[..]);
                let (result, _buffer) = stage.engine.block_on(file.write_at(buffer, at as u64));
                assert_eq!(result.unwrap(), 65536);
            }
            assert!(stage.bytes("file") == model, "round {round}");
        }
    });
}

#[test]
fn parts_of_a_region_never_overlap() {
    each_stage(16, |stage| {
        let region = stage.engine.register(AlignedBuf::new(1 << 20).unwrap());
        assert_eq!(region.len(), 1 << 20);
        let first = region.slice(0..8192).expect("free");
        assert_eq!(first.as_ptr(), region.as_ptr());
        assert!(region.slice(0..8192).is_none(), "already out");
        assert!(region.slice(4096..12_288).is_none(), "overlaps");
        assert!(region.slice(8191..8192).is_none(), "overlaps");
        let second = region.slice(8192..12_288).expect("beside it");
        assert!(
            region.slice((1 << 20) - 1..(1 << 20) + 1).is_none(),
            "behind the end"
        );
        drop(first);
        let first = region.slice(100..8192).expect("given back");
        drop((first, second));
        assert!(region.slice(0..1 << 20).is_some());
    });
}

#[test]
fn parts_of_a_region_carry_any_request() {
    each_stage(16, |stage| {
        let file = stage.file("file", 1 << 20);
        let expected = patterned(1 << 20, SEED);
        let region = stage.engine.register(AlignedBuf::new(1 << 20).unwrap());
        // Aligned, shifted within a page, and of odd lengths.
        let parts = [
            (0_usize, 65536_usize, 0_usize),
            (70_000, 5000, 8192),
            (131_072, 4096, 512),
            (200_001, 100_000, 77),
            (524_288, 524_288, 524_288),
        ];
        let reads = parts.map(|(from, len, at)| {
            file.read_at(region.slice(from..from + len).expect("free"), at as u64)
        });
        for ((result, part), (from, len, at)) in stage
            .engine
            .block_on(join_all(reads))
            .into_iter()
            .zip(parts)
        {
            assert_eq!(result.unwrap(), len, "{from}");
            assert!(part[..] == expected[at..at + len], "{from}");
        }
    });
}

/// An engine that did not register the memory treats it as anybody's memory.
#[test]
fn pinned_buffers_serve_other_engines_too() {
    each_stage(16, |stage| {
        let expected = patterned(100_000, SEED);
        let _file = stage.file("file", 100_000);
        let pool = stage.engine.pool(1, 8192).unwrap();
        for backend in setup::backends() {
            let other = setup::engine(backend);
            let other_file = OpenOptions::new()
                .read(true)
                .open(&other, stage.path("file"))
                .unwrap();
            // The other engine has a pool as well: an index of the one must not be taken for one of
            // the other.
            let other_pool = other.pool(1, 8192).unwrap();
            let (result, buffer) =
                other.block_on(other_file.read_at(pool.get().expect("free"), 4096));
            assert_eq!(result.unwrap(), 8192);
            assert!(buffer[..] == expected[4096..4096 + 8192]);
            assert!(other_pool.get().expect("free")[..] != expected[4096..4096 + 8192]);
        }
    });
}
