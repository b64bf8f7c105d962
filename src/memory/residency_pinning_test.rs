//! Whether the answers are true: in a child of fork, after a fault-in, and when the kernel pins the
//! memory.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use super::*;
use crate::memory::{fault_in_readable, fault_in_writeable};

#[test]
fn a_child_sees_its_own_memory() {
    alone!(a_child_sees_its_own_memory);
    let page = page_size();
    let map = Map::anon(2);
    map.write(0..2);
    let mut residency = Residency::new().unwrap();
    assert_eq!(
        residency.look(map.addr(0), 2 * page, Access::Send).bytes,
        2 * page
    );
    assert_eq!(resident_prefix(map.ptr, 2 * page, Access::Send), 2 * page);
    let parent = address_space::generation();
    let answer = in_child(|| {
        if map.advise(0, 1, libc::MADV_DONTNEED).is_err() {
            return 1;
        }
        if residency.look(map.addr(0), 2 * page, Access::Send).bytes != 0 {
            return 2;
        }
        if resident_prefix(map.ptr, 2 * page, Access::Send) != 0 {
            return 3;
        }
        let child = address_space::generation();
        if child <= parent || child != address_space::generation() {
            return 4;
        }
        // A child of the child again, while the page is back here.
        map.write(0..1);
        in_child(|| {
            let gone = map.advise(0, 1, libc::MADV_DONTNEED).is_ok();
            let seen = residency.look(map.addr(0), page, Access::Send).bytes;
            if !gone || seen != 0 || address_space::generation() <= child {
                5
            } else {
                0
            }
        })
    });
    assert_eq!(answer, 0);
    assert_eq!(address_space::generation(), parent);
    assert_eq!(
        residency.look(map.addr(0), 2 * page, Access::Send).bytes,
        2 * page
    );
}

#[test]
fn faulting_in_makes_absent_memory_good() {
    alone!(faulting_in_makes_absent_memory_good);
    let page = page_size();
    let disk = file(2);
    let memfd = memfd(2);
    let child;
    let mut maps = vec![
        Map::anon(2),
        Map::anon(2),
        Map::private(2, &disk),
        Map::private(2, &memfd),
    ];
    maps[1].write(0..2);
    child = Child::that_waits();
    if procmap_is_there() {
        maps.push(Map::shared(2, &memfd));
    }
    for (index, map) in maps.iter().enumerate() {
        assert_eq!(fault_in_writeable(map.ptr, 2 * page), 2 * page);
        assert_eq!(
            look(map.addr(0), 2 * page, Access::Fill),
            Look {
                bytes: 2 * page,
                stop: Stop::End
            },
            "{index}"
        );
    }
    drop(child);
    if !scan_is_there() {
        return;
    }
    let map = Map::anon(2);
    assert_eq!(fault_in_readable(map.ptr, 2 * page), 2 * page);
    assert_eq!(
        look(map.addr(0), 2 * page, Access::Send),
        Look {
            bytes: 2 * page,
            stop: Stop::End
        }
    );
}

/// The page faults that this thread has taken, those taken for it by the kernel's pinning included
/// (mm_account_fault in mm/memory.c).
fn faults() -> i64 {
    // SAFETY: an all-zero rusage is a valid value of that plain C struct.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid place for the answer.
    let result = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    assert_eq!(result, 0);
    usage.ru_minflt + usage.ru_majflt
}

#[test]
fn what_looks_good_is_pinned_without_a_page_fault() {
    alone!(what_looks_good_is_pinned_without_a_page_fault);
    const PAGES: usize = 8;
    let bytes = PAGES * page_size();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("direct");
    std::fs::write(&path, vec![3; bytes]).unwrap();
    let direct = match OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(&path)
    {
        Ok(file) => file,
        Err(error) => return println!("skipped: O_DIRECT in {}: {error}", path.display()),
    };
    // The faults of one direct request on the buffer, and its result.
    let request = |map: &Map, access| {
        let (fd, before) = (direct.as_raw_fd(), faults());
        // SAFETY: the mapping is `bytes` long and nobody holds a reference into it.
        let moved = unsafe {
            match access {
                Access::Fill => libc::pread(fd, map.ptr.cast(), bytes, 0),
                Access::Send => libc::pwrite(fd, map.ptr.cast(), bytes, 0),
            }
        };
        assert_eq!(
            moved,
            bytes as isize,
            "{access:?}: {}",
            io::Error::last_os_error()
        );
        faults() - before
    };
    // The first request of all may fault for reasons of its own.
    request(Map::anon(PAGES).write(0..PAGES), Access::Fill);
    for access in [Access::Send, Access::Fill] {
        let disk = file(PAGES);
        let (touched, written) = (memfd(PAGES), memfd(PAGES));
        let maps = [
            ("anonymous", Map::anon(PAGES)),
            ("zero page", Map::anon(PAGES)),
            ("private file", Map::private(PAGES, &disk)),
            ("memfd, read", Map::shared(PAGES, &touched)),
            ("memfd, written", Map::shared(PAGES, &written)),
            (
                "shared",
                Map::new(
                    PAGES,
                    READ_WRITE,
                    libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                    None,
                )
                .unwrap(),
            ),
            ("sysv", Map::sysv(PAGES).unwrap()),
            ("with a child", Map::anon(PAGES)),
        ];
        let touch = |name: &str, map: &Map| match name {
            "zero page" | "memfd, read" => _ = map.read(0..PAGES),
            _ => _ = map.write(0..PAGES),
        };
        maps.iter().for_each(|(name, map)| touch(name, map));
        let child = Child::that_waits();
        // What is touched again after the fork is this process's own again.
        maps.iter()
            .filter(|(name, _)| *name != "with a child")
            .for_each(|(name, map)| touch(name, map));
        let mut good = Vec::new();
        for (name, map) in &maps {
            if look(map.addr(0), bytes, access)
                == (Look {
                    bytes,
                    stop: Stop::End,
                })
            {
                assert_eq!(request(map, access), 0, "{name} {access:?}");
                good.push(*name);
            } else if access == Access::Fill || *name == "with a child" {
                // The other way round: what does not look good faults.
                assert_ne!(request(map, access), 0, "{name} {access:?}");
            }
        }
        drop(child);
        assert!(
            good.starts_with(&["anonymous"]) && good.contains(&"private file"),
            "{good:?}"
        );
        assert!(!good.contains(&"with a child"), "{good:?}");
        if procmap_is_there() && scan_is_there() {
            assert_eq!(
                good.len(),
                maps.len() - if access == Access::Fill { 2 } else { 1 },
                "{good:?}"
            );
        }
    }
}
