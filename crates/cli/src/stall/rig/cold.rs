//! Memory that is not there: three kinds of it, and how it is made cold again before each round.
//!
//! What is mapped here is never unmapped: a request that outlives its round, because a wait failed,
//! must not meet memory that meanwhile belongs to somebody else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::faults::memory::{Map, page};
use crate::faults::pattern;
use crate::faults::stop::Doing;
use crate::faults::stop::Stop;
use crate::faults::userfault::Userfault;

/// What goes on beside the warm reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing.
    Alone,
    /// Reads into memory that was never touched.
    Fresh,
    /// Reads into memory that was swapped out.
    SwappedOut,
    /// Reads into memory whose pages another thread provides, one after the other, and takes its
    /// time.
    SlowFaults,
}

/// How long that thread takes for a page.
const FAULT: Duration = Duration::from_millis(5);

impl Kind {
    pub(crate) const ALL: [Kind; 4] =
        [Kind::Alone, Kind::Fresh, Kind::SwappedOut, Kind::SlowFaults];

    /// One word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Alone => "alone",
            Kind::Fresh => "fresh",
            Kind::SwappedOut => "swapped-out",
            Kind::SlowFaults => "slow-faults",
        }
    }

    /// What the table calls it.
    pub(crate) fn title(self, scale: Scale) -> String {
        let size = crate::figures::units::size(self.request(scale) as u64);
        match self {
            Kind::Alone => "alone".to_owned(),
            Kind::Fresh => format!("beside reads of {size} into fresh memory"),
            Kind::SwappedOut => format!("beside reads of {size} into memory that was swapped out"),
            Kind::SlowFaults => format!(
                "beside reads of {size} whose fault handler takes {} ms a page",
                FAULT.as_millis()
            ),
        }
    }

    /// Bytes of one cold request.
    fn request(self, scale: Scale) -> usize {
        match (self, scale) {
            (Kind::Alone, _) => 0,
            (Kind::Fresh, Scale::Full) => 32 << 20,
            (Kind::SwappedOut, Scale::Full) => 4 << 20,
            (Kind::SlowFaults, Scale::Full) => 64 << 10,
            (Kind::Fresh | Kind::SwappedOut, Scale::Small) => 512 << 10,
            (Kind::SlowFaults, Scale::Small) => 16 << 10,
        }
    }

    /// How many there can be in a round: a bound for memory and for swap.
    fn count(self) -> usize {
        match self {
            Kind::Alone => 0,
            Kind::Fresh => 8,
            Kind::SwappedOut => 8,
            Kind::SlowFaults => 64,
        }
    }
}

/// How large the cold requests are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// To be measured.
    Full,
    /// Only to be seen at work.
    #[allow(dead_code, reason = "the program always measures")]
    Small,
}

impl Scale {
    /// Bytes that the largest cold request reads.
    pub(crate) fn largest(self) -> usize {
        Kind::ALL
            .into_iter()
            .map(|kind| kind.request(self))
            .max()
            .unwrap_or(0)
    }
}

/// The memory of the cold requests of one kind.
#[derive(Debug)]
pub(crate) struct ColdMemory {
    kind: Kind,
    map: &'static Map,
    request: usize,
    used: usize,
    /// Of the pages that were swapped out last, those that were still in the swap cache.
    cached: usize,
}

/// How often in a row the kernel is asked in vain to let go of pages, and how long they are given
/// each time to be written.
const SWAP_TRIES: u32 = 10;
const SWAP_WAIT: Duration = Duration::from_millis(10);

impl ColdMemory {
    /// Memory for the cold requests of a round; none for [`Kind::Alone`]. A skip says why there is
    /// no such memory here.
    pub(crate) fn new(kind: Kind, scale: Scale) -> Result<Option<ColdMemory>, Stop> {
        if kind == Kind::Alone {
            return Ok(None);
        }
        let request = kind.request(scale);
        let count = if scale == Scale::Full {
            kind.count()
        } else {
            2
        };
        let map = Box::leak(Box::new(Map::anonymous(request * count)?));
        let mut memory = ColdMemory {
            kind,
            map,
            request,
            used: 0,
            cached: 0,
        };
        // Huge pages would make 16 faults of 8192. A kernel without them refuses the advice, which
        // is as good.
        let _ = memory
            .map
            .advise(0..memory.map.len(), libc::MADV_NOHUGEPAGE);
        if kind == Kind::SwappedOut {
            if std::fs::read_to_string("/proc/swaps")
                .unwrap_or_default()
                .lines()
                .count()
                < 2
            {
                return Err(Stop::Skip("no swap is on (swapon)".to_owned()));
            }
            let piece = pattern::bytes(1, 0, request);
            (0..count).for_each(|n| memory.map.put(n * request, &piece));
        }
        memory.make_cold()?;
        memory.while_served(|| ())?;
        Ok(Some(memory))
    }

    #[cfg(test)]
    pub(crate) fn small() -> Result<ColdMemory, Stop> {
        let map = Box::leak(Box::new(Map::anonymous(64 << 10)?));
        Ok(ColdMemory {
            kind: Kind::Fresh,
            map,
            request: 8 << 10,
            used: 0,
            cached: 0,
        })
    }

    /// Makes all of it cold. Nothing is in flight.
    pub(crate) fn make_cold(&mut self) -> Result<(), Stop> {
        self.used = 0;
        match self.kind {
            Kind::SwappedOut => self.swap_out(),
            _ => self
                .map
                .advise(0..self.map.len(), libc::MADV_DONTNEED)
                .doing("MADV_DONTNEED"),
        }
    }

    /// If possible until the pages are with the device only: what is in the swap cache as well
    /// comes back without a wait.
    fn swap_out(&mut self) -> Result<(), Stop> {
        let pages = self.map.len() / page();
        let (mut least, mut in_vain) = (pages, 0);
        loop {
            self.map
                .advise(0..self.map.len(), libc::MADV_PAGEOUT)
                .doing("MADV_PAGEOUT")?;
            let swapped = self.map.swapped_pages()?;
            if swapped < pages / 16 * 15 {
                return Err(Stop::Skip(format!(
                    "of {pages} pages that were to be swapped out (MADV_PAGEOUT) {swapped} were"
                )));
            }
            let inside = self.map.in_memory().doing("mincore")?;
            self.cached = inside.iter().filter(|&&inside| inside).count();
            in_vain = if self.cached < least { 0 } else { in_vain + 1 };
            least = least.min(self.cached);
            if self.cached <= pages / 16 || in_vain == SWAP_TRIES {
                return Ok(());
            }
            // They are being written. Afterwards they are clean pages of the cache, which the
            // advice reaches only if they are mapped again. (Where more than half of the swap is in
            // use this is in vain: such a page then loses its place there, and is written anew.)
            thread::sleep(SWAP_WAIT);
            for (n, _) in inside.iter().enumerate().filter(|(_, inside)| **inside) {
                std::hint::black_box(self.map.atom(n * page()));
            }
        }
    }

    /// What has to be known to read the figures.
    pub(crate) fn caution(&self) -> Option<String> {
        let pages = self.map.len() / page();
        (self.cached > pages / 16).then(|| {
            format!(
                "Of {pages} pages that were swapped out {} were still in the swap cache: their faults read nothing. A larger swap may help.",
                self.cached
            )
        })
    }

    /// The next piece that no request of this round has used.
    pub(crate) fn next(&mut self) -> Option<(*mut u8, usize)> {
        let start = self.used * self.request;
        if start + self.request > self.map.len() {
            return None;
        }
        self.used += 1;
        let piece = self.map.piece(start..start + self.request);
        Some((std::ptr::with_exposed_provenance_mut(piece.addr), piece.len))
    }

    /// What provides the pages while `work` goes on.
    pub(crate) fn provider(&self) -> Provider {
        Provider((self.kind == Kind::SlowFaults).then_some(self.map))
    }

    fn while_served<R>(&self, work: impl FnOnce() -> R) -> Result<R, Stop> {
        self.provider().during(work)
    }
}

/// Provides the pages of memory that nobody else does.
#[derive(Clone, Copy)]
pub(crate) struct Provider(Option<&'static Map>);

impl Provider {
    /// For memory that comes by itself, or for none.
    pub(crate) const NONE: Provider = Provider(None);

    /// Runs `work`, whose requests have all ended when it returns.
    pub(crate) fn during<R>(self, work: impl FnOnce() -> R) -> Result<R, Stop> {
        let Some(map) = self.0 else { return Ok(work()) };
        let handler = Userfault::over(map)?;
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            // The handler is dropped at the end of its thread, whatever ends it: pages come by
            // themselves from then on.
            let serving = scope.spawn(|| serve(handler, &over));
            let ends = SetWhenDropped(&over);
            let result = work();
            drop(ends);
            serving
                .join()
                .unwrap_or_else(|_| Err(std::io::Error::other("the fault handler panicked")))?;
            Ok(result)
        })
    }
}

/// The scope waits for the handler, even if the work panics.
struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn serve(handler: Userfault, over: &AtomicBool) -> std::io::Result<()> {
    let contents = pattern::bytes(1, 0, page());
    while !over.load(Ordering::Relaxed) {
        if let Some(offset) = handler.wait(10)? {
            // Not to wait for something: this is the slow handler.
            thread::sleep(FAULT);
            handler.provide(offset, &contents)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_overlap_and_come_again_after_the_round() {
        let mut memory = ColdMemory::small().expect("memory");
        let pieces: Vec<_> = std::iter::from_fn(|| memory.next()).collect();
        assert_eq!(pieces.len(), 8);
        assert!(
            pieces
                .windows(2)
                .all(|pair| pair[1].0.addr() >= pair[0].0.addr() + pair[0].1),
            "{pieces:?}"
        );
        memory.make_cold().expect("cold");
        assert_eq!(memory.next().map(|piece| piece.0), Some(pieces[0].0));
    }

    #[test]
    fn fresh_memory_is_not_there_before_a_round() {
        let mut memory = ColdMemory::new(Kind::Fresh, Scale::Small)
            .expect("memory")
            .expect("not alone");
        memory.map.put(0, &[1; 8192]);
        memory.make_cold().expect("cold");
        assert!(
            memory
                .map
                .in_memory()
                .expect("mincore")
                .iter()
                .all(|inside| !inside)
        );
    }

    #[test]
    fn what_is_swapped_out_is_with_the_device_or_there_is_a_word_of_caution() {
        match ColdMemory::new(Kind::SwappedOut, Scale::Small) {
            Ok(memory) => {
                let memory = memory.expect("not alone");
                let pages = memory.map.len() / page();
                assert!(memory.map.swapped_pages().expect("pagemap") >= pages / 16 * 15);
                let cached = memory
                    .map
                    .in_memory()
                    .expect("mincore")
                    .iter()
                    .filter(|&&inside| inside)
                    .count();
                assert!(
                    cached <= pages / 16 || memory.caution().is_some(),
                    "{cached} of {pages}"
                );
            }
            Err(Stop::Skip(reason)) => println!("SKIP swapped-out memory: {reason}"),
            Err(Stop::Fail(reason)) => panic!("{reason}"),
        }
    }

    #[test]
    fn slow_pages_come_from_the_handler_while_it_is_there() {
        match ColdMemory::new(Kind::SlowFaults, Scale::Small) {
            Ok(memory) => {
                let memory = memory.expect("not alone");
                let first = memory.while_served(|| memory.map.atom(0)).expect("served");
                assert_eq!(first, pattern::bytes(1, 0, 1)[0]);
                // Nobody provides this one: it is an ordinary page of zeros.
                assert_eq!(memory.map.atom(page()), 0);
            }
            Err(Stop::Skip(reason)) => println!("SKIP slow faults: {reason}"),
            Err(Stop::Fail(reason)) => panic!("{reason}"),
        }
    }
}
