//! Every path through the state machine, for small requests.
//!
//! A depth-first walk over all sequences of outcomes. States that were met before are not walked
//! again; a state that can be met again on its own path would be an endless loop, and is a failure.
//! The walk plays the kernel: it keeps its own count of what was moved, and checks each action
//! against it, so that a byte can neither be moved twice with two meanings nor left out.

use std::collections::HashMap;
use std::rc::Rc;

use super::ADDR;
use crate::transfer::*;

const OFFSET_BASE: u64 = 1 << 12;

/// The counts of one walk: a test asserts that each kind of end was met.
#[derive(Default)]
struct Walk {
    /// The states that were met, and whether the path being walked leads through them.
    seen: HashMap<Transfer, bool>,
    finished: u64,
    partial: u64,
    errors: u64,
    bounced: u64,
    aheads: u64,
    geometry: Option<Geometry>,
    offset: u64,
    total: usize,
    direction: Option<Direction>,
    cancels: bool,
    /// The request of this path was abandoned.
    abandoned: bool,
    delivered: u64,
    device_errors: u64,
}

fn results(len: usize, block: usize) -> Vec<Result<usize, Errno>> {
    let mut counts = vec![0, 1, block, len / 2, len.saturating_sub(1), len];
    counts.retain(|&count| count <= len);
    counts.sort_unstable();
    counts.dedup();
    let errors = [
        libc::EFAULT,
        libc::EAGAIN,
        libc::EINTR,
        libc::EIO,
        libc::EINVAL,
        libc::ENOSPC,
    ];
    counts.into_iter().map(Ok).chain(errors.map(Err)).collect()
}

impl Walk {
    fn events(&self, action: Action) -> Vec<Event> {
        let Geometry { block, page, .. } = self.geometry.unwrap();
        match action {
            Action::Look { len } => {
                let mut all = vec![Event::Looked {
                    bytes: len,
                    stop: Stop::End,
                }];
                for bytes in (0..len).step_by(page) {
                    all.push(Event::Looked {
                        bytes,
                        stop: Stop::Absent,
                    });
                    all.push(Event::Looked {
                        bytes,
                        stop: Stop::NotDirect {
                            bytes: page.min(len - bytes),
                        },
                    });
                }
                all
            }
            Action::Submit { len, .. }
            | Action::BounceRead { len, .. }
            | Action::BounceWrite { len, .. }
            | Action::Buffered { len, .. } => results(len, block)
                .into_iter()
                .map(Event::Completed)
                .collect(),
            Action::FaultIn { .. } => vec![
                Event::FaultedIn(Ok(())),
                Event::FaultedIn(Err(libc::EFAULT)),
            ],
            Action::CopyIn { len } | Action::CopyOut { len, .. } => {
                let mut all: Vec<Event> = [0, 1, len / 2, len]
                    .into_iter()
                    .map(|count| Event::Copied(Ok(count.min(len))))
                    .collect();
                all.push(Event::Copied(Err(libc::EFAULT)));
                all
            }
            Action::AwaitAhead => vec![Event::AheadEnded],
            Action::Finish(_) => vec![],
        }
    }

    /// Checks the action against what was moved so far.
    fn check(&self, transfer: &Transfer, action: Action, bounce_at: Option<u64>) {
        let Geometry {
            direct,
            mem,
            block,
            page,
            ..
        } = self.geometry.unwrap();
        let moved = transfer.done_before();
        let at = self.offset + moved as u64;
        let rest = self.total - moved;
        match action {
            Action::Look { len } => assert!(len > 0 && len <= rest),
            Action::Submit { offset, len, .. } => {
                assert!(direct && len > 0 && len <= rest);
                assert_eq!(offset, at, "the pass starts where the last one ended");
                assert_eq!(
                    (offset % block as u64, len % block),
                    (0, 0),
                    "direct requests are aligned"
                );
                let pieces: Vec<Segment> = transfer.iter().pieces(0, len).collect();
                assert_eq!(pieces.iter().map(|piece| piece.len).sum::<usize>(), len);
                assert!(
                    pieces.iter().all(|piece| piece.addr % mem == 0),
                    "{pieces:?}"
                );
            }
            Action::FaultIn { len } => {
                assert!(len > 0 && len <= rest && len <= transfer.iter().current().len)
            }
            Action::AwaitAhead => assert!(transfer.is_ahead()),
            Action::CopyIn { len } => assert!(len > 0 && len <= rest && len % block == 0),
            Action::BounceWrite { offset, len } => {
                assert!(len > 0 && len <= rest && len % block == 0);
                assert_eq!(offset, at);
            }
            Action::BounceRead { offset, len } => {
                assert!(
                    offset % block as u64 == 0
                        && len % block == 0
                        && offset <= at
                        && at < offset + len as u64
                );
            }
            Action::CopyOut { skip, len } => {
                assert!(len > 0 && len <= rest);
                assert_eq!(
                    bounce_at.unwrap() + skip as u64,
                    at,
                    "the right bytes of the bounce buffer"
                );
            }
            Action::Buffered { offset, len, .. } => {
                assert!(len <= rest);
                assert_eq!(offset, at);
                if direct && self.direction == Some(Direction::Write) && len < rest {
                    let end = offset + len as u64;
                    assert!(
                        end.is_multiple_of(page as u64) || block > page,
                        "one page is not written by both paths"
                    );
                }
            }
            Action::Finish(Ok(count)) => assert_eq!(count, moved, "the result is what was moved"),
            Action::Finish(Err(_)) => assert_eq!(moved, 0, "an error hides no progress"),
        }
    }

    /// The bounce read has brought `count` bytes. A cancelled request delivers them, an abandoned
    /// request does not.
    fn check_delivery(&self, transfer: &Transfer, bounce_at: u64, count: usize) {
        let arrived = bounce_at + count as u64 > self.offset + transfer.done_before() as u64;
        let event = Event::Completed(Ok(count));
        let mut cancelled = transfer.clone();
        cancelled.cancel();
        let action = cancelled.step(event);
        assert_eq!(arrived, matches!(action, Action::CopyOut { .. }));
        let Action::CopyOut { len, .. } = action else {
            return;
        };
        // A cancellation that reaches the copy too changes nothing.
        let action = cancelled.step(Event::Copied(Err(libc::ECANCELED)));
        assert!(matches!(action, Action::CopyOut { len: again, .. } if again == len));
        let moved = transfer.done_before() + len;
        let action = cancelled.step(Event::Copied(Ok(len)));
        assert_eq!(action, Action::Finish(Ok(moved)));
        let mut abandoned = transfer.clone();
        abandoned.abandon();
        assert!(matches!(abandoned.step(event), Action::Finish(_)));
    }

    fn walk(
        &mut self,
        transfer: &Transfer,
        action: Action,
        bounce_at: Option<u64>,
        ended: Option<Event>,
    ) {
        self.check(transfer, action, bounce_at);
        if let Action::Finish(result) = action {
            self.finished += 1;
            match result {
                Err(_) => self.errors += 1,
                Ok(count) if count < self.total => {
                    self.partial += 1;
                    let excused = self.cancels
                        || match ended.unwrap() {
                            Event::Completed(Ok(count)) => {
                                count == 0 || count % self.geometry.unwrap().block != 0
                            }
                            Event::Completed(Err(_)) => true,
                            // The bounce read before it met the end of the file.
                            Event::Copied(Ok(_)) => bounce_at.is_some(),
                            _ => false,
                        };
                    assert!(excused, "a short result needs a reason, not {ended:?}");
                }
                Ok(_) => {}
            }
            return;
        }
        let on_path = self.seen.get(transfer);
        assert_ne!(
            on_path,
            Some(&true),
            "the same state twice on one path: a loop"
        );
        if on_path.is_none() {
            self.seen.insert(transfer.clone(), true);
            let bounce_at = match action {
                Action::BounceRead { offset, .. } => {
                    self.bounced += 1;
                    Some(offset)
                }
                _ => bounce_at,
            };
            for event in self.events(action) {
                let mut next = transfer.clone();
                if self.cancels
                    && !self.abandoned
                    && let Action::BounceRead { .. } = action
                    && let Event::Completed(Ok(count)) = event
                {
                    self.delivered += 1;
                    self.check_delivery(transfer, bounce_at.unwrap(), count);
                }
                if next.is_ahead() && action == Action::AwaitAhead {
                    for result in [Ok(()), Err(libc::EFAULT)] {
                        let mut next = next.clone();
                        assert!(next.ahead_ended(next.done_before() + 1, result));
                        let action = next.step(event);
                        self.walk(&next, action, bounce_at, Some(event));
                    }
                    continue;
                }
                let sent = matches!(action, Action::Submit { .. });
                let action = next.step(event);
                if sent
                    && self.direction == Some(Direction::Write)
                    && event == Event::Completed(Err(libc::EIO))
                    && matches!(action, Action::Finish(_))
                {
                    self.device_errors += 1;
                    assert!(
                        transfer.is_vetted() || self.cancels,
                        "a write's EIO is believed only of memory that was faulted in"
                    );
                }
                if let Some(ahead) = (!matches!(action, Action::Finish(_)))
                    .then(|| next.ahead())
                    .flatten()
                {
                    self.aheads += 1;
                    assert!(
                        ahead.len > 0 && next.done_before() + ahead.skip + ahead.len <= self.total
                    );
                    // It may end at once, well or badly, or stay under way.
                    for result in [Ok(()), Err(libc::EFAULT)] {
                        let mut next = next.clone();
                        let end = next.ahead_end(ahead);
                        assert!(!next.ahead_ended(end, result), "nobody waits for it yet");
                        self.walk(&next, action, bounce_at, Some(event));
                    }
                }
                self.walk(&next, action, bounce_at, Some(event));
                if self.cancels && !matches!(action, Action::Finish(_)) {
                    let mut next = next.clone();
                    next.cancel();
                    self.walk(&next, action, bounce_at, Some(event));
                    next.abandon();
                    let wanted = std::mem::replace(&mut self.abandoned, true);
                    self.walk(&next, action, bounce_at, Some(event));
                    self.abandoned = wanted;
                }
            }
            self.seen.insert(transfer.clone(), false);
        }
    }
}

fn geometry(direct: bool, mem: usize, block: usize, bounce: usize) -> Geometry {
    let page = 4;
    Geometry {
        direct,
        whole: false,
        mem,
        block,
        page,
        window: 8,
        bounce,
        pass: 16,
        cold_pass: 8,
        heavy: 8,
        ahead: 12,
        middle: 4,
        tries: 1,
    }
}

fn explore(geometry: Geometry, segments: &Segments, cancels: bool) -> Walk {
    let mut sum = Walk {
        cancels,
        ..Walk::default()
    };
    for direction in [Direction::Read, Direction::Write] {
        for trust in [Trust::Full, Trust::Look, Trust::Offload] {
            for skew in [0, 2, 3] {
                let total = segments.total().unwrap();
                sum = Walk {
                    seen: HashMap::new(),
                    geometry: Some(geometry),
                    total,
                    direction: Some(direction),
                    ..sum
                };
                sum.offset = OFFSET_BASE + skew;
                let mut transfer = Transfer::new(
                    direction,
                    trust,
                    Rc::new(geometry),
                    segments.clone(),
                    sum.offset,
                    total,
                );
                let action = transfer.step(Event::Start);
                sum.walk(&transfer, action, None, None);
            }
        }
    }
    sum
}

#[test]
fn every_path_ends_with_exactly_the_bytes_moved() {
    let (mut partial, mut errors, mut bounced, mut aheads, mut device_errors) = (0, 0, 0, 0, 0);
    for (direct, mem, block, bounce) in [
        (true, 1, 2, 8),
        (true, 2, 4, 8),
        (true, 1, 8, 16),
        (true, 1, 2, 0),
        (false, 1, 1, 8),
    ] {
        for total in [1, 4, 7, 8, 14] {
            let one = Segments::One(Segment {
                addr: ADDR,
                len: total,
            });
            let walk = explore(geometry(direct, mem, block, bounce), &one, false);
            assert!(walk.finished > 0);
            partial += walk.partial;
            errors += walk.errors;
            bounced += walk.bounced;
            aheads += walk.aheads;
            device_errors += walk.device_errors;
        }
    }
    assert!(
        partial > 0 && errors > 0 && bounced > 0 && aheads > 0 && device_errors > 0,
        "the walk met each kind of end"
    );
}

#[test]
fn every_path_over_several_segments_ends() {
    let many = |parts: &[(usize, usize)]| {
        Segments::Many(
            parts
                .iter()
                .map(|&(addr, len)| Segment { addr, len })
                .collect(),
        )
    };
    for parts in [
        &[(ADDR, 4), (ADDR + 64, 8)][..],
        &[(ADDR, 3), (ADDR + 64, 0), (ADDR + 128, 6)],
        &[(ADDR + 1, 4), (ADDR + 64, 4)],
        &[(ADDR, 2), (ADDR + 64, 2), (ADDR + 128, 2), (ADDR + 192, 2)],
    ] {
        for (mem, block) in [(1, 2), (2, 4), (2, 2)] {
            assert!(explore(geometry(true, mem, block, 8), &many(parts), false).finished > 0);
        }
    }
}

#[test]
fn a_cancelled_request_ends_on_every_path() {
    let one = Segments::One(Segment {
        addr: ADDR,
        len: 13,
    });
    assert!(explore(geometry(true, 1, 2, 8), &one, true).delivered > 0);
    assert!(explore(geometry(false, 1, 1, 8), &one, true).finished > 0);
}
