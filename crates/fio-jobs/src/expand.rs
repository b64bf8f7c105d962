//! Variables and reserved words in values.
//!
//! As in fio: `${NAME}` becomes the variable's value, or nothing if it is not set; then `$ncpus`,
//! `$pagesize` and `$mb_memory` become numbers. Neither is looked at again. What a variable brings
//! in must be something that could have been written there: otherwise it would not survive being
//! printed.

use super::error::Fault;
use super::surroundings::Surroundings;
use super::{ErrorKind, MAX_LINE_BYTES};

/// A value with nothing left to expand.
#[derive(Debug, PartialEq)]
pub(super) struct Expanded {
    pub(super) text: String,
    /// There was a reserved word, so that numbers may be sums and products without parentheses.
    pub(super) math: bool,
    /// Variables that are not set.
    pub(super) unset: Vec<String>,
}

pub(super) fn expand(text: &str, surroundings: &Surroundings<'_>) -> Result<Expanded, Fault> {
    let (mut out, mut unset, mut rest) = (String::new(), Vec::new(), text);
    while let Some((before, name, after)) = next_variable(rest) {
        out.push_str(before);
        match surroundings.get(name) {
            Some(value) if !value.is_empty() => out.push_str(&value),
            _ => unset.push(name.to_owned()),
        }
        bounded(&out)?;
        rest = after;
    }
    out.push_str(rest);
    let machine = surroundings.of_machine();
    let mut math = false;
    for (word, number) in [
        ("$pagesize", machine.page_bytes),
        ("$mb_memory", machine.memory_mib),
        ("$ncpus", machine.processors),
    ] {
        if out.contains(word) {
            math = true;
            out = out.replace(word, &number.to_string());
        }
    }
    bounded(&out)?;
    if let Some(letter) = out
        .chars()
        .find(|&letter| letter == ';' || letter == '#' || letter.is_control() && letter != '\t')
    {
        return Err(Fault::value(format!("a value can't have {letter:?} in it")));
    }
    if next_variable(&out).is_some() {
        return Err(Fault::value(
            "a variable's value can't have a variable in it",
        ));
    }
    out.truncate(out.trim_end_matches([' ', '\t']).len());
    Ok(Expanded {
        text: out,
        math,
        unset,
    })
}

fn bounded(text: &str) -> Result<(), Fault> {
    if text.len() > MAX_LINE_BYTES {
        return Err(Fault {
            kind: ErrorKind::Limit,
            message: format!("its value has more than {MAX_LINE_BYTES} bytes"),
        });
    }
    Ok(())
}

/// What stands before the first variable, its name, and what stands behind it.
fn next_variable(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("${")?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Machine;

    fn surroundings() -> Surroundings<'static> {
        Surroundings::isolated()
            .variables(|name| match name {
                "SIZE" => Some("64m".to_owned()),
                "EMPTY" => Some(String::new()),
                "BAD" => Some("a;b".to_owned()),
                "SLY" => Some("{SIZE}".to_owned()),
                "SLIER" => Some("${SIZE}".to_owned()),
                "LONG" => Some("x".repeat(5000)),
                _ => None,
            })
            .machine(Machine {
                processors: 8,
                page_bytes: 4096,
                memory_mib: 1000,
            })
    }

    fn text(value: &str) -> Result<String, Fault> {
        expand(value, &surroundings()).map(|expanded| expanded.text)
    }

    #[test]
    fn variables_and_reserved_words_are_replaced_once() {
        for (value, expected) in [
            ("${SIZE}", "64m"),
            ("a${SIZE}b${SIZE}", "a64mb64m"),
            ("${EMPTY}x${NONE}${}", "x"),
            ("$SIZE", "$SIZE"),
            ("${SIZE", "${SIZE"),
            ("8*$mb_memory", "8*1000"),
            ("$ncpus$ncpus,$pagesize", "88,4096"),
            ("$jobname.$jobnum", "$jobname.$jobnum"),
        ] {
            assert_eq!(text(value).as_deref(), Ok(expected), "{value}");
        }
        assert_eq!(
            expand("${A}${B}${SIZE}${EMPTY}", &surroundings())
                .unwrap()
                .unset,
            ["A", "B", "EMPTY"]
        );
        assert!(
            expand("2*$ncpus", &surroundings()).unwrap().math
                && !expand("2*2", &surroundings()).unwrap().math
        );
    }

    #[test]
    fn what_could_not_be_printed_again_is_refused() {
        for value in ["${BAD}", "$${SLY}", "${SLIER}", "${LONG}${LONG}", "a\u{7}b"] {
            assert!(text(value).is_err(), "{value}");
        }
        assert_eq!(text("${LONG}").map(|text| text.len()), Ok(5000));
    }
}
