//! What may be assumed of a caller's memory.

/// What the engine may assume of memory that it does not own.
///
/// What a look costs: one system call for up to 2 MiB, about a third of a microsecond for 4 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Policy {
    /// Look before each submission whether the pages are there. What is there is submitted at once,
    /// the rest is faulted in off this thread.
    #[default]
    Look,
    /// Never submit from this thread, even what looks resident: for memory whose faults this thread
    /// resolves itself (userfaultfd, FUSE).
    Offload,
    /// Submit at once. Faults are taken on this thread, as with a bare ring.
    Trust,
}
