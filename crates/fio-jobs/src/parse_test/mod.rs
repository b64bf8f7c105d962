//! Job files as a whole: the idioms of fio's documentation, each family of options, and every way
//! in which a file can be wrong.

mod engines;
mod expansion;
mod files;
mod mistakes;
mod randomness;
mod requests;
mod sections;
mod time;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::*;

fn parse(text: &str) -> Result<JobFile, Error> {
    JobFile::parse("test.fio", text, &Surroundings::isolated())
}

/// Reads it, and checks that what it prints is read as the same jobs.
fn read(text: &str) -> JobFile {
    let file = parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let printed = file.to_string();
    assert_eq!(
        parse(&printed).as_ref(),
        Ok(&file),
        "{text}\nprints as\n{printed}"
    );
    file
}

/// The options of the only job of a file with these lines.
fn options(lines: &str) -> Options {
    let mut file = read(&format!("[job]\n{lines}\n"));
    assert_eq!((file.groups.len(), file.groups[0].jobs.len()), (1, 1));
    file.groups.remove(0).jobs.remove(0).options
}

fn warnings(text: &str) -> Vec<String> {
    read(text).warnings.iter().map(Warning::to_string).collect()
}

/// The message for a job with these lines.
#[track_caller]
fn message(lines: &str) -> String {
    match parse(&format!("[job]\n{lines}\n")) {
        Ok(file) => panic!("{lines} is read as\n{file}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn refused(lines: &str, kind: ErrorKind, part: &str) {
    let error = parse(&format!("[job]\n{lines}\n")).expect_err(lines);
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

// ---- sections, inheritance, groups
