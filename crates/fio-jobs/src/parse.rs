//! From the text of a job file to its jobs: sections, inheritance, includes, groups.

use std::fmt::{self, Write};
use std::path::{Path, PathBuf};

use super::error::{Error, ErrorKind, Fault, Place, Warning};
use super::expand::{Expanded, expand};
use super::job::{Group, Job, JobFile};
use super::lines::{Line, line};
use super::options::{self, Draft, Known};
use super::surroundings::{Surroundings, read_bounded};
use super::value::Value;
use super::{
    MAX_INCLUDE_DEPTH, MAX_LINE_BYTES, MAX_SECTIONS, MAX_TEXT_BYTES, MAX_WARNINGS, MAX_WORKERS,
};

impl JobFile {
    /// Reads the file `path`.
    ///
    /// # Errors
    ///
    /// The first mistake. The file is read whole first, and not at all if it has more than
    /// [`MAX_TEXT_BYTES`].
    pub fn read(path: &Path, surroundings: &Surroundings<'_>) -> Result<JobFile, Error> {
        let unreadable = |error: std::io::Error| Fault {
            kind: ErrorKind::Unreadable,
            message: format!("can't be read: {error}"),
        };
        let bytes =
            read_bounded(path).map_err(|error| unreadable(error).at(Place::whole(path), None))?;
        JobFile::parse_bytes(path, &bytes, surroundings)
    }

    /// Reads `text`. The name stands in messages, and files to include are looked for beside it.
    ///
    /// # Errors
    ///
    /// The first mistake.
    pub fn parse(
        name: impl AsRef<Path>,
        text: &str,
        surroundings: &Surroundings<'_>,
    ) -> Result<JobFile, Error> {
        JobFile::parse_bytes(name.as_ref(), text.as_bytes(), surroundings)
    }

    /// The same for text that may not be any.
    ///
    /// # Errors
    ///
    /// The first mistake.
    pub fn parse_bytes(
        name: &Path,
        text: &[u8],
        surroundings: &Surroundings<'_>,
    ) -> Result<JobFile, Error> {
        let mut parser = Parser::new(surroundings);
        parser.file(name, text)?;
        parser.end(name)
    }
}

/// An option as it was given, with nothing left to expand.
struct Given {
    known: &'static Known,
    name: String,
    value: Option<Expanded>,
    place: Place,
}

/// A section whose end has not been seen.
struct Section {
    name: String,
    place: Place,
    given: Vec<Given>,
}

struct Parser<'s> {
    surroundings: &'s Surroundings<'s>,
    /// What `[global]` has said so far.
    defaults: Draft,
    section: Option<Section>,
    sections: usize,
    groups: Vec<Group>,
    warnings: Vec<Warning>,
    /// Workers of all jobs so far.
    workers: u32,
    /// The reporting group of the last job, and whether there is a job at all.
    report_group: u32,
    /// Bytes of all files so far, and what the jobs have when they are printed.
    read: usize,
    printed: Counter,
}

impl<'s> Parser<'s> {
    fn new(surroundings: &'s Surroundings<'s>) -> Parser<'s> {
        Parser {
            surroundings,
            defaults: Draft::default(),
            section: None,
            sections: 0,
            groups: Vec::new(),
            warnings: Vec::new(),
            workers: 0,
            report_group: 0,
            read: 0,
            printed: Counter::default(),
        }
    }

    fn file(&mut self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        for (number, line) in self.lines(path, bytes)? {
            let place = |column| Place {
                path: path.to_owned(),
                line: number,
                column,
            };
            match line {
                Line::Section { name, column } => {
                    self.end_section()?;
                    self.sections += 1;
                    if self.sections > MAX_SECTIONS {
                        return Err(limit(format!("more than {MAX_SECTIONS} sections"))
                            .at(place(column), None));
                    }
                    self.section = Some(Section {
                        name: name.to_owned(),
                        place: place(column),
                        given: Vec::new(),
                    });
                }
                Line::Option {
                    name,
                    value,
                    column,
                } => self.option(name, value, place(column))?,
                Line::Include { file, column } => self.include(path, file, &place(column), 1)?,
            }
        }
        self.end_section()
    }

    /// The lines that have something in them, with their numbers.
    fn lines<'t>(&mut self, path: &Path, bytes: &'t [u8]) -> Result<Vec<(u32, Line<'t>)>, Error> {
        let place = |line, column| Place {
            path: path.to_owned(),
            line,
            column,
        };
        self.read += bytes.len();
        if self.read > MAX_TEXT_BYTES {
            return Err(limit(format!(
                "a job file and what it includes have at most {MAX_TEXT_BYTES} bytes"
            ))
            .at(place(0, 0), None));
        }
        let mut lines = Vec::new();
        for (number, text) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
            if text.len() > MAX_LINE_BYTES {
                let message = format!("a line has more than {MAX_LINE_BYTES} bytes");
                return Err(limit(message).at(place(number, 0), None));
            }
            // A comment may have any encoding.
            let code = text
                .split(|byte| b";#".contains(byte))
                .next()
                .unwrap_or(b"");
            let code = std::str::from_utf8(code)
                .map_err(|_| syntax("this is no UTF-8 text").at(place(number, 0), None))?;
            match line(code) {
                Ok(Some(line)) => lines.push((number, line)),
                Ok(None) => {}
                Err(fault) => return Err(fault.at(place(number, 0), None)),
            }
        }
        Ok(lines)
    }

    fn option(&mut self, name: &str, value: Option<&str>, place: Place) -> Result<(), Error> {
        if self.section.is_none() {
            return Err(syntax("stands before the first section").at(place, Some(name)));
        }
        let Some(known) = options::find(name) else {
            let message = "is no option of fio's".to_owned();
            return Err(Error {
                kind: ErrorKind::UnknownOption,
                nearest: options::nearest(name),
                place,
                option: Some(shortened(name)),
                message,
            });
        };
        let value = value
            .map(|value| expand(value, self.surroundings))
            .transpose()
            .map_err(|fault| fault.at(place.clone(), Some(name)))?;
        for variable in value.iter().flat_map(|value| &value.unset) {
            let message =
                format!("the variable {variable} is not set: nothing stands in its place");
            self.warn(Warning {
                place: place.clone(),
                option: Some(name.to_owned()),
                message,
            });
        }
        if let Some(section) = &mut self.section {
            section.given.push(Given {
                known,
                name: name.to_owned(),
                value,
                place,
            });
        }
        Ok(())
    }

    /// Included lines are as if they stood in the section itself.
    fn include(
        &mut self,
        from: &Path,
        file: &str,
        place: &Place,
        depth: usize,
    ) -> Result<(), Error> {
        if self.section.is_none() {
            return Err(syntax("include stands before the first section").at(place.clone(), None));
        }
        if depth > MAX_INCLUDE_DEPTH {
            return Err(limit(format!(
                "files include each other more than {MAX_INCLUDE_DEPTH} deep"
            ))
            .at(place.clone(), None));
        }
        let (path, bytes) = self
            .find_include(from, file)
            .map_err(|fault| fault.at(place.clone(), None))?;
        for (number, line) in self.lines(&path, &bytes)? {
            let place = |column| Place {
                path: path.clone(),
                line: number,
                column,
            };
            match line {
                Line::Section { column, .. } => {
                    return Err(
                        syntax("an included file can't have sections").at(place(column), None)
                    );
                }
                Line::Option {
                    name,
                    value,
                    column,
                } => self.option(name, value, place(column))?,
                Line::Include { file, column } => {
                    self.include(&path, file, &place(column), depth + 1)?
                }
            }
        }
        Ok(())
    }

    /// As fio looks for it: by the name as it is, then beside the file that includes it.
    fn find_include(&self, from: &Path, file: &str) -> Result<(PathBuf, Vec<u8>), Fault> {
        let as_it_is = Path::new(file);
        let first = match self.surroundings.read(as_it_is) {
            Ok(bytes) => return Ok((as_it_is.to_owned(), bytes)),
            Err(error) => error,
        };
        let beside = from.with_file_name(file);
        match self.surroundings.read(&beside) {
            Ok(bytes) => Ok((beside, bytes)),
            Err(_) => Err(Fault {
                kind: ErrorKind::Unreadable,
                message: format!("{file} can't be included: {first}"),
            }),
        }
    }

    fn end_section(&mut self) -> Result<(), Error> {
        let Some(mut section) = self.section.take() else {
            return Ok(());
        };
        // fio looks at the first six letters only.
        let global = section.name.starts_with("global");
        let mut draft = self.defaults.clone();
        draft.name = None;
        section
            .given
            .sort_by_key(|given| !given.known.comes_first());
        for given in &section.given {
            let value = Value {
                text: given.value.as_ref().map(|value| value.text.as_str()),
                math: given.value.as_ref().is_some_and(|value| value.math),
                base: draft.base,
            };
            given.known.apply(&mut draft, value).map_err(|mut fault| {
                if given
                    .value
                    .as_ref()
                    .is_some_and(|value| !value.unset.is_empty())
                {
                    fault.message.push_str(&unset(given));
                }
                fault.at(given.place.clone(), Some(&given.name))
            })?;
            self.note(&mut draft, &given.place, Some(&given.name));
        }
        for given in &section.given {
            let engines = given.known.engines;
            if !engines.is_empty() && !engines.contains(&draft.options.engine) {
                let message = format!(
                    "the engine of this section, {}, has no such option",
                    draft.options.engine
                );
                return Err(Fault {
                    kind: ErrorKind::Conflict,
                    message,
                }
                .at(given.place.clone(), Some(&given.name)));
            }
        }
        if !global {
            return self.end_job(section, draft);
        }
        if section.name != "global" {
            draft.notes.push(
                "fio takes every section whose name starts with \"global\" for [global]".to_owned(),
            );
        }
        if draft.name.is_some() {
            draft
                .notes
                .push("a name in [global] has no effect".to_owned());
        }
        self.note(&mut draft, &section.place, None);
        self.defaults = draft;
        Ok(())
    }

    fn note(&mut self, draft: &mut Draft, place: &Place, option: Option<&str>) {
        for message in draft.notes.drain(..) {
            self.warn(Warning {
                place: place.clone(),
                option: option.map(str::to_owned),
                message,
            });
        }
    }

    fn warn(&mut self, mut warning: Warning) {
        if self.warnings.len() >= MAX_WARNINGS {
            return;
        }
        if self.warnings.len() + 1 == MAX_WARNINGS {
            warning.option = None;
            warning.message = "there are more warnings, which are left out".to_owned();
        }
        self.warnings.push(warning);
    }

    fn end_job(&mut self, section: Section, mut draft: Draft) -> Result<(), Error> {
        let Section { name, place, .. } = section;
        let options = draft
            .finish()
            .map_err(|fault| fault.at(place.clone(), None))?;
        self.note(&mut draft, &place, None);
        let first_worker = self.workers + 1;
        self.workers = self.workers.saturating_add(options.numjobs);
        if self.workers > MAX_WORKERS {
            return Err(limit(format!(
                "all jobs together start more than {MAX_WORKERS} workers"
            ))
            .at(place, None));
        }
        if !self.groups.is_empty() && (options.stonewall || options.new_group) {
            self.report_group += 1;
        }
        if let Some(waited) = &options.wait_for {
            let named = self
                .groups
                .iter()
                .flat_map(|group| &group.jobs)
                .filter(|job| job.name == *waited)
                .count();
            if named != 1 {
                let message = format!(
                    "wait_for={waited}: {} before this one has that name",
                    if named == 0 {
                        "no job"
                    } else {
                        "more than one job"
                    }
                );
                return Err(Fault {
                    kind: ErrorKind::Conflict,
                    message,
                }
                .at(place, None));
            }
        }
        let stonewall = options.stonewall;
        let job = Job {
            name: draft.name.take().unwrap_or_else(|| name.clone()),
            section: name,
            line: place.line,
            report_group: self.report_group,
            first_worker,
            options,
        };
        if write!(self.printed, "{job}").is_err() {
            let message = format!(
                "written out, with all that it inherits, the job file has more than {MAX_TEXT_BYTES} bytes, or a line more than {MAX_LINE_BYTES}"
            );
            return Err(limit(message).at(place, None));
        }
        match self.groups.last_mut() {
            Some(group) if !stonewall => group.jobs.push(job),
            _ => self.groups.push(Group { jobs: vec![job] }),
        }
        Ok(())
    }

    fn end(self, path: &Path) -> Result<JobFile, Error> {
        if self.groups.is_empty() {
            return Err(syntax("there is no job in it").at(Place::whole(path), None));
        }
        Ok(JobFile {
            groups: self.groups,
            warnings: self.warnings,
        })
    }
}

fn unset(given: &Given) -> String {
    let unset = given.value.as_ref().map_or(&[][..], |value| &value.unset);
    format!(
        " ({} not set)",
        unset
            .iter()
            .map(|name| format!("${{{name}}} is"))
            .collect::<Vec<_>>()
            .join(", ")
    )
}

/// A name that is fit to be printed.
fn shortened(name: &str) -> String {
    match name.char_indices().nth(64) {
        Some((at, _)) => format!("{}...", &name[..at]),
        None => name.to_owned(),
    }
}

fn syntax(message: &str) -> Fault {
    Fault {
        kind: ErrorKind::Syntax,
        message: message.to_owned(),
    }
}

fn limit(message: String) -> Fault {
    Fault {
        kind: ErrorKind::Limit,
        message,
    }
}

/// Counts what is printed, and fails where it could not be read again.
#[derive(Default)]
struct Counter {
    bytes: usize,
    line: usize,
}

impl fmt::Write for Counter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes += text.len();
        for (at, part) in text.split('\n').enumerate() {
            self.line = if at == 0 {
                self.line + part.len()
            } else {
                part.len()
            };
            if self.line > MAX_LINE_BYTES {
                return Err(fmt::Error);
            }
        }
        if self.bytes > MAX_TEXT_BYTES {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}
