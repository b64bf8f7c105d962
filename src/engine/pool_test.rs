use super::*;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// How many borders of huge pages lie inside `bytes` at `offset`.
fn borders(offset: usize, bytes: usize) -> usize {
    (offset + bytes - 1) / HUGE_PAGE_BYTES - offset / HUGE_PAGE_BYTES
}

/// The sizes of buffers that pools have, and some that fit badly.
fn sizes() -> impl Iterator<Item = usize> {
    (1..=3 * HUGE_PAGE_BYTES / 4096).map(|pages| pages * 4096)
}

#[test]
fn no_pool_buffer_crosses_a_huge_page_border_needlessly() {
    for bytes in sizes() {
        let count = 3 * HUGE_PAGE_BYTES / bytes + 3;
        let layout = Layout::in_huge_pages(count, bytes).expect("a layout");
        let dense = Layout::dense(count, bytes).expect("a layout");
        let least = borders(0, bytes);
        let worst = (0..count)
            .map(|index| borders(layout.offset(index), bytes))
            .max();
        if layout == dense && worst > Some(least) {
            // Cheaper was not to be had.
            let group = bytes.next_multiple_of(HUGE_PAGE_BYTES);
            assert!(group % bytes > group / 8, "{bytes}");
            assert_eq!(worst, Some(least + 1), "{bytes}");
        } else {
            assert_eq!(worst, Some(least), "{bytes}");
        }
    }
}

#[test]
fn buffers_that_divide_a_huge_page_start_at_a_multiple_of_their_size() {
    for bytes in (12..=21).map(|bits| 1 << bits) {
        let count = 2 * HUGE_PAGE_BYTES / bytes + 1;
        let layout = Layout::in_huge_pages(count, bytes).expect("a layout");
        assert_eq!(layout.total, count * bytes);
        assert!((0..count).all(|index| layout.offset(index) == index * bytes));
    }
}

#[test]
fn no_two_buffers_overlap_and_all_are_inside() {
    for bytes in sizes() {
        for count in [1, 2, 7, 600] {
            let layout = Layout::in_huge_pages(count, bytes).expect("a layout");
            let mut end = 0;
            for index in 0..count {
                assert!(layout.offset(index) >= end, "{count} of {bytes}");
                end = layout.offset(index) + bytes;
            }
            assert_eq!(end, layout.total, "{count} of {bytes}");
            // An eighth of each group at most is not used.
            assert!(layout.total * 7 / 8 <= count * bytes, "{count} of {bytes}");
        }
    }
}

#[test]
fn no_buffers_are_a_layout_too_and_too_many_are_none() {
    for layout in [Layout::dense(0, 4096), Layout::in_huge_pages(0, 4096)] {
        assert_eq!(layout.expect("a layout").total, 0);
    }
    for (count, bytes) in [
        (usize::MAX, 4096),
        (1 << 52, 4096),
        (1, usize::MAX - 4095),
        (1 << 51, 20 * KIB),
        (1 << 44, MIB),
    ] {
        assert_eq!(Layout::dense(count, bytes), None);
        assert_eq!(Layout::in_huge_pages(count, bytes), None);
    }
}
