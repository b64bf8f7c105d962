//! Real fio, where there is one.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// fio: the one that NOFAULT_FIO names, or the one in the PATH. Without one the test says that it
/// is skipped.
pub(crate) fn real_fio(test: &str) -> Option<PathBuf> {
    let fio = std::env::var_os("NOFAULT_FIO").map_or_else(|| PathBuf::from("fio"), PathBuf::from);
    let answers = Command::new(&fio)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success());
    if !answers {
        println!("SKIP {test}: fio is not installed");
    }
    answers.then_some(fio)
}

/// Runs fio in `dir`; it is ended after a minute.
pub(crate) fn run(fio: &Path, dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command
        .arg("60")
        .arg(fio)
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null());
    command.output().expect("fio starts")
}
