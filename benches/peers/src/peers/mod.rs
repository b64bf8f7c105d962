//! The peers. One file each: what it needs before a turn, and its loop.
//!
//! To add one: a file with an [`Entry`] and a [`Peer`], and a line in [`ALL`]. The table, the JSON
//! and the ratios take it from there.

mod bare;
#[cfg(feature = "compio")]
mod compio;
#[cfg(feature = "glommio")]
mod glommio;
#[cfg(feature = "monoio")]
mod monoio;
mod nofault;
mod nofault_futures;
#[cfg(feature = "tokio")]
mod nofault_handle;
mod nofault_queue;
mod threads;
#[cfg(feature = "tokio")]
mod tokio_blocking;
#[cfg(feature = "tokio-uring")]
mod tokio_uring;

use std::io;

use crate::job::{Job, Lane};

/// Something that can do a job's requests. It lives in a process of its own, and is made and used
/// by one thread.
pub(crate) trait Peer {
    /// Runs every lane until it has had enough, each with one request in flight at a time, and
    /// gives the lanes back. Nothing is in flight before or after.
    fn run(&mut self, lanes: Vec<Lane>) -> io::Result<Vec<Lane>>;

    /// What the reader of the table should know of how this one runs here.
    fn note(&self) -> Option<String> {
        None
    }
}

/// What kind of peer it is, for the ratios.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What others are measured against.
    Bare,
    /// Another asynchronous runtime of Rust's.
    Runtime,
    /// Blocking calls on threads.
    Blocking,
    Nofault,
}

/// A line of the registry.
pub(crate) struct Entry {
    /// As in the table, and as `--peers` takes it.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// For `--list`.
    pub(crate) about: &'static str,
    /// Makes one for a job. An error means that it can't run here: a SKIP with that reason.
    pub(crate) start: fn(&Job) -> io::Result<Box<dyn Peer>>,
}

/// All of them, in the order of the table.
pub(crate) const ALL: &[Entry] = &[
    bare::REGISTERED,
    bare::PLAIN,
    nofault_queue::PINNED,
    nofault_queue::FOREIGN,
    nofault_futures::PINNED,
    nofault_futures::FOREIGN,
    #[cfg(feature = "tokio")]
    nofault_handle::PINNED,
    #[cfg(feature = "tokio")]
    nofault_handle::FOREIGN,
    #[cfg(feature = "tokio-uring")]
    tokio_uring::FIXED,
    #[cfg(feature = "tokio-uring")]
    tokio_uring::PLAIN,
    #[cfg(not(feature = "tokio-uring"))]
    left_out("tokio-uring"),
    #[cfg(feature = "glommio")]
    glommio::ENTRY,
    #[cfg(not(feature = "glommio"))]
    left_out("glommio"),
    #[cfg(feature = "monoio")]
    monoio::ENTRY,
    #[cfg(not(feature = "monoio"))]
    left_out("monoio"),
    #[cfg(feature = "compio")]
    compio::ENTRY,
    #[cfg(not(feature = "compio"))]
    left_out("compio"),
    #[cfg(feature = "tokio")]
    tokio_blocking::ENTRY,
    #[cfg(not(feature = "tokio"))]
    left_out("tokio-blocking"),
    threads::ENTRY,
];

pub(crate) fn find(name: &str) -> Option<&'static Entry> {
    ALL.iter().find(|entry| entry.name == name)
}

/// Stands for a runtime whose feature is off.
#[allow(dead_code, reason = "used as far as features are off")]
const fn left_out(name: &'static str) -> Entry {
    let start = |_: &Job| {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "built without this feature",
        ))
    };
    Entry {
        name,
        kind: Kind::Runtime,
        about: "left out of this build",
        start,
    }
}
