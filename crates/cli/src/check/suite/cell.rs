//! One scenario in one column, as its own process sees it.

use std::io;

use nofault::Backend;

use super::column::{backend_from_name, backend_name};
use super::{Column, Context, Verdict, scenarios};

/// What a cell has to be told. Its directory is its working directory.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) scenario: String,
    pub(crate) column: Column,
    /// For the nofault column.
    pub(crate) backend: Backend,
    /// How much disk space the scenario may use, in bytes.
    pub(crate) size_bytes: u64,
    pub(crate) seed: u64,
}

impl Cell {
    /// One word, for [`Cell::from_word`].
    pub(crate) fn to_word(&self) -> String {
        format!(
            "{}/{}/{}/{}/{}",
            self.scenario,
            self.column.name(),
            backend_name(self.backend),
            self.size_bytes,
            self.seed
        )
    }

    pub(crate) fn from_word(word: &str) -> Option<Cell> {
        let mut parts = word.split('/');
        let cell = Cell {
            scenario: parts.next()?.to_owned(),
            column: Column::from_name(parts.next()?)?,
            backend: backend_from_name(parts.next()?)?,
            size_bytes: parts.next()?.parse().ok()?,
            seed: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(cell)
    }

    /// Runs in the process made for it, and writes the verdict to standard output.
    pub(crate) fn run_here(&self) {
        let verdict = match (scenarios::find(&self.scenario), std::env::current_dir()) {
            (None, _) => Verdict::Fail(format!("there is no scenario {}", self.scenario)),
            (_, Err(error)) => Verdict::Fail(format!("no working directory: {error}")),
            (Some(scenario), Ok(dir)) => {
                let context = Context::new(dir, self);
                (scenario.run)(&context).into()
            }
        };
        tell(&verdict);
    }
}

/// Writes to the descriptor itself, so that nothing captures it.
fn tell(verdict: &Verdict) {
    let line = verdict.to_line();
    let mut rest = line.as_bytes();
    while !rest.is_empty() {
        // SAFETY: the pointer and the length are those of a slice.
        let written = unsafe { libc::write(1, rest.as_ptr().cast(), rest.len()) };
        match usize::try_from(written) {
            Ok(count) => rest = &rest[count..],
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            // Nobody listens any more.
            Err(_) => return,
        }
    }
}
