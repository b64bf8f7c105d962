//! How a request gets a slot and is started.
//!
//! May know: slots, what the kernel refuses before it looks at memory. Must not know: futures.

use std::rc::Rc;
use std::time::Instant;

use super::deadlines::Whose;
use super::op::{Op, one};
use super::refusal::admit;
use super::request::{Kind, Notify, Plain, Request};
use super::slot::{Answer, Key, Lane, Owner, Sent, SlotIndex, Work, token};
use super::{Driver, threads};
use crate::open_file::FileShared;
use crate::transfer::{Event, Segment, Transfer, Trust};

impl Driver {
    /// Whether one more request may be in flight.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.table.has_room()
    }

    /// Starts a read or write of one range, if there is room and nothing speaks against sending all
    /// of it at once. Most requests end here.
    ///
    /// # Safety
    ///
    /// As for [`Driver::push`].
    pub(crate) unsafe fn push_plain(
        &mut self,
        file: &Rc<FileShared>,
        plain: &Plain,
        notify: Notify,
    ) -> Option<Key> {
        let Plain {
            direction,
            segment: Segment { addr, len },
            offset,
            ..
        } = *plain;
        let pinned = plain
            .pinned
            .as_ref()
            .filter(|pinned| pinned.engine == self.id);
        if !file.takes_plain(direction, addr, len, offset, pinned.is_some()) {
            return None;
        }
        let trust = if pinned.is_some() {
            Trust::Full
        } else {
            plain.trust
        };
        if trust == Trust::Offload || self.backend.is_gone() {
            return None;
        }
        let sent = Sent {
            addr,
            offset,
            len: u32::try_from(len).ok()?,
            direction,
            trust,
            pinned: pinned.is_some(),
        };
        if self.early.is_time() {
            self.start_early();
        }
        let index = self.table.take()?;
        let slot = &mut self.table[index];
        let key = Key::new(index, slot.turn);
        slot.begin(
            file.clone(),
            if trust == Trust::Look {
                Work::ToLook
            } else {
                Work::Plain(sent)
            },
        );
        slot.answer = Answer::Completed;
        slot.priority = plain.options.priority;
        if let Notify::List { list, name } = notify {
            slot.owner = Owner::List { list, name };
        }
        if trust == Trust::Look {
            slot.cold.to_look = Some(sent);
            self.looks.to_look.push(key);
        } else {
            slot.main = true;
            let (priority, memory) = (plain.options.priority, one(pinned, addr, len));
            // SAFETY: as in `start`.
            unsafe {
                self.backend.push_rw(
                    direction,
                    file.direct(),
                    memory,
                    offset,
                    priority,
                    token(index, Lane::Main),
                    &mut self.stats,
                )
            };
        }
        if plain.options.timeout_ns != 0 {
            self.set_deadline(key, plain.options.due());
        }
        self.count_start(index);
        Some(key)
    }

    /// Starts a request. There must be room: asked apart, because a request is large, and handing
    /// it back costs as much as starting it.
    ///
    /// # Safety
    ///
    /// The memory that a transfer names may be read, and for a read from the file written, by the
    /// kernel and by this driver from now until the result was taken with [`Driver::take`] or
    /// [`Driver::take_ended`]; or it was left to [`Driver::abandon`], whose buffer keeps it valid.
    pub(crate) unsafe fn push(&mut self, request: Request, notify: Notify) -> Key {
        let Some(index) = self.table.take() else {
            unreachable!("has_room was not asked")
        };
        self.count_start(index);
        let slot = &mut self.table[index];
        debug_assert!(
            matches!(slot.work, Work::Free)
                && !slot.done
                && slot.owner == Owner::Asker
                && slot.cold.bounce.is_none()
        );
        let key = Key::new(index, slot.turn);
        slot.priority = request.priority;
        if let Notify::List { list, name } = notify {
            slot.owner = Owner::List { list, name };
        }
        if self.backend.is_gone() {
            self.table[index].work = Work::Simple;
            self.end(index, Err(libc::ENOTRECOVERABLE));
            return key;
        }
        self.set_deadline(key, request.due);
        let slot = &mut self.table[index];
        match request.kind {
            Kind::Transfer {
                direction,
                segments,
                offset,
                trust,
                pinned,
            } => {
                let total = match admit(&request.file, direction, &segments, offset) {
                    Ok(total) => total,
                    Err(result) => {
                        slot.work = Work::Simple;
                        self.end(index, result);
                        return key;
                    }
                };
                let pinned = pinned.filter(|pinned| pinned.engine == self.id);
                let trust = if request.file.must_offload() {
                    self.stats.offloaded += 1;
                    Trust::Offload
                } else if pinned.is_some() {
                    Trust::Full
                } else {
                    trust
                };
                let geometry = request.file.geometry(direction, pinned.is_some());
                slot.cold.pinned = pinned;
                slot.work = Work::Transfer(Box::new(Transfer::new(
                    direction, trust, geometry, segments, offset, total,
                )));
                slot.file = Some(request.file);
                self.drive(index, Event::Start);
            }
            Kind::Sync { data_only } => {
                let op = Op::Sync {
                    file: request.file.buffered(),
                    data_only,
                };
                self.start_simple(index, request.file, op);
            }
            Kind::Allocate { offset, len } => {
                let op = Op::Allocate {
                    file: request.file.buffered(),
                    offset,
                    len,
                };
                self.start_simple(index, request.file, op);
            }
            Kind::SetLen { len } => {
                if self.backend.can_set_len() {
                    let op = Op::SetLen {
                        file: request.file.buffered(),
                        len,
                    };
                    self.start_simple(index, request.file, op);
                } else {
                    slot.work = Work::Simple;
                    let result = threads::carry_out(Op::SetLen {
                        file: request.file.descriptor(),
                        len,
                    });
                    self.end(index, if result < 0 { Err(-result) } else { Ok(0) });
                }
            }
        }
        key
    }

    fn start_simple(&mut self, index: SlotIndex, file: Rc<FileShared>, op: Op) {
        let slot = &mut self.table[index];
        slot.work = Work::Simple;
        slot.file = Some(file);
        self.start(index, op, Answer::Completed, false);
    }

    #[cold]
    fn set_deadline(&mut self, key: Key, due: Option<Instant>) {
        if let Some(due) = due {
            self.deadlines
                .add(due, Whose::Request(key), &self.table, &self.waiters);
        }
    }

    /// Counts a request, and notes when it started if its time is taken.
    #[inline]
    fn count_start(&mut self, index: SlotIndex) {
        let number = self.stats.requests;
        self.stats.requests += 1;
        if number & self.timed == 0 {
            self.note_start(index);
        }
    }

    #[cold]
    fn note_start(&mut self, index: SlotIndex) {
        if self.timed != u64::MAX {
            let now = self.clock.now_ns();
            let slot = &mut self.table[index];
            slot.timed = true;
            slot.cold.started_ns = now;
        }
    }
}
