//! Descriptors of every kind: what pread and pwrite refuse before they look at memory is refused in
//! the same words, and files that the kernel makes up as they are read get the plain call.

use super::{ours, same_answers, theirs};
use crate::common::child::watched;
use crate::common::mapping::Mapping;
use crate::common::setup::{self, DEADLINE};
use crate::common::sys::{self, Outcome, Seg, fd_of};
use crate::common::{files, note_skip};
use nofault::{Engine, File, IoPath, OpenOptions, Policy, Reason};
use std::os::fd::FromRawFd;
use std::path::Path;

/// A descriptor that a system call has made, or its errno.
fn made(fd: libc::c_long) -> Result<std::fs::File, i32> {
    if fd < 0 {
        return Err(sys::errno());
    }
    // SAFETY: made by the call just now, and nobody else knows it.
    Ok(unsafe { std::fs::File::from_raw_fd(fd as i32) })
}

/// One descriptor of every kind that has no file behind it, and some that have.
fn kinds(folder: &Path) -> Vec<(&'static str, std::fs::File)> {
    let path = folder.join("file");
    files::make_patterned(&path, 100_000, 1);
    let (pipe_reader, pipe_writer) = sys::pipe();
    // SAFETY: each call takes numbers only, or pointers to values that live for the call.
    let mut all = unsafe {
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut signals);
        let mut sockets = [0; 2];
        libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, sockets.as_mut_ptr());
        drop(made(sockets[1].into()));
        vec![
            ("eventfd", made(libc::eventfd(0, 0).into())),
            (
                "timerfd",
                made(libc::timerfd_create(libc::CLOCK_MONOTONIC, 0).into()),
            ),
            ("epoll", made(libc::epoll_create1(0).into())),
            ("inotify", made(libc::inotify_init1(0).into())),
            ("signalfd", made(libc::signalfd(-1, &signals, 0).into())),
            (
                "fanotify",
                made(libc::syscall(libc::SYS_fanotify_init, 0, 0)),
            ),
            ("userfaultfd", made(libc::syscall(libc::SYS_userfaultfd, 0))),
            (
                "pidfd",
                made(libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0)),
            ),
            (
                "memfd_secret",
                made(libc::syscall(libc::SYS_memfd_secret, 0)),
            ),
            (
                "memfd",
                made(libc::memfd_create(c"kinds".as_ptr(), 0).into()),
            ),
            ("a socket", made(sockets[0].into())),
        ]
    };
    let fifo = folder.join("fifo");
    let name = std::ffi::CString::new(fifo.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: the name is a C string; the attributes of a software clock are zero but for their
    // size.
    unsafe {
        libc::mkfifo(name.as_ptr(), 0o600);
        let mut attributes = [0_u32; 32];
        (attributes[0], attributes[1]) = (1, 128);
        let perf = libc::syscall(libc::SYS_perf_event_open, &attributes, 0, -1, -1, 0);
        all.push(("a perf event", made(perf)));
    }
    all.push(("the reading end of a pipe", Ok(pipe_reader.into())));
    all.push(("the writing end of a pipe", Ok(pipe_writer.into())));
    let mut open = |what, path: &Path, flags| {
        let file = sys::open(path, flags).map_err(|error| error.raw_os_error().unwrap_or(0));
        all.push((what, file));
    };
    open(
        "a terminal",
        Path::new("/dev/ptmx"),
        libc::O_RDWR | libc::O_NOCTTY,
    );
    open(
        "/dev/loop-control",
        Path::new("/dev/loop-control"),
        libc::O_RDWR,
    );
    open("a FIFO", &fifo, libc::O_RDWR);
    open("the terminal", Path::new("/dev/tty"), libc::O_RDWR);
    open("a directory", folder, libc::O_RDONLY);
    open("access mode 3", &path, libc::O_ACCMODE);
    open("O_PATH", &path, libc::O_PATH);
    open("O_PATH of a directory", folder, libc::O_PATH);
    open("a file to read", &path, libc::O_RDONLY);
    open("a file to write", &path, libc::O_WRONLY);
    open("a file for both", &path, libc::O_RDWR);
    open(
        "a file to append to",
        &path,
        libc::O_WRONLY | libc::O_APPEND,
    );
    open(
        "/proc/self/comm",
        Path::new("/proc/self/comm"),
        libc::O_RDWR,
    );
    open(
        "a namespace",
        Path::new("/proc/self/ns/mnt"),
        libc::O_RDONLY,
    );
    all.into_iter()
        .filter_map(|(what, file)| match file {
            Ok(file) => Some((what, file)),
            Err(errno) => {
                note_skip(what, &format!("errno {errno}"));
                None
            }
        })
        .collect()
}

/// Writes through one descriptor that the other would show are left out.
fn is_two_way(what: &str) -> bool {
    matches!(
        what,
        "a file for both" | "memfd" | "a file to write" | "a file to append to"
    )
}

#[test]
fn a_descriptor_that_pread_refuses_is_refused_at_once() {
    let name = "kinds::a_descriptor_that_pread_refuses_is_refused_at_once";
    watched(name, DEADLINE, || {
        let folder = files::folder();
        for backend in setup::backends() {
            let engine = setup::engine(backend);
            for (what, plain) in kinds(folder.path()) {
                let file = File::from_std(&engine, plain.try_clone().unwrap()).unwrap();
                let writes: &[bool] = if is_two_way(what) {
                    &[false]
                } else {
                    &[false, true]
                };
                same_answers(&engine, what, &file, fd_of(&plain), writes);
            }
        }
    });
}

/// A vector: `count` pieces of `len` bytes each.
fn vector(engine: &Engine, file: &File, write: bool, segs: &[Seg], offset: u64) -> Outcome {
    // SAFETY: the pieces are of a mapping that outlives the call, or no memory of anybody's.
    sys::outcome_of(unsafe {
        if write {
            let raw = segs
                .iter()
                .map(|&(addr, len)| (addr as *const u8, len))
                .collect();
            engine.block_on(file.writev_raw_at(raw, offset, Policy::Look))
        } else {
            let raw = segs
                .iter()
                .map(|&(addr, len)| (addr as *mut u8, len))
                .collect();
            engine.block_on(file.readv_raw_at(raw, offset, Policy::Look))
        }
    })
}

fn plain_vector(fd: i32, write: bool, segs: &[Seg], offset: u64) -> Outcome {
    if write {
        sys::pwritev(fd, segs, offset)
    } else {
        // SAFETY: as above.
        unsafe { sys::preadv(fd, segs, offset) }
    }
}

/// Requests that have more than one thing wrong are refused for the same one.
#[test]
fn of_several_errors_the_one_that_the_kernel_meets_first_is_told() {
    let name = "kinds::of_several_errors_the_one_that_the_kernel_meets_first_is_told";
    watched(name, DEADLINE, || {
        let folder = files::folder();
        let memory = Mapping::anon(1100 * 8);
        let good = memory.address();
        let kernel = 0xffff_8880_0000_0000_u64 as usize;
        let vectors: [(&str, Vec<Seg>); 7] = [
            (
                "too many pieces",
                (0..1025).map(|at| (good + at * 8, 8)).collect(),
            ),
            ("far too many pieces", vec![(good, 0); 5000]),
            ("no pieces", Vec::new()),
            ("empty pieces", vec![(good, 0); 3]),
            ("a negative length", vec![(good, 8), (good, usize::MAX)]),
            ("kernel memory", vec![(kernel, 8), (good, 8)]),
            ("kernel memory later", vec![(good, 8), (kernel, 8)]),
        ];
        for backend in setup::backends() {
            let engine = setup::engine(backend);
            for (what, plain) in kinds(folder.path()) {
                let file = File::from_std(&engine, plain.try_clone().unwrap()).unwrap();
                for write in [false, true] {
                    for offset in [0, 50, i64::MAX as u64 - 4, 1 << 63, u64::MAX] {
                        for (wrong, segs) in &vectors {
                            let expected = plain_vector(fd_of(&plain), write, segs, offset);
                            let got = vector(&engine, &file, write, segs, offset);
                            assert_eq!(
                                got, expected,
                                "{what}: write {write}, {wrong}, at {offset}"
                            );
                        }
                        for seg in [
                            (good, 0),
                            (good, usize::MAX),
                            (kernel, 8),
                            (kernel, 0),
                            (8, 8),
                        ] {
                            let expected = theirs(fd_of(&plain), write, seg, offset);
                            let got = ours(&engine, &file, write, seg, offset, Policy::Look);
                            assert_eq!(
                                got, expected,
                                "{what}: write {write}, {seg:x?}, at {offset}"
                            );
                        }
                    }
                }
            }
        }
    });
}

/// Files of procfs and sysfs answer a long read with as much as they like: the count is pread's,
/// and what follows is for the next request.
#[test]
fn a_file_that_the_kernel_makes_up_gets_the_plain_call() {
    for backend in setup::backends() {
        let engine = setup::engine(backend);
        let mut short = 0;
        for path in [
            "/proc/kallsyms",
            "/proc/self/maps",
            "/proc/self/auxv",
            "/proc/self/environ",
            "/proc/filesystems",
            "/proc/sys/kernel/ostype",
            "/proc/config.gz",
            "/sys/kernel/mm/transparent_hugepage/enabled",
            "/sys/kernel/notes",
            "/dev/zero",
            "/dev/full",
            "/dev/null",
        ] {
            let Ok(plain) = std::fs::File::open(path) else {
                note_skip(path, "not here");
                continue;
            };
            let file = File::open(&engine, path).unwrap();
            let reason = match path.starts_with("/dev") {
                true => Reason::Kind,
                false => Reason::Special,
            };
            assert_eq!(*file.path(), IoPath::Buffered(reason), "{path}");
            let memory = Mapping::anon(256 << 10);
            for (offset, len) in [
                (0, 256 << 10),
                (0, 4096),
                (7, 100),
                (0, 0),
                (1 << 40, 10),
                (100, 65536),
            ] {
                let seg = (memory.address(), len);
                let expected = theirs(fd_of(&plain), false, seg, offset);
                let bytes = sys::peek(seg.0, len);
                memory.fill(0..256 << 10, 3);
                let got = ours(&engine, &file, false, seg, offset, Policy::Look);
                // The addresses in its lines may grow meanwhile.
                if path == "/proc/self/maps" {
                    assert!(
                        got.is_ok_and(|count| count <= 4096 || count <= expected.unwrap() + 256),
                        "{path}: {got:?}, {expected:?}"
                    );
                    continue;
                }
                assert_eq!(got, expected, "{path}: {len} bytes at {offset}");
                let count = got.unwrap_or(0);
                assert!(
                    sys::peek(seg.0, len)[..count] == bytes[..count],
                    "{path}: the bytes"
                );
                short += usize::from(count > 0 && count < len && len > 100_000);
            }
        }
        assert!(short > 0, "no file was read short: the test tests nothing");
    }
}

/// Registered memory is no other way to read such a file.
#[test]
fn registered_memory_reads_a_file_that_the_kernel_makes_up() {
    for backend in setup::backends() {
        let engine = setup::engine(backend);
        let pool = engine.pool(1, 65536).unwrap();
        for path in ["/proc/kallsyms", "/proc/self/environ", "/proc/self/auxv"] {
            let (file, plain) = (
                File::open(&engine, path).unwrap(),
                std::fs::File::open(path),
            );
            let memory = Mapping::anon(65536);
            let seg = (memory.address(), 65536);
            let expected = theirs(fd_of(&plain.unwrap()), false, seg, 0);
            let (got, buffer) = engine.block_on(file.read_at(pool.get().unwrap(), 0));
            assert_eq!(sys::outcome_of(got), expected, "{path}");
            let count = expected.unwrap_or(0);
            assert!(
                buffer[..count] == sys::peek(seg.0, count),
                "{path}: the bytes"
            );
        }
    }
}

/// pwrite to a file of procfs is one call, too.
#[test]
fn a_write_to_a_file_that_the_kernel_makes_up_is_one_call() {
    let path = "/proc/self/oom_score_adj";
    let value = std::fs::read(path).unwrap();
    for backend in setup::backends() {
        let engine = setup::engine(backend);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&engine, path)
            .unwrap();
        let (count, _) = engine.block_on(file.write_at(value.clone(), 0));
        assert_eq!(count.unwrap(), value.len());
        let (count, read) = engine.block_on(file.read_at(Vec::with_capacity(64), 0));
        assert_eq!((count.unwrap(), read), (value.len(), value.clone()));
    }
}
