//! Huge pages: what the machine grants, and advice for memory that others have allocated.
//!
//! May know: /sys/kernel/mm, the page map, madvise. Must not know: requests or registration.
//!
//! A buffer in scattered 4 KiB pages is described to the device in hundreds of segments. Measured
//! with sequential direct reads of 1 MiB, four in flight: 1.2 to 2.2 GiB/s and 38 to 48 us of CPU
//! for each with 4 KiB pages, 3.5 to 3.9 GiB/s and 10 to 13 us with huge pages.

use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use super::buf::IoBufMut;
use crate::sys::page_size;
use crate::sys::pagemap::{PRESENT, Pagemap, SWAPPED};

/// The size of a huge page that this crate aligns to, in bytes: the one that x86-64, and arm64 with
/// 4 KiB pages, map by one entry of the page middle directory.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;

/// When the kernel makes transparent huge pages, as `/sys/kernel/mm/transparent_hugepage/enabled`
/// and `shmem_enabled` say (Documentation/admin-guide/mm/transhuge.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Thp {
    /// Wherever they fit (`always`, `force`), or fit within the size of the file (`within_size`).
    Always,
    /// Where MADV_HUGEPAGE was said. This crate says so.
    Madvise,
    /// Nowhere (`never`, `deny`).
    Never,
    /// The kernel is built without them, or /sys can't be read.
    Unknown,
}

impl fmt::Display for Thp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Thp::Always => "always",
            Thp::Madvise => "madvise",
            Thp::Never => "never",
            Thp::Unknown => "unknown",
        })
    }
}

/// What the machine grants in huge pages. See [`huge_pages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HugePages {
    /// Transparent huge pages in anonymous memory: buffers and pools.
    pub anonymous: Thp,
    /// Transparent huge pages in shared memory: bounce buffers.
    pub shared: Thp,
    /// The size of a transparent huge page, in bytes. `None` where the kernel does not say.
    pub bytes: Option<usize>,
    /// Reserved pages of 2 MiB (hugetlb), which this crate does not use.
    pub hugetlb_total: u64,
    /// Those of them that are free.
    pub hugetlb_free: u64,
}

impl fmt::Display for HugePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "transparent {} (shared memory {}), hugetlb {} free of {}",
            self.anonymous, self.shared, self.hugetlb_free, self.hugetlb_total
        )
    }
}

/// Asks the kernel which huge pages there are, at this moment: four small files of /sys.
///
/// ```
/// println!("huge pages: {}", nofault::memory::huge_pages());
/// ```
pub fn huge_pages() -> HugePages {
    let thp = Path::new("/sys/kernel/mm/transparent_hugepage");
    let hugetlb = Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB");
    HugePages {
        anonymous: mode(fs::read_to_string(thp.join("enabled"))),
        shared: mode(fs::read_to_string(thp.join("shmem_enabled"))),
        bytes: number(&thp.join("hpage_pmd_size")),
        hugetlb_total: number(&hugetlb.join("nr_hugepages")).unwrap_or(0),
        hugetlb_free: number(&hugetlb.join("free_hugepages")).unwrap_or(0),
    }
}

fn number<N: std::str::FromStr>(path: &Path) -> Option<N> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The word in brackets: `always [madvise] never`.
fn mode(text: io::Result<String>) -> Thp {
    let chosen = text.ok().and_then(|text| {
        let (_, behind) = text.split_once('[')?;
        behind.split_once(']').map(|(word, _)| word.to_owned())
    });
    match chosen.as_deref() {
        Some("always" | "within_size" | "force") => Thp::Always,
        Some("madvise" | "advise") => Thp::Madvise,
        Some("never" | "deny") => Thp::Never,
        _ => Thp::Unknown,
    }
}

/// The whole huge pages inside `len` bytes at `addr`: an empty range where there are none.
pub(crate) fn interior(addr: usize, len: usize) -> Range<usize> {
    let start = addr
        .checked_next_multiple_of(HUGE_PAGE_BYTES)
        .unwrap_or(usize::MAX);
    let end = addr.saturating_add(len) & !(HUGE_PAGE_BYTES - 1);
    start..end.max(start)
}

/// Whether each page that is there, in a range of whole pages, is part of a huge page. Asks the page
/// map (Linux 6.7); without its answer, what the settings promise for such memory: shared, or
/// anonymous.
pub(crate) fn lies_in_huge_pages(range: Range<usize>, shared: bool) -> bool {
    match Pagemap::open().and_then(|map| map.small_pages(range.start, range.end)) {
        Ok(small) => small.is_empty(),
        Err(_) => {
            let granted = huge_pages();
            let mode = if shared {
                granted.shared
            } else {
                granted.anonymous
            };
            matches!(mode, Thp::Always | Thp::Madvise)
        }
    }
}

/// Advises huge pages for the memory of a buffer that this crate has not allocated: for each whole
/// 2 MiB inside it of which no page is there yet. What is there stays as it is, and so do contents.
/// Returns how many bytes were advised. To be called before the buffer is first touched.
///
/// ```
/// let mut buffer: Vec<u8> = Vec::with_capacity(64 << 20);
/// let advised = nofault::memory::advise_huge(&mut buffer)?;
/// assert!(advised <= 64 << 20);
/// # std::io::Result::Ok(())
/// ```
///
/// The advice stays with the addresses when an allocator uses them again. It takes one madvise(2)
/// for each run of absent memory, and one or two mappings more of the process's limit
/// (`vm.max_map_count`).
///
/// # Errors
///
/// What madvise(2) says of MADV_HUGEPAGE: `EINVAL` of a kernel without huge pages, or for memory
/// that can't have any; what opening and reading /proc/self/pagemap says.
pub fn advise_huge<B: IoBufMut>(buffer: &mut B) -> io::Result<usize> {
    let len = buffer.bytes_total();
    advise(buffer.stable_mut_ptr().addr(), len)
}

/// As [`advise_huge`], for a range by its address.
pub(crate) fn advise(addr: usize, len: usize) -> io::Result<usize> {
    let all = interior(addr, len);
    if all.is_empty() {
        return Ok(0);
    }
    let pagemap = Pagemap::open()?;
    let (mut at, mut advised) = (all.start, 0);
    while at < all.end {
        let populated = first_populated(&pagemap, at, all.end)?;
        let absent_end = populated.start & !(HUGE_PAGE_BYTES - 1);
        if absent_end > at {
            advise_range(at, absent_end - at)?;
            advised += absent_end - at;
        }
        at = match populated.is_empty() {
            true => all.end,
            false => populated.end.next_multiple_of(HUGE_PAGE_BYTES),
        };
    }
    Ok(advised)
}

/// The first run of pages that are in memory or in swap; an empty one at `end` if there is none.
fn first_populated(pagemap: &Pagemap, start: usize, end: usize) -> io::Result<Range<usize>> {
    match pagemap.populated_pages(start, end) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => {}
        answer => return answer,
    }
    // Before Linux 6.7 each page is read. A page counts as populated by itself: the caller skips
    // the rest of its huge page.
    let page = page_size();
    let mut entries = [0u64; 512];
    for at in (start..end).step_by(entries.len() * page) {
        let want = entries.len().min((end - at) / page);
        let got = pagemap.read(at / page, &mut entries[..want])?;
        let populated = |entry: &u64| entry & (PRESENT | SWAPPED) != 0;
        if let Some(index) = entries[..got].iter().position(populated) {
            let found = at + index * page;
            return Ok(found..found + page);
        }
    }
    Ok(end..end)
}

/// MADV_HUGEPAGE for a range of whole pages.
pub(crate) fn advise_range(addr: usize, len: usize) -> io::Result<()> {
    // SAFETY: the advice changes no contents and unmaps nothing, whatever the range: the kernel
    // checks it.
    let result = unsafe {
        libc::madvise(
            std::ptr::without_provenance_mut(addr),
            len,
            libc::MADV_HUGEPAGE,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
#[path = "huge_test.rs"]
mod tests;
