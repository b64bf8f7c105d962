//! A file is a vector of bytes: any sequence of operations gives what the same sequence on a
//! `Vec<u8>` gives.

use super::{SEED, each_stage};
use crate::common::futures::join_all;
use crate::common::mapping::patterned;
use nofault::AlignedBuf;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const START: usize = 200_000;

#[derive(Clone, Debug)]
enum Op {
    /// Start, bytes, seed; aligned memory.
    Write(usize, usize, u64, bool),
    Read(usize, usize, bool),
    /// Lengths of the segments.
    Writev(usize, Vec<usize>, u64),
    Readv(usize, Vec<usize>),
    SetLen(usize),
    /// Reads of many places at once.
    Together(Vec<(usize, usize)>),
    Sync,
}

fn places() -> impl Strategy<Value = usize> {
    prop_oneof![
        0_usize..260_000,
        (0_usize..64).prop_map(|n| n * 4096),
        (0_usize..500).prop_map(|n| n * 512)
    ]
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        0_usize..100,
        0_usize..40_000,
        (0_usize..20).prop_map(|n| n * 4096),
        (0_usize..50).prop_map(|n| n * 512)
    ]
}

fn ops() -> impl Strategy<Value = Op> {
    let segments = || prop::collection::vec(lengths(), 0..6);
    prop_oneof![
        6 => (places(), lengths(), 0_u64..100, any::<bool>()).prop_map(|(at, len, seed, aligned)| Op::Write(at, len, seed, aligned)),
        6 => (places(), lengths(), any::<bool>()).prop_map(|(at, len, aligned)| Op::Read(at, len, aligned)),
        2 => (places(), segments(), 0_u64..100).prop_map(|(at, lens, seed)| Op::Writev(at, lens, seed)),
        2 => (places(), segments()).prop_map(|(at, lens)| Op::Readv(at, lens)),
        1 => places().prop_map(Op::SetLen),
        2 => prop::collection::vec((places(), lengths()), 1..40).prop_map(Op::Together),
        1 => Just(Op::Sync),
    ]
}

fn put(model: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if !bytes.is_empty() {
        model.resize(model.len().max(at + bytes.len()), 0);
        model[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

fn part(model: &[u8], at: usize, len: usize) -> &[u8] {
    let from = at.min(model.len());
    &model[from..(from + len).min(model.len())]
}

#[test]
fn a_file_behaves_like_a_vector_of_bytes() {
    each_stage(8, |stage| {
        let config = Config {
            cases: 12,
            failure_persistence: None,
            max_shrink_iters: 400,
            ..Config::default()
        };
        let result = TestRunner::new(config).run(&prop::collection::vec(ops(), 1..60), |ops| {
            let file = stage.file("model", START);
            let engine = &stage.engine;
            let mut model = patterned(START, SEED);
            for op in ops {
                match op {
                    Op::Write(at, len, seed, aligned) => {
                        let bytes = patterned(len, seed);
                        put(&mut model, at, &bytes);
                        let result = if aligned {
                            let mut buffer = AlignedBuf::new(len).unwrap();
                            buffer.copy_from_slice(&bytes);
                            engine.block_on(file.write_at(buffer, at as u64)).0
                        } else {
                            engine.block_on(file.write_at(bytes, at as u64)).0
                        };
                        prop_assert_eq!(result.unwrap(), len);
                    }
                    Op::Read(at, len, aligned) => {
                        let expected = part(&model, at, len);
                        let (result, held) = if aligned {
                            let (result, buffer) = engine
                                .block_on(file.read_at(AlignedBuf::new(len).unwrap(), at as u64));
                            (result, buffer.to_vec())
                        } else {
                            engine.block_on(file.read_at(vec![0; len], at as u64))
                        };
                        prop_assert_eq!(result.unwrap(), expected.len());
                        prop_assert!(held[..expected.len()] == *expected);
                    }
                    Op::Writev(at, lens, seed) => {
                        let parts: Vec<_> = lens
                            .iter()
                            .map(|&len| patterned(len, seed + len as u64))
                            .collect();
                        let joined = parts.concat();
                        put(&mut model, at, &joined);
                        prop_assert_eq!(
                            engine.block_on(file.writev_at(parts, at as u64)).0.unwrap(),
                            joined.len()
                        );
                    }
                    Op::Readv(at, lens) => {
                        let expected = part(&model, at, lens.iter().sum());
                        let parts = lens.iter().map(|&len| vec![0; len]).collect();
                        let (result, parts) = engine.block_on(file.readv_at(parts, at as u64));
                        prop_assert_eq!(result.unwrap(), expected.len());
                        prop_assert!(parts.concat()[..expected.len()] == *expected);
                    }
                    Op::SetLen(len) => {
                        model.resize(len, 0);
                        engine.block_on(file.set_len(len as u64)).unwrap();
                    }
                    Op::Together(places) => {
                        let reads = places
                            .iter()
                            .map(|&(at, len)| file.read_at(vec![0; len], at as u64));
                        for ((result, held), &(at, len)) in
                            engine.block_on(join_all(reads)).into_iter().zip(&places)
                        {
                            let expected = part(&model, at, len);
                            prop_assert_eq!(result.unwrap(), expected.len());
                            prop_assert!(held[..expected.len()] == *expected);
                        }
                    }
                    Op::Sync => engine.block_on(file.sync_data()).unwrap(),
                }
                prop_assert_eq!(file.len().unwrap(), model.len() as u64);
            }
            prop_assert!(stage.bytes("model") == model, "the file as others see it");
            Ok(())
        });
        if let Err(error) = result {
            panic!("{error}");
        }
    });
}

/// Writes to places that do not overlap, all in flight together, some sharing a block with their
/// neighbour.
#[test]
fn neighbours_that_share_a_block_do_not_undo_each_other() {
    each_stage(32, |stage| {
        let file = stage.file("file", START);
        let mut model = patterned(START, SEED);
        for round in 0..30_u64 {
            let mut at = (round * 37) as usize;
            let mut pieces = Vec::new();
            while at < START - 6000 {
                let len = 1 + (at * 7919 + round as usize * 104_729) % 5000;
                pieces.push((at, patterned(len, round + at as u64)));
                at += len;
            }
            for (at, bytes) in &pieces {
                put(&mut model, *at, bytes);
            }
            let writes = pieces
                .into_iter()
                .map(|(at, bytes)| file.write_at(bytes, at as u64));
            for (result, bytes) in stage.engine.block_on(join_all(writes)) {
                assert_eq!(result.unwrap(), bytes.len());
            }
            let now = stage.bytes("file");
            assert!(
                now == model,
                "round {round}: {}",
                crate::common::files::first_difference(&now, &model, 0)
            );
        }
    });
}
