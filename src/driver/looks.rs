//! Looks at memory before it is submitted.
//!
//! May know: slots, transfers, the look. Must not know: how a back end submits, who gets a result.

use super::Driver;
use super::op::one;
use super::slot::{Key, Lane, SlotIndex, Work, token};
use crate::memory::Access;
use crate::memory::residency::{Look, Range, Residency, Stop};
use crate::transfer::{Action, Direction, Event, Segment};

/// What looks take.
pub(super) struct Looks {
    /// `None`: memory can't be looked at.
    pub(super) residency: Option<Residency>,
    /// Requests with memory that has to be looked at before they are submitted; some may be over
    /// already.
    pub(super) to_look: Vec<Key>,
    /// For the looks of one turn.
    ranges: Vec<Range>,
}

impl Looks {
    /// Nothing to look at yet.
    pub(super) fn new(residency: Option<Residency>) -> Looks {
        Looks {
            residency,
            to_look: Vec::new(),
            ranges: Vec::new(),
        }
    }
}

impl Driver {
    /// Looks at the memory of the requests that were made since the last turn, and submits those
    /// whose memory is there. One look serves all that lie close together.
    #[inline]
    pub(super) fn look_at_new(&mut self) {
        if !self.looks.to_look.is_empty() {
            self.look_at_all();
        }
    }

    fn look_at_all(&mut self) {
        let mut unseen = std::mem::take(&mut self.looks.to_look);
        let mut ranges = std::mem::take(&mut self.looks.ranges);
        for key in unseen.drain(..) {
            let slot = &self.table[key.index()];
            if let (Work::ToLook, Some(sent)) = (&slot.work, &slot.cold.to_look)
                && slot.turn == key.turn()
                && !slot.done
            {
                let (access, Segment { addr, len }) = (access(sent.direction), sent.segment());
                // Without the means to look, all of it counts as memory that a direct request must
                // not be given.
                let look = Look {
                    bytes: 0,
                    stop: Stop::NotDirect { bytes: len },
                };
                ranges.push(Range {
                    addr,
                    len,
                    access,
                    name: key.index().0,
                    look,
                });
            }
        }
        if let Some(residency) = &mut self.looks.residency {
            residency.look_at_ranges(&mut ranges);
        }
        for range in ranges.drain(..) {
            let (Look { bytes, stop }, index) = (range.look, SlotIndex(range.name));
            self.count_look(bytes, stop);
            let slot = &mut self.table[index];
            let (Some(sent), Some(file)) = (slot.cold.to_look.take(), &slot.file) else {
                continue;
            };
            if stop == Stop::End {
                slot.work = Work::Plain(sent);
                slot.main = true;
                let memory = one(None, range.addr, range.len);
                let token = token(index, Lane::Main);
                // SAFETY: as in `start`.
                unsafe {
                    self.backend.push_rw(
                        sent.direction,
                        file.direct(),
                        memory,
                        sent.offset,
                        slot.priority,
                        token,
                        &mut self.stats,
                    )
                };
                continue;
            }
            let mut transfer = sent.transfer(file.geometry(sent.direction, sent.pinned));
            // It asks for the look that was just made.
            let looked = transfer.step(Event::Start) == Action::Look { len: range.len };
            debug_assert!(looked);
            if !looked {
                transfer = sent.transfer(file.geometry(sent.direction, sent.pinned));
            }
            slot.work = Work::Transfer(transfer);
            self.drive(
                index,
                if looked {
                    Event::Looked { bytes, stop }
                } else {
                    Event::Start
                },
            );
        }
        (self.looks.to_look, self.looks.ranges) = (unseen, ranges);
    }

    pub(super) fn look(&mut self, index: SlotIndex, len: usize) -> Event {
        let Work::Transfer(transfer) = &self.table[index].work else {
            return Event::Looked {
                bytes: 0,
                stop: Stop::Absent,
            };
        };
        let (bytes, stop) = look_at(
            &mut self.looks.residency,
            transfer.direction(),
            transfer.iter().pieces(0, len),
        );
        self.count_look(bytes, stop);
        Event::Looked { bytes, stop }
    }

    pub(super) fn count_look(&mut self, bytes: usize, stop: Stop) {
        self.stats.looked += 1;
        match stop {
            Stop::End => self.stats.resident += 1,
            _ => self.stats.prefix_submissions += u64::from(bytes > 0),
        }
    }
}

fn access(direction: Direction) -> Access {
    match direction {
        Direction::Read => Access::Fill,
        Direction::Write => Access::Send,
    }
}

/// Looks without faulting. Without the means to look, all of it counts as memory that a direct
/// request must not be given.
pub(super) fn look_at(
    residency: &mut Option<Residency>,
    direction: Direction,
    pieces: impl Iterator<Item = Segment>,
) -> (usize, Stop) {
    let access = access(direction);
    let mut bytes = 0;
    for piece in pieces {
        let Some(residency) = residency else {
            return (0, Stop::NotDirect { bytes: piece.len });
        };
        let look = residency.look(piece.addr, piece.len, access);
        bytes += look.bytes;
        if look.stop != Stop::End {
            return (bytes, look.stop);
        }
    }
    (bytes, Stop::End)
}
