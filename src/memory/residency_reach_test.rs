//! Where a look ends, and how many system calls it makes.

use super::*;

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
