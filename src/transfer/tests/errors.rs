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
    assert!(transfer.is_not_pinnable());
    assert!(steps < 60, "{steps} steps");
}

/// Memory is told as "not pinnable" if a copy reached what no direct pass and no fault-in could
/// take, and only then.
#[test]
fn memory_that_a_copy_reaches_and_no_pin_does_is_told() {
    // How the fault-in and the direct pass fail, what the page cache moves, what is told.
    let all: Result<usize, Errno> = Ok(16384);
    for (fault_in, submit, page_cache, told) in [
        // VM_PFNMAP: POPULATE refuses it, a copy reaches it.
        (Err(libc::EINVAL), Err(libc::EFAULT), all, true),
        // Faulted in, and refused all the same.
        (Ok(()), Err(libc::EFAULT), all, true),
        // Bad memory: nobody reaches it.
        (
            Err(libc::EFAULT),
            Err(libc::EFAULT),
            Err(libc::EFAULT),
            false,
        ),
        // Good for half a page, as where a mapping ends: the page cache reaches that half alone.
        (Err(libc::EFAULT), Err(libc::EFAULT), Ok(2048), false),
        // Nothing is wrong with the memory.
        (Ok(()), Err(libc::EINVAL), all, false),
        (Ok(()), Err(libc::EAGAIN), all, false),
        (Ok(()), Err(libc::ENOSPC), all, false),
        (Ok(()), all, all, false),
    ] {
        for direction in [Direction::Read, Direction::Write] {
            let one = Segments::One(Segment {
                addr: ADDR,
                len: 16384,
            });
            let mut transfer = Transfer::new(
                direction,
                Trust::Look,
                Rc::new(real_geometry()),
                one,
                0,
                16384,
            );
            let _ = run(&mut transfer, |action| match action {
                Action::Look { len } => Event::Looked {
                    bytes: len,
                    stop: Stop::End,
                },
                Action::Submit { .. } => Event::Completed(submit),
                Action::FaultIn { .. } => Event::FaultedIn(fault_in),
                Action::Buffered { offset: 0, .. } => Event::Completed(page_cache),
                Action::Buffered { .. } => Event::Completed(Err(libc::EFAULT)),
                other => panic!("{other:?}"),
            });
            assert_eq!(
                transfer.is_not_pinnable(),
                told,
                "{fault_in:?} {submit:?} {page_cache:?}"
            );
        }
    }
}

/// What a block device answers to a write of more than one bio from memory that turns bad: EIO,
/// although nothing is wrong with the device.
fn half_bad_write(trust: Trust, segments: Segments, good: usize) -> (Result<usize, Errno>, u32) {
    let total = segments.total().unwrap();
    let mut transfer = Transfer::new(
        Direction::Write,
        trust,
        Rc::new(real_geometry()),
        segments,
        0,
        total,
    );
    let (mut at, mut last) = (0, None);
    run(&mut transfer, |action| {
        let event = match action {
            // The residency bits of PROT_NONE memory look good.
            Action::Look { len } => Event::Looked {
                bytes: len,
                stop: Stop::End,
            },
            Action::Submit { offset, len, .. } => {
                at = offset as usize;
                if at + len <= good {
                    at += len;
                    Event::Completed(Ok(len))
                } else {
                    Event::Completed(Err(libc::EIO))
                }
            }
            Action::FaultIn { len } if at + len <= good => Event::FaultedIn(Ok(())),
            Action::FaultIn { .. } => Event::FaultedIn(Err(libc::EFAULT)),
            Action::Buffered { offset, .. } if offset as usize >= good => {
                Event::Completed(Err(libc::EFAULT))
            }
            Action::Buffered { offset, .. } => Event::Completed(Ok(good - offset as usize)),
            other => panic!("{other:?}"),
        };
        assert_ne!(
            Some(action),
            last,
            "a pass that failed is not repeated as it was"
        );
        last = Some(action).filter(|_| matches!(event, Event::Completed(Err(libc::EIO))));
        event
    })
}

#[test]
fn a_device_write_from_half_bad_memory_gives_exactly_the_good_half() {
    for trust in [Trust::Full, Trust::Look, Trust::Offload] {
        for (total, good) in [
            (1 << 20, (1 << 19) + 4096),
            (1 << 20, 512),
            (8 << 20, (5 << 20) + 512),
            (2 << 20, 0),
        ] {
            let one = Segments::One(Segment {
                addr: ADDR,
                len: total,
            });
            let (result, steps) = half_bad_write(trust, one, good);
            match good {
                0 => assert_eq!(result, Err(libc::EFAULT)),
                good => assert_eq!(result, Ok(good)),
            }
            assert!(steps < 100, "{steps} steps");
        }
        // The same in pieces of two pages.
        let piece = |index: usize| Segment {
            addr: ADDR + index * (1 << 16),
            len: 8192,
        };
        let many = Segments::Many((0..128).map(piece).collect());
        let (result, steps) = half_bad_write(trust, many, (1 << 19) + 4096);
        assert_eq!(result, Ok((1 << 19) + 4096));
        assert!(steps < 400, "{steps} steps");
    }
}

/// The memory can be faulted in, and the write still fails: the device's own error, which the write
/// tells. It never gets to the page cache, so no sync tells it again.
#[test]
fn a_devices_own_write_error_is_told_by_the_write() {
    for trust in [Trust::Full, Trust::Look, Trust::Offload] {
        for (total, bad) in [(4096, 0), (1 << 20, 4096), (32 << 20, 20 << 20)] {
            let one = Segments::One(Segment {
                addr: ADDR,
                len: total,
            });
            let mut transfer = Transfer::new(
                Direction::Write,
                trust,
                Rc::new(real_geometry()),
                one,
                0,
                total,
            );
            let mut last_errors = 0;
            let (result, steps) = run(&mut transfer, |action| match action {
                Action::Look { len } => Event::Looked {
                    bytes: len,
                    stop: Stop::End,
                },
                Action::Submit { offset, len, .. } => {
                    if (offset as usize..offset as usize + len).contains(&bad) {
                        last_errors += 1;
                        Event::Completed(Err(libc::EIO))
                    } else {
                        Event::Completed(Ok(len))
                    }
                }
                Action::FaultIn { .. } => Event::FaultedIn(Ok(())),
                other => panic!("{other:?}"),
            });
            match bad >> 20 {
                0 => assert_eq!(result, Err(libc::EIO)),
                mib => assert_eq!(result, Ok(mib << 20), "all windows before the bad one"),
            }
            assert!(last_errors <= 3, "{last_errors} times the same error");
            assert!(steps < 100, "{steps} steps");
        }
    }
}

/// Near the end of space a direct write is short, then refused. The page cache may still find room
/// (it allocates in other units), and has the last word.
#[test]
fn at_the_end_of_space_the_page_cache_is_asked_until_it_refuses() {
    let (total, page) = (1 << 20, 4096);
    for refusal in [libc::ENOSPC, libc::EDQUOT] {
        for direct_room in [0, page, 37 * page] {
            for cached_room in [0, 700, 3 * page, 5 * page + 512_usize] {
                let one = Segments::One(Segment {
                    addr: ADDR,
                    len: total,
                });
                let mut transfer = Transfer::new(
                    Direction::Write,
                    Trust::Full,
                    Rc::new(real_geometry()),
                    one,
                    0,
                    total,
                );
                let end = direct_room + cached_room;
                let (result, steps) = run(&mut transfer, |action| {
                    let (room, at): (usize, _) = match action {
                        Action::Submit { offset, .. } => (direct_room, offset as usize),
                        Action::Buffered { offset, .. } => (end, offset as usize),
                        other => panic!("{other:?}"),
                    };
                    Event::Completed(match room.saturating_sub(at) {
                        0 => Err(refusal),
                        left => Ok(left),
                    })
                });
                match end {
                    0 => assert_eq!(result, Err(refusal)),
                    end => assert_eq!(result, Ok(end)),
                }
                assert!(steps <= 4, "{steps} steps");
            }
        }
    }
}
