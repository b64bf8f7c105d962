//! What the library allocates lies in huge pages where the machine grants them, the off switch is
//! one, and where there are none the engine says so and works all the same.

mod common;

use common::{child, files, setup, skip};
use nofault::memory::{HUGE_PAGE_BYTES, Thp, huge_pages};
use nofault::{AlignedBuf, Backend, Engine, Fallback, File, Handle, Pool, PoolBuf, Stats};

const MIB: usize = 1 << 20;

/// Why the machine gives no huge pages to anonymous memory, if so.
fn none_granted() -> Option<String> {
    let granted = huge_pages();
    let gives = matches!(granted.anonymous, Thp::Always | Thp::Madvise);
    (!gives).then(|| granted.to_string())
}

/// How much of the mapping that holds an address is in huge pages, in bytes.
fn anon_huge_bytes(addr: usize) -> usize {
    let smaps = std::fs::read_to_string("/proc/self/smaps").expect("/proc");
    let mut inside = false;
    for line in smaps.lines() {
        let first = line.split(' ').next().unwrap_or("");
        if let Some((start, end)) = first.split_once('-') {
            let number = |text| usize::from_str_radix(text, 16).expect("an address");
            inside = (number(start)..number(end)).contains(&addr);
        } else if inside && first == "AnonHugePages:" {
            let kib = line.split_whitespace().nth(1).expect("a number");
            return kib.parse::<usize>().expect("a number") << 10;
        }
    }
    0
}

/// Whether huge pages are among what the engine has lost.
fn speaks_of_pages(stats: &Stats) -> bool {
    stats.fallbacks.iter().any(|lost| {
        matches!(
            lost,
            Fallback::PinnedInSmallPages
                | Fallback::BounceInSmallPages
                | Fallback::NotAdvised { .. }
        )
    })
}

/// All buffers of a pool, in the order of their addresses.
fn all_of(pool: &Pool) -> Vec<PoolBuf> {
    let mut all: Vec<_> = std::iter::from_fn(|| pool.get()).collect();
    all.sort_by_key(|buffer| buffer.as_ptr().addr());
    all
}

#[test]
fn a_pool_of_two_mebibytes_lies_in_huge_pages() {
    const NAME: &str = "a_pool_of_two_mebibytes_lies_in_huge_pages";
    if let Some(why) = none_granted() {
        skip!(NAME, "huge pages: {why}");
    }
    child::watched(NAME, setup::DEADLINE, || {
        for backend in setup::backends() {
            let engine = Engine::builder().backend(backend).build().unwrap();
            let handle = Handle::builder().backend(backend).build().unwrap();
            for (count, bytes) in [(1, 2 * MIB), (2, MIB), (32, 64 << 10), (103, 20 << 10)] {
                let pools = [
                    engine.pool(count, bytes).unwrap(),
                    handle.pool(count, bytes).unwrap(),
                ];
                for pool in pools {
                    assert!(pool.is_huge(), "{pool:?}");
                    let all = all_of(&pool);
                    assert_eq!(all.len(), count);
                    let start = all[0].as_ptr().addr();
                    assert_eq!(start % HUGE_PAGE_BYTES, 0);
                    let whole = (count * bytes).next_multiple_of(HUGE_PAGE_BYTES);
                    assert!(anon_huge_bytes(start) >= whole, "{pool:?}");
                }
            }
            for stats in [engine.stats(), handle.stats()] {
                assert!(!speaks_of_pages(&stats), "{:?}", stats.fallbacks);
            }
            assert!(!engine.pool(1, MIB).unwrap().is_huge());
        }
    });
}

#[test]
fn the_off_switch_gives_ordinary_pages() {
    child::watched(
        "the_off_switch_gives_ordinary_pages",
        setup::DEADLINE,
        || {
            let engine = Engine::builder().huge_pages(false).build().unwrap();
            let handle = Handle::builder().huge_pages(false).build().unwrap();
            for pool in [engine.pool(4, MIB).unwrap(), handle.pool(4, MIB).unwrap()] {
                assert!(!pool.is_huge());
                let buffer = pool.get().unwrap();
                assert_eq!(anon_huge_bytes(buffer.as_ptr().addr()), 0);
            }
            for stats in [engine.stats(), handle.stats()] {
                assert!(!speaks_of_pages(&stats), "{:?}", stats.fallbacks);
            }
        },
    );
}

#[test]
fn absent_memory_of_the_callers_is_registered_in_huge_pages() {
    const NAME: &str = "absent_memory_of_the_callers_is_registered_in_huge_pages";
    if let Some(why) = none_granted() {
        skip!(NAME, "huge pages: {why}");
    }
    child::watched(NAME, setup::DEADLINE, || {
        let engine = Engine::new().unwrap();
        let region = engine.register(vec![0u8; 8 * MIB]);
        if !region.is_pinned() {
            // Nothing has faulted it in.
            common::sys::say("SKIP the region can't be pinned\n");
            return;
        }
        let inside = region.as_ptr().addr().next_multiple_of(HUGE_PAGE_BYTES);
        assert!(anon_huge_bytes(inside) >= 6 * MIB);
        assert!(!speaks_of_pages(&engine.stats()));
    });
}

#[test]
fn a_cold_read_into_the_callers_memory_fills_huge_pages_where_asked_for() {
    const NAME: &str = "a_cold_read_into_the_callers_memory_fills_huge_pages_where_asked_for";
    match huge_pages().anonymous {
        Thp::Madvise => {}
        _ => skip!(NAME, "the advice makes no difference: {}", huge_pages()),
    }
    child::watched(NAME, setup::DEADLINE, || {
        let folder = files::folder();
        let path = folder.path().join("file");
        let _plain = files::make_patterned(&path, 8 * MIB, 7);
        let expected = std::fs::read(&path).unwrap();
        for advise in [false, true] {
            for backend in setup::backends() {
                let builder = Engine::builder().backend(backend);
                let engine = builder.advise_huge(advise).build().unwrap();
                let file = File::open(&engine, &path).unwrap();
                // Twice, so that the second request uses the slot of the first.
                for round in 0..2 {
                    let buffer = Vec::<u8>::with_capacity(8 * MIB);
                    let (count, buffer) = engine.block_on(file.read_at(buffer, 0));
                    assert_eq!(count.unwrap(), 8 * MIB);
                    assert!(buffer == expected);
                    let inside = buffer.as_ptr().addr().next_multiple_of(HUGE_PAGE_BYTES);
                    let huge = anon_huge_bytes(inside);
                    if engine.stats().fault_in_rounds == 0 {
                        // Worker threads take the faults as they come. By the ring: a file that
                        // takes no direct reads.
                        if backend != Backend::Threads {
                            common::sys::say(&format!("SKIP {backend:?} faulted nothing in\n"));
                        }
                    } else if advise {
                        assert!(huge >= 6 * MIB, "round {round}: {huge}");
                    } else {
                        assert_eq!(huge, 0, "round {round}");
                    }
                }
            }
        }
    });
}

#[test]
fn registered_memory_in_ordinary_pages_is_a_fallback() {
    child::watched(
        "registered_memory_in_ordinary_pages_is_a_fallback",
        setup::DEADLINE,
        || {
            let ordinary = || {
                let mut buffer = AlignedBuf::ordinary(4 * MIB).unwrap();
                buffer.populate().unwrap();
                buffer
            };
            let says_so = |engine: &Engine| {
                let said = engine.stats().fallbacks;
                said.contains(&Fallback::PinnedInSmallPages)
            };
            let engine = Engine::new().unwrap();
            let _small = engine.register(vec![1u8; MIB]);
            assert!(!says_so(&engine));
            let _region = engine.register(ordinary());
            assert!(says_so(&engine));
            let engine = Engine::builder().huge_pages(false).build().unwrap();
            let _region = engine.register(ordinary());
            assert!(!says_so(&engine));
        },
    );
}

/// A read at a ragged place, from a file that takes direct requests, goes by a bounce buffer.
#[test]
fn bounce_buffers_without_huge_pages_are_a_fallback() {
    const NAME: &str = "bounce_buffers_without_huge_pages_are_a_fallback";
    child::watched(NAME, setup::DEADLINE, || {
        let folder = files::folder();
        let path = folder.path().join("file");
        let _plain = files::make_patterned(&path, MIB, 7);
        let expected = std::fs::read(&path).unwrap();
        for wanted in [true, false] {
            let engine = Engine::builder().huge_pages(wanted).build().unwrap();
            let file = File::open(&engine, &path).unwrap();
            let (count, buffer) = engine.block_on(file.read_at(Vec::with_capacity(10_000), 12_345));
            assert_eq!(count.unwrap(), buffer.len());
            assert!(buffer[..] == expected[12_345..][..buffer.len()]);
            let stats = engine.stats();
            let granted = matches!(huge_pages().shared, Thp::Always | Thp::Madvise);
            let says_so = stats.fallbacks.contains(&Fallback::BounceInSmallPages);
            if stats.bounced == 0 || granted {
                // With huge pages granted it still depends on what memory is free.
                common::sys::say(&format!(
                    "SKIP {} bounced, {}\n",
                    stats.bounced,
                    huge_pages()
                ));
            } else {
                assert_eq!(says_so, wanted);
            }
        }
    });
}

#[test]
fn a_large_pool_that_may_not_be_pinned_works_in_huge_pages() {
    const NAME: &str = "a_large_pool_that_may_not_be_pinned_works_in_huge_pages";
    child::watched(NAME, setup::DEADLINE, || {
        let folder = files::folder();
        let path = folder.path().join("file");
        let _plain = files::make_patterned(&path, 4 * MIB, 7);
        let expected = std::fs::read(&path).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        child::limit(libc::RLIMIT_MEMLOCK, 64 << 10);
        if common::sys::is_root() {
            // Root may lock all memory whatever the limit says.
            child::become_nobody();
            child::stay_dumpable();
        }
        let engine = Engine::builder().backend(Backend::Auto).build().unwrap();
        let pool = engine.pool(4, MIB).unwrap();
        assert!(!pool.is_pinned());
        assert_eq!(pool.is_huge(), none_granted().is_none());
        let said = engine.stats().fallbacks;
        let not_pinned = |lost: &Fallback| matches!(lost, Fallback::NotPinned { .. });
        assert!(said.iter().any(not_pinned), "{said:?}");
        let file = File::from_std(&engine, file).unwrap();
        for (index, buffer) in all_of(&pool).into_iter().enumerate() {
            let (count, buffer) = engine.block_on(file.read_at(buffer, (index * MIB) as u64));
            assert_eq!(count.unwrap(), MIB);
            assert!(buffer[..] == expected[index * MIB..][..MIB]);
        }
    });
}
