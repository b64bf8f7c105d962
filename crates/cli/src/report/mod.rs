//! How answers are shown: the table's parts, JSON, HTML, progress, the exit status.
//!
//! May know: [`figures`](crate::figures), [`ground`](crate::ground). Must not know: any command.

pub(crate) mod html;
pub(crate) mod progress;
pub(crate) mod setting;
pub(crate) mod table;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use serde::Serialize;

use self::table::Paint;

/// What a command ends with: the exit status, or one line that says what went wrong and what to do.
pub(crate) type Outcome = Result<ExitCode, String>;

/// Writes to standard output; a reader that went away (`| head`) is no failure and no panic.
pub(crate) fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write to standard output: {error}"))
        }
        _ => Ok(()),
    }
}

/// Looks at the file of --html. The error is a line for the user.
pub(crate) fn page_target(
    file: Option<&std::path::Path>,
    json: bool,
) -> Result<Option<html::Target>, String> {
    let target = file.map(html::Target::new).transpose()?;
    if json
        && target
            .as_ref()
            .is_some_and(html::Target::is_standard_output)
    {
        return Err("--json and --html - would both go to standard output; name a file".into());
    }
    Ok(target)
}

/// Prints what was found out, as the user wants it.
pub(crate) fn show(
    json: bool,
    report: &impl Serialize,
    render: impl FnOnce(Paint) -> String,
) -> Result<(), String> {
    if json {
        let text =
            serde_json::to_string_pretty(report).map_err(|e| format!("cannot write JSON: {e}"))?;
        return print(&(text + "\n"));
    }
    let colour =
        io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    print(&render(Paint(colour)))
}

/// The exit status of a run that was ended by this signal, or by none (0).
pub(crate) fn status(signal: usize, failed: bool) -> ExitCode {
    match u8::try_from(signal) {
        Ok(signal @ 1..) => ExitCode::from(128 + signal),
        _ if failed => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}
