//! The columns of real fio: the same jobs on the same files, carried out by the program that people
//! know.
//!
//! May know: what a group of jobs is, and what a run gives. Each run is one call of fio, with a job
//! file that has just this group. What fio found out is made into the records of the other columns;
//! nobody else needs to know where they are from.

mod child;
mod job;
mod output;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use fio_jobs::IoEngine;
use tempfile::TempDir;

use self::child::End;
use self::output::{Reported, Reports};
use super::group::{Column, Outcome, RUN_TICKS, Watch};
use super::plan::Group;
use super::record::Record;

/// How long fio may take to say its version.
const VERSION_TIME: Duration = Duration::from_secs(10);
/// What starting, laying out and reporting may take, whatever the job is.
const SPARE_TIME: Duration = Duration::from_secs(60);
/// The slowest device that is waited for: this long for a request, and so many bytes a second.
const SLOWEST_REQUEST: Duration = Duration::from_millis(20);
const SLOWEST_BYTES: u64 = 4 << 20;
/// What is kept of fio's own words for the reason that a column is not there.
const REASON_LENGTH: usize = 200;

/// Which of fio's engines does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    /// `ioengine=io_uring`, direct or not as the job says.
    IoUring,
    /// `ioengine=libaio`, direct or not as the job says.
    Libaio,
    /// `ioengine=psync direct=0`.
    Psync,
}

impl Engine {
    pub(super) const ALL: [Engine; 3] = [Engine::IoUring, Engine::Libaio, Engine::Psync];

    pub(super) fn title(self) -> &'static str {
        match self {
            Engine::IoUring => "fio io_uring",
            Engine::Libaio => "fio libaio",
            Engine::Psync => "fio psync buffered",
        }
    }

    fn name(self) -> IoEngine {
        match self {
            Engine::IoUring => IoEngine::IoUring,
            Engine::Libaio => IoEngine::Libaio,
            Engine::Psync => IoEngine::Psync,
        }
    }
}

/// A fio that answers.
pub(super) struct Fio {
    program: PathBuf,
    version: String,
    /// Job files and reports. Nothing of the jobs themselves.
    scratch: TempDir,
    /// How long a run may take, if the user says so.
    limit: Option<Duration>,
}

/// Which fio it is, for the head of reports.
#[derive(Clone)]
pub(super) struct Facts {
    pub(super) program: String,
    pub(super) version: String,
}

impl Fio {
    /// Sees that this program is there, and is fio. The error is the whole line for the user.
    pub(super) fn find(
        program: &Path,
        limit: Option<Duration>,
        signal: &AtomicUsize,
    ) -> Result<Fio, String> {
        let name = program.display();
        let advice = "install fio, or name it with --fio=PROGRAM";
        // It will run in another directory.
        let plain = program.components().count() == 1 && !program.starts_with(".");
        let full = if plain {
            Ok(program.to_owned())
        } else {
            fs::canonicalize(program)
        };
        let cannot = |error: io::Error| format!("cannot run {name}: {error}; {advice}");
        let program = full.map_err(cannot)?;
        let scratch = tempfile::Builder::new().prefix("nofault-fio-").tempdir();
        let scratch = scratch
            .map_err(|error| format!("cannot make a directory for fio's reports: {error}"))?;
        let said = scratch.path().join("version");
        let out = File::create(&said)
            .map_err(|error| format!("cannot write to {}: {error}", said.display()))?;
        let mut command = Command::new(&program);
        command
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::null())
            .env("LC_ALL", "C");
        let over = child::run(&mut command, VERSION_TIME, signal, |_| ()).map_err(cannot)?;
        let said = fs::read_to_string(&said).unwrap_or_default();
        let version = said.lines().next().unwrap_or_default().trim();
        match over.end {
            End::Ended(status) if status.success() && version.starts_with("fio-") => {}
            End::TooLong => return Err(format!("{name} --version does not end; {advice}")),
            End::Interrupted => {
                return Err(format!(
                    "interrupted while {name} was asked for its version"
                ));
            }
            End::Ended(_) => {
                return Err(format!(
                    "{name} --version does not answer as fio does; {advice}"
                ));
            }
        }
        Ok(Fio {
            program,
            version: version.to_owned(),
            scratch,
            limit,
        })
    }

    pub(super) fn facts(&self) -> Facts {
        Facts {
            program: self.program.display().to_string(),
            version: self.version.clone(),
        }
    }

    /// Runs all jobs of the group, in `dir`. The files are laid out and ready; fio may have
    /// replaced those that it makes longer.
    pub(super) fn run(
        &self,
        group: &Group,
        engine: Engine,
        dir: &Path,
        watch: &Watch<'_>,
    ) -> Outcome {
        let mapped: Vec<PathBuf> = group
            .jobs
            .iter()
            .filter_map(|job| job::mapped(&job.job))
            .map(|name| dir.join(name))
            .collect();
        if let Some(there) = mapped.iter().find(|path| path.exists()) {
            return Outcome::nothing(
                group,
                &format!(
                    "{} is there already, and fio would map and remove it",
                    there.display()
                ),
            );
        }
        let outcome = self.call(group, engine, dir, watch);
        // fio removes them itself, unless it was ended.
        mapped.iter().for_each(|path| drop(fs::remove_file(path)));
        outcome.unwrap_or_else(|reason| Outcome::nothing(group, &reason))
    }

    fn call(
        &self,
        group: &Group,
        engine: Engine,
        dir: &Path,
        watch: &Watch<'_>,
    ) -> Result<Outcome, String> {
        let [file, report, errors] =
            ["job.fio", "report.json", "errors.txt"].map(|name| self.scratch.path().join(name));
        let io = |error: io::Error| {
            format!("cannot write to {}: {error}", self.scratch.path().display())
        };
        fs::write(&file, job::text(group, engine)).map_err(io)?;
        // What an earlier run left would be taken for this one's.
        match fs::remove_file(&report) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let said = File::create(&errors).map_err(io)?;
        let mut output = std::ffi::OsString::from("--output=");
        output.push(&report);
        let mut aux = std::ffi::OsString::from("--aux-path=");
        aux.push(self.scratch.path());
        let mut command = Command::new(&self.program);
        command
            .arg("--output-format=json+")
            .arg(output)
            .arg(aux)
            .arg(&file)
            .current_dir(dir)
            .env("LC_ALL", "C");
        command
            .stdin(Stdio::null())
            .stdout(said.try_clone().map_err(io)?)
            .stderr(said);
        let limit = self.limit.unwrap_or_else(|| job::time_limit(group));
        let time = group.time();
        let over = child::run(&mut command, limit, watch.signal, |elapsed| {
            show(group, engine, time, elapsed, watch)
        });
        let over =
            over.map_err(|error| format!("cannot run {}: {error}", self.program.display()))?;
        let report = read(&report);
        let said = read(&errors);
        let reports = Reports::read(&report);
        let status = match over.end {
            End::Ended(status) => status,
            // It reports what it has when it is asked to end; if not, nothing was measured.
            End::Interrupted => {
                let records = reports
                    .ok()
                    .and_then(|reports| reports.records(group, over.jobs_cpu).ok());
                let nothing = || {
                    group
                        .jobs
                        .iter()
                        .map(|_| Reported::Measured(Box::new(Record::new())))
                        .collect()
                };
                return Ok(outcome(records.unwrap_or_else(nothing)));
            }
            End::TooLong => {
                return Err(format!(
                    "fio had not ended after {} s, and was ended",
                    limit.as_secs_f64()
                ));
            }
        };
        let words = || reason(&[&said, output::before_report(&report)]);
        let reports = reports.map_err(|error| {
            words().unwrap_or_else(|| format!("fio ended with {status}: {error}"))
        })?;
        let failed = reports.any_error();
        if !status.success() && !failed {
            return Err(words().unwrap_or_else(|| format!("fio ended with {status}")));
        }
        let mut outcome = outcome(reports.records(group, over.jobs_cpu)?);
        if failed {
            outcome.request_failed =
                reports.any_request() || said.contains("io_u error") || said.contains("verify:");
            if let Some(words) = words() {
                outcome
                    .jobs
                    .iter_mut()
                    .filter_map(|job| job.as_mut().err())
                    .for_each(|text| *text = format!("{text}: {words}"));
            }
        }
        Ok(outcome)
    }

    /// What has to be known to read fio's lines.
    pub(super) fn notes(&self, groups: &[Group]) -> Vec<String> {
        let mut notes = vec![format!(
            "fio is {} of {}, called for each group of jobs in each round, on the same files; what it measures is its own. Its latency is what it \
             calls lat, submit is its slat, of every request. CPU: user and system time of its jobs, io_uring's workers included unless a job \
             says thread=1; starting fio and reading its clocks before is not. fio psync buffered has one request at a time, through the page \
             cache, whatever the job says; fio io_uring and fio libaio are direct if the job says so. Unless a job says iodepth_batch, fio \
             submits and reaps one by one, the other columns all that is ready.",
            self.version,
            self.program.display()
        )];
        notes.extend(
            groups
                .iter()
                .flat_map(|group| &group.jobs)
                .filter_map(job::heeded),
        );
        notes
    }
}

impl Outcome {
    /// No job was carried out.
    fn nothing(group: &Group, reason: &str) -> Outcome {
        Outcome {
            jobs: group.jobs.iter().map(|_| Err(reason.to_owned())).collect(),
            notes: Vec::new(),
            request_failed: false,
        }
    }
}

fn outcome(reported: Vec<Reported>) -> Outcome {
    let failed = reported
        .iter()
        .any(|job| matches!(job, Reported::Failed(_)));
    let result = |job| match job {
        Reported::Failed(reason) => Err(reason),
        // What the others measured until one failed is not what was asked for.
        Reported::Measured(_) if failed => Err("another job of its group failed".to_owned()),
        Reported::Measured(record) => Ok(*record),
    };
    Outcome {
        jobs: reported.into_iter().map(result).collect(),
        notes: Vec::new(),
        request_failed: false,
    }
}

/// How far it may be. fio says nothing while it runs.
fn show(
    group: &Group,
    engine: Engine,
    time: Option<Duration>,
    elapsed: Duration,
    watch: &Watch<'_>,
) {
    let part = time.map_or(0.0, |time| {
        elapsed.as_secs_f64() / time.as_secs_f64().max(1e-3)
    });
    watch
        .bar
        .set_position(watch.from + (part.min(1.0) * RUN_TICKS as f64) as u64);
    let jobs = if group.jobs.len() == 1 {
        String::new()
    } else {
        format!(", {} jobs", group.jobs.len())
    };
    watch.bar.set_message(format!(
        "{}, {}{jobs}: {} s",
        watch.title,
        Column::Fio(engine).title(),
        elapsed.as_secs()
    ));
}

/// A file of fio's, as far as it can be read.
fn read(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// fio's own words for what went wrong: its first line that says something.
fn reason(texts: &[&str]) -> Option<String> {
    let mut lines = texts.iter().flat_map(|text| text.lines()).map(str::trim);
    let line = lines.find(|line| {
        !line.is_empty() && !line.starts_with("note:") && !line.contains("terminating on signal")
    })?;
    let line = line.strip_prefix("fio: ").unwrap_or(line);
    Some(if line.chars().count() > REASON_LENGTH {
        line.chars().take(REASON_LENGTH).chain(['…']).collect()
    } else {
        line.to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::super::files::{Files, Wish};
    use super::*;

    #[test]
    fn the_reason_is_the_first_line_that_says_something() {
        let said = "\nnote: both are given\nfio: engine nothing not loadable\nfio: failed\n";
        assert_eq!(
            reason(&[said, "fio: more"]).as_deref(),
            Some("engine nothing not loadable")
        );
        assert_eq!(
            reason(&["", "fio: terminating on signal 15\nfio: more"]).as_deref(),
            Some("more")
        );
        assert_eq!(reason(&["", "\n"]), None);
        assert_eq!(
            reason(&["é".repeat(300).as_str()]).map(|line| line.chars().count()),
            Some(REASON_LENGTH + 1)
        );
    }

    #[test]
    fn a_file_that_was_replaced_is_the_one_that_is_made_ready() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        let mut files = Files::default();
        let (file, _) = files.find(path.clone()).expect("not there");
        let wish = Wish {
            job: "j",
            bytes: 8192,
            write: true,
            laid_out: false,
            invalidate: false,
            sparse: true,
            in_use_allowed: false,
        };
        files.wish(file, &wish);
        assert_eq!(files.lay_out(file, &AtomicUsize::new(0), |_| ()), Ok(true));
        // As fio does with one that it has to make longer.
        fs::remove_file(&path).expect("made");
        fs::write(&path, [1; 8192]).expect("written");
        files.take_back(file).expect("there");
        files.reset(file).expect("ours");
        assert_eq!(fs::metadata(&path).map(|found| found.len()).ok(), Some(0));
    }
}
