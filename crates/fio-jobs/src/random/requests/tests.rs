use std::collections::{BTreeMap, HashSet};

use super::*;
use crate::{JobFile, Surroundings};

const K: u64 = 1024;

fn options(text: &str) -> Options {
    let file = JobFile::parse(
        "test.fio",
        &format!("[j]\nfilename=f\nsize=1m\n{text}"),
        &Surroundings::isolated(),
    )
    .unwrap();
    file.groups[0].jobs[0].options.clone()
}

fn requests(text: &str, kib: u64) -> Requests {
    Requests::new(&options(text), &[FileRegion::new(0, kib * K)], 1).unwrap()
}

/// Offsets and sizes in KiB.
fn kib(requests: &Requests) -> Vec<(u64, u64)> {
    requests
        .clone()
        .map(|request| (request.offset / K, request.bytes / K))
        .collect()
}

fn offsets(requests: &Requests) -> Vec<u64> {
    kib(requests)
        .into_iter()
        .map(|(offset, _)| offset)
        .collect()
}

#[test]
fn sequential_requests_follow_each_other_to_the_last_whole_block() {
    assert_eq!(offsets(&requests("rw=read", 30)), [0, 4, 8, 12, 16, 20, 24]);
    let region = [FileRegion::new(16 * K, 16 * K)];
    let shifted = Requests::new(&options("rw=write"), &region, 1).unwrap();
    assert!(shifted.clone().all(|request| request.write));
    assert_eq!(offsets(&shifted), [16, 20, 24, 28]);
}

#[test]
fn gaps_are_left_out_and_the_rest_comes_again_as_in_fio() {
    assert_eq!(
        offsets(&requests("rw=read:4k", 32)),
        [0, 8, 16, 24, 0, 8, 16, 24]
    );
}

#[test]
fn random_requests_come_once_each_and_in_another_order_next_time() {
    for mode in ["randread", "randwrite", "randrw"] {
        let mut requests = requests(&format!("rw={mode}"), 1022);
        let mut passes = Vec::new();
        for _ in 0..3 {
            let pass = offsets(&requests);
            assert_eq!(
                (pass.len(), pass.iter().collect::<HashSet<_>>().len()),
                (255, 255),
                "{mode}"
            );
            assert!(
                pass.windows(2)
                    .filter(|pair| pair[1] == pair[0] + 4)
                    .count()
                    < 10,
                "{mode} is sequential"
            );
            passes.push(pass);
            requests.by_ref().for_each(drop);
            assert_eq!(requests.next(), None, "a pass that is over stays over");
            requests.next_pass();
        }
        assert!(passes[0] != passes[1] && passes[1] != passes[2], "{mode}");
    }
}

#[test]
fn requests_of_several_sizes_cover_every_byte_once() {
    for text in [
        "rw=randread\nbsrange=4k-32k",
        "rw=randrw\nbs=4k,16k",
        "rw=randwrite\nbssplit=4k/30:12k/30:64k/",
        "rw=randread\nbsrange=3k-17k\nbs_unaligned",
    ] {
        let mut requests = requests(text, 960);
        for _ in 0..2 {
            let mut all: Vec<(u64, u64)> = requests
                .by_ref()
                .map(|request| (request.offset, request.bytes))
                .collect();
            assert!(
                all.windows(2)
                    .filter(|pair| pair[1].0 == pair[0].0 + pair[0].1)
                    .count()
                    < all.len() / 4,
                "{text} is sequential"
            );
            all.sort_unstable();
            let mut end = 0;
            for (offset, bytes) in all {
                // A request that ends inside of a unit leaves the rest of it out.
                assert!(
                    offset >= end && offset - end < 4 * K,
                    "{text}: {offset} after {end}"
                );
                end = offset + bytes;
            }
            assert!(end > 956 * K, "{text}");
            requests.next_pass();
        }
    }
}

/// A block that is taken is not passed over: the next free one is taken instead, with as much
/// as is free behind it. So there are about as many requests as in fio.
#[test]
fn several_sizes_need_about_as_many_requests_as_in_fio() {
    let split = "bssplit=4k/20:8k/20:16k/20:32k/10:64k/10:128k/5:256k/5:512k/5:1m/5";
    // What fio 3.33 had with eight to nine seeds, and a tenth on both sides.
    for (text, fio) in [(split, 1576..2830), ("bsrange=4k-64k", 2351..3018)] {
        let options = options(&format!("rw=randread\n{text}"));
        for seed in 1..=8 {
            let requests = Requests::new(&options, &[FileRegion::new(0, 64 << 20)], seed);
            let count = requests.unwrap().count();
            assert!(fio.contains(&count), "{text}: {count}, fio {fio:?}");
        }
    }
}

#[test]
fn without_a_map_blocks_may_come_again() {
    for text in [
        "norandommap",
        "random_distribution=zipf:0.5",
        "random_distribution=normal:10",
        "ba=2k",
    ] {
        let pass = kib(&requests(&format!("rw=randread\n{text}"), 1024));
        assert_eq!(pass.len(), 256, "{text}");
        assert!(pass.iter().collect::<HashSet<_>>().len() < 250, "{text}");
        assert!(
            pass.iter().all(|(offset, bytes)| offset + bytes <= 1024),
            "{text}"
        );
    }
    assert!(
        offsets(&requests("rw=randread\nba=2k", 1024))
            .iter()
            .any(|offset| offset % 4 == 2)
    );
}

#[test]
fn the_likeliest_block_is_at_the_centre() {
    for (text, expected) in [
        ("zipf:2.5:0.25", 256),
        ("pareto:0.05:0.25", 256),
        ("zipf:2.5:1", 1020),
        ("zipf:2.5:0", 0),
    ] {
        let mut counts = BTreeMap::new();
        for offset in offsets(&requests(
            &format!("rw=randread\nrandom_distribution={text}"),
            1024,
        )) {
            *counts.entry(offset).or_insert(0) += 1;
        }
        assert_eq!(
            counts
                .into_iter()
                .max_by_key(|&(_, count)| count)
                .unwrap()
                .0,
            expected,
            "{text}"
        );
    }
}

#[test]
fn reads_and_writes_are_mixed_as_asked() {
    for (text, expected) in [
        ("rwmixread=70", 70),
        ("rwmixwrite=10", 90),
        ("", 50),
        ("rwmixread=0", 0),
        ("rwmixread=100", 100),
    ] {
        let requests = requests(&format!("rw=randrw\n{text}"), 40_000);
        let reads = requests.filter(|request| !request.write).count() / 100;
        assert!(reads.abs_diff(expected) <= 2, "{text}: {reads} %");
    }
}

#[test]
fn mixed_sequential_requests_have_a_place_for_each_direction() {
    let mut next = [0, 0];
    for request in requests("rw=rw\nbs=4k,8k", 1024) {
        let next = &mut next[usize::from(request.write)];
        assert_eq!(
            (request.offset, request.bytes),
            (*next, if request.write { 8 * K } else { 4 * K })
        );
        *next += request.bytes;
    }
    assert!(next[0] > 0 && next[1] > 0 && next[0] + next[1] >= 1024 * K);
}

#[test]
fn so_many_requests_follow_each_random_offset() {
    for (text, step) in [
        ("rw=randread:4", 4),
        ("rw=randread:4\nrw_sequencer=identical", 0),
    ] {
        let pass = offsets(&requests(text, 4096));
        let breaks = pass
            .windows(2)
            .filter(|pair| pair[1] != pair[0] + step)
            .count();
        // 1024 requests in runs of four; a run is shorter where the region ends.
        assert!((250..270).contains(&breaks), "{text}: {breaks}");
    }
}

#[test]
fn files_take_turns() {
    let regions = [FileRegion::new(0, 8 * K), FileRegion::new(0, 16 * K)];
    let requests = Requests::new(&options("rw=read"), &regions, 1).unwrap();
    let all: Vec<(usize, u64)> = requests
        .map(|request| (request.file, request.offset / K))
        .collect();
    assert_eq!(all, [(0, 0), (1, 0), (0, 4), (1, 4), (1, 8), (1, 12)]);
}

#[test]
fn the_seed_decides_and_a_clone_repeats() {
    let text = "rw=randrw\nbssplit=4k/50:8k/";
    let with = |seed| Requests::new(&options(text), &[FileRegion::new(0, 1 << 20)], seed).unwrap();
    let all = |requests: Requests| requests.collect::<Vec<_>>();
    assert_eq!(all(with(1)), all(with(1)));
    assert_ne!(all(with(1)), all(with(2)));
    let mut begun = with(1);
    begun.by_ref().take(10).for_each(drop);
    assert_eq!(all(begun.clone()), all(begun));
}

/// Seeds keep their meaning: this fails if any of the generators changes.
#[test]
fn the_first_requests_of_a_seed_never_change() {
    let first = |text| {
        kib(&requests(text, 1024))
            .into_iter()
            .take(4)
            .collect::<Vec<_>>()
    };
    let firsts = [
        "rw=randread",
        "rw=randread\nrandom_distribution=zipf:1.2",
        "rw=randread\nbsrange=4k-16k",
    ]
    .map(first);
    let expected = [
        [(508, 4), (44, 4), (296, 4), (696, 4)],
        [(960, 4), (960, 4), (212, 4), (116, 4)],
        [(948, 4), (836, 8), (1000, 12), (580, 4)],
    ];
    assert_eq!(firsts, expected);
}

#[test]
fn workers_have_seeds_of_their_own() {
    let text =
        "[global]\nsize=1m\n[a]\nnumjobs=3\n[b]\nrandrepeat=0\n[c]\nrandseed=7\nrandrepeat=0";
    let file = JobFile::parse("test.fio", text, &Surroundings::isolated()).unwrap();
    let jobs: Vec<_> = file.jobs().collect();
    let seeds: HashSet<u64> = (0..3)
        .map(|clone| jobs[0].seed(clone, 1))
        .chain([jobs[1].seed(0, 1), jobs[2].seed(0, 1)])
        .collect();
    assert_eq!(seeds.len(), 5);
    assert_eq!(jobs[0].seed(0, 1), jobs[0].seed(0, 2));
    assert_ne!(jobs[1].seed(0, 1), jobs[1].seed(0, 2));
    assert_eq!(jobs[2].seed(0, 1), jobs[2].seed(0, 2));
}

#[test]
fn what_can_not_be_is_an_error() {
    let new = |text, bytes| Requests::new(&options(text), &[FileRegion::new(0, bytes)], 1).err();
    assert_eq!(
        new("rw=read", 4095),
        Some(RequestsError::TooSmall {
            bytes: 4095,
            block: 4096
        })
    );
    assert_eq!(
        new("rw=randrw\nbs=4k,64k", 32 * K),
        Some(RequestsError::TooSmall {
            bytes: 32 * K,
            block: 64 * K
        })
    );
    assert_eq!(
        new("rw=randread\nbsrange=512-1k", 1 << 40),
        Some(RequestsError::TooManyBlocks {
            blocks: 1 << 31,
            most: 1 << 29
        })
    );
    assert_eq!(
        new("rw=randread\nbsrange=512-1k\nnorandommap", 1 << 40),
        None
    );
}
