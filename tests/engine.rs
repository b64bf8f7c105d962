//! Ordinary use: what a program does with an engine, a file and buffers, and what the counters say
//! of it afterwards.

mod common;

#[path = "engine/counters.rs"]
mod counters;
#[path = "engine/model.rs"]
mod model;
#[path = "engine/pinned.rs"]
mod pinned;

use bytes::{Bytes, BytesMut};
use common::files;
use common::futures::join_all;
use common::mapping::patterned;
use common::setup;
use nofault::{AlignedBuf, Backend, Engine, File, IoPath, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

const SEED: u64 = 2;

/// An engine and a folder for it.
struct Stage {
    engine: Engine,
    folder: tempfile::TempDir,
}

impl Stage {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file full of the pattern, open for both.
    fn file(&self, name: &str, len: usize) -> File {
        files::make_patterned(&self.path(name), len, SEED);
        self.open(name)
    }

    fn open(&self, name: &str) -> File {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.engine, self.path(name))
            .unwrap()
    }

    /// The file's bytes as anybody else sees them.
    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }
}

fn each_stage(depth: u32, body: impl Fn(&Stage)) {
    for backend in setup::backends() {
        body(&Stage {
            engine: setup::engine_with_depth(backend, depth),
            folder: files::folder(),
        });
    }
}

#[test]
fn more_requests_than_slots_all_end() {
    each_stage(8, |stage| {
        let file = stage.file("file", 1 << 20);
        let expected = patterned(1 << 20, SEED);
        let reads = (0..500_usize)
            .map(|index| file.read_at(vec![0; 4096], (index * 7 % 256 * 4096) as u64));
        for (index, (result, bytes)) in stage
            .engine
            .block_on(join_all(reads))
            .into_iter()
            .enumerate()
        {
            assert_eq!(result.unwrap(), 4096);
            let at = index * 7 % 256 * 4096;
            assert!(bytes == expected[at..at + 4096], "read {index}");
        }
    });
}

#[test]
fn a_depth_of_one_is_enough() {
    each_stage(1, |stage| {
        let file = stage.file("file", 3 << 20);
        let expected = patterned(3 << 20, SEED);
        // Cold, longer than a window, unaligned: whatever a request needs beside itself must not
        // wait for a slot of its own.
        let reads = (0..6).map(|index| {
            file.read_at(
                Vec::with_capacity((2 << 20) + index * 100),
                index as u64 * 333,
            )
        });
        for (index, (result, bytes)) in stage
            .engine
            .block_on(join_all(reads))
            .into_iter()
            .enumerate()
        {
            assert_eq!(result.unwrap(), (2 << 20) + index * 100);
            assert!(bytes == expected[index * 333..][..(2 << 20) + index * 100]);
        }
    });
}

#[test]
fn a_vec_is_filled_up_to_its_capacity_and_is_as_long_as_what_was_read() {
    each_stage(16, |stage| {
        let file = stage.file("file", 10_000);
        let expected = patterned(10_000, SEED);
        let read = |buffer: Vec<u8>, at| stage.engine.block_on(file.read_at(buffer, at));

        let (count, bytes) = read(Vec::with_capacity(4096), 0);
        assert_eq!((count.unwrap(), &bytes[..]), (4096, &expected[..4096]));
        let (count, bytes) = read(Vec::with_capacity(4096), 9000);
        assert_eq!((count.unwrap(), &bytes[..]), (1000, &expected[9000..]));
        // A longer vector keeps what was behind the bytes read.
        let (count, bytes) = read(vec![7; 4096], 9000);
        assert_eq!(count.unwrap(), 1000);
        assert_eq!(
            (&bytes[..1000], &bytes[1000..]),
            (&expected[9000..], &[7; 3096][..])
        );
        let (count, bytes) = read(Vec::with_capacity(4096), 10_000);
        assert_eq!((count.unwrap(), bytes.len()), (0, 0), "the end of the file");
        let (count, bytes) = read(Vec::new(), 0);
        assert_eq!((count.unwrap(), bytes.len()), (0, 0), "nothing asked for");
    });
}

#[test]
fn every_buffer_type_carries_its_bytes() {
    each_stage(16, |stage| {
        let file = stage.file("file", 64 << 10);
        let engine = &stage.engine;
        let (boxed, aligned) = (
            patterned(5000, 1).into_boxed_slice(),
            AlignedBuf::new(8192).unwrap(),
        );
        let text: &'static [u8] = b"what a static slice holds";
        assert_eq!(engine.block_on(file.write_at(boxed, 0)).0.unwrap(), 5000);
        assert_eq!(
            engine.block_on(file.write_at(aligned, 8192)).0.unwrap(),
            8192
        );
        assert_eq!(engine.block_on(file.write_at(text, 20_000)).0.unwrap(), 25);
        assert_eq!(
            engine
                .block_on(file.write_at(Bytes::from_static(b"bytes"), 30_000))
                .0
                .unwrap(),
            5
        );
        assert_eq!(
            engine
                .block_on(file.write_at(BytesMut::from(&b"mutable"[..]), 40_000))
                .0
                .unwrap(),
            7
        );
        let mut model = patterned(64 << 10, SEED);
        model[..5000].copy_from_slice(&patterned(5000, 1));
        model[8192..16384].fill(0);
        model[20_000..20_025].copy_from_slice(text);
        model[30_000..30_005].copy_from_slice(b"bytes");
        model[40_000..40_007].copy_from_slice(b"mutable");
        assert!(stage.bytes("file") == model);

        let (count, buffer) = engine.block_on(file.read_at(AlignedBuf::new(16384).unwrap(), 0));
        assert_eq!((count.unwrap(), &buffer[..]), (16384, &model[..16384]));
        let (count, buffer) =
            engine.block_on(file.read_at(vec![0; 100].into_boxed_slice(), 19_990));
        assert_eq!((count.unwrap(), &buffer[..]), (100, &model[19_990..20_090]));
        let (count, buffer) = engine.block_on(file.read_at(BytesMut::with_capacity(64), 29_990));
        assert_eq!(count.unwrap(), buffer.len());
        assert_eq!(&buffer[..], &model[29_990..29_990 + buffer.len()]);
    });
}

#[test]
fn exact_reads_tell_the_end_of_the_file_from_success() {
    each_stage(16, |stage| {
        let file = stage.file("file", 3_000_000);
        let expected = patterned(3_000_000, SEED);
        let (result, bytes) = stage
            .engine
            .block_on(file.read_exact_at(vec![0; 3_000_000], 0));
        result.unwrap();
        assert!(bytes == expected);
        for offset in [1, 4096, 2_999_999, 3_000_000, 9_000_000] {
            let (result, bytes) = stage
                .engine
                .block_on(file.read_exact_at(vec![0; 3_000_000], offset));
            assert_eq!(
                result.unwrap_err().kind(),
                ErrorKind::UnexpectedEof,
                "from {offset}"
            );
            assert_eq!(bytes.len(), 3_000_000, "the buffer comes back");
        }
        let (result, _) = stage
            .engine
            .block_on(file.read_exact_at(Vec::<u8>::new(), 9_000_000));
        result.expect("nothing asked for is nothing missing");
    });
}

#[test]
fn write_all_writes_all_and_extends_the_file() {
    each_stage(16, |stage| {
        let file = File::create(&stage.engine, stage.path("new")).unwrap();
        let bytes = patterned(2_500_001, 8);
        let (result, bytes) = stage.engine.block_on(file.write_all_at(bytes, 77));
        result.unwrap();
        assert_eq!(file.len().unwrap(), 2_500_078);
        let now = stage.bytes("new");
        assert!(now[..77] == [0; 77] && now[77..] == bytes);
    });
}

#[test]
fn segments_are_filled_in_their_order() {
    each_stage(16, |stage| {
        let file = stage.file("file", 100_000);
        let expected = patterned(100_000, SEED);
        for lens in [
            vec![4096; 8],
            vec![1, 4095, 4096, 0, 100],
            vec![50_000, 50_000, 50_000],
            vec![0, 0],
            vec![],
        ] {
            let buffers = lens.iter().map(|&len| vec![0; len]).collect();
            let (count, buffers) = stage.engine.block_on(file.readv_at(buffers, 512));
            let wanted: usize = lens.iter().sum();
            assert_eq!(count.unwrap(), wanted.min(100_000 - 512));
            let joined: Vec<u8> = buffers.concat();
            assert_eq!(joined.len(), wanted);
            let there = wanted.min(100_000 - 512);
            assert!(
                joined[..there] == expected[512..512 + there]
                    && joined[there..].iter().all(|&byte| byte == 0),
                "{lens:?}"
            );
        }
        let parts: Vec<Vec<u8>> = [4096, 4096, 300, 8192, 0, 5]
            .iter()
            .map(|&len| patterned(len, len as u64))
            .collect();
        let joined = parts.concat();
        let (count, _) = stage.engine.block_on(file.writev_at(parts, 8192));
        assert_eq!(count.unwrap(), joined.len());
        assert!(stage.bytes("file")[8192..8192 + joined.len()] == joined);
    });
}

#[test]
fn a_read_without_capacity_to_spare_touches_nothing_behind_it() {
    each_stage(16, |stage| {
        let file = stage.file("file", 100_000);
        let mut arena = AlignedBuf::new(32768).unwrap();
        arena.fill(0xee);
        let address = arena.as_mut_ptr();
        // SAFETY: the arena outlives `block_on`, and nobody looks at it meanwhile.
        let count = stage.engine.block_on(unsafe {
            file.read_raw_at(address.wrapping_add(5000), 7000, 3, Default::default())
        });
        assert_eq!(count.unwrap(), 7000);
        assert!(arena[5000..12_000] == patterned(100_000, SEED)[3..7003]);
        assert!(
            arena[..5000]
                .iter()
                .chain(&arena[12_000..])
                .all(|&byte| byte == 0xee)
        );
    });
}

#[test]
fn sizes_and_blocks_can_be_changed_and_made_durable() {
    each_stage(16, |stage| {
        let file = stage.file("file", 10_000);
        let engine = &stage.engine;
        engine.block_on(file.sync_data()).unwrap();
        engine.block_on(file.set_len(5000)).unwrap();
        assert_eq!(file.len().unwrap(), 5000);
        engine.block_on(file.set_len(1 << 20)).unwrap();
        assert_eq!(file.len().unwrap(), 1 << 20);
        engine.block_on(file.allocate(0, 2 << 20)).unwrap();
        assert_eq!(
            file.len().unwrap(),
            2 << 20,
            "allocating behind the end extends the file"
        );
        engine.block_on(file.sync_all()).unwrap();
        let mut model = patterned(10_000, SEED);
        model.truncate(5000);
        model.resize(2 << 20, 0);
        assert!(stage.bytes("file") == model);
        let error = engine
            .block_on(file.set_len(u64::MAX))
            .expect_err("no file is that long");
        assert!(
            matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EFBIG)),
            "{error}"
        );
        let error = engine
            .block_on(file.allocate(0, 0))
            .expect_err("nothing to allocate");
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    });
}

#[test]
fn an_empty_file_reads_as_nothing() {
    each_stage(16, |stage| {
        let file = File::create(&stage.engine, stage.path("empty")).unwrap();
        for offset in [0, 1, 4096, 1 << 40] {
            let (count, bytes) = stage.engine.block_on(file.read_at(vec![9; 8192], offset));
            assert_eq!(count.unwrap(), 0);
            assert!(bytes.iter().all(|&byte| byte == 9));
        }
    });
}

#[test]
fn direct_and_buffered_files_say_so_and_agree() {
    each_stage(16, |stage| {
        let direct = stage.file("file", 100_000);
        let buffered = OpenOptions::new()
            .read(true)
            .write(true)
            .direct(false)
            .open(&stage.engine, stage.path("file"))
            .unwrap();
        assert!(matches!(buffered.path(), IoPath::Buffered(_)));
        let one = buffered.alignment();
        assert_eq!((one.mem, one.offset, one.read_offset), (1, 1, 1));
        if let IoPath::Direct = direct.path() {
            let alignment = direct.alignment();
            assert!(
                alignment.mem.is_power_of_two()
                    && alignment.offset.is_power_of_two()
                    && alignment.read_offset <= alignment.offset
            );
        }
        // What the one writes the other reads at once, aligned or not.
        for round in 0..40_u64 {
            let (at, len) = (round * 2311 % 90_000, 1 + round as usize * 211 % 9000);
            let (writer, reader) = if round % 2 == 0 {
                (&direct, &buffered)
            } else {
                (&buffered, &direct)
            };
            let bytes = patterned(len, round);
            let (result, bytes) = stage.engine.block_on(writer.write_all_at(bytes, at));
            result.unwrap();
            let (result, back) = stage
                .engine
                .block_on(reader.read_exact_at(vec![0; len], at));
            result.unwrap();
            assert!(back == bytes, "round {round}");
        }
    });
}

#[test]
fn two_engines_in_one_thread_keep_apart() {
    for backend in setup::backends() {
        let (one, two) = (
            setup::engine_with_depth(backend, 4),
            setup::engine_with_depth(backend, 4),
        );
        let folder = files::folder();
        let plain = files::make_patterned(&folder.path().join("file"), 1 << 20, SEED);
        let files = [&one, &two].map(|engine| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(engine, folder.path().join("file"))
                .unwrap()
        });
        let expected = patterned(1 << 20, SEED);
        for round in 0..50_usize {
            // Both have requests in flight; one is driven by `block_on`, the other by hand.
            let theirs = (0..8)
                .map(|index| {
                    files[1].read_at(vec![0; 4096], ((round * 8 + index) % 256 * 4096) as u64)
                })
                .collect::<Vec<_>>();
            two.turn(Some(Duration::ZERO)).unwrap();
            let ours = (0..8).map(|index| {
                files[0].read_at(vec![0; 4096], ((round + index) % 256 * 4096) as u64)
            });
            for (index, (result, bytes)) in one.block_on(join_all(ours)).into_iter().enumerate() {
                let at = (round + index) % 256 * 4096;
                assert!(result.unwrap() == 4096 && bytes == expected[at..at + 4096]);
            }
            for (index, (result, bytes)) in two.block_on(join_all(theirs)).into_iter().enumerate() {
                let at = (round * 8 + index) % 256 * 4096;
                assert!(result.unwrap() == 4096 && bytes == expected[at..at + 4096]);
            }
        }
        drop(plain);
    }
}

#[test]
fn threads_have_engines_of_their_own() {
    let folder = files::folder();
    let plain = files::make_patterned(&folder.path().join("file"), 1 << 20, SEED);
    let path = folder.path().join("file");
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let path = &path;
            scope.spawn(move || {
                let engine = Engine::builder()
                    .backend(Backend::Auto)
                    .depth(8)
                    .build()
                    .unwrap();
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(&engine, path)
                    .unwrap();
                let at = thread * (256 << 10);
                for round in 0..20 {
                    let bytes = patterned(200_000, thread * 100 + round);
                    let (result, bytes) = engine.block_on(file.write_all_at(bytes, at + round));
                    result.unwrap();
                    let (result, back) =
                        engine.block_on(file.read_exact_at(vec![0; 200_000], at + round));
                    result.unwrap();
                    assert!(back == bytes);
                }
            });
        }
    });
    let mut last = vec![0; 200_000];
    for thread in 0..4_u64 {
        plain
            .read_exact_at(&mut last, thread * (256 << 10) + 19)
            .unwrap();
        assert!(last == patterned(200_000, thread * 100 + 19));
    }
}

#[test]
fn a_turn_without_work_does_not_wait() {
    each_stage(4, |stage| {
        // With nothing in flight there is nothing to wait for; without this both would hang here.
        assert_eq!(stage.engine.turn(Some(Duration::ZERO)).unwrap(), 0);
        assert_eq!(stage.engine.turn(None).unwrap(), 0);
    });
}
