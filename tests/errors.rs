//! What cannot be done is refused with the errno of the buffered path, and what was done before is
//! not lost.

mod common;

#[path = "errors/devices.rs"]
mod devices;
#[path = "errors/kinds.rs"]
mod kinds;
#[path = "errors/lent.rs"]
mod lent;
#[path = "errors/space.rs"]
mod space;

use common::child::watched;
use common::files;
use common::mapping::{ANON, Mapping, READ_WRITE, patterned};
use common::setup::{self, DEADLINE};
use common::sys::{self, Outcome, PAGE, Seg, fd_of};
use common::zoo::VAST_LENGTHS;
use nofault::{Backend, Engine, File, OpenOptions, Policy};
use std::os::fd::RawFd;
use std::path::Path;

/// Requests of several kinds: offset and bytes.
const REQUESTS: [(u64, usize); 9] = [
    (0, 4096),
    (0, 65536),
    (4096, 4096),
    (100, 50),
    (777, 9000),
    (0, 0),
    (1 << 20, 4096),
    (u64::MAX, 4096),
    (i64::MAX as u64, 4096),
];

fn ours(
    engine: &Engine,
    file: &File,
    write: bool,
    seg: Seg,
    offset: u64,
    policy: Policy,
) -> Outcome {
    // SAFETY: the segments of this file are mappings that outlive the call, and `block_on` returns
    // when the request has ended.
    sys::outcome_of(unsafe {
        match write {
            true => engine.block_on(file.write_raw_at(seg.0 as *const u8, seg.1, offset, policy)),
            false => engine.block_on(file.read_raw_at(seg.0 as *mut u8, seg.1, offset, policy)),
        }
    })
}

fn theirs(fd: RawFd, write: bool, seg: Seg, offset: u64) -> Outcome {
    // SAFETY: as above.
    unsafe {
        if write {
            sys::pwrite(fd, seg, offset)
        } else {
            sys::pread(fd, seg, offset)
        }
    }
}

/// Gives the same requests to a nofault file and to a plain descriptor; the answers must be the
/// same.
fn same_answers(engine: &Engine, what: &str, file: &File, plain: RawFd, writes: &[bool]) {
    let memory = Mapping::anon(65536);
    let cold = Mapping::anon(65536);
    memory.fill(0..65536, 1);
    for &write in writes {
        for (offset, len) in REQUESTS {
            for (buffer, policy) in [
                (&memory, Policy::Look),
                (&memory, Policy::Offload),
                (&cold, Policy::Look),
            ] {
                let seg = (buffer.address(), len);
                let expected = theirs(plain, write, seg, offset);
                let got = ours(engine, file, write, seg, offset, policy);
                assert_eq!(
                    got, expected,
                    "{what}: write {write}, {len} bytes at {offset}, {policy:?}"
                );
            }
        }
    }
}

fn each_engine(body: impl Fn(&Engine, &Path)) {
    for backend in setup::backends() {
        let folder = files::folder();
        body(&setup::engine(backend), folder.path());
    }
}

#[test]
fn a_file_opened_for_reading_refuses_writes_and_one_for_writing_refuses_reads() {
    each_engine(|engine, folder| {
        let path = folder.join("file");
        files::make_patterned(&path, 100_000, 1);
        for (read, write) in [(true, false), (false, true)] {
            let plain = std::fs::File::options()
                .read(read)
                .write(write)
                .open(&path)
                .unwrap();
            let file = OpenOptions::new()
                .read(read)
                .write(write)
                .open(engine, &path)
                .unwrap();
            // What is refused in both ways; what is allowed is for the other tests.
            same_answers(engine, "one-way file", &file, fd_of(&plain), &[read]);
        }
    });
}

#[test]
fn a_directory_is_refused_as_pread_refuses_it() {
    each_engine(|engine, folder| {
        let plain = std::fs::File::open(folder).unwrap();
        match File::open(engine, folder) {
            Ok(file) => same_answers(engine, "directory", &file, fd_of(&plain), &[false, true]),
            // Refusing it at once is an honest answer too, with the errno that the first read would
            // give.
            Err(error) => assert_eq!(
                Err(error.raw_os_error().unwrap()),
                theirs(fd_of(&plain), false, (0, 0), 0)
            ),
        }
    });
}

#[test]
fn a_pipe_is_refused_as_pread_refuses_it() {
    each_engine(|engine, _| {
        let (reader, writer) = sys::pipe();
        for end in [reader, writer] {
            let plain = std::fs::File::from(end);
            match File::from_std(engine, plain.try_clone().unwrap()) {
                Ok(file) => same_answers(engine, "pipe", &file, fd_of(&plain), &[false, true]),
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ESPIPE)),
            }
        }
    });
}

#[test]
fn devices_that_are_no_disks_answer_as_they_do_to_pread() {
    each_engine(|engine, _| {
        for (path, writes) in [
            ("/dev/full", true),
            ("/dev/null", true),
            ("/dev/zero", true),
            ("/dev/null", false),
            ("/dev/zero", false),
        ] {
            let plain = std::fs::File::options()
                .read(true)
                .write(true)
                .open(path)
                .unwrap();
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(engine, path)
                .unwrap();
            // Their offsets mean nothing, but negative ones are refused all the same.
            same_answers(engine, path, &file, fd_of(&plain), &[writes]);
        }
    });
}

#[test]
fn a_descriptor_closed_under_our_feet_gives_ebadf() {
    // In a process of its own: no other test may get the number again.
    watched(
        "a_descriptor_closed_under_our_feet_gives_ebadf",
        DEADLINE,
        || {
            each_engine(|engine, folder| {
                let path = folder.join("file");
                let plain = files::make_patterned(&path, 100_000, 1);
                let number = fd_of(&plain);
                let file = File::from_std(engine, plain).unwrap();
                sys::close(number);
                let memory = Mapping::anon(65536);
                memory.fill(0..65536, 1);
                for (offset, len) in [(0, 4096), (0, 65536), (100, 50)] {
                    for write in [false, true] {
                        let got = ours(
                            engine,
                            &file,
                            write,
                            (memory.address(), len),
                            offset,
                            Policy::Look,
                        );
                        // A ring that has the file registered need not notice; the file is then
                        // still the right one.
                        assert!(got == Err(libc::EBADF) || got == Ok(len), "{got:?}");
                    }
                }
                // The number must be valid again before the file drops it.
                // SAFETY: numbers only.
                let again = unsafe { libc::fcntl(2, libc::F_DUPFD_CLOEXEC, number) };
                assert_eq!(again, number);
                drop(file);
            });
        },
    );
}

#[test]
fn lengths_beyond_what_one_call_moves_are_cut_as_pread_cuts_them() {
    each_engine(|engine, folder| {
        let (a, b) = (folder.join("a"), folder.join("b"));
        files::make_patterned(&a, 300_000, 1);
        let plain = files::make_patterned(&b, 300_000, 1);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(engine, &a)
            .unwrap();
        for reach in [100, 70] {
            let memory =
                Mapping::new(4 << 30, libc::PROT_NONE, ANON | libc::MAP_NORESERVE, -1, 0).unwrap();
            memory.protect(0..reach * PAGE, READ_WRITE);
            for len in VAST_LENGTHS {
                for offset in [0, 100, 299_999, 300_000, 1 << 30] {
                    for skew in [0, 512, 3] {
                        let seg = (memory.address() + skew, len);
                        let expected = theirs(fd_of(&plain), false, seg, offset);
                        let got = ours(engine, &file, false, seg, offset, Policy::Look);
                        assert_eq!(
                            got, expected,
                            "{len} bytes at {offset}, memory for {reach} pages, {skew} into the first"
                        );
                    }
                }
            }
        }
    });
}

#[test]
fn as_many_segments_as_preadv_takes_are_taken_and_not_one_more() {
    each_engine(|engine, folder| {
        let (a, b) = (folder.join("a"), folder.join("b"));
        files::make_patterned(&a, 300_000, 1);
        let plain = files::make_patterned(&b, 300_000, 1);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(engine, &a)
            .unwrap();
        let memory = Mapping::anon(1100 * 512);
        for count in [0, 1, 1023, 1024, 1025] {
            let segs: Vec<Seg> = (0..count)
                .map(|index| (memory.address() + index * 512, 512))
                .collect();
            // SAFETY: the mapping outlives both calls.
            let expected = unsafe { sys::preadv(fd_of(&plain), &segs, 0) };
            let raw = segs
                .iter()
                .map(|&(address, len)| (address as *mut u8, len))
                .collect();
            // SAFETY: as above.
            let got = sys::outcome_of(
                engine.block_on(unsafe { file.readv_raw_at(raw, 0, Policy::Look) }),
            );
            assert_eq!(got, expected, "{count} segments");
        }
    });
}

#[test]
fn a_file_that_appends_answers_as_it_does_to_pwrite_or_is_refused() {
    each_engine(|engine, folder| {
        let open = |name: &str| {
            let path = folder.join(name);
            files::make_patterned(&path, 5000, 1);
            std::fs::File::options()
                .read(true)
                .append(true)
                .open(path)
                .unwrap()
        };
        let (a, plain) = (open("a"), open("b"));
        let Ok(file) = File::from_std(engine, a.try_clone().unwrap()) else {
            return;
        };
        let memory = Mapping::anon(65536);
        memory.fill(0..65536, 5);
        for (offset, len) in [(0, 3192), (0, 4096), (4096, 65536), (100, 100)] {
            let seg = (memory.address(), len);
            let expected = theirs(fd_of(&plain), true, seg, offset);
            match ours(engine, &file, true, seg, offset, Policy::Look) {
                // A clear refusal moves nothing and is no parity error.
                Err(libc::EOPNOTSUPP) => return,
                got => assert_eq!(got, expected, "{len} bytes at {offset}"),
            }
        }
        let bytes = |file: &std::fs::File| sys::read_range(fd_of(file), 0, 200_000);
        assert!(bytes(&a) == bytes(&plain), "the files' bytes");
        assert_eq!(bytes(&a)[5000..5000 + 3192], patterned(65536, 5)[..3192]);
    });
}

/// The errno that `Backend::Auto` meets is that of the file, not of the back end.
#[test]
fn opening_what_is_not_there_gives_the_errno_of_open() {
    let engine = Engine::builder().backend(Backend::Auto).build().unwrap();
    let folder = files::folder();
    let error = File::open(&engine, folder.path().join("nothing")).expect_err("no such file");
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    let error = OpenOptions::new()
        .read(true)
        .open(&engine, "/dev/null/x")
        .expect_err("no folder");
    assert_eq!(error.raw_os_error(), Some(libc::ENOTDIR));
}
