//! What the machine makes of each error, one story each: a closure plays the kernel.

use std::rc::Rc;

use super::{ADDR, real_geometry, run};
use crate::transfer::*;

#[test]
fn a_buffer_whose_second_half_is_bad_gives_exactly_the_first_half() {
    // The residency bits of PROT_NONE memory look good: only EFAULT tells, and that says nothing of
    // how much was moved.
    let (total, good) = (1 << 20, (1 << 19) + 4096);
    for direction in [Direction::Read, Direction::Write] {
        let one = Segments::One(Segment {
            addr: ADDR,
            len: total,
        });
        let mut transfer = Transfer::new(
            direction,
            Trust::Look,
            Rc::new(real_geometry()),
            one,
            0,
            total,
        );
        let (result, steps) = run(&mut transfer, |action| match action {
            Action::Look { len } => Event::Looked {
                bytes: len,
                stop: Stop::End,
            },
            Action::Submit { offset, len, .. } if offset as usize + len <= good => {
                Event::Completed(Ok(len))
            }
            Action::Submit { .. } => Event::Completed(Err(libc::EFAULT)),
            Action::FaultIn { .. } => Event::FaultedIn(Err(libc::EINVAL)),
            Action::Buffered { offset, .. } if offset as usize >= good => {
                Event::Completed(Err(libc::EFAULT))
            }
            Action::Buffered { offset, .. } => Event::Completed(Ok(good - offset as usize)),
            other => panic!("{other:?}"),
        });
        assert_eq!(result, Ok(good));
        assert!(steps < 80, "{steps} steps");
    }
}

#[test]
fn an_unreadable_block_ends_a_read_just_before_it() {
    let (total, bad) = (8 << 20, (5 << 20) + 12288);
    let one = Segments::One(Segment {
        addr: ADDR,
        len: total,
    });
    let mut transfer = Transfer::new(
        Direction::Read,
        Trust::Full,
        Rc::new(real_geometry()),
        one,
        0,
        total,
    );
    let (result, steps) = run(&mut transfer, |action| match action {
        Action::Submit { offset, len, .. } if offset as usize + len <= bad => {
            Event::Completed(Ok(len))
        }
        Action::Submit { .. } => Event::Completed(Err(libc::EIO)),
        // The last word is the page cache's, and it can't read the block either.
        Action::Buffered { offset, .. } if offset as usize == bad => {
            Event::Completed(Err(libc::EIO))
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(result, Ok(bad));
    assert!(steps < 40, "{steps} steps");
}

/// A page of a hole was made writable through a mapping at the wrong moment: the direct read says
/// EIO, and nothing is wrong with the file.
#[test]
fn a_direct_read_that_collided_is_answered_by_the_page_cache() {
    for total in [4096, 65536, 8 << 20] {
        let one = Segments::One(Segment {
            addr: ADDR,
            len: total,
        });
        let mut transfer = Transfer::new(
            Direction::Read,
            Trust::Full,
            Rc::new(real_geometry()),
            one,
            0,
            total,
        );
        let (result, _) = run(&mut transfer, |action| match action {
            Action::Submit { .. } => Event::Completed(Err(libc::EIO)),
            Action::Buffered { len, .. } => Event::Completed(Ok(len)),
            other => panic!("{other:?}"),
        });
        assert_eq!(result, Ok(total));
    }
}

#[test]
fn a_page_that_is_never_pinned_ends_in_the_page_cache() {
    let one = Segments::One(Segment {
        addr: ADDR,
        len: 8192,
    });
    let mut transfer = Transfer::new(
        Direction::Write,
        Trust::Look,
        Rc::new(real_geometry()),
        one,
        0,
        8192,
    );
    let (result, steps) = run(&mut transfer, |action| match action {
        Action::Look { .. } => Event::Looked {
            bytes: 0,
            stop: Stop::Absent,
        },
        Action::FaultIn { .. } => Event::FaultedIn(Ok(())),
        Action::Buffered {
            len, offload: true, ..
        } => Event::Completed(Ok(len)),
        other => panic!("{other:?}"),
    });
    assert_eq!(result, Ok(8192));
    assert!(steps < 60, "{steps} steps");
}
