//! What a job file takes from outside itself: variables, the machine, included files.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::MAX_TEXT_BYTES;

/// The machine that the reserved words of a job file speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// `$ncpus`: the processors that are online.
    pub processors: u64,
    /// `$pagesize`: the bytes of a page.
    pub page_bytes: u64,
    /// `$mb_memory`: the memory in MiB.
    pub memory_mib: u64,
}

type Variable<'a> = Box<dyn Fn(&str) -> Option<String> + 'a>;
type Include<'a> = Box<dyn Fn(&Path) -> io::Result<Vec<u8>> + 'a>;

/// Where a job file is read: what its `${VARIABLES}` stand for, what machine it is on, and which
/// files it may include.
pub struct Surroundings<'a> {
    variable: Variable<'a>,
    machine: Machine,
    include: Include<'a>,
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Surroundings")
            .field("machine", &self.machine)
            .finish_non_exhaustive()
    }
}

impl<'a> Surroundings<'a> {
    /// This process: its environment, this machine, the files that it can read.
    pub fn system() -> Surroundings<'a> {
        Surroundings {
            variable: Box::new(|name| std::env::var(name).ok()),
            machine: this_machine(),
            include: Box::new(read_bounded),
        }
    }

    /// Nothing from outside: no variable is set, no file can be included, one processor with pages
    /// of 4 KiB and 1024 MiB of memory. What is read then depends on the text alone.
    pub fn isolated() -> Surroundings<'a> {
        Surroundings {
            variable: Box::new(|_| None),
            machine: Machine {
                processors: 1,
                page_bytes: 4096,
                memory_mib: 1024,
            },
            include: Box::new(|_| {
                Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "nothing can be included here",
                ))
            }),
        }
    }

    /// The same, with other variables: `variable` is given a name, and tells its value if it is
    /// set.
    #[must_use]
    pub fn variables(mut self, variable: impl Fn(&str) -> Option<String> + 'a) -> Surroundings<'a> {
        self.variable = Box::new(variable);
        self
    }

    /// The same, on another machine.
    #[must_use]
    pub fn machine(mut self, machine: Machine) -> Surroundings<'a> {
        self.machine = machine;
        self
    }

    /// The same, with other files to include. `include` is given the name as it was written, and if
    /// that fails the same name beside the file that it is written in. More than [`MAX_TEXT_BYTES`]
    /// are refused.
    #[must_use]
    pub fn includes(
        mut self,
        include: impl Fn(&Path) -> io::Result<Vec<u8>> + 'a,
    ) -> Surroundings<'a> {
        self.include = Box::new(include);
        self
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name)
    }

    pub(super) fn of_machine(&self) -> &Machine {
        &self.machine
    }

    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        (self.include)(path)
    }
}

/// The bytes of a file, one more than the limit at most.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_TEXT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn this_machine() -> Machine {
    let ask = |name| {
        // SAFETY: sysconf takes no pointer.
        u64::try_from(unsafe { libc::sysconf(name) }).unwrap_or(0)
    };
    let page_bytes = ask(libc::_SC_PAGESIZE).max(1);
    Machine {
        processors: ask(libc::_SC_NPROCESSORS_ONLN).max(1),
        page_bytes,
        memory_mib: (ask(libc::_SC_PHYS_PAGES).saturating_mul(page_bytes)) >> 20,
    }
}
