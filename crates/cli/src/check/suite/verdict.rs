//! How a cell ends, and how that is told over a pipe.

use crate::faults::stop::Stop;

/// What a scenario returns.
pub(crate) type Outcome = Result<(), Stop>;

/// How a cell ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All held.
    Pass,
    /// What was seen.
    Fail(String),
    /// It was ended by the watchdog; what its threads were waiting in.
    Hang(String),
    /// Why it can't run here.
    Skip(String),
}

impl Verdict {
    /// PASS, FAIL, HANG or SKIP.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Verdict::Pass => "PASS",
            Verdict::Fail(_) => "FAIL",
            Verdict::Hang(_) => "HANG",
            Verdict::Skip(_) => "SKIP",
        }
    }

    /// What was seen, or why; empty for PASS.
    pub(crate) fn what(&self) -> &str {
        match self {
            Verdict::Pass => "",
            Verdict::Fail(what) | Verdict::Hang(what) | Verdict::Skip(what) => what,
        }
    }

    /// Whether this must not be in the column that decides.
    pub(crate) fn is_bad(&self) -> bool {
        matches!(self, Verdict::Fail(_) | Verdict::Hang(_))
    }

    /// One line, for [`Verdict::from_line`].
    pub(crate) fn to_line(&self) -> String {
        format!(
            "{MARK}{} {}\n",
            self.word(),
            self.what().replace(['\n', '\r'], "; ")
        )
    }

    /// Finds the verdict in a line that a cell wrote, among others that it may have written.
    pub(crate) fn from_line(line: &str) -> Option<Verdict> {
        let (word, what) = line.split_once(MARK)?.1.split_once(' ')?;
        let what = what.trim_end().to_owned();
        match word {
            "PASS" => Some(Verdict::Pass),
            "FAIL" => Some(Verdict::Fail(what)),
            "HANG" => Some(Verdict::Hang(what)),
            "SKIP" => Some(Verdict::Skip(what)),
            _ => None,
        }
    }
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Verdict {
        match outcome {
            Ok(()) => Verdict::Pass,
            Err(Stop::Fail(what)) => Verdict::Fail(what),
            Err(Stop::Skip(why)) => Verdict::Skip(why),
        }
    }
}

/// Starts the line of a verdict.
const MARK: &str = "nofault-verdict: ";
