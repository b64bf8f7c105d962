//! A job file written out: every job on its own, with nothing to inherit or expand.

use std::fmt;

use super::job::{Job, JobFile};
use super::options;

/// A job file that is read as the same jobs, by this module and by fio. No `[global]`, no comments,
/// no variables.
impl fmt::Display for JobFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.jobs().try_for_each(|job| job.fmt(out))
    }
}

/// The job as a section of a job file.
impl fmt::Display for Job {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "[{}]", self.section)?;
        if self.name != self.section {
            writeln!(out, "name={}", self.name)?;
        }
        for (name, value) in options::show(&self.options) {
            match value {
                Some(value) => writeln!(out, "{name}={value}")?,
                None => writeln!(out, "{name}")?,
            }
        }
        Ok(())
    }
}
