//! An I/O thread: one engine, one set of requests, and a loop.
//!
//! May know: engines, the set, inboxes, cells. Must not know: the futures on the other side.
//!
//! A turn of the loop takes all that is new, submits it and waits in one system call, and hands out
//! all that is over. Tasks are woken at its end, when nothing is locked or borrowed, so that what
//! they ask for next comes in one piece too.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::admission::Share;
use super::after::After;
use super::cell::Cell;
use super::files::FileName;
use super::shared::{Mail, PinRequest, Post, Shared, become_io_thread};
use super::timed::Timed;
use crate::driver::op::Wait;
use crate::driver::{Kind, Plain, Request, Stats, block_signals};
use crate::engine::{Engine, EngineBuilder, EngineInfo, Pin, RequestSet};
use crate::file::until;
use crate::memory::Pinned;
use crate::open_file::FileShared;
use crate::sys::Errno;
use crate::transfer::Segments;

/// A thread that has an engine and waits to be told what it is part of.
pub(super) struct Ready {
    pub(super) post: Arc<Post>,
    pub(super) info: EngineInfo,
    begin: SyncSender<Arc<Shared>>,
}

/// Starts a thread, which builds its engine. Without [`Ready::begin`] it ends again.
pub(super) fn start(index: usize, engine: EngineBuilder) -> io::Result<Ready> {
    let (built, ready) = sync_channel(1);
    let (begin, told) = sync_channel(1);
    let run = move || {
        block_signals();
        become_io_thread();
        match engine.build() {
            Ok(engine) => {
                let post = Arc::new(Post::new(engine.wake_fd()));
                if built.send(Ok((post.clone(), engine.info()))).is_ok() {
                    begin_with(index, engine, post, &told);
                }
            }
            Err(error) => drop(built.send(Err(error))),
        }
    };
    std::thread::Builder::new()
        .name(format!("nofault-{index}"))
        .spawn(run)?;
    let (post, info) = ready
        .recv()
        .map_err(|_| io::Error::other("an I/O thread ended before it had an engine"))??;
    Ok(Ready { post, info, begin })
}

impl Ready {
    pub(super) fn begin(self, shared: Arc<Shared>) {
        // It waits for this and nothing else.
        let _ = self.begin.send(shared);
    }
}

fn begin_with(index: usize, engine: Engine, post: Arc<Post>, told: &Receiver<Arc<Shared>>) {
    let Ok(shared) = told.recv() else { return };
    let set = RequestSet::new(&engine.inner);
    let files = Files {
        index,
        shared: shared.clone(),
        known: Vec::new(),
    };
    let mut thread = IoThread {
        index,
        post,
        granted: Vec::new(),
        fresh: Vec::new(),
        after: After::default(),
        over: Share::default(),
        cancelled: 0,
        timed: Timed::default(),
        quit: false,
        set,
        files,
        engine,
        shared: shared.clone(),
        _gone: GoneAtLast(shared),
    };
    thread.run();
}

/// A request in the set. Whatever happens to the set, the future that waits gets to know.
struct Ticket(Option<Arc<Cell>>);

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(cell) = self.0.take() {
            let mut after = After::default();
            // SAFETY: it was in flight here and was not finished. It is dropped when the driver is
            // done with its memory.
            unsafe { cell.finish(Err(libc::ECANCELED), &mut after) };
            after.run();
        }
    }
}

/// Files as this thread's ring knows them, by their place.
struct Files {
    index: usize,
    shared: Arc<Shared>,
    known: Vec<Option<(u32, Rc<FileShared>)>>,
}

impl Files {
    #[inline]
    fn get(&mut self, name: FileName, engine: &Engine) -> Option<&Rc<FileShared>> {
        let known = matches!(self.known.get(name.place as usize), Some(Some((turn, _))) if *turn == name.turn);
        if !known {
            self.adopt(name, engine)?;
        }
        self.known[name.place as usize]
            .as_ref()
            .map(|(_, file)| file)
    }

    /// Makes the file known to this thread's ring. `None` if it is closed by now.
    #[cold]
    fn adopt(&mut self, name: FileName, engine: &Engine) -> Option<()> {
        let opened = self.shared.files.get(name, self.index)?;
        let place = name.place as usize;
        if self.known.len() <= place {
            self.known.resize_with(place + 1, || None);
        }
        let file = engine.inner.with(|driver| {
            let file = Rc::new(FileShared::new(opened, driver.geometry(), driver.retired()));
            driver.adopt(&file);
            file
        });
        self.known[place] = Some((name.turn, file));
        Some(())
    }

    fn forget(&mut self, name: FileName) {
        if let Some(entry) = self.known.get_mut(name.place as usize)
            && entry.as_ref().is_some_and(|(turn, _)| *turn == name.turn)
        {
            // Its places in the ring's table are given back by the next turn, the descriptors when
            // the last request on it is over.
            *entry = None;
        }
    }
}

/// Says that the thread is gone, after everything else of it is.
struct GoneAtLast(Arc<Shared>);

impl Drop for GoneAtLast {
    fn drop(&mut self) {
        self.0.thread_is_gone();
    }
}

// Dropped in this order.
struct IoThread {
    index: usize,
    post: Arc<Post>,
    /// Let in out of the queue, to be handed on.
    granted: Vec<Arc<Cell>>,
    /// New, the last one first.
    fresh: Vec<Arc<Cell>>,
    after: After,
    /// What the requests had that were over in this turn.
    over: Share,
    cancelled: u64,
    /// Requests that end if they are not admitted in time.
    timed: Timed,
    quit: bool,
    set: RequestSet<Ticket>,
    files: Files,
    engine: Engine,
    shared: Arc<Shared>,
    _gone: GoneAtLast,
}

impl IoThread {
    fn run(&mut self) {
        let mut refusals = 0u32;
        loop {
            self.post.inbox.take(&mut self.fresh);
            while let Some(cell) = self.fresh.pop() {
                self.start(cell);
            }
            self.read_mail();
            if self.quit {
                return;
            }
            let idle =
                self.over == Share::default() && self.after.is_empty() && !self.set.has_ended();
            let wait = match self.timed.next() {
                _ if !idle || !self.post.inbox.sleep() => Wait::No,
                None => Wait::Forever,
                Some(due) => Wait::For(due.saturating_duration_since(Instant::now())),
            };
            match self.engine.inner.with(|driver| driver.short_turn(wait)) {
                Ok(()) => refusals = 0,
                // The kernel takes nothing now, for want of memory. What is in flight can't be
                // given up, so there is only waiting.
                Err(_) => {
                    refusals = (refusals + 1).min(100);
                    std::thread::sleep(Duration::from_millis(refusals.into()));
                }
            }
            while let Some((mut ticket, result)) = self.set.pop(None) {
                if let Some(cell) = ticket.0.take() {
                    self.finish(&cell, result);
                }
            }
            self.give_back();
            self.end_those_too_late();
            self.after.run();
        }
    }

    /// Ends requests whose time is over before they were admitted.
    fn end_those_too_late(&mut self) {
        if self.timed.next().is_none() {
            return;
        }
        let now = Instant::now();
        while let Some(cell) = self.timed.next_due(now) {
            if self.shared.admission.leave(&cell, &mut self.granted) {
                // SAFETY: whoever takes a cell out of the queue before admission is the only one to
                // have it, and this one was not finished before.
                unsafe { cell.finish(Err(libc::ETIMEDOUT), &mut self.after) };
            }
        }
        self.hand_on_granted();
    }

    /// Starts a request, unless nobody waits for it any more.
    #[inline]
    fn start(&mut self, cell: Arc<Cell>) {
        if cell.is_abandoned() || cell.is_to_end() {
            return self.finish(&cell, Err(libc::ECANCELED));
        }
        let mut options = cell.options;
        if cell.due.is_some() {
            if cell.due <= Some(Instant::now()) {
                return self.finish(&cell, Err(libc::ETIMEDOUT));
            }
            options = until(options, cell.due);
        }
        // SAFETY: the cell was taken from this thread's inbox.
        let order = unsafe { cell.take_order() };
        // A file that is not open any more has no future that waits: the request was abandoned
        // since.
        let (Some(kind), Some(file)) = (order, self.files.get(cell.file, &self.engine)) else {
            return self.finish(&cell, Err(libc::ECANCELED));
        };
        // The memory is that of the buffer, which the future holds until the cell is done, or
        // leaks, or leaves in the cell when it goes; and the ticket keeps the cell.
        let name = match kind {
            Kind::Transfer {
                direction,
                segments: Segments::One(segment),
                offset,
                trust,
                pinned,
            } => {
                let pinned = translate(
                    pinned,
                    &self.engine,
                    self.shared.id,
                    segment.addr,
                    segment.len,
                );
                let plain = Plain {
                    direction,
                    trust,
                    segment,
                    offset,
                    pinned,
                    options,
                };
                // SAFETY: see above.
                unsafe { self.set.plain(file, plain, Ticket(Some(cell))) }
            }
            // SAFETY: see above.
            kind => unsafe {
                self.set.submit(
                    Request::new(file.clone(), kind, options),
                    Ticket(Some(cell)),
                )
            },
        };
        if let Some(Ticket(Some(cell))) = self.set.get(name) {
            cell.set_name(name);
        }
    }

    #[inline]
    fn finish(&mut self, cell: &Cell, result: Result<usize, Errno>) {
        self.over.requests += 1;
        self.over.bytes += cell.bytes;
        // SAFETY: the cell came from the inbox and was not finished before; it is over, or was not
        // started.
        unsafe { cell.finish(result, &mut self.after) };
    }

    /// Gives back what was over in this turn, and hands on whom that lets in.
    fn give_back(&mut self) {
        let over = std::mem::take(&mut self.over);
        if over == Share::default() {
            return;
        }
        self.shared.release(over, &mut self.granted);
        self.hand_on_granted();
    }

    /// Hands on those that were let in out of the queue.
    fn hand_on_granted(&mut self) {
        if self.granted.is_empty() {
            return;
        }
        self.granted.reverse();
        while let Some(cell) = self.granted.pop() {
            match usize::from(cell.thread) == self.index {
                true => self.start(cell),
                false => self.shared.hand_on(cell),
            }
        }
    }

    fn read_mail(&mut self) {
        for mail in self.post.read() {
            match mail {
                Mail::Cancel(cell) => {
                    // Without a name it is over, or still in the inbox and will be found abandoned
                    // there.
                    if let Some(name) = cell.name() {
                        self.cancelled += 1;
                        self.set.cancel(name);
                    }
                }
                Mail::Remind(cell) => self.timed.add(cell),
                Mail::Forget(file) => self.files.forget(file),
                Mail::Pin(PinRequest { base, len, memory }, answer) => {
                    // Whoever asked waits, or the registration is dropped and undone again.
                    let _ = answer.send(Pin::new(&self.engine, memory, base, len));
                }
                Mail::Stats(answer) => {
                    let _ = answer.send(self.stats());
                }
                Mail::Quit => self.quit = true,
            }
        }
    }

    fn stats(&self) -> Stats {
        let mut stats = self.engine.stats();
        stats.cancelled += self.cancelled;
        stats
    }
}

/// The registration with this thread's ring of memory that was registered with those of all
/// threads.
#[inline]
fn translate(
    pinned: Option<Pinned>,
    engine: &Engine,
    id: u64,
    addr: usize,
    len: usize,
) -> Option<Pinned> {
    let pinned = pinned?;
    if pinned.engine == id {
        engine.inner.with(|driver| driver.find_pinned(addr, len))
    } else {
        Some(pinned)
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        self.shared.leave_stats(self.index, self.stats());
        if std::thread::panicking() {
            self.shared.break_down();
        }
        // Those who have come too late, or whom a panic has left.
        self.post.inbox.close(&mut self.fresh);
        self.fresh.append(&mut self.granted);
        self.shared.refuse(std::mem::take(&mut self.fresh));
        for mail in self.post.close() {
            // Whoever waits for an answer sees that there will be none.
            drop(mail);
        }
        self.after.run();
        // Set and engine go next: they cancel what is in flight, wait for it, and leave behind what
        // can't be ended.
    }
}
