//! `nofault compare BEFORE AFTER`: what has changed from one result file to another, and
//! whether that is more than noise.
//!
//! This file knows the command and the exit status: 0 nothing is worse, 1 something is, 2 a file
//! can't be used. `read` knows the layouts of the files, `statistics` when a difference is a
//! change, `table` how all is shown. Touches nothing but the two files.

mod document;
mod read;
mod statistics;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::read::{Entry, Results};
use self::statistics::{Change, Metric};
use crate::report::{self, Outcome};

/// Options of `nofault compare`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A file of --json of bench or run, or of real fio
    before: PathBuf,
    /// Another one, in which something may be worse
    after: PathBuf,
    /// Differences up to so many percent do not count, however steady the rounds are
    #[arg(long, value_name = "PERCENT", default_value = "5", value_parser = percent)]
    threshold: f64,
    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text
        .trim()
        .trim_end_matches('%')
        .parse()
        .ok()
        .filter(|percent: &f64| percent.is_finite() && *percent >= 0.0);
    number.ok_or_else(|| format!("`{text}` is not a number of percent, 0 or more"))
}

/// Everything that is shown.
struct Comparison {
    before: Source,
    after: Source,
    threshold_percent: f64,
    entries: Vec<Compared>,
    /// What has figures in one of the files only, and why.
    only: Vec<Only>,
}

/// One of the files.
struct Source {
    file: String,
    /// What it says of itself.
    about: Vec<(&'static str, String)>,
}

/// One job in one column, in both files.
struct Compared {
    job: String,
    column: String,
    changes: Vec<Change>,
}

/// One job in one column that has figures in one file alone.
struct Only {
    job: String,
    column: String,
    what: OnlyWhat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnlyWhat {
    Before,
    After,
    /// It is in both, and has failed in the second one: that is worse.
    FailsNow,
    FailedBefore,
}

impl Comparison {
    fn of(before: Results, after: Results, threshold_percent: f64) -> Comparison {
        let mut comparison = Comparison {
            before: Source {
                file: before.file,
                about: before.about,
            },
            after: Source {
                file: after.file,
                about: after.about,
            },
            threshold_percent,
            entries: Vec::new(),
            only: Vec::new(),
        };
        let same =
            |a: &Entry, b: &Entry| (&a.job, &a.column, a.number) == (&b.job, &b.column, b.number);
        for old in &before.entries {
            let new = after.entries.iter().find(|new| same(old, new));
            let what = match new {
                None => OnlyWhat::Before,
                Some(new) => match (old.failed, new.failed) {
                    (false, true) => OnlyWhat::FailsNow,
                    (true, false) => OnlyWhat::FailedBefore,
                    (true, true) => continue,
                    (false, false) => {
                        comparison.compare(old, new);
                        continue;
                    }
                },
            };
            comparison.only.push(Only {
                job: old.shown(),
                column: old.column.clone(),
                what,
            });
        }
        for new in after
            .entries
            .iter()
            .filter(|new| !before.entries.iter().any(|old| same(old, new)))
        {
            comparison.only.push(Only {
                job: new.shown(),
                column: new.column.clone(),
                what: OnlyWhat::After,
            });
        }
        comparison
    }

    fn compare(&mut self, old: &Entry, new: &Entry) {
        let of = |metric: &Metric, rounds: &[f64]| {
            let (_, now) = new.figures.iter().find(|(name, _)| name == metric)?;
            statistics::compare(metric.clone(), rounds, now, self.threshold_percent)
        };
        let changes = old
            .figures
            .iter()
            .filter_map(|(metric, rounds)| of(metric, rounds))
            .collect();
        self.entries.push(Compared {
            job: old.shown(),
            column: old.column.clone(),
            changes,
        });
    }

    fn count(&self, verdict: statistics::Verdict) -> usize {
        self.entries
            .iter()
            .flat_map(|entry| &entry.changes)
            .filter(|change| change.verdict == verdict)
            .count()
    }

    /// Figures that are worse, and jobs that fail now.
    fn worse(&self) -> usize {
        self.count(statistics::Verdict::Worse)
            + self
                .only
                .iter()
                .filter(|only| only.what == OnlyWhat::FailsNow)
                .count()
    }

    /// A figure of which nothing is known but a single round.
    fn noise_is_unknown(&self) -> bool {
        self.entries
            .iter()
            .flat_map(|entry| &entry.changes)
            .any(|change| change.noise_percent.is_none())
    }
}

/// Compares the files.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let (before, after) = read_both(&arguments.before, &arguments.after)?;
    let comparison = Comparison::of(before, after, arguments.threshold);
    report::show(arguments.json, &document::document(&comparison), |paint| {
        table::render(&comparison, paint)
    })?;
    Ok(ExitCode::from(u8::from(comparison.worse() > 0)))
}

fn read_both(before: &Path, after: &Path) -> Result<(Results, Results), String> {
    let read = |path: &Path| {
        let text = std::fs::read(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        read::results(&path.display().to_string(), &text)
    };
    let (before, after) = (read(before)?, read(after)?);
    let both = |old: &Entry| {
        after
            .entries
            .iter()
            .any(|new| (&old.job, &old.column) == (&new.job, &new.column))
    };
    if !before.entries.iter().any(both) {
        // To call that no change for the worse would be a lie.
        return Err(format!(
            "{} and {} have no job in common: there is nothing to compare",
            before.file, after.file
        ));
    }
    Ok((before, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::table::Paint;
    use serde_json::{Value, json};

    fn results(jobs: Value) -> Results {
        let text = json!({ "fio version": "fio-3.36", "jobs": jobs }).to_string();
        read::results("a.json", text.as_bytes()).expect("results")
    }

    fn job(name: &str, iops: f64) -> Value {
        json!({ "jobname": name, "error": 0, "read": { "total_ios": 1000, "iops": iops } })
    }

    fn failed(name: &str) -> Value {
        json!({ "jobname": name, "error": 1 })
    }

    #[test]
    fn jobs_are_matched_by_name_and_what_is_missing_is_listed() {
        let before = results(json!([
            job("a", 100.0),
            job("same", 10.0),
            job("same", 20.0),
            job("gone", 1.0)
        ]));
        let after = results(json!([
            job("new", 1.0),
            job("same", 10.0),
            job("same", 20.0),
            job("a", 100.0)
        ]));
        let found = Comparison::of(before, after, 5.0);
        assert_eq!(found.entries.len(), 3);
        assert!(
            found
                .entries
                .iter()
                .flat_map(|entry| &entry.changes)
                .all(|change| change.before == change.after)
        );
        let only: Vec<_> = found
            .only
            .iter()
            .map(|only| (only.job.as_str(), only.what))
            .collect();
        assert_eq!(only, [("gone", OnlyWhat::Before), ("new", OnlyWhat::After)]);
        assert_eq!(found.worse(), 0);
    }

    #[test]
    fn a_job_that_fails_now_is_worse_and_one_that_failed_is_not() {
        let found = Comparison::of(
            results(json!([job("a", 1.0), failed("b"), failed("c")])),
            results(json!([failed("a"), job("b", 1.0), failed("c")])),
            5.0,
        );
        assert_eq!(found.worse(), 1);
        assert_eq!(
            found.only.iter().map(|only| only.what).collect::<Vec<_>>(),
            [OnlyWhat::FailsNow, OnlyWhat::FailedBefore]
        );
    }

    #[test]
    fn no_line_is_too_wide_and_the_last_one_says_the_status() {
        let long = "a-job-with-a-name-that-is-rather-long-".repeat(4);
        for (rate, word) in [(50.0, "status 1"), (100.0, "status 0")] {
            let found = Comparison::of(
                results(json!([job(&long, 100.0)])),
                results(json!([job(&long, rate)])),
                5.0,
            );
            let text = table::render(&found, Paint(false));
            assert!(
                text.lines().all(|line| line.chars().count() <= 100),
                "{text}"
            );
            assert!(
                text.lines().last().is_some_and(|line| line.contains(word)),
                "{text}"
            );
            assert!(text.contains("unknown"), "{text}");
        }
    }
}
