//! The lines of a job file: sections, options, includes. Knows no option.

use super::error::Fault;
use super::{ErrorKind, MAX_LINE_BYTES};

/// The longest name that a section may have; fio's own limit.
const MAX_NAME_BYTES: usize = 255;

/// One line that is not empty.
#[derive(Debug, PartialEq)]
pub(super) enum Line<'t> {
    /// `[name]`
    Section { name: &'t str, column: u32 },
    /// `name=value`, or `name` alone. The column is the value's, or the name's if there is no
    /// value.
    Option {
        name: &'t str,
        value: Option<&'t str>,
        column: u32,
    },
    /// `include file`
    Include { file: &'t str, column: u32 },
}

fn syntax(message: impl Into<String>) -> Fault {
    Fault {
        kind: ErrorKind::Syntax,
        message: message.into(),
    }
}

/// Reads one line, without its newline; none if there is nothing in it.
pub(super) fn line(text: &str) -> Result<Option<Line<'_>>, Fault> {
    if text.len() > MAX_LINE_BYTES {
        return Err(Fault {
            kind: ErrorKind::Limit,
            message: format!("a line has more than {MAX_LINE_BYTES} bytes"),
        });
    }
    let blank = |letter: char| letter.is_ascii_whitespace() || letter.is_ascii_control();
    // A comment may start anywhere, even inside of a value.
    let written = text
        .split([';', '#'])
        .next()
        .unwrap_or("")
        .trim_matches(blank);
    if written.is_empty() {
        return Ok(None);
    }
    if let Some(letter) = written
        .chars()
        .find(|&letter| letter.is_control() && letter != '\t')
    {
        return Err(syntax(format!("{letter:?} can't stand here")));
    }
    // `written` and all that is cut from it are parts of `text`.
    let column = |part: &str| {
        text[..part.as_ptr() as usize - text.as_ptr() as usize]
            .chars()
            .count() as u32
            + 1
    };
    if let Some(section) = written.strip_prefix('[') {
        let name = section.strip_suffix(']').ok_or_else(|| {
            syntax("a section is a name in brackets, and nothing else in the line")
        })?;
        return match name.len() {
            0 => Err(syntax("a section needs a name")),
            1..=MAX_NAME_BYTES => Ok(Some(Line::Section {
                name,
                column: column(name),
            })),
            _ => Err(Fault {
                kind: ErrorKind::Limit,
                message: format!("the name of a section has more than {MAX_NAME_BYTES} bytes"),
            }),
        };
    }
    if let Some(file) = written
        .strip_prefix("include")
        .filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '=']))
    {
        let file = file.get(1..).unwrap_or("").trim_matches(blank);
        return if file.is_empty() {
            Err(syntax("include needs the name of a file"))
        } else {
            Ok(Some(Line::Include {
                file,
                column: column(file),
            }))
        };
    }
    let (name, value) = match written.split_once('=') {
        Some((name, value)) => (name.trim_end_matches(blank), Some(value)),
        None if written.contains(blank) => {
            return Err(syntax(format!(
                "{written:?} is no option: write name=value"
            )));
        }
        None => (written, None),
    };
    if name.is_empty() {
        return Err(syntax("there is no name before the ="));
    }
    Ok(Some(Line::Option {
        name,
        value,
        column: column(value.unwrap_or(name)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_sections_options_and_includes() {
        for (text, expected) in [
            ("", None),
            ("  \t\r", None),
            ("; -- start job file --", None),
            ("  # x", None),
            (
                "[a]",
                Some(Line::Section {
                    name: "a",
                    column: 2,
                }),
            ),
            (
                "  [a b]  ; c\r",
                Some(Line::Section {
                    name: "a b",
                    column: 4,
                }),
            ),
            (
                "[a]b]",
                Some(Line::Section {
                    name: "a]b",
                    column: 2,
                }),
            ),
            (
                "rw=randread",
                Some(Line::Option {
                    name: "rw",
                    value: Some("randread"),
                    column: 4,
                }),
            ),
            (
                "  size =4k#x",
                Some(Line::Option {
                    name: "size",
                    value: Some("4k"),
                    column: 9,
                }),
            ),
            (
                "size= 4",
                Some(Line::Option {
                    name: "size",
                    value: Some(" 4"),
                    column: 6,
                }),
            ),
            (
                "size=",
                Some(Line::Option {
                    name: "size",
                    value: Some(""),
                    column: 6,
                }),
            ),
            (
                "time_based",
                Some(Line::Option {
                    name: "time_based",
                    value: None,
                    column: 1,
                }),
            ),
            (
                "a=b=c",
                Some(Line::Option {
                    name: "a",
                    value: Some("b=c"),
                    column: 3,
                }),
            ),
            (
                "include glob-include.fio",
                Some(Line::Include {
                    file: "glob-include.fio",
                    column: 9,
                }),
            ),
            (
                "includes=1",
                Some(Line::Option {
                    name: "includes",
                    value: Some("1"),
                    column: 10,
                }),
            ),
            (
                "é=ö",
                Some(Line::Option {
                    name: "é",
                    value: Some("ö"),
                    column: 3,
                }),
            ),
        ] {
            assert_eq!(line(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn anything_else_is_an_error() {
        for text in [
            "[a",
            "[]",
            "[a] b",
            "=4k",
            "two words",
            "a\u{1}b=c",
            "include ",
            "include\t",
            &format!("[{}]", "x".repeat(256)),
            &"x".repeat(8192),
        ] {
            assert!(line(text).is_err(), "{text:?}");
        }
    }
}
