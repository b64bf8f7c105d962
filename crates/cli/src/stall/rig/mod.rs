//! The stall bench: what a cold request does to the warm ones beside it.
//!
//! One thread keeps four random reads of 4 KiB in flight, with O_DIRECT and buffers that are there.
//! Every few milliseconds the same thread also asks for one read into memory that is not there.
//! Whoever submits that read as it is takes its page faults in the system call that submits, and
//! until it returns nobody looks after the other four.
//!
//! `nofault stall` and `benches/stall.rs` share this tree. May know: nofault's public API,
//! the io-uring crate, what `faults` has for memory. Must not know: the command line, criterion, how
//! the warm file came about.
//!
//! # What is measured
//!
//! The loop is closed: a read is due as soon as the thread has taken in the one before it in the
//! same place. Its latency runs from then, not from its submission, to the moment at which the
//! thread is back from waiting with its completion in hand. So whatever keeps the thread from
//! submitting or from taking in is part of it, and a stall shows in each of the four reads in
//! flight.
//!
//! A closed loop makes no new reads while it stalls, so a stall of 15 ms counts as four bad reads,
//! where a program with a steady stream of requests would have had hundreds (coordinated omission).
//! Therefore there are two more figures: the 99.9th percentile with the reads that such a stream
//! would have had during each stall (`steady`, see `figures`), and the longest time between two
//! turns of the loop.
//!
//! Cold requests are made one at a time, so there are fewer of them beside a peer for whom they
//! take longer. After a round's time no new one is made, but the warm reads go on until the last
//! has ended: each cold request is seen whole.
//!
//! Rounds alternate between the peers; every figure is a median over the rounds, and each ratio is
//! one of medians.

pub(crate) mod bare;
pub(crate) mod cold;
pub(crate) mod figures;
pub(crate) mod futures;
pub(crate) mod nofault;
pub(crate) mod place;
pub(crate) mod stream;
pub(crate) mod table;

use std::io;
use std::sync::atomic::Ordering;

use self::cold::{ColdMemory, Kind, Provider, Scale};
use self::figures::{Figures, Round};
use self::stream::{Desk, Limits, Stream};
use crate::faults::memory::Map;
use crate::faults::stop::Stop;

/// Bytes of a warm read.
pub(crate) const BLOCK: usize = 4096;
/// Warm reads in flight.
pub(crate) const DEPTH: usize = 4;
/// One way to do the requests.
pub(crate) trait Peer {
    /// Does one round: [`Stream::begin`], and all that the stream asks for. An error means that the
    /// round has no figures.
    fn round(&mut self, stream: &mut Stream<'_>) -> io::Result<()>;
}

/// A peer by its name in the table, or why it is not to be had.
pub(crate) struct Column<'a> {
    pub(crate) name: &'static str,
    pub(crate) peer: Result<Box<dyn Peer + 'a>, String>,
}

/// One kind of cold request, or why there is no such memory here.
struct Side {
    kind: Kind,
    memory: Result<Option<ColdMemory>, String>,
}

/// All peers beside all kinds of cold requests.
pub(crate) struct Bench<'a> {
    columns: Vec<Column<'a>>,
    sides: Vec<Side>,
    desk: Desk,
    scale: Scale,
}

/// The cells of one kind of cold request.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) title: String,
    /// Why there are no cells.
    pub(crate) skipped: Option<String>,
    pub(crate) columns: Vec<Cell>,
}

/// One peer beside one kind of cold request: figures, or why there are none, or neither where the
/// run ended before.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Cell {
    pub(crate) column: &'static str,
    pub(crate) figures: Option<Figures>,
    pub(crate) unavailable: Option<String>,
}

impl<'a> Bench<'a> {
    /// For files of this many bytes. The error is the whole line for the user.
    pub(crate) fn new(
        columns: Vec<Column<'a>>,
        warm_file: usize,
        cold_file: usize,
        scale: Scale,
    ) -> Result<Bench<'a>, String> {
        let side = |kind| match ColdMemory::new(kind, scale) {
            Ok(memory) => Ok(Side {
                kind,
                memory: Ok(memory),
            }),
            Err(Stop::Skip(reason)) => Ok(Side {
                kind,
                memory: Err(reason),
            }),
            Err(Stop::Fail(reason)) => {
                Err(format!("cannot prepare memory ({}): {reason}", kind.name()))
            }
        };
        let sides = Kind::ALL
            .into_iter()
            .map(side)
            .collect::<Result<_, String>>()?;
        Ok(Bench {
            columns,
            sides,
            desk: Desk::new(warm_file, cold_file),
            scale,
        })
    }

    /// The kinds of cold requests that there are here, each with its place among [`Kind::ALL`].
    pub(crate) fn kinds(&self) -> Vec<(usize, Kind)> {
        self.sides
            .iter()
            .enumerate()
            .filter(|(_, side)| side.memory.is_ok())
            .map(|(n, side)| (n, side.kind))
            .collect()
    }

    /// The peers that there are here, each with its place.
    pub(crate) fn peers(&self) -> Vec<(usize, &'static str)> {
        self.columns
            .iter()
            .enumerate()
            .filter(|(_, column)| column.peer.is_ok())
            .map(|(n, column)| (n, column.name))
            .collect()
    }

    /// What has to be known of the cold memory to read the figures.
    pub(crate) fn cautions(&self) -> impl Iterator<Item = String> {
        self.sides
            .iter()
            .filter_map(|side| side.memory.as_ref().ok()?.as_ref()?.caution())
    }

    /// Rounds that [`Bench::run`] will do for each of its `rounds`.
    pub(crate) fn cells(&self) -> usize {
        self.kinds().len() * self.peers().len()
    }

    /// One round of one peer beside one kind of cold request; none when stopped before a read was
    /// counted, or if the memory would not get cold this time.
    pub(crate) fn round(
        &mut self,
        side: usize,
        column: usize,
        limits: Limits<'_>,
    ) -> Result<Option<Round>, String> {
        let (side, column) = (&mut self.sides[side], &mut self.columns[column]);
        let (memory, peer) = (
            side.memory.as_mut().map_err(|e| e.clone())?,
            column.peer.as_mut().map_err(|e| e.clone())?,
        );
        let provider = match memory {
            Some(memory) => {
                match memory.make_cold() {
                    Ok(()) => memory.provider(),
                    // It was possible before, and may be again.
                    Err(Stop::Skip(_)) => return Ok(None),
                    Err(Stop::Fail(reason)) => {
                        return Err(format!("cannot make memory cold: {reason}"));
                    }
                }
            }
            None => Provider::NONE,
        };
        let mut stream = Stream::new(&mut self.desk, memory.as_mut(), limits);
        match provider.during(|| peer.round(&mut stream)) {
            Ok(Ok(())) => Ok(stream.round()),
            Ok(Err(error)) => Err(format!("a request failed: {error}")),
            Err(Stop::Skip(reason) | Stop::Fail(reason)) => {
                Err(format!("the fault handler: {reason}"))
            }
        }
    }

    /// All rounds. `progress` is told what comes next; it ends early, with what there is, when it
    /// is told to stop.
    pub(crate) fn run(
        &mut self,
        rounds: usize,
        limits: Limits<'_>,
        mut progress: impl FnMut(Kind, &str),
    ) -> Vec<Row> {
        let mut seen: Vec<Vec<Result<Vec<Round>, String>>> = self
            .sides
            .iter()
            .map(|_| self.columns.iter().map(|_| Ok(Vec::new())).collect())
            .collect();
        let (kinds, peers) = (self.kinds(), self.peers());
        'rounds: for round in 0..rounds {
            for &(side, kind) in &kinds {
                for turn in 0..peers.len() {
                    // Another one begins each time.
                    let (column, name) = peers[(round + turn) % peers.len()];
                    let Ok(so_far) = &mut seen[side][column] else {
                        continue;
                    };
                    progress(kind, name);
                    match self.round(side, column, limits) {
                        Ok(round) => so_far.extend(round),
                        Err(error) => seen[side][column] = Err(error),
                    }
                    if limits.stop.load(Ordering::Relaxed) != 0 {
                        break 'rounds;
                    }
                }
            }
        }
        self.rows(seen)
    }

    fn rows(&self, seen: Vec<Vec<Result<Vec<Round>, String>>>) -> Vec<Row> {
        let cell = |(column, rounds): (&Column<'a>, Result<Vec<Round>, String>)| Cell {
            column: column.name,
            figures: rounds.as_ref().ok().and_then(|rounds| Figures::of(rounds)),
            unavailable: column.peer.as_ref().err().cloned().or(rounds.err()),
        };
        let row = |(side, rounds): (&Side, Vec<_>)| Row {
            name: side.kind.name(),
            title: side.kind.title(self.scale),
            skipped: side.memory.as_ref().err().cloned(),
            columns: if side.memory.is_ok() {
                self.columns.iter().zip(rounds).map(cell).collect()
            } else {
                Vec::new()
            },
        };
        let mut rows: Vec<Row> = self.sides.iter().zip(seen).map(row).collect();
        let Some((alone, beside)) = rows.split_first_mut() else {
            return rows;
        };
        for row in beside {
            for (cell, alone) in row.columns.iter_mut().zip(&alone.columns) {
                if let (Some(figures), Some(alone)) = (&mut cell.figures, &alone.figures) {
                    figures.compare(alone);
                }
            }
        }
        rows
    }
}

/// A request that moved all it should.
fn whole(result: io::Result<usize>, len: usize) -> io::Result<()> {
    match result? {
        count if count == len => Ok(()),
        count => Err(io::Error::other(format!("it moved {count} bytes of {len}"))),
    }
}

/// Memory for the warm reads of one peer, with every page there. Never unmapped, see `cold`.
pub(crate) fn warm_memory() -> io::Result<&'static Map> {
    let map = Map::new(
        DEPTH * BLOCK,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        -1,
        0,
    )?;
    map.put(0, &[1; DEPTH * BLOCK]);
    Ok(Box::leak(Box::new(map)))
}
