//! The three columns of one run: which of them are to be had here, and what to say about those that
//! are not, or not quite.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use super::buffered::Buffered;
use super::memory::Memory;
use super::meter::Pass;
use super::nofault::Nofault;
use super::ring::Ring;
use super::runner::{Column, Runner};
use crate::ground::engine::BackendChoice;
use crate::ground::facts;
use crate::ground::scratch::Scratch;

/// The runners.
pub(crate) struct Columns<'a> {
    nofault: Nofault<'a>,
    bare: Result<Bare, String>,
    buffered: Buffered<'a>,
    memory: &'a Memory,
}

/// The direct descriptor and the ring on it.
struct Bare {
    file: File,
    ring: Ring,
}

impl<'a> Columns<'a> {
    /// The error is the whole line for the user: without nofault there is nothing to show.
    pub(crate) fn new(
        scratch: &'a Scratch,
        memory: &'a Memory,
        backend: BackendChoice,
    ) -> Result<Columns<'a>, String> {
        let nofault = Nofault::new(scratch, backend)?;
        Ok(Columns {
            nofault,
            bare: Bare::new(scratch, memory),
            buffered: Buffered::new(scratch, memory),
            memory,
        })
    }

    /// Why a column has no figures at all.
    pub(crate) fn unavailable(&self, column: Column) -> Option<&str> {
        if column == Column::Bare {
            self.bare.as_ref().err().map(String::as_str)
        } else {
            None
        }
    }

    /// The runner of a column that is not unavailable, made ready for a round of this pass.
    ///
    /// For a split round nofault and the bare loop get a new ring each: the statistics of an engine
    /// cover its whole life, and what a ring's first use costs shall count for both or for none.
    pub(crate) fn runner(&mut self, column: Column, pass: Pass) -> io::Result<&mut dyn Runner> {
        Ok(match column {
            Column::Nofault => {
                self.nofault.prepare(pass)?;
                &mut self.nofault
            }
            Column::Bare => {
                let bare = self
                    .bare
                    .as_mut()
                    .map_err(|reason| io::Error::other(reason.clone()))?;
                if pass == Pass::Split {
                    bare.ring = Ring::new(&bare.file, self.memory)?;
                }
                &mut bare.ring
            }
            Column::Buffered => &mut self.buffered,
        })
    }

    /// The column that says what the engine found.
    pub(crate) fn nofault(&self) -> &Nofault<'a> {
        &self.nofault
    }

    /// What is not as the reader of the table would expect it.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(error) = self
            .bare
            .as_ref()
            .ok()
            .and_then(|bare| bare.ring.unregistered.as_ref())
        {
            notes.push(format!(
                "bare io_uring has no registered buffers here: {}.",
                facts::explain_ring_error(error)
            ));
        }
        if self.buffered.is_shallow() {
            notes.push(
                "Without io_uring the 4 KiB rows of buffered have one request at a time, too."
                    .into(),
            );
        }
        notes
    }
}

impl Bare {
    fn new(scratch: &Scratch, memory: &Memory) -> Result<Bare, String> {
        let direct = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_DIRECT)
            .open(scratch.path());
        let file = direct.map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => format!("EINVAL: {} refuses O_DIRECT", scratch.filesystem),
            _ => format!("cannot open the file for direct I/O: {error}"),
        })?;
        let ring = Ring::new(&file, memory).map_err(|error| facts::explain_ring_error(&error))?;
        Ok(Bare { file, ring })
    }
}
