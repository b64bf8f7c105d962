//! The look at memory, which does not touch it: how much of a range a direct request could pin at
//! this moment without a page fault.
//!
//! May know: the page map and the list of mappings (`sys`). Must not know: requests, files,
//! engines. Never faults, never touches the memory looked at, allocates nothing per look.
//!
//! The answer is a hint about latency, never about safety: reclaim, fork, madvise, truncation or
//! compaction may take a page away before the request reaches it, and nothing in user space pins a
//! page but a registered buffer.
//!
//! A page is good, by the bits of the page map:
//! - for a read, which fills it: if it is present, mapped exclusively here, not of a file, and not
//!   write-protected by a userfaultfd. The zero page, and a page that is shared with a child after
//!   fork, are not mapped exclusively. A page whose mapping forbids writing looks good and is not:
//!   the page map has no permissions. A page whose child has ended looks good and costs one small
//!   fault, without a copy.
//! - for a write, which sends it: if it is present, not of a file, and mapped exclusively here or
//!   the zero page. The kernel copies a page that is shared with a child after fork before it pins
//!   it (`gup_must_unshare` in mm/gup.c, Linux 5.19), and a fault-in for reading does not prevent
//!   that. Such a page is not for direct requests: the copy into a bounce buffer costs less.
//!   PAGEMAP_SCAN (Linux 6.7) tells it from the zero page. On an older kernel both are not for
//!   direct requests.
//!
//! The bit "of a file" is also set for shared memory. PROCMAP_QUERY (Linux 6.11) tells the two
//! apart: memfd, shared anonymous memory, SysV shared memory, /dev/shm and hugetlb have no
//! writeback that could undo the pin, and count as ordinary memory. On an older kernel no shared
//! memory is handed to a direct request.
//!
//! A mapping of an ordinary file is not for direct requests at all: the request may write back or
//! drop the pages that it pins itself, and so start over for ever.

use std::cell::RefCell;
use std::io;
use std::ops::Range as Indices;
use std::os::fd::FromRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use crate::sys::pagemap::{EXCLUSIVE, FILE, PRESENT, Pagemap, UFFD_WP};
use crate::sys::procmap::{Mapping, Procmap};
use crate::sys::{address_space, page_size};

/// What a request does with the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The kernel writes the memory: a read from a file fills it.
    Fill,
    /// The kernel only reads the memory: a write to a file sends it.
    Send,
}

/// Why a look ended where it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stop {
    /// All bytes looked good.
    End,
    /// A page that is absent, or can't be written without a fault: a fault-in may make it good.
    Absent,
    /// Memory that must not be handed to a direct request, faulted in or not: a file
    /// mapping, memfd_secret, and for [`Access::Send`] a page that is shared with a child of fork.
    NotDirect {
        /// How many bytes from the stop on are known to be such memory, within the range of the
        /// look. At least 1.
        bytes: usize,
    },
}

/// The answer of one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Bytes from the start of the range that looked good.
    pub(crate) bytes: usize,
    /// Why the look ended behind them.
    pub(crate) stop: Stop,
}

/// One of several ranges that are looked at together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) addr: usize,
    /// In bytes, at least one.
    pub(crate) len: usize,
    pub(crate) access: Access,
    /// The caller's name for it.
    pub(crate) name: u32,
    /// The answer.
    pub(crate) look: Look,
}

impl Range {
    /// The numbers of its pages.
    fn pages(&self) -> std::ops::Range<usize> {
        let shift = page_size().trailing_zeros();
        let last = self.addr.saturating_add(self.len - 1) >> shift;
        self.addr >> shift..last + 1
    }
}

/// The entries of up to this many pages between two ranges are read along, so that one call serves
/// both ranges: a call costs as much as these entries (1 us for the call, 0.04 us for each page).
const GAP: usize = 24;

/// Entries read per system call at most: 2 MiB of 4 KiB pages. A look that stops early has read so
/// many in vain at most.
const ENTRIES: usize = 512;

/// Looks at this process's memory: one for each engine or thread.
pub(crate) struct Residency {
    /// `None` in a child of fork that could not open its own.
    pagemap: Option<Pagemap>,
    /// `None` before Linux 6.11, and where it failed.
    procmap: Option<Procmap>,
    /// The address space in which the two were opened.
    generation: u64,
    entries: Box<[u64; ENTRIES]>,
    system_calls: u64,
}

/// The mapping around a page that is not plainly good.
#[derive(Clone, Copy)]
enum Backing {
    /// Without a file, or no mapping at all.
    Anonymous,
    /// Shared memory or hugetlb: the kernel calls it a file.
    Memory(Mapping),
    /// A file, or something unknown that has a device number.
    File(Mapping),
    /// The kernel can't say.
    Unknown,
}

/// The judgement of some pages.
enum Verdict {
    /// How many pages are good, at least one.
    Good(usize),
    Absent,
    /// Not for direct requests up to this address at least, which may be beyond the range of the
    /// look.
    NotDirect(usize),
}

impl Residency {
    /// Opens the page map and the list of mappings. Fails without /proc, or if the process may not
    /// look at itself (PR_SET_DUMPABLE).
    pub(crate) fn new() -> io::Result<Residency> {
        shared_memory_devices();
        let generation = address_space::generation();
        Ok(Residency {
            pagemap: Some(Pagemap::open()?),
            procmap: open_procmap(),
            generation,
            entries: Box::new([0; ENTRIES]),
            system_calls: 0,
        })
    }

    /// How many system calls all looks have made together.
    pub(crate) fn system_calls(&self) -> u64 {
        self.system_calls
    }

    /// Looks at `len` bytes from `addr` on.
    ///
    /// One system call for each 512 pages that are plainly good, one more for each mapping with a
    /// page that is not, and one more for each run of pages to be sent that are mapped elsewhere
    /// too.
    pub(crate) fn look(&mut self, addr: usize, len: usize, access: Access) -> Look {
        if len == 0 {
            return Look {
                bytes: 0,
                stop: Stop::End,
            };
        }
        self.renew_after_fork();
        // A range beyond the end of the address space has an absent page long before that end.
        let end = addr.saturating_add(len);
        let shift = page_size().trailing_zeros();
        let (first, last) = (addr >> shift, (end - 1) >> shift);
        let mut asked = None;

        let mut page = first;
        while page <= last {
            let want = (last - page + 1).min(ENTRIES);
            let got = self.read_entries(page, want);
            let mut index = 0;
            while let Some(more) = self.entries[index..got]
                .iter()
                .position(|entry| !plainly_good(*entry, access))
            {
                index += more;
                let at = ((page + index) << shift).max(addr);
                let bytes = at - addr;
                match self.judge(page, index..got, access, &mut asked) {
                    Verdict::Good(pages) => index = (index + pages).min(got),
                    Verdict::Absent => {
                        return Look {
                            bytes,
                            stop: Stop::Absent,
                        };
                    }
                    Verdict::NotDirect(reach) => {
                        return Look {
                            bytes,
                            stop: Stop::NotDirect {
                                bytes: reach.min(end).saturating_sub(at).max(1),
                            },
                        };
                    }
                }
            }
            page += got;
            if got < want {
                // The end of the address space, or a page map that can't be read any more.
                return Look {
                    bytes: (page << shift).max(addr) - addr,
                    stop: Stop::Absent,
                };
            }
        }
        Look {
            bytes: end - addr,
            stop: Stop::End,
        }
    }

    /// Looks at several ranges, and notes the answer in each. One system call for all ranges that
    /// lie within [`GAP`] pages of each other, up to 512 pages. A range with a page that is not
    /// plainly good is looked at once more by itself. The order of the ranges changes.
    pub(crate) fn look_at_ranges(&mut self, ranges: &mut [Range]) {
        self.renew_after_fork();
        ranges.sort_unstable_by_key(|range| range.addr);
        let mut rest = ranges;
        while let Some(first) = rest.first() {
            let start = first.pages().start;
            let mut end = first.pages().end;
            let near = 1 + rest[1..]
                .iter()
                .take_while(|range| {
                    let pages = range.pages();
                    let together = pages.start <= end.saturating_add(GAP)
                        && pages.end.max(end) - start <= ENTRIES;
                    end = if together { pages.end.max(end) } else { end };
                    together
                })
                .count();
            let (group, behind) = rest.split_at_mut(near);
            rest = behind;
            // A range alone, or too long to be read at once, is looked at below.
            let got = if near > 1 {
                self.read_entries(start, end - start)
            } else {
                0
            };
            for range in group {
                let pages = range.pages();
                range.look = match self.entries[..got].get(pages.start - start..pages.end - start) {
                    Some(entries)
                        if entries
                            .iter()
                            .all(|entry| plainly_good(*entry, range.access)) =>
                    {
                        Look {
                            bytes: range.len,
                            stop: Stop::End,
                        }
                    }
                    _ => self.look(range.addr, range.len, range.access),
                };
            }
        }
    }

    /// Reads `want` entries from page number `page` on, and returns how many were read.
    fn read_entries(&mut self, page: usize, want: usize) -> usize {
        let Some(pagemap) = &self.pagemap else {
            return 0;
        };
        self.system_calls += 1;
        pagemap
            .read(page, &mut self.entries[..want])
            .unwrap_or(0)
            .min(want)
    }

    /// Judges the page at the start of `rest`, which is not plainly good: the slow half of a look.
    /// `rest` are the entries that were read; entry 0 is that of page number `page`.
    fn judge(
        &mut self,
        page: usize,
        rest: Indices<usize>,
        access: Access,
        asked: &mut Option<Backing>,
    ) -> Verdict {
        let entry = self.entries[rest.start];
        let present = entry & PRESENT != 0;
        if present && entry & FILE == 0 {
            return match access {
                // The zero page, a page shared with a child, one that is write-protected: a write
                // fault makes it good.
                Access::Fill => Verdict::Absent,
                Access::Send => self.judge_shared(page, rest),
            };
        }
        let at = (page + rest.start).saturating_mul(page_size());
        match self.backing(at, asked) {
            Backing::Memory(mapping) if present => match access {
                Access::Send => Verdict::Good(1),
                // A shared page is writable wherever the mapping is. A private mapping must first
                // copy it.
                Access::Fill if mapping.shared && mapping.writable && entry & UFFD_WP == 0 => {
                    Verdict::Good(1)
                }
                Access::Fill => Verdict::Absent,
            },
            // The write fault replaces the file's page by an anonymous copy.
            Backing::File(mapping)
                if access == Access::Fill && !mapping.shared && mapping.writable =>
            {
                Verdict::Absent
            }
            // Every page of a shared file mapping is the file's.
            Backing::File(mapping) if mapping.shared => Verdict::NotDirect(mapping.end),
            // In a private mapping, the pages that were written are copies.
            Backing::File(mapping) => {
                let run = self.run(page, rest, |entry| {
                    entry & PRESENT == 0 || entry & FILE != 0
                });
                Verdict::NotDirect(run.min(mapping.end))
            }
            _ if present => Verdict::NotDirect(self.run(page, rest, |entry| {
                entry & (PRESENT | FILE) == PRESENT | FILE
            })),
            _ => Verdict::Absent,
        }
    }

    /// Pages to be sent that are in memory and mapped elsewhere too: the zero page is good, one
    /// shared with a child is not.
    fn judge_shared(&mut self, page: usize, rest: Indices<usize>) -> Verdict {
        let start = (page + rest.start).saturating_mul(page_size());
        let end = self.run(page, rest, |entry| {
            entry & (PRESENT | FILE | EXCLUSIVE) == PRESENT
        });
        let Some(pagemap) = &self.pagemap else {
            return Verdict::Absent;
        };
        self.system_calls += 1;
        match pagemap.zero_pages(start, end) {
            Ok(zero) if zero.start <= start && zero.end > start => {
                Verdict::Good((zero.end - start) / page_size())
            }
            Ok(zero) => Verdict::NotDirect(zero.start),
            Err(_) => Verdict::NotDirect(end),
        }
    }

    /// The address at which the run of pages ends whose entries are `like` the first, among the
    /// entries that were read.
    fn run(&self, page: usize, rest: Indices<usize>, like: impl Fn(u64) -> bool) -> usize {
        let count = self.entries[rest.clone()]
            .iter()
            .take_while(|entry| like(**entry))
            .count();
        (page + rest.start + count).saturating_mul(page_size())
    }

    /// The mapping at the address `at`: one system call, unless `asked` has the answer. An answer is
    /// kept for one look only, because mappings change.
    fn backing(&mut self, at: usize, asked: &mut Option<Backing>) -> Backing {
        if let Some(known @ (Backing::Memory(mapping) | Backing::File(mapping))) = *asked
            && (mapping.start..mapping.end).contains(&at)
        {
            return known;
        }
        let backing = match &self.procmap {
            None => Backing::Unknown,
            Some(procmap) => {
                self.system_calls += 1;
                match procmap.query(at) {
                    Ok(None) => Backing::Anonymous,
                    Ok(Some(mapping)) if mapping.page_bytes > page_size() => {
                        Backing::Memory(mapping)
                    }
                    Ok(Some(mapping)) if mapping.device == (0, 0) && mapping.inode == 0 => {
                        Backing::Anonymous
                    }
                    Ok(Some(mapping))
                        if shared_memory_devices().contains(&Some(mapping.device)) =>
                    {
                        Backing::Memory(mapping)
                    }
                    Ok(Some(mapping)) => Backing::File(mapping),
                    Err(_) => Backing::Unknown,
                }
            }
        };
        *asked = Some(backing);
        backing
    }

    /// A child of fork has the parent's descriptors, which show the parent's pages.
    fn renew_after_fork(&mut self) {
        let generation = address_space::generation();
        if generation != self.generation {
            self.generation = generation;
            self.pagemap = Pagemap::open().ok();
            self.procmap = open_procmap();
        }
    }
}

/// Whether a page is good by its bits alone.
fn plainly_good(entry: u64, access: Access) -> bool {
    match access {
        Access::Fill => entry & (PRESENT | EXCLUSIVE | FILE | UFFD_WP) == PRESENT | EXCLUSIVE,
        Access::Send => entry & (PRESENT | EXCLUSIVE | FILE) == PRESENT | EXCLUSIVE,
    }
}

/// The list of mappings, if this kernel can be asked about one of them.
fn open_procmap() -> Option<Procmap> {
    let procmap = Procmap::open().ok()?;
    // A kernel before 6.11 answers ENOTTY for every address: asked once here, and not in every look.
    procmap.query(0).ok()?;
    Some(procmap)
}

/// The devices of shared memory: the kernel's internal tmpfs mount (memfd, shared anonymous and SysV
/// shared memory) and the tmpfs on /dev/shm. hugetlb is known by its page size. memfd_secret has a
/// device of its own, which is not among them.
fn shared_memory_devices() -> &'static [Option<(u32, u32)>; 2] {
    static DEVICES: OnceLock<[Option<(u32, u32)>; 2]> = OnceLock::new();
    DEVICES.get_or_init(|| {
        // SAFETY: the name is a C string; the flags ask for nothing special.
        let memfd = unsafe { libc::memfd_create(c"nofault".as_ptr(), libc::MFD_CLOEXEC) };
        let internal = (memfd >= 0).then(|| {
            // SAFETY: the descriptor was just made and has no other owner; the File closes it.
            unsafe { std::fs::File::from_raw_fd(memfd) }
        });
        let internal = internal.and_then(|file| file.metadata().ok());
        let device = |metadata: std::fs::Metadata| {
            (libc::major(metadata.dev()), libc::minor(metadata.dev()))
        };
        [internal.map(device), dev_shm().map(device)]
    })
}

/// The directory of POSIX shared memory, if it is a tmpfs.
fn dev_shm() -> Option<std::fs::Metadata> {
    // SAFETY: an all-zero statfs is a valid value of that plain C struct.
    let mut fs: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a C string and `fs` is a valid place for the answer.
    let result = unsafe { libc::statfs(c"/dev/shm".as_ptr(), &raw mut fs) };
    // The two have different types with musl.
    #[allow(clippy::unnecessary_cast)]
    if result != 0 || fs.f_type as i64 != libc::TMPFS_MAGIC as i64 {
        return None;
    }
    std::fs::metadata("/dev/shm").ok()
}

/// How many of the `len` bytes from `ptr` on could be used by a direct request at this moment
/// without a page fault, counted from the start. 0 where the page map can't be read.
///
/// A hint, never a promise: the answer may change at any time. The memory is neither touched nor
/// faulted in, so any pointer may be given. Memory that a direct request must not be given (a
/// mapping of an ordinary file, memfd_secret) counts as absent. A mapping without the permission
/// that `access` needs may count as present: /proc/self/pagemap has no permissions.
///
/// ```
/// use nofault::{Access, resident_prefix};
/// let buffer = vec![1u8; 100];
/// let there = resident_prefix(buffer.as_ptr(), buffer.len(), Access::Send);
/// assert!(there <= 100);
/// ```
#[must_use]
pub fn resident_prefix(ptr: *const u8, len: usize, access: Access) -> usize {
    thread_local! {
        static LOOKER: RefCell<Option<Residency>> = const { RefCell::new(None) };
    }
    let look = |looker: &RefCell<Option<Residency>>| {
        // Borrowed already only in a signal handler that interrupts a look.
        let mut looker = looker.try_borrow_mut().ok()?;
        if looker.is_none() {
            *looker = Some(Residency::new().ok()?);
        }
        Some(looker.as_mut()?.look(ptr.addr(), len, access).bytes)
    };
    // Destroyed already only while the thread ends.
    LOOKER.try_with(look).ok().flatten().unwrap_or(0)
}

#[cfg(test)]
#[path = "residency_test.rs"]
mod tests;
