use super::*;
use crate::memory::AlignedBuf;
use crate::memory::test_memory::{Map, READ_WRITE, alone};

const MIB: usize = 1 << 20;

/// How much of the mappings in a range is in huge pages, in bytes: AnonHugePages of
/// /proc/self/smaps.
fn anon_huge_bytes(range: Range<usize>) -> usize {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut inside, mut sum) = (false, 0);
    for line in smaps.lines() {
        let first = line.split(' ').next().unwrap();
        if let Some((start, _)) = first.split_once('-') {
            let start = usize::from_str_radix(start, 16).unwrap();
            inside = range.contains(&start);
        } else if inside && first == "AnonHugePages:" {
            let kib = line.split_whitespace().nth(1).unwrap();
            sum += kib.parse::<usize>().unwrap() << 10;
        }
    }
    sum
}

fn bytes_of(buf: &AlignedBuf) -> Range<usize> {
    buf.as_ptr().addr()..buf.as_ptr().addr() + buf.len()
}

/// Why the machine gives no huge pages to anonymous memory, if so.
fn none_granted() -> Option<String> {
    let granted = huge_pages();
    match granted.anonymous {
        Thp::Always | Thp::Madvise => None,
        Thp::Never | Thp::Unknown => Some(granted.to_string()),
    }
}

#[test]
fn the_word_in_brackets_is_the_setting() {
    let of = |text: &str| mode(Ok(text.to_owned()));
    assert_eq!(of("[always] madvise never\n"), Thp::Always);
    assert_eq!(of("always [madvise] never\n"), Thp::Madvise);
    assert_eq!(of("always madvise [never]\n"), Thp::Never);
    assert_eq!(
        of("always within_size advise never deny [force]\n"),
        Thp::Always
    );
    assert_eq!(
        of("always within_size [advise] never deny force\n"),
        Thp::Madvise
    );
    for text in ["", "[", "]", "[]", "always", "[later]", "][never"] {
        assert_eq!(of(text), Thp::Unknown, "{text}");
    }
    assert_eq!(mode(Err(io::ErrorKind::NotFound.into())), Thp::Unknown);
}

#[test]
fn the_interior_is_whole_huge_pages_inside_the_range() {
    assert_eq!(interior(0, 2 * MIB), 0..2 * MIB);
    assert!(interior(4096, 2 * MIB).is_empty());
    assert_eq!(interior(4096, 4 * MIB), 2 * MIB..4 * MIB);
    assert_eq!(interior(MIB, 5 * MIB), 2 * MIB..6 * MIB);
    assert!(interior(0, 0).is_empty());
    assert!(interior(usize::MAX, usize::MAX).is_empty());
    assert!(interior(usize::MAX - 4 * MIB, usize::MAX).len() <= 4 * MIB);
}

#[test]
fn a_buffer_of_two_mebibytes_lies_in_huge_pages() {
    alone!(a_buffer_of_two_mebibytes_lies_in_huge_pages);
    if let Some(why) = none_granted() {
        println!("skipped: huge pages: {why}");
        return;
    }
    for (len, huge) in [
        (2 * MIB - 1, 0),
        (2 * MIB, 2 * MIB),
        // The tail would take half as much again.
        (3 * MIB, 2 * MIB),
        (16 * MIB - 4096, 16 * MIB),
        (16 * MIB, 16 * MIB),
    ] {
        let mut buf = AlignedBuf::new(len).unwrap();
        buf.populate().unwrap();
        assert_eq!(anon_huge_bytes(bytes_of(&buf)), huge, "{len}");
        assert!(lies_in_huge_pages(
            interior(buf.as_ptr().addr(), len),
            false
        ));
    }
}

#[test]
fn an_ordinary_buffer_lies_in_no_huge_pages() {
    alone!(an_ordinary_buffer_lies_in_no_huge_pages);
    let mut buf = AlignedBuf::ordinary(8 * MIB).unwrap();
    buf.populate().unwrap();
    let range = bytes_of(&buf);
    assert_eq!(anon_huge_bytes(range.clone()), 0);
    match Pagemap::open().unwrap().small_pages(range.start, range.end) {
        Ok(_) => assert!(!lies_in_huge_pages(range, false)),
        Err(error) => println!("skipped: PAGEMAP_SCAN: {error}"),
    }
}

#[test]
fn a_new_buffer_takes_at_most_an_eighth_more_than_its_length() {
    alone!(a_new_buffer_takes_at_most_an_eighth_more_than_its_length);
    // Resident pages.
    let resident = || {
        let text = fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * page_size()
    };
    for len in [
        4096,
        2 * MIB,
        2 * MIB + 4096,
        3 * MIB,
        5 * MIB - 4096,
        33 * MIB,
    ] {
        let before = resident();
        let mut buf = AlignedBuf::new(len).unwrap();
        buf.populate().unwrap();
        // The page tables and the harness take some as well.
        let most = len + len / 8 + MIB / 2;
        assert!(resident() - before <= most, "{len}");
    }
}

#[test]
fn only_absent_whole_huge_pages_are_advised() {
    alone!(only_absent_whole_huge_pages_are_advised);
    if let Some(why) = none_granted() {
        println!("skipped: huge pages: {why}");
        return;
    }
    let per_huge = HUGE_PAGE_BYTES / page_size();
    let map = Map::new(
        9 * per_huge,
        READ_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        None,
    )
    .unwrap();
    let all = interior(map.addr(0), map.len);
    let first = (all.start - map.addr(0)) / page_size();
    // One page of the third huge page is there, and the last one of the fifth.
    for there in [2 * per_huge + 7, 5 * per_huge - 1] {
        map.write(first + there..first + there + 1);
    }
    let advised = advise(map.addr(0), map.len).unwrap();
    assert_eq!(advised, all.len() - 2 * HUGE_PAGE_BYTES);
    map.write(0..9 * per_huge);
    assert_eq!(anon_huge_bytes(map.addr(0)..map.addr(0) + map.len), advised);
}

#[test]
fn a_callers_vec_is_advised_before_it_is_faulted_in() {
    alone!(a_callers_vec_is_advised_before_it_is_faulted_in);
    if let Some(why) = none_granted() {
        println!("skipped: huge pages: {why}");
        return;
    }
    let mut vec: Vec<u8> = Vec::with_capacity(8 * MIB);
    let advised = advise_huge(&mut vec).unwrap();
    assert!(advised >= 6 * MIB, "{advised}");
    vec.resize(8 * MIB, 1);
    let addr = vec.as_ptr().addr();
    assert!(lies_in_huge_pages(interior(addr, vec.len()), false));
    // All of it is there by now.
    assert_eq!(advise_huge(&mut vec).unwrap(), 0);
    assert_eq!(advise_huge(&mut Vec::with_capacity(4096)).unwrap(), 0);
}
