//! The look against the kernel: the bits of the page map for each kind of memory, and what the look
//! concludes from them. `reach` tests where a look ends and how many system calls it makes, `pinning`
//! whether the kernel pins without a fault what the look called good.

use super::*;
use crate::memory::test_memory::*;
use crate::sys::pagemap::{GUARD, SWAPPED};

#[path = "residency_pinning_test.rs"]
mod pinning;
#[path = "residency_reach_test.rs"]
mod reach;

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
