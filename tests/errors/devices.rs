//! Block devices: the direct path is taken, and its answers are those of the buffered one.

use super::{ours, theirs};
use crate::common::device::{Loop, Mounted, SECTORS, run};
use crate::common::mapping::{Mapping, patterned};
use crate::common::sys::{self, PAGE, fd_of};
use crate::common::{files, setup, skip};
use nofault::{Engine, File, IoPath, OpenOptions, Policy};
use std::process::Command;

const DEVICE: usize = 4 << 20;

/// Runs `body` over two devices that are alike, for every sector size and back end.
fn each_pair(name: &str, body: impl Fn(&Engine, &Loop, &Loop)) {
    for sector in SECTORS {
        for backend in setup::backends() {
            let folder = files::folder();
            let device = |name| Loop::new(&folder.path().join(name), DEVICE, 8, sector);
            match (device("a"), device("b")) {
                (Ok(a), Ok(b)) => body(&setup::engine(backend), &a, &b),
                (Err(reason), _) | (_, Err(reason)) => {
                    skip!(&format!("{name}, sectors of {sector}"), "{reason}")
                }
            }
        }
    }
}

fn open(engine: &Engine, device: &Loop) -> File {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(engine, device.path())
        .unwrap();
    assert_eq!(*file.path(), IoPath::Direct);
    file
}

#[test]
fn a_block_device_answers_as_it_does_to_pread_and_pwrite() {
    let name = "a_block_device_answers_as_it_does_to_pread_and_pwrite";
    each_pair(name, |engine, a, b| {
        let (plain, file) = (b.open(), open(engine, a));
        let memory = Mapping::anon(2 << 20);
        let bad = Mapping::anon(2 << 20);
        memory.fill(0..2 << 20, 6);
        bad.fill(0..2 << 20, 7);
        // Good for 1.5 MiB: more than one bio, and then nothing.
        bad.protect(3 << 19..2 << 20, libc::PROT_NONE);
        let end = DEVICE as u64;
        let places = [
            (0, 4096),
            (4096, 2 << 20),
            (100, 50_000),
            (end - 4096, 65536),
            (end - 100, 4096),
            (end, 4096),
            (end + 4096, 10),
        ];
        for write in [true, false] {
            for (offset, len) in places {
                for buffer in [&memory, &bad] {
                    for policy in [Policy::Look, Policy::Offload, Policy::Trust] {
                        let seg = (buffer.address(), len);
                        let expected = theirs(fd_of(&plain), write, seg, offset);
                        let got = ours(engine, &file, write, seg, offset, policy);
                        assert_eq!(
                            got, expected,
                            "write {write}, {len} bytes at {offset}, {policy:?}"
                        );
                    }
                }
            }
        }
        let (left, right) = (std::fs::File::open(a.path()).unwrap(), &plain);
        assert!(
            sys::read_range(fd_of(&left), 0, DEVICE) == sys::read_range(fd_of(right), 0, DEVICE),
            "the devices' bytes"
        );
    });
}

#[test]
fn a_block_device_is_direct_at_the_alignment_of_its_sectors() {
    let name = "a_block_device_is_direct_at_the_alignment_of_its_sectors";
    for sector in SECTORS {
        let folder = files::folder();
        let device = match Loop::new(&folder.path().join("image"), DEVICE, 8, sector) {
            Ok(device) => device,
            Err(reason) => skip!(name, "{reason}"),
        };
        for backend in setup::backends() {
            let engine = setup::engine(backend);
            let file = open(&engine, &device);
            assert_eq!(file.alignment().offset, sector);
            assert_eq!(file.alignment().read_offset, sector);
            assert_eq!(file.len().unwrap(), DEVICE as u64);
        }
    }
}

/// A device that has no room for what is written to it: its image is sparse, on a full filesystem.
/// Whether a write tells the error, or the page cache takes the bytes and its next sync tells it:
/// it is told once, and never again.
#[test]
fn a_write_that_a_device_fails_is_told_exactly_once() {
    let name = "a_write_that_a_device_fails_is_told_exactly_once";
    for backend in setup::backends() {
        let folder = files::folder();
        let here = folder.path().join("small");
        std::fs::create_dir(&here).unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=1m", "none"])
            .arg(&here);
        if let Err(reason) = run(&mut mount) {
            skip!(name, "{reason}");
        }
        let mounted = Mounted(here.clone());
        let image = here.join("image");
        sys::ftruncate(fd_of(&files::make(&image)), DEVICE as u64);
        let device = match Loop::over(&image, 512) {
            Ok(device) => device,
            Err(reason) => skip!(name, "{reason}"),
        };
        let engine = setup::engine(backend);
        let file = open(&engine, &device);
        let memory = Mapping::anon(1 << 20);
        memory.fill(0..1 << 20, 4);
        let write = |offset, len| {
            let seg = (memory.address(), len);
            ours(&engine, &file, true, seg, offset, Policy::Look)
        };
        let sync = || {
            engine
                .block_on(file.sync_all())
                .map_err(|error| error.raw_os_error())
        };
        assert_eq!(write(0, 4096), Ok(4096), "there is room for this");
        assert_eq!(sync(), Ok(()));
        // Nobody else has any left now.
        let _ = std::fs::write(here.join("filler"), vec![1; 2 << 20]);
        for (offset, len) in [
            (1 << 20, 65536),
            (2 << 20, 1 << 20),
            ((3 << 20) + 100, 5000),
        ] {
            let written = write(offset, len);
            let told = [sync(), sync(), sync()];
            let errors = told.iter().filter(|told| told.is_err()).count();
            assert_eq!(
                errors + usize::from(written.is_err()),
                1,
                "{len} bytes at {offset}: the write {written:?}, then {told:?}"
            );
            assert!(told[1..].iter().all(Result::is_ok), "{told:?}");
            assert!(written.is_err() || written == Ok(len), "{written:?}");
        }
        drop((file, device, mounted));
    }
}

/// Registered memory may be sent in longer pieces than foreign memory, and a short answer is
/// continued in those.
#[test]
fn a_long_request_on_registered_memory_reads_a_device_whole_and_at_its_end() {
    let name = "a_long_request_on_registered_memory_reads_a_device_whole_and_at_its_end";
    each_pair(name, |engine, a, _| {
        let file = open(engine, a);
        let pool = engine.pool(1, DEVICE).unwrap();
        let expected = patterned(DEVICE, 8);
        for (offset, count) in [(0, DEVICE), (1 << 20, 3 << 20), (DEVICE - 4096, 4096)] {
            let (got, buffer) = engine.block_on(file.read_at(pool.get().unwrap(), offset as u64));
            assert_eq!(got.unwrap(), count);
            assert!(buffer[..count] == expected[offset..][..count]);
        }
    });
}

/// A buffer that starts inside a page needs more than one bio for 1 MiB. Where the memory of a later
/// bio is bad, the device answers EIO, although nothing is wrong with it: the count of the good
/// bytes is the answer, as of the buffered path.
#[test]
fn memory_that_turns_bad_in_a_later_bio_is_no_error_of_the_device() {
    let name = "memory_that_turns_bad_in_a_later_bio_is_no_error_of_the_device";
    each_pair(name, |engine, a, b| {
        let (plain, file) = (b.open(), open(engine, a));
        let len = 1 << 20;
        for good_pages in [256, 255, 200, 1] {
            let memory = Mapping::anon(len + PAGE);
            memory.fill(0..len + PAGE, 9);
            memory.protect(good_pages * PAGE..len + PAGE, libc::PROT_NONE);
            for skew in [512, 4, 2048] {
                for write in [true, false] {
                    for policy in [Policy::Look, Policy::Offload, Policy::Trust] {
                        let seg = (memory.address() + skew, len);
                        let expected = theirs(fd_of(&plain), write, seg, 4096);
                        let got = ours(engine, &file, write, seg, 4096, policy);
                        assert_eq!(
                            got, expected,
                            "write {write}, {good_pages} good pages, skew {skew}, {policy:?}"
                        );
                    }
                }
            }
        }
        let (left, right) = (std::fs::File::open(a.path()).unwrap(), &plain);
        assert!(
            sys::read_range(fd_of(&left), 0, DEVICE) == sys::read_range(fd_of(right), 0, DEVICE),
            "the devices' bytes"
        );
    });
}

/// A device that promises more space than there is below it fails some of the writes. Each failure is
/// told once: by the write, or by the next sync.
#[test]
fn a_device_that_runs_out_of_space_tells_it_once() {
    let name = "a_device_that_runs_out_of_space_tells_it_once";
    for backend in setup::backends() {
        let folder = files::folder();
        let below = folder.path().join("below");
        std::fs::create_dir(&below).unwrap();
        let image = below.join("image");
        let device = run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "none"])
            .arg(&below))
        .and_then(|_| {
            let mounted = Mounted(below.clone());
            sys::ftruncate(fd_of(&files::make(&image)), DEVICE as u64);
            Ok((Loop::over(&image, 4096)?, mounted))
        });
        let (device, _mounted) = match device {
            Ok(device) => device,
            Err(reason) => skip!(name, "{reason}"),
        };
        let engine = setup::engine(backend);
        let file = open(&engine, &device);
        let memory = Mapping::anon(65536);
        memory.fill(0..65536, 3);
        let mut told_by_writes = 0;
        for offset in (0..DEVICE as u64).step_by(65536) {
            let seg = (memory.address(), 65536);
            match ours(&engine, &file, true, seg, offset, Policy::Look) {
                Ok(count) => assert_eq!(count, 65536),
                Err(_) => told_by_writes += 1,
            }
        }
        let told_by_sync = engine.block_on(file.sync_all()).is_err();
        assert!(
            told_by_writes > 0 || told_by_sync,
            "four MiB went into one, and nobody was told"
        );
        assert!(
            engine.block_on(file.sync_all()).is_ok(),
            "the second sync tells nothing new"
        );
    }
}
