//! The command line as a whole: what is refused, what it once was, and the pages made from it.

mod common;

use common::{is_refused, nofault, run, stderr, stdout};

#[test]
fn wrong_usage_is_status_2_and_names_what_is_wrong() {
    let cases: [(&[&str], &str); 14] = [
        (&[], "Usage"),
        (&["bench", "--sideways"], "--sideways"),
        (&["bench", "--size", "12Q"], "12Q"),
        (&["bench", "--size", "0"], "1M at least"),
        (&["bench", "--seconds", "0"], "seconds"),
        (&["bench", "--rounds", "0"], "1..=1000"),
        (&["bench", "--only", "sideways"], "random-read-warm"),
        (&["bench", "--backend", "sideways"], "threads"),
        (&["stall", "--only", "large"], "--only"),
        (&["run"], "JOBFILE"),
        (&["run", "--fio"], "JOBFILE"),
        (&["compare", "a"], "AFTER"),
        (&["compare", "a", "b", "--threshold=-1"], "percent"),
        (&["man", "sideways"], "--help"),
    ];
    for (arguments, part) in cases {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            stderr(&output).contains(part),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn what_bench_once_did_is_refused_with_the_command_that_does_it_now() {
    for (old, new) in [
        (&["bench", "--stall"][..], "`nofault stall`"),
        (&["bench", "--cold-dir", ".", "--stall"], "`nofault stall`"),
        (
            &["bench", "--compare", "a", "b"],
            "`nofault compare BEFORE AFTER`",
        ),
        (&["bench", "a.fio", "--json"], "`nofault run JOBFILE...`"),
        (&["bench", "--fio", "a.fio"], "`nofault run JOBFILE...`"),
    ] {
        let output = run(old);
        assert!(is_refused(&output).contains(new), "{old:?}");
    }
}

const COMMANDS: [&str; 6] = ["bench", "run", "stall", "compare", "check", "probe"];

#[test]
fn the_manual_has_a_page_for_the_program_and_for_each_command() {
    let page = |words: &[&str]| {
        let output = run(&[&["man"], words].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output).to_owned()
    };
    let all = page(&[]);
    assert!(all.contains(".TH nofault 1"), "{all}");
    for command in COMMANDS {
        assert!(all.contains(&format!("nofault\\-{command}(1)")), "{all}");
        let own = page(&[command]);
        assert!(own.contains(&format!(".TH nofault-{command} 1")), "{own}");
        for part in ["SYNOPSIS", "OPTIONS", "EXIT STATUS", "SIGNALS"] {
            assert!(
                own.contains(&format!(".SH {part}")) || own.contains(&format!(".SH \"{part}\"")),
                "{part}: {own}"
            );
        }
    }
}

#[test]
fn every_shell_gets_completions_that_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        assert!(output.status.success(), "{}", stderr(&output));
        for command in COMMANDS {
            assert!(stdout(&output).contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn the_help_of_every_command_says_what_its_exit_status_means() {
    for command in COMMANDS {
        let output = run(&[command, "--help"]);
        assert!(output.status.success());
        for word in ["Exit status:", "  2  ", "128+N"] {
            assert!(
                stdout(&output).contains(word),
                "{command}: {}",
                stdout(&output)
            );
        }
    }
}

#[test]
fn a_reader_of_a_page_that_goes_away_is_no_panic() {
    let mut child = nofault(&["man"]).spawn().expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
}
