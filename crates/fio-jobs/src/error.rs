//! What is wrong with a job file, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a job file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub path: PathBuf,
    /// The line, from 1; 0 if the whole file is meant.
    pub line: u32,
    /// The character in the line, from 1; 0 if the whole line is meant.
    pub column: u32,
}

impl Place {
    pub(super) fn whole(path: &Path) -> Place {
        Place {
            path: path.to_owned(),
            line: 0,
            column: 0,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.path.display())?;
        if self.line > 0 {
            write!(out, ":{}", self.line)?;
        }
        if self.line > 0 && self.column > 0 {
            write!(out, ":{}", self.column)?;
        }
        Ok(())
    }
}

/// What kind of mistake an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file can't be read: the job file itself, or an included one.
    Unreadable,
    /// A line that is neither a section nor an option, or that stands in the wrong place.
    Syntax,
    /// An option that neither this nor fio knows.
    UnknownOption,
    /// An option of fio's that would change what is measured, and that is not offered here.
    Unsupported,
    /// A value that the option does not take.
    Value,
    /// Options of one job that do not go together.
    Conflict,
    /// One of the limits of this module.
    Limit,
}

/// Why a job file can't be used. It prints as one line: place, option, reason, and the nearest name
/// where a name is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Error {
    /// What kind of mistake it is.
    pub kind: ErrorKind,
    /// Where it is.
    pub place: Place,
    /// The option that it concerns, as it was written.
    pub option: Option<String>,
    /// The name nearest to one that is not known.
    pub nearest: Option<&'static str>,
    /// The reason, without place and option.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", self.place)?;
        if let Some(option) = &self.option {
            write!(out, "{option}: ")?;
        }
        out.write_str(&self.message)?;
        match self.nearest {
            Some(nearest) => write!(out, "; did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Something in a job file that has no effect here, or another than it seems to have. The file can
/// be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// Where it is.
    pub place: Place,
    /// The option that it concerns, as it was written; none if it concerns a section.
    pub option: Option<String>,
    /// What has no effect, and why.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: warning: ", self.place)?;
        if let Some(option) = &self.option {
            write!(out, "{option}: ")?;
        }
        out.write_str(&self.message)
    }
}

/// A mistake whose place is not known yet: what the functions for single values return.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn value(message: impl Into<String>) -> Fault {
        Fault {
            kind: ErrorKind::Value,
            message: message.into(),
        }
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Fault {
        Fault {
            kind: ErrorKind::Unsupported,
            message: message.into(),
        }
    }

    pub(super) fn at(self, place: Place, option: Option<&str>) -> Error {
        Error {
            kind: self.kind,
            place,
            option: option.map(str::to_owned),
            nearest: None,
            message: self.message,
        }
    }
}
