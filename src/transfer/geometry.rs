//! The sizes that bound a transfer, each with its reason.
//!
//! All figures were taken on Linux 6.18, x86_64 with pages of 4 KiB, ext4 on a virtio disk, unless
//! the line says otherwise.

/// 1 MiB.
const MIB: usize = 1 << 20;

/// The first and largest window: how much one fault-in populates.
///
/// 1. gfs2 uses the same size for the same purpose (`should_fault_in_pages` in fs/gfs2/file.c).
/// 2. Measured: a read of 32 MiB into fresh memory takes 41.0 ms in windows of 1 MiB, the next one
///    faulted in while this one is read. A warm buffer takes 40.8 ms, one offloaded request without
///    windows 55.1 ms.
/// 3. Populating 1 MiB takes about 0.45 ms (32 MiB: 14 ms). A worker is held by one window for
///    about that time, unless a fault is never resolved.
const WINDOW: usize = MIB;

/// The most that one look and one submission carry while all memory is resident.
///
/// 1. A submission holds its thread while the kernel pins the pages: with a look before it, 38 to
///    48 us of processor time for each MiB in 4 KiB pages. 32 MiB hold the thread for 1.2 to 1.5 ms.
/// 2. A cut costs one more round trip to the device, which 32 MiB at 2 GiB/s (16 ms) hide.
/// 3. The figure itself is arbitrary between 8 and 64 MiB; 32 MiB is the longest request of the
///    benchmarks, so that a request of theirs is one submission, as on the bare ring.
const PASS: usize = 32 * MIB;

/// The most that one look and one submission carry once the request has met absent memory.
///
/// One window: the device works on this one while the next one is faulted in. See [`WINDOW`] for
/// the figures.
const COLD_PASS: usize = WINDOW;

/// A pass of so many bytes is offloaded if the request has met absent memory.
///
/// 1. Pinning 1 MiB in 4 KiB pages takes up to 48 us, during which this thread submits no other
///    request. A request that waits for its memory to be faulted in loses less by a hand-over to a
///    worker (some us) than the resident requests beside it lose by waiting.
/// 2. Half a window, so that a window whose first pages were populated earlier still counts. The
///    half is arbitrary.
const HEAVY: usize = WINDOW / 2;

/// How far ahead of the cursor memory is faulted in.
///
/// 1. Each request has one fault-in ahead in flight. While the device is slower than the faults,
///    more than one window ahead lets the faults run on during a slow pass.
/// 2. Memory that is populated long before its use may be reclaimed before, and a cancelled request
///    has populated it for nothing: the bound keeps that small.
/// 3. Eight windows are arbitrary.
const AHEAD: usize = 8 * WINDOW;

/// Passes without progress that a request may have besides those that halve a window.
///
/// Arbitrary. They pay for EAGAIN, EINTR, and memory that is reclaimed between look and submission,
/// all of them rare. When they are used up the rest goes to the page cache: a small number costs
/// speed in a rare case, never the result.
const TRIES: u32 = 6;

/// A ragged write whose aligned middle is shorter goes to the page cache whole.
///
/// 1. The direct middle costs a request of its own between two buffered edges, and the file's dirty
///    pages are written back and dropped before it.
/// 2. 64 KiB are arbitrary. The README names the figure: change both.
const MIDDLE: usize = 64 << 10;

/// Sizes that hold for all requests on one file in one direction, in bytes. All are powers of two,
/// except that `bounce` may be 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Geometry {
    /// False: the file has no direct path, and everything is sent to the page cache.
    pub(crate) direct: bool,
    /// True: nothing may be split (a file opened to append, a file that the kernel makes up as it
    /// is read); each request is one call by the buffered descriptor.
    pub(crate) whole: bool,
    /// A direct request's addresses are multiples of this.
    pub(crate) mem: usize,
    /// A direct request's offset and length are multiples of this.
    pub(crate) block: usize,
    /// The page size.
    pub(crate) page: usize,
    /// The first and largest window, see [`WINDOW`].
    pub(crate) window: usize,
    /// How much one bounce buffer holds; 0 where there are none.
    pub(crate) bounce: usize,
    /// The most that one look and one submission carry, see [`PASS`].
    pub(crate) pass: usize,
    /// The same once the request has met absent memory, see [`COLD_PASS`].
    pub(crate) cold_pass: usize,
    /// From this size on a pass of such a request is offloaded, see [`HEAVY`].
    pub(crate) heavy: usize,
    /// How far ahead of the cursor memory is faulted in, see [`AHEAD`].
    pub(crate) ahead: usize,
    /// Passes without progress besides the halvings, see [`TRIES`].
    pub(crate) tries: u32,
    /// The shortest direct middle of a ragged write, see [`MIDDLE`].
    pub(crate) middle: usize,
}

impl Geometry {
    /// The sizes that hold for every file, for pages of `page` bytes and bounce buffers of `bounce`
    /// bytes (0: there are none). The file's own facts are those of a file without a direct path;
    /// whoever knows the file replaces `direct`, `whole`, `mem` and `block`.
    pub(crate) fn base(page: usize, bounce: usize) -> Geometry {
        Geometry {
            direct: false,
            whole: false,
            mem: 1,
            block: 1,
            page,
            window: WINDOW,
            bounce,
            pass: PASS,
            cold_pass: COLD_PASS,
            heavy: HEAVY,
            ahead: AHEAD,
            tries: TRIES,
            middle: MIDDLE,
        }
    }
}
