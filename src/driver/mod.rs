//! The table of requests in flight, over one back end.
//!
//! Carries out the actions of each [`Transfer`](crate::transfer::Transfer), turns completions into
//! its events, and keeps within bounds what is in flight. No futures and no runtime:
//! [`Driver::push`], [`Driver::turn`], [`Driver::take`].
//!
//! May know: transfers, looks, operations, open files. Must not know: which type of buffer lies
//! behind an address. A request comes with an address and a promise (see [`Driver::push`]); if its
//! owner goes away, the buffer itself is left here until the kernel no longer uses it.
//!
//! # What is where
//!
//! | file | holds |
//! |---|---|
//! | `request`, `slot`, `table` | a request before it is admitted, while it is in flight, and the table of all |
//! | `set_up` | the choice of the back end and of its abilities |
//! | `admission`, `refusal`, `waiters` | how a request gets a slot, is refused, or waits for one |
//! | `turn`, `deadlines`, `clock` | what a turn does, and time |
//! | `looks`, `carry`, `start`, `bounce`, `lane` | from the actions of a transfer to operations |
//! | `results`, `lists`, `foreign` | how a request ends, who gets its result, who is woken |
//! | `registered`, `pinning` | files and memory in the ring's tables |
//! | `backend`, `uring`, `threads`, `op`, `wake` | what carries operations out |
//! | `hand_over`, `lost` | what happens when an ability is lost after the set-up |
//! | `stats`, `hist`, `fallback` | what is counted, and what was lost |
//!
//! # What may be stuck
//!
//! Operations that touch memory which may fault (fault-ins, copies, offloaded reads and writes) can
//! be held by a fault that nobody resolves. They pass through one of two lanes (`lane`): a bounded
//! number is in flight, fewer than the back end has workers, and the rest waits in order.

mod admission;
mod backend;
mod bounce;
mod carry;
mod clock;
mod deadlines;
mod fallback;
mod foreign;
mod hand_over;
mod hist;
mod lane;
mod lists;
mod looks;
mod lost;
pub(crate) mod op;
mod pinning;
mod refusal;
mod registered;
mod request;
mod results;
mod set_up;
pub(crate) mod slot;
mod start;
mod stats;
mod table;
mod threads;
mod turn;
mod uring;
mod waiters;
mod wake;

use std::collections::HashMap;
use std::task::Waker;

use backend::Backend;
pub use backend::BackendKind;
use bounce::Bounce;
use clock::Clock;
use deadlines::Deadlines;
pub use fallback::Fallback;
#[cfg(feature = "tokio")]
pub(crate) use fallback::errno_of;
pub(crate) use foreign::Foreign;
pub use hist::Histogram;
use lane::Lanes;
use lists::Lists;
use looks::Looks;
use op::Completion;
pub(crate) use pinning::{Pinning, Unpinned};
use registered::Registered;
pub(crate) use registered::new_id;
pub(crate) use request::{Ended, Kind, Notify, Options, Plain, Request};
pub(crate) use results::Taken;
pub use set_up::BackendChoice;
pub(crate) use set_up::Config;
pub(crate) use slot::Key;
pub use stats::Stats;
use table::Table;
pub(crate) use threads::block_signals;
pub use uring::Timing;
pub(crate) use uring::Wishes;
use waiters::Waiters;
pub(crate) use wake::notify;

use crate::memory::plain::PlainMemory;
use crate::sys::Errno;
use crate::transfer::Geometry;

/// Pieces of one operation at most (UIO_MAXIOV).
const MAX_PIECES: usize = 1024;

// What every request uses stands first, in few cache lines.
#[repr(C)]
pub(crate) struct Driver {
    table: Table,
    lists: Lists,
    backend: Backend,
    /// Names this driver to [`Pinned`](crate::memory::Pinned).
    id: u64,
    /// The time of a request is taken if its number has none of these bits. All of them: never.
    timed: u64,
    /// After so many more plain requests what is queued is started, and the turn is not waited for.
    /// See [`turn::Early`].
    early: turn::Early,
    pub(crate) stats: Stats,
    completions: Vec<Completion>,
    /// Wakers and drops, to be run when the driver is not borrowed.
    pub(crate) foreign: Foreign,
    /// Who takes turns when something is queued, where nobody calls `turn` anyway. Woken once.
    pub(crate) starter: Option<Waker>,
    looks: Looks,
    waiters: Waiters,
    /// Results that were not taken and whose slots were needed.
    unclaimed: HashMap<Key, Result<usize, Errno>>,
    /// Slots whose requests are over and wait to be asked for.
    unclaimed_slots: u32,
    deadlines: Deadlines,
    clock: Clock,
    /// The address space that the driver was made in.
    made_in: u64,
    /// How often in a row the kernel has refused to be entered.
    refusals: u32,
    /// Why the back end is not the first choice.
    reason: Option<String>,
    lanes: Lanes,
    /// See [`Config::advise_huge`].
    advise_huge: bool,
    plain_memory: PlainMemory,
    bounce: Option<Bounce>,
    base: Geometry,
    registered: Registered,
}
