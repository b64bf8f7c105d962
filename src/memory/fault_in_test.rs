//! The exact prefix that can be faulted in, for every kind of bad page.

use super::*;
use crate::memory::test_memory::*;
use crate::sys::populate::calls;

/// What the kernel's own copies think of a range, with the memory on the local side: the bytes that
/// could be read (or written back as they are) up to the first bad one. An independent judge: the
/// code under test uses other system calls. `None` if a sandbox forbids it.
fn judge(addr: usize, len: usize, write: bool) -> Option<usize> {
    let page = page_size();
    let mut good = 0;
    while good < len {
        let at = addr + good;
        let some = (page - at % page).min(len - good);
        let mut byte = 0u8;
        let foreign = libc::iovec {
            iov_base: at as *mut _,
            iov_len: 1,
        };
        let own = libc::iovec {
            iov_base: (&raw mut byte).cast(),
            iov_len: 1,
        };
        // SAFETY: the kernel checks the foreign address; one byte is copied out, and then perhaps
        // the same one back.
        let (read, written) = unsafe {
            let pid = libc::getpid();
            let read = libc::process_vm_writev(pid, &foreign, 1, &own, 1, 0);
            (
                read,
                if read == 1 && write {
                    libc::process_vm_readv(pid, &foreign, 1, &own, 1, 0)
                } else {
                    read
                },
            )
        };
        if read < 0 && matches!(crate::sys::errno(), libc::EPERM | libc::ENOSYS) {
            println!("skipped: process_vm_writev is forbidden");
            return None;
        }
        if written != 1 {
            break;
        }
        good += some;
    }
    Some(good)
}

/// Both functions against the judge, from and to the middle of pages too.
#[track_caller]
fn agree(map: &Map, first: usize, pages: usize) {
    let page = page_size();
    for (before, behind) in [(0, 0), (1, 0), (page - 1, page - 1), (0, 1), (100, 100)] {
        let (addr, len) = (map.addr(first) + before, pages * page - before - behind);
        for write in [false, true] {
            // Ours first: the judge faults the memory in.
            let seen = fault_in(addr, len, write);
            let Some(judged) = judge(addr, len, write) else {
                return;
            };
            assert_eq!(
                seen, judged,
                "first {first} pages {pages} before {before} behind {behind} write {write}"
            );
        }
    }
}

#[test]
fn the_prefix_is_exact_for_every_place_and_kind_of_bad_page() {
    alone!(the_prefix_is_exact_for_every_place_and_kind_of_bad_page);
    for how in [Bad::Protected, Bad::Hole, Bad::Guard, Bad::ReadOnly] {
        for place in 0..9 {
            let map = Map::anon(9);
            map.write(0..4);
            if !map.spoil(place, how) {
                println!("skipped: {how:?}");
                continue;
            }
            let page = page_size();
            let (read, write) = (
                fault_in_readable(map.ptr, 9 * page),
                fault_in_writeable(map.ptr, 9 * page),
            );
            assert_eq!(write, place * page, "{how:?}");
            assert_eq!(
                read,
                if how == Bad::ReadOnly { 9 } else { place } * page,
                "{how:?}"
            );
            agree(&map, 0, 9);
        }
    }
}

#[test]
fn contents_are_left_as_they_are() {
    alone!(contents_are_left_as_they_are);
    let page = page_size();
    let secret = memfd_secret(3);
    let mut maps = vec![
        Map::anon(3),
        Map::shared(3, &memfd(3)),
        Map::shared(3, &file(3)),
        Map::private(3, &file(3)),
    ];
    maps.extend(secret.iter().map(|secret| Map::shared(3, secret)));
    for map in &maps {
        map.write(0..2);
        let before = map.read(0..2);
        assert_eq!(fault_in_readable(map.ptr, 3 * page), 3 * page);
        assert_eq!(fault_in_writeable(map.ptr, 3 * page), 3 * page);
        assert_eq!(map.read(0..2), before);
    }
}

#[test]
fn memory_that_can_only_be_touched_counts() {
    alone!(memory_that_can_only_be_touched_counts);
    let page = page_size();
    // Longer than one batch of touches, with anonymous memory around it and a bad page at the end.
    let pages = TOUCH_PAGES + 9;
    let Some(secret) = memfd_secret(pages) else {
        return;
    };
    let map = Map::anon(pages + 7);
    map.replace(3, pages, &secret);
    assert_eq!(populate(map.addr(3), page, true), Err(libc::EINVAL));
    let all = (pages + 7) * page;
    assert_eq!(
        (
            fault_in_readable(map.ptr, all),
            fault_in_writeable(map.ptr, all)
        ),
        (all, all)
    );
    let mut readable = all;
    for place in [pages + 5, pages, 3 + TOUCH_PAGES, 3 + TOUCH_PAGES - 1, 3] {
        map.protect(place, 1, libc::PROT_READ);
        assert_eq!(
            (
                fault_in_readable(map.ptr, all),
                fault_in_writeable(map.ptr, all)
            ),
            (readable, place * page)
        );
        map.protect(place, 1, libc::PROT_NONE);
        readable = place * page;
        assert_eq!(
            (
                fault_in_readable(map.ptr, all),
                fault_in_writeable(map.ptr, all)
            ),
            (place * page, place * page)
        );
    }
    agree(&map, 0, 4);
}

#[test]
fn the_kernels_own_pages_can_be_read() {
    alone!(the_kernels_own_pages_can_be_read);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    for line in maps
        .lines()
        .filter(|line| line.ends_with("[vvar]") || line.ends_with("[vdso]"))
    {
        let mut bounds = line
            .split([' ', '-'])
            .map(|bound| usize::from_str_radix(bound, 16).unwrap());
        let (start, end) = (bounds.next().unwrap(), bounds.next().unwrap());
        let Some(judged) = judge(start, end - start, false) else {
            return;
        };
        let seen = fault_in(start, end - start, false);
        assert_eq!(seen, judged, "{line}");
        assert!(seen >= page_size(), "{line}");
        assert_eq!(fault_in(start, 1, true), 0, "{line}");
    }
}

#[test]
fn a_file_mapping_ends_with_its_file() {
    alone!(a_file_mapping_ends_with_its_file);
    let page = page_size();
    for map in [
        Map::shared(4, &file(3)),
        Map::private(4, &file(3)),
        Map::shared(4, &memfd(3)),
    ] {
        assert_eq!(fault_in_readable(map.ptr, 4 * page), 3 * page);
        assert_eq!(fault_in_writeable(map.ptr, 4 * page), 3 * page);
        agree(&map, 0, 4);
    }
}

#[test]
fn a_fault_that_is_refused_ends_the_prefix() {
    alone!(a_fault_that_is_refused_ends_the_prefix);
    let page = page_size();
    let map = Map::anon(4);
    match Unanswered::over(&map, 2, 2, false) {
        Ok(_uffd) => {
            assert_eq!(fault_in_readable(map.ptr, 4 * page), 2 * page);
            assert_eq!(fault_in_writeable(map.ptr, 4 * page), 2 * page);
        }
        Err(error) => println!("skipped: userfaultfd: {error}"),
    }
}

#[test]
fn ranges_that_leave_the_address_space_end_early() {
    alone!(ranges_that_leave_the_address_space_end_early);
    let top = usize::MAX;
    for (addr, len) in [
        (top, 1),
        (top, top),
        (top - 10, 100),
        (top - 3 * 4096, top),
        (0, top),
        (1 << 63, top),
        (1 << 47, 4096),
        (0, 0),
        (top, 0),
    ] {
        assert_eq!(
            (fault_in(addr, len, false), fault_in(addr, len, true)),
            (0, 0),
            "{addr:#x} {len:#x}"
        );
    }
    // To the end of all, from memory that ends soon: only what is there.
    let map = Map::anon(3);
    assert!(map.spoil(2, Bad::Hole));
    assert_eq!(fault_in_writeable(map.ptr, top), 2 * page_size());
    assert_eq!(
        fault_in_writeable(map.ptr.wrapping_add(5), top),
        2 * page_size() - 5
    );
}

#[test]
fn the_prefix_is_found_by_halving() {
    alone!(the_prefix_is_found_by_halving);
    let page = page_size();
    let pages: usize = 2048;
    for place in [1, 2, 3, 1000, 1024, 2046, 2047] {
        let map = Map::anon(pages);
        assert!(map.spoil(place, Bad::Protected));
        let before = calls();
        assert_eq!(fault_in_writeable(map.ptr, pages * page), place * page);
        let made = calls() - before;
        // The whole, the first page, the halves, and the refusing page in the next round: twice two
        // calls more.
        assert!(
            made <= u64::from(pages.ilog2()) + 5,
            "{made} calls for {place}"
        );
    }
    let map = Map::anon(pages);
    let before = calls();
    assert_eq!(fault_in_writeable(map.ptr, pages * page), pages * page);
    assert_eq!(calls() - before, 1);
}
