//! What a command was called before it was one: `bench` once was four commands, told apart by its
//! options. Whoever still writes it so is told the new spelling.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The new spelling, as a line for the user, where the command line is one of the old ones.
///
/// `words` is the command line without the program's name, `error` what clap has to say about it.
pub(crate) fn of_old(
    mut words: impl Iterator<Item = String>,
    error: &clap::Error,
) -> Option<String> {
    if words.next()? != "bench" || error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    // Not its value: `--fio=PROGRAM`.
    let option = unknown.split(['=', ' ']).next()?;
    let new = match option {
        "--stall" | "--cold-dir" => "nofault stall",
        "--compare" | "--threshold" => "nofault compare BEFORE AFTER",
        "--fio" | "--fio-timeout" | "--overwrite" | "--runtime" => "nofault run JOBFILE...",
        _ if !unknown.starts_with('-') => "nofault run JOBFILE...",
        _ => return None,
    };
    Some(format!(
        "`bench` has no {}: the command for it is `{new}`",
        if option.starts_with('-') {
            option
        } else {
            "job files"
        }
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn told(words: &[&str]) -> Option<String> {
        let all = ["nofault"].iter().chain(words);
        let error = crate::Arguments::command()
            .try_get_matches_from(all)
            .expect_err("not a command line");
        of_old(words.iter().map(|&word| word.to_owned()), &error)
    }

    #[test]
    fn every_old_spelling_is_told_the_new_one() {
        for (old, new) in [
            (&["bench", "--stall"][..], "nofault stall"),
            (
                &["bench", "--json", "--stall", "--cold-dir", "d"],
                "nofault stall",
            ),
            (&["bench", "--cold-dir=d"], "nofault stall"),
            (&["bench", "--compare", "a", "b"], "nofault compare"),
            (
                &["bench", "--threshold", "9", "--compare", "a", "b"],
                "nofault compare",
            ),
            (&["bench", "p.fio"], "nofault run"),
            (&["bench", "--dir", "d", "p.fio", "--fio"], "nofault run"),
            (&["bench", "--fio=/bin/fio", "p.fio"], "nofault run"),
            (&["bench", "--overwrite", "p.fio"], "nofault run"),
            (&["bench", "--runtime", "3", "p.fio"], "nofault run"),
        ] {
            let line = told(old).unwrap_or_else(|| panic!("{old:?} is told nothing"));
            assert!(
                line.contains(new) && !line.contains('\n'),
                "{old:?}: {line}"
            );
        }
    }

    #[test]
    fn other_mistakes_are_left_to_the_parser() {
        for mistake in [
            &["bench", "--sideways"][..],
            &["bench", "--size", "x"],
            &["probe"],
            &["x"],
        ] {
            assert_eq!(told(mistake), None, "{mistake:?}");
        }
    }
}
