//! Where space ends: a full filesystem, a file at the limit of its size.

use super::{ours, theirs};
use crate::common::child::{self, watched};
use crate::common::device::{Mounted, run};
use crate::common::files;
use crate::common::mapping::Mapping;
use crate::common::setup::{self, DEADLINE};
use crate::common::sys::{self, Outcome, Seg, fd_of};
use nofault::{Engine, File, IoPath, Policy};
use std::path::Path;
use std::process::Command;

/// A filesystem that is full, or a file at its limit: the bytes that fitted are reported and are in
/// the file, the rest is refused.
fn until_it_is_full(engine: &Engine, a: &Path, b: &Path, remove_between: bool) -> IoPath {
    let memory = Mapping::anon(256 << 10);
    memory.fill(0..256 << 10, 5);
    let fill = |write: &dyn Fn(Seg, u64) -> Outcome| {
        let (mut at, mut answers) = (0_u64, Vec::new());
        let lens = [65536, 4096, 100_000, 4096, 777, 200_000];
        for round in 0.. {
            let answer = write((memory.address(), lens[round % lens.len()]), at);
            answers.push(answer);
            match answer {
                Ok(count) if count > 0 => at += count as u64,
                _ => break,
            }
        }
        (at, answers)
    };
    let plain = files::make(b);
    let expected = fill(&|seg, at| sys::pwrite(fd_of(&plain), seg, at));
    let bytes = sys::read_range(fd_of(&plain), 0, expected.0 as usize);
    if remove_between {
        // The space comes back at once, even where a child of another test holds the descriptor
        // for as long as it takes to start a program.
        sys::ftruncate(fd_of(&plain), 0);
        drop(plain);
        std::fs::remove_file(b).unwrap();
    }
    let file = File::create(engine, a).unwrap();
    let got = fill(&|seg, at| ours(engine, &file, true, seg, at, Policy::Look));
    assert!(
        matches!(expected.1.last(), Some(Err(_))),
        "it never became full: the test tests nothing"
    );
    assert_eq!(got.1.last(), expected.1.last(), "the refusal");
    // How many bytes fit may differ by what the filesystem keeps for itself; that they are all
    // there may not.
    let ours = std::fs::File::open(a).unwrap();
    assert_eq!(
        sys::size_of_file(fd_of(&ours)),
        got.0,
        "the size is what was reported"
    );
    let shorter = got.0.min(expected.0) as usize;
    assert!(
        shorter as u64 * 10 >= expected.0 * 9,
        "nofault fitted {} bytes, the buffered path {}",
        got.0,
        expected.0
    );
    assert!(
        sys::read_range(fd_of(&ours), 0, shorter) == bytes[..shorter],
        "the bytes that fitted"
    );
    file.path().clone()
}

#[test]
fn a_file_at_its_size_limit_refuses_as_pwrite_refuses() {
    watched(
        "space::a_file_at_its_size_limit_refuses_as_pwrite_refuses",
        DEADLINE,
        || {
            child::ignore_sigxfsz();
            for backend in setup::backends() {
                // libtest writes to a file here, but less than this.
                let folder = files::folder();
                let engine = setup::engine(backend);
                child::limit(libc::RLIMIT_FSIZE, 1_000_000);
                until_it_is_full(
                    &engine,
                    &folder.path().join("a"),
                    &folder.path().join("b"),
                    false,
                );
            }
        },
    );
}

/// Exactly the same answers, byte for byte, around the limit.
#[test]
fn requests_across_the_size_limit_are_cut_where_pwrite_cuts_them() {
    watched(
        "space::requests_across_the_size_limit_are_cut_where_pwrite_cuts_them",
        DEADLINE,
        || {
            child::ignore_sigxfsz();
            for backend in setup::backends() {
                let folder = files::folder();
                let engine = setup::engine(backend);
                child::limit(libc::RLIMIT_FSIZE, 1_000_000);
                let file = File::create(&engine, folder.path().join("a")).unwrap();
                let plain = files::make(&folder.path().join("b"));
                let memory = Mapping::anon(65536);
                memory.fill(0..65536, 5);
                for offset in [
                    950_000, 995_328, 999_424, 999_936, 999_999, 1_000_000, 1_003_520,
                ] {
                    for len in [1, 512, 4096, 65536] {
                        let seg = (memory.address(), len);
                        let expected = theirs(fd_of(&plain), true, seg, offset);
                        let got = ours(&engine, &file, true, seg, offset, Policy::Look);
                        assert_eq!(got, expected, "{len} bytes at {offset}");
                    }
                }
            }
        },
    );
}

#[test]
fn a_full_filesystem_refuses_as_for_pwrite() {
    let name = "a_full_filesystem_refuses_as_for_pwrite";
    if !sys::is_root() {
        crate::common::skip!(name, "needs root to mount a small filesystem");
    }
    for backend in setup::backends() {
        let folder = files::folder();
        let here = folder.path().join("small");
        std::fs::create_dir(&here).unwrap();
        if let Err(reason) = run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "none"])
            .arg(&here))
        {
            crate::common::skip!(name, "{reason}");
        }
        let mounted = Mounted(here.clone());
        until_it_is_full(
            &setup::engine(backend),
            &here.join("a"),
            &here.join("b"),
            true,
        );
        drop(mounted);
    }
}

#[test]
fn a_full_disk_filesystem_refuses_as_for_pwrite() {
    let name = "a_full_disk_filesystem_refuses_as_for_pwrite";
    if !sys::is_root() {
        crate::common::skip!(name, "needs root to mount a small filesystem");
    }
    for backend in setup::backends() {
        let folder = files::folder();
        let (image, here) = (folder.path().join("image"), folder.path().join("small"));
        sys::ftruncate(fd_of(&files::make(&image)), 8 << 20);
        std::fs::create_dir(&here).unwrap();
        let made = run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-b", "4096", "-m", "0"])
            .arg(&image))
        .and_then(|_| {
            run(Command::new("mount")
                .args(["-o", "loop"])
                .arg(&image)
                .arg(&here))
        });
        if let Err(reason) = made {
            crate::common::skip!(name, "{reason}");
        }
        let mounted = Mounted(here.clone());
        let path = until_it_is_full(
            &setup::engine(backend),
            &here.join("a"),
            &here.join("b"),
            true,
        );
        assert_eq!(path, IoPath::Direct);
        drop(mounted);
    }
}
