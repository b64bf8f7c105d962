//! Every option of fio's, and what is done with it: one table for each family.
//!
//! May know: values and job types. Must not know: lines, files, inheritance. An option is read into
//! a [`Draft`], and shown from the finished
//! [`Options`]: what was read, shown and read again is the same.

mod buffers;
mod draft;
mod engine;
mod files;
mod jobs;
mod others;
mod random;
mod reports;
mod requests;
mod time;
mod verify;

pub(super) use draft::Draft;

use super::error::Fault;
use super::job::Options;
use super::kinds::IoEngine;
use super::nearest;
use super::number;
use super::value::Value;

/// An option by name, and what is done with it.
pub(super) struct Known {
    pub(super) name: &'static str,
    aliases: &'static [&'static str],
    /// The engines that have this option; empty if all have it.
    pub(super) engines: &'static [IoEngine],
    kind: Kind,
}

enum Kind {
    /// It is read, and shown if it isn't what it is without being given.
    Typed {
        set: fn(&mut Draft, Value<'_>) -> Result<(), Fault>,
        show: fn(&Options) -> Option<String>,
    },
    /// It concerns only how fio itself works, and is kept for it.
    Kept,
    /// The same, but somebody may expect an effect: a warning says that there is none, and why.
    Ignored(&'static str),
    /// Only these values are taken, which are what holds here anyway. For others the reason is
    /// given.
    Fixed {
        accepted: &'static [&'static str],
        why: &'static str,
    },
    /// It would change what is measured. The reason is given.
    Refused(&'static str),
}

const TABLES: [&[Known]; 10] = [
    jobs::TABLE,
    files::TABLE,
    requests::TABLE,
    random::TABLE,
    engine::TABLE,
    buffers::TABLE,
    time::TABLE,
    verify::TABLE,
    reports::TABLE,
    others::TABLE,
];

/// Options whose values may have blanks in them.
const TEXTS: [&str; 8] = [
    "description",
    "name",
    "wait_for",
    "directory",
    "filename",
    "filename_format",
    "mem",
    "verify_pattern",
];

fn all() -> impl Iterator<Item = &'static Known> {
    TABLES.into_iter().flatten()
}

/// The option with this name.
pub(super) fn find(name: &str) -> Option<&'static Known> {
    all().find(|known| known.name == name || known.aliases.contains(&name))
}

/// The option that somebody may have meant who wrote this name.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let names =
        |known: &'static Known| std::iter::once(known.name).chain(known.aliases.iter().copied());
    nearest::nearest(name, all().flat_map(names))
}

/// All options that are not what they are without being given, as names and values.
pub(super) fn show(options: &Options) -> impl Iterator<Item = (&'static str, Option<String>)> {
    let typed = all().filter_map(|known| match known.kind {
        Kind::Typed { show, .. } => show(options).map(|value| (known.name, Some(value))),
        _ => None,
    });
    typed.chain(
        options
            .fio_only
            .iter()
            .map(|option| (option.name, option.value.clone())),
    )
}

impl Known {
    const fn typed(
        name: &'static str,
        aliases: &'static [&'static str],
        set: fn(&mut Draft, Value<'_>) -> Result<(), Fault>,
        show: fn(&Options) -> Option<String>,
    ) -> Known {
        Known {
            name,
            aliases,
            engines: &[],
            kind: Kind::Typed { set, show },
        }
    }

    const fn kept(name: &'static str) -> Known {
        Known {
            name,
            aliases: &[],
            engines: &[],
            kind: Kind::Kept,
        }
    }

    const fn ignored(name: &'static str, why: &'static str) -> Known {
        Known {
            name,
            aliases: &[],
            engines: &[],
            kind: Kind::Ignored(why),
        }
    }

    const fn fixed(
        name: &'static str,
        accepted: &'static [&'static str],
        why: &'static str,
    ) -> Known {
        Known {
            name,
            aliases: &[],
            engines: &[],
            kind: Kind::Fixed { accepted, why },
        }
    }

    const fn refused(name: &'static str, why: &'static str) -> Known {
        Known {
            name,
            aliases: &[],
            engines: &[],
            kind: Kind::Refused(why),
        }
    }

    const fn also(mut self, aliases: &'static [&'static str]) -> Known {
        self.aliases = aliases;
        self
    }

    const fn of(mut self, engines: &'static [IoEngine]) -> Known {
        self.engines = engines;
        self
    }

    /// Whether this option must be read before others of its section: the unit of their numbers,
    /// the directory of their files.
    pub(super) fn comes_first(&self) -> bool {
        matches!(self.name, "kb_base" | "directory")
    }

    /// Reads the value into the draft, and adds to its notes what has no effect.
    pub(super) fn apply(&'static self, draft: &mut Draft, value: Value<'_>) -> Result<(), Fault> {
        match self.kind {
            Kind::Typed { set, .. } => {
                set(draft, value)?;
                let words = value.text.is_some_and(number::has_words);
                if words && !value.math && !TEXTS.contains(&self.name) {
                    draft.notes.push(
                        "the words behind the value have no effect; fio ignores them too"
                            .to_owned(),
                    );
                }
                Ok(())
            }
            Kind::Kept => draft.keep(self, value),
            Kind::Ignored(why) => {
                draft.keep(self, value)?;
                draft.notes.push(format!("has no effect here: {why}"));
                Ok(())
            }
            Kind::Fixed { accepted, why } => {
                let text = value.text.unwrap_or("1").trim_matches([' ', '\t']);
                if accepted.contains(&text) {
                    Ok(())
                } else {
                    Err(Fault::unsupported(format!(
                        "only {} is offered here: {why}",
                        accepted.join(" or ")
                    )))
                }
            }
            Kind::Refused(why) => Err(Fault::unsupported(format!("is not offered here: {why}"))),
        }
    }
}

// What the tables need again and again.

fn set<T>(slot: &mut T, value: Result<T, Fault>) -> Result<(), Fault> {
    *slot = value?;
    Ok(())
}

fn show_flag(value: bool, default: bool) -> Option<String> {
    (value != default).then(|| u8::from(value).to_string())
}

fn show_count(value: u32, default: u32) -> Option<String> {
    (value != default).then(|| value.to_string())
}

fn show_bytes(value: u64) -> Option<String> {
    (value != 0).then(|| number::show_bytes(value))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_name_is_there_twice() {
        let mut seen = HashSet::new();
        for known in all() {
            for name in std::iter::once(&known.name).chain(known.aliases) {
                assert!(seen.insert(*name), "{name}");
            }
        }
    }

    #[test]
    fn what_is_not_given_is_not_shown() {
        assert_eq!(show(&Options::default()).collect::<Vec<_>>(), []);
    }
}
