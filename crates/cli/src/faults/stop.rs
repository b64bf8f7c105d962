//! Why something that should have been seen was not: a failure with what was seen, or the reason why
//! it is not possible here.

use std::fmt::Display;
use std::io;

/// Why a scenario did not run to its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// What was seen that must not be.
    Fail(String),
    /// Which property of the filesystem, the kernel or the privileges makes it impossible here.
    Skip(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Fail(error.to_string())
    }
}

/// Adds what was being done to an error that must not be.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl Display) -> Result<T, Stop>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl Display) -> Result<T, Stop> {
        self.map_err(|error| Stop::Fail(format!("{what}: {error}")))
    }
}

impl<T> Doing<T> for Result<T, Stop> {
    fn doing(self, what: impl Display) -> Result<T, Stop> {
        self.map_err(|stop| match stop {
            Stop::Fail(why) => Stop::Fail(format!("{what}: {why}")),
            skip @ Stop::Skip(_) => skip,
        })
    }
}

/// Leaves the scenario with what was seen, unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err($crate::faults::stop::Stop::Fail(format!($($words)+)));
        }
    };
}
pub(crate) use ensure;
