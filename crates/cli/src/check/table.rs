//! The table on the terminal or in a pipe, and the progress line while it grows.

use std::io::{IsTerminal, stdout};

use indicatif::{ProgressBar, ProgressStyle};

use super::Done;
use super::suite::{Column, Scenario, Verdict, scenarios};
use crate::report::print;

const NAME: usize = 34;
const WORD: usize = 9;

pub(super) struct Table {
    columns: Vec<Column>,
    /// No table: the result is printed as JSON at the end.
    quiet: bool,
    colour: bool,
    progress: ProgressBar,
}

impl Table {
    pub(super) fn new(columns: &[Column], quiet: bool, cells: usize) -> Table {
        let colour = stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        // Drawn on standard error, and only where that is a terminal.
        let progress = ProgressBar::new(cells as u64);
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {pos}/{len} {elapsed} {wide_msg}")
        {
            progress.set_style(style);
        }
        Table {
            columns: columns.to_vec(),
            quiet,
            colour,
            progress,
        }
    }

    fn say(&self, text: &str) -> Result<(), String> {
        if self.quiet {
            Ok(())
        } else {
            self.progress.suspend(|| print(text))
        }
    }

    pub(super) fn head(&self, header: &str) -> Result<(), String> {
        let mut line = format!("{:NAME$}", "scenario");
        for column in &self.columns {
            line.push_str(&format!("{:WORD$}", column.name()));
        }
        self.say(&format!("{header}\n{}\n", line.trim_end()))
    }

    pub(super) fn about_to(&self, scenario: &Scenario, column: Column) {
        self.progress
            .set_message(format!("{}, {}", scenario.name, column.name()));
        self.progress.inc(1);
        self.progress.tick();
    }

    /// One scenario's cells, as far as they were run.
    pub(super) fn row(&self, scenario: &Scenario, cells: &[Done]) -> Result<(), String> {
        let name = if scenario.number.is_empty() {
            scenario.name.to_owned()
        } else {
            format!("{} ({})", scenario.name, short(scenario.number))
        };
        let mut line = format!("{name:NAME$}");
        for column in &self.columns {
            let cell = cells.iter().find(|cell| cell.column == *column);
            line.push_str(
                &cell.map_or_else(|| format!("{:WORD$}", "-"), |cell| self.word(&cell.verdict)),
            );
        }
        self.say(&format!("{}\n", line.trim_end()))
    }

    fn word(&self, verdict: &Verdict) -> String {
        let colour = match verdict {
            Verdict::Pass => "32",
            Verdict::Fail(_) => "31;1",
            Verdict::Hang(_) => "35;1",
            Verdict::Skip(_) => "33",
        };
        let word = format!("{:WORD$}", verdict.word());
        if self.colour {
            format!("\x1b[{colour}m{word}\x1b[0m")
        } else {
            word
        }
    }

    /// After a round of a soak.
    pub(super) fn round(&self, seed: u64, done: &[Done]) -> Result<(), String> {
        let bad = done.iter().filter(|cell| cell.verdict.is_bad()).count();
        self.progress.set_length(0);
        self.progress
            .set_message(format!("seed {seed} done, {} cells, {bad} bad", done.len()));
        Ok(())
    }

    /// Why, for each cell that did not pass, and the counts.
    pub(super) fn end(&self, done: &[Done], interrupted: bool) -> Result<(), String> {
        self.progress.finish_and_clear();
        let mut text = String::new();
        let mut told: Vec<(&str, Column, &Verdict)> = Vec::new();
        for cell in done.iter().filter(|cell| cell.verdict != Verdict::Pass) {
            // A soak meets the same SKIP in every round.
            let key = (cell.scenario.name, cell.column, &cell.verdict);
            if told.contains(&key) {
                continue;
            }
            told.push(key);
            let seed = if cell.scenario.randomised {
                format!(" (seed {})", cell.seed)
            } else {
                String::new()
            };
            let (word, what) = (self.word(&cell.verdict), cell.verdict.what());
            text.push_str(&format!(
                "{}{}, {}{seed}: {what}\n",
                word,
                cell.scenario.name,
                cell.column.name()
            ));
        }
        if !text.is_empty() {
            text.insert(0, '\n');
        }
        text.push('\n');
        for column in &self.columns {
            let count = |word: &str| {
                done.iter()
                    .filter(|cell| cell.column == *column && cell.verdict.word() == word)
                    .count()
            };
            let counts =
                ["PASS", "FAIL", "HANG", "SKIP"].map(|word| format!("{} {word}", count(word)));
            text.push_str(&format!("{:WORD$}{}\n", column.name(), counts.join(", ")));
        }
        if interrupted {
            text.push_str("interrupted: not all was run\n");
        }
        self.say(&text)
    }
}

/// A number without the name of its suite.
fn short(number: &str) -> String {
    number.replace("generic/", "")
}

/// What `--list` prints.
pub(super) fn list() -> String {
    let line = |scenario: &Scenario| {
        let number = if scenario.number.is_empty() {
            String::new()
        } else {
            format!(" ({})", scenario.number)
        };
        format!("{}{number}\n    {}\n", scenario.name, scenario.story)
    };
    scenarios::ALL.iter().map(line).collect()
}
