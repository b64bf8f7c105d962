//! The look against the kernel: what the page map says of each kind of memory, what is made of it,
//! and whether it is true.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use super::*;
use crate::memory::test_memory::*;
use crate::memory::{fault_in_readable, fault_in_writeable};
use crate::sys::pagemap::{GUARD, SWAPPED};

const P: u64 = PRESENT;
const F: u64 = FILE;
const X: u64 = EXCLUSIVE;

/// The bits of one page, of those that anybody here knows.
fn bits(addr: usize) -> u64 {
    let mut entry = [0];
    assert_eq!(
        Pagemap::open()
            .unwrap()
            .read(addr / page_size(), &mut entry)
            .unwrap(),
        1
    );
    entry[0] & (PRESENT | SWAPPED | FILE | GUARD | UFFD_WP | EXCLUSIVE)
}

fn look(addr: usize, len: usize, access: Access) -> Look {
    Residency::new().unwrap().look(addr, len, access)
}

/// One letter for what the look says of page `index`: good, absent, or not for direct requests.
fn letter(map: &Map, index: usize, access: Access) -> char {
    let page = page_size();
    match look(map.addr(index), page, access) {
        Look {
            bytes,
            stop: Stop::End,
        } if bytes == page => 'g',
        Look {
            bytes: 0,
            stop: Stop::Absent,
        } => 'a',
        Look {
            bytes: 0,
            stop: Stop::NotDirect { bytes },
        } if bytes == page => 'n',
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn expect(map: &Map, index: usize, expected: u64, letters: &str) {
    assert_eq!(
        bits(map.addr(index)),
        expected,
        "bits {:#x}",
        bits(map.addr(index))
    );
    let seen: String = [
        letter(map, index, Access::Fill),
        letter(map, index, Access::Send),
    ]
    .iter()
    .collect();
    assert_eq!(seen, letters, "fill and send");
}

/// False, with a printed reason, where the kernel can't tell shared memory from files.
fn procmap_is_there() -> bool {
    let there = open_procmap().is_some();
    if !there {
        println!("skipped: no PROCMAP_QUERY (Linux 6.11)");
    }
    there
}

#[test]
fn anonymous_memory_is_good_once_written_and_its_zero_page_only_to_send() {
    alone!(anonymous_memory_is_good_once_written_and_its_zero_page_only_to_send);
    let map = Map::anon(3);
    expect(&map, 0, 0, "aa");
    map.read(1..2);
    expect(&map, 1, P, if scan_is_there() { "ag" } else { "an" });
    map.write(2..3);
    expect(&map, 2, P | X, "gg");
}

#[test]
fn a_page_shared_with_a_child_is_neither_filled_nor_sent() {
    alone!(a_page_shared_with_a_child_is_neither_filled_nor_sent);
    let map = Map::anon(1);
    map.write(0..1);
    let child = Child::that_waits();
    expect(&map, 0, P, "an");
    drop(child);
    expect(&map, 0, P | X, "gg");
}

#[test]
fn zero_pages_are_told_from_pages_shared_with_a_child() {
    alone!(zero_pages_are_told_from_pages_shared_with_a_child);
    if !scan_is_there() {
        return;
    }
    // w: written before the fork, z: read only, o: written again after the fork.
    let kinds = "zzwwzooz";
    let (page, map) = (page_size(), Map::anon(kinds.len()));
    for (index, kind) in kinds.bytes().enumerate() {
        if kind == b'z' {
            _ = map.read(index..index + 1)
        } else {
            _ = map.write(index..index + 1)
        }
    }
    let child = Child::that_waits();
    map.write(5..7);
    let mut residency = Residency::new().unwrap();
    let seen = residency.look(map.addr(0) + 1, kinds.len() * page - 1, Access::Send);
    assert_eq!(
        seen,
        Look {
            bytes: 2 * page - 1,
            stop: Stop::NotDirect { bytes: 2 * page }
        }
    );
    assert_eq!(residency.system_calls(), 3);
    assert_eq!(
        look(map.addr(4), 4 * page, Access::Send),
        Look {
            bytes: 4 * page,
            stop: Stop::End
        }
    );
    drop(child);
}

/// False, with a printed reason, where the kernel can't tell zero pages.
fn scan_is_there() -> bool {
    let there = Pagemap::open().unwrap().zero_pages(0, 0).is_ok();
    if !there {
        println!("skipped: no PAGEMAP_SCAN (Linux 6.7)");
    }
    there
}

#[test]
fn a_file_mapping_is_never_for_direct_requests() {
    alone!(a_file_mapping_is_never_for_direct_requests);
    let file = file(3);
    let map = Map::shared(4, &file);
    let absent = if procmap_is_there() { "nn" } else { "aa" };
    expect(&map, 0, 0, absent);
    map.read(1..2);
    map.write(2..3);
    for index in [1, 2] {
        assert_eq!(bits(map.addr(index)) & (P | F), P | F);
        expect(&map, index, bits(map.addr(index)), "nn");
    }
    // Beyond the end of the file.
    expect(&map, 3, 0, absent);
}

#[test]
fn a_private_file_page_is_good_once_it_was_copied() {
    alone!(a_private_file_page_is_good_once_it_was_copied);
    if !procmap_is_there() {
        return;
    }
    let file = file(3);
    let map = Map::private(3, &file);
    expect(&map, 0, 0, "an");
    map.read(1..2);
    assert_eq!(bits(map.addr(1)) & (P | F), P | F);
    expect(&map, 1, bits(map.addr(1)), "an");
    map.write(2..3);
    expect(&map, 2, P | X, "gg");
}

#[test]
fn shared_memory_counts_as_ordinary_memory() {
    alone!(shared_memory_counts_as_ordinary_memory);
    if !procmap_is_there() {
        return;
    }
    let memfd = memfd(3);
    let mut maps = vec![
        Map::shared(3, &memfd),
        Map::new(3, READ_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS, None).unwrap(),
        Map::sysv(3).unwrap(),
    ];
    if dev_shm().is_some() {
        let file = tempfile::tempfile_in("/dev/shm").unwrap();
        file.set_len(3 * page_size() as u64).unwrap();
        maps.push(Map::shared(3, &file));
    }
    for map in &maps {
        expect(map, 0, 0, "aa");
        map.write(1..2);
        expect(map, 1, P | F | X, "gg");
        map.protect(1, 1, libc::PROT_READ);
        expect(map, 1, P | F | X, "ag");
        map.read(2..3);
        expect(map, 2, P | F | X, "gg");
    }
    // Mapped twice: not exclusive, and writable all the same.
    let again = Map::shared(3, &memfd);
    again.read(1..2);
    expect(&again, 1, P | F, "gg");
    // A private view must copy the page before it is filled.
    let private = Map::private(3, &memfd);
    private.read(1..2);
    expect(&private, 1, P | F, "ag");
    private.write(1..2);
    expect(&private, 1, P | X, "gg");
}

#[test]
fn without_procmap_shared_memory_is_left_alone() {
    alone!(without_procmap_shared_memory_is_left_alone);
    let map = Map::shared(4, &memfd(4));
    map.write(1..3);
    let mut residency = Residency {
        procmap: None,
        ..Residency::new().unwrap()
    };
    let page = page_size();
    assert_eq!(
        residency.look(map.addr(0), 4 * page, Access::Fill),
        Look {
            bytes: 0,
            stop: Stop::Absent
        }
    );
    let run = Look {
        bytes: 0,
        stop: Stop::NotDirect { bytes: 2 * page },
    };
    assert_eq!(residency.look(map.addr(1), 3 * page, Access::Send), run);
    assert_eq!(residency.system_calls(), 2);
}

#[test]
fn memfd_secret_is_never_for_direct_requests() {
    alone!(memfd_secret_is_never_for_direct_requests);
    let Some(secret) = memfd_secret(2) else {
        return;
    };
    let map = Map::shared(2, &secret);
    map.write(1..2);
    expect(&map, 1, P | F | X, "nn");
    if procmap_is_there() {
        expect(&map, 0, 0, "nn");
    }
}

#[test]
fn protection_does_not_show_in_the_page_map() {
    alone!(protection_does_not_show_in_the_page_map);
    let map = Map::anon(2);
    map.write(0..2);
    map.protect(0, 1, libc::PROT_NONE);
    map.protect(1, 1, libc::PROT_READ);
    expect(&map, 0, P | X, "gg");
    expect(&map, 1, P | X, "gg");
}

#[test]
fn a_guard_page_and_a_hole_are_absent() {
    alone!(a_guard_page_and_a_hole_are_absent);
    let map = Map::anon(2);
    map.write(0..2);
    assert!(map.spoil(0, Bad::Hole));
    expect(&map, 0, 0, "aa");
    if !map.spoil(1, Bad::Guard) {
        println!("skipped: no guard pages (Linux 6.13)");
        return;
    }
    // The bit that tells a guard from other markers is younger than guards.
    assert_eq!(bits(map.addr(1)) & !GUARD, SWAPPED);
    expect(&map, 1, bits(map.addr(1)), "aa");
}

#[test]
fn a_write_protected_page_is_good_only_to_send() {
    alone!(a_write_protected_page_is_good_only_to_send);
    let map = Map::anon(2);
    map.write(0..2);
    match Unanswered::over(&map, 0, 1, true) {
        Ok(_uffd) => {
            expect(&map, 0, P | X | UFFD_WP, "ag");
            expect(&map, 1, P | X, "gg");
        }
        Err(error) => println!("skipped: userfaultfd: {error}"),
    }
}

#[test]
fn the_kernels_own_pages_are_absent() {
    alone!(the_kernels_own_pages_are_absent);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let Some(line) = maps.lines().find(|line| line.ends_with("[vvar]")) else {
        println!("skipped: no [vvar]");
        return;
    };
    let start = usize::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
    assert_eq!(bits(start), 0);
    assert_eq!(
        look(start, page_size(), Access::Send),
        Look {
            bytes: 0,
            stop: Stop::Absent
        }
    );
}

#[test]
fn a_huge_page_is_good_from_end_to_end() {
    alone!(a_huge_page_is_good_from_end_to_end);
    let mut huge = crate::memory::AlignedBuf::huge(4 << 20).unwrap();
    huge.populate().unwrap();
    let len = huge.len();
    let good = Look {
        bytes: len,
        stop: Stop::End,
    };
    assert_eq!(look(huge.as_ptr().addr(), len, Access::Fill), good);
    assert_eq!(look(huge.as_ptr().addr(), len, Access::Send), good);

    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB;
    match Map::new((2 << 20) / page_size(), READ_WRITE, flags, None) {
        Ok(map) => {
            map.write(0..1);
            assert_eq!(
                look(map.addr(0), map.len, Access::Fill),
                Look {
                    bytes: map.len,
                    stop: Stop::End
                }
            );
        }
        Err(error) => println!("skipped: hugetlb: {error}"),
    }
}

#[test]
fn the_prefix_ends_exactly_at_the_first_bad_page() {
    alone!(the_prefix_ends_exactly_at_the_first_bad_page);
    let page = page_size();
    let pages = 2 * ENTRIES + 76;
    for hole in [
        0,
        1,
        ENTRIES - 1,
        ENTRIES,
        ENTRIES + 1,
        2 * ENTRIES - 1,
        2 * ENTRIES,
        pages - 1,
        pages,
    ] {
        let map = Map::anon(pages);
        map.write(0..pages);
        if hole < pages {
            map.advise(hole, 1, libc::MADV_DONTNEED).unwrap();
        }
        for (before, behind) in [(0, 0), (1, 1), (page - 1, page - 1), (8, 0)] {
            let mut residency = Residency::new().unwrap();
            let (addr, len) = (map.addr(0) + before, map.len - before - behind);
            let seen = residency.look(addr, len, Access::Fill);
            let batches = hole.min(pages - 1) / ENTRIES + 1;
            if hole == pages {
                assert_eq!(
                    seen,
                    Look {
                        bytes: len,
                        stop: Stop::End
                    }
                );
                assert_eq!(residency.system_calls(), batches as u64);
            } else {
                assert_eq!(
                    seen,
                    Look {
                        bytes: (hole * page).saturating_sub(before),
                        stop: Stop::Absent
                    }
                );
                let asked = u64::from(residency.procmap.is_some());
                assert_eq!(residency.system_calls(), batches as u64 + asked);
            }
        }
    }
}

#[test]
fn one_page_costs_one_system_call_and_nothing_costs_none() {
    alone!(one_page_costs_one_system_call_and_nothing_costs_none);
    let map = Map::anon(1);
    map.write(0..1);
    let mut residency = Residency::new().unwrap();
    assert_eq!(
        residency.look(map.addr(0), 0, Access::Fill),
        Look {
            bytes: 0,
            stop: Stop::End
        }
    );
    assert_eq!(residency.system_calls(), 0);
    residency.look(map.addr(0), page_size(), Access::Fill);
    assert_eq!(residency.system_calls(), 1);
}

#[test]
fn shared_memory_is_asked_about_once_a_look() {
    alone!(shared_memory_is_asked_about_once_a_look);
    if !procmap_is_there() {
        return;
    }
    let map = Map::shared(64, &memfd(64));
    map.write(0..64);
    let mut residency = Residency::new().unwrap();
    assert_eq!(
        residency.look(map.addr(0), map.len, Access::Fill),
        Look {
            bytes: map.len,
            stop: Stop::End
        }
    );
    assert_eq!(residency.system_calls(), 2);
}

#[test]
fn a_run_that_is_not_direct_reaches_to_the_next_good_page() {
    alone!(a_run_that_is_not_direct_reaches_to_the_next_good_page);
    if !procmap_is_there() {
        return;
    }
    let page = page_size();
    let file = file(4);
    // Anonymous, four pages of a shared file mapping, anonymous.
    let map = Map::anon(6);
    map.write(0..6);
    map.replace(1, 4, &file);
    map.read(2..3);
    for access in [Access::Fill, Access::Send] {
        let run = |bytes, reach| Look {
            bytes,
            stop: Stop::NotDirect { bytes: reach },
        };
        assert_eq!(
            look(map.addr(0) + 10, 6 * page - 10, access),
            run(page - 10, 4 * page)
        );
        assert_eq!(look(map.addr(2) + 10, page, access), run(0, page));
        assert_eq!(look(map.addr(4) + 10, 1, access), run(0, 1));
    }
    // A private file mapping: two pages of the file, one that was copied, one of the file.
    let map = Map::private(4, &file);
    map.read(0..1);
    map.write(2..3);
    let seen = look(map.addr(0), 4 * page, Access::Send);
    assert_eq!(
        seen,
        Look {
            bytes: 0,
            stop: Stop::NotDirect { bytes: 2 * page }
        }
    );
    let seen = look(map.addr(2), 2 * page, Access::Send);
    assert_eq!(
        seen,
        Look {
            bytes: page,
            stop: Stop::NotDirect { bytes: page }
        }
    );
}

#[test]
fn the_end_of_the_address_space_is_not_there() {
    alone!(the_end_of_the_address_space_is_not_there);
    let top = usize::MAX;
    for (addr, len) in [
        (top, 1),
        (top, top),
        (top - 10, 100),
        (top - 3 * 4096, top),
        (0, top),
        (0, 1),
        (1 << 63, 4096),
        (1 << 47, 4096),
    ] {
        for access in [Access::Fill, Access::Send] {
            assert_eq!(
                look(addr, len, access),
                Look {
                    bytes: 0,
                    stop: Stop::Absent
                },
                "{addr:#x} {len:#x}"
            );
        }
    }
    let map = Map::anon(1);
    map.write(0..1);
    assert!(look(map.addr(0), top, Access::Fill).bytes >= page_size());
}

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
    assert_eq!(
        unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) },
        0
    );
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
