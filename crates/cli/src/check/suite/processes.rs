//! Several processes in one scenario.

use std::io::{self, Read, Write};
use std::os::fd::{FromRawFd, IntoRawFd};

use super::stop::{Doing, Stop};
use super::verdict::Outcome;
use super::{Context, Verdict};

/// Runs `count` processes at the same time, each with its number, and waits for all. The first that
/// does not pass decides.
///
/// They are copies made by fork(2): what runs in them makes its own I/O and uses no lock that
/// another thread may have held.
pub(crate) fn together(
    cx: &Context,
    count: usize,
    work: impl Fn(usize, &Context) -> Outcome,
) -> Outcome {
    let mut children = Vec::new();
    for index in 0..count {
        children.push(start(|| work(index, cx))?);
    }
    let mut outcome = Ok(());
    for child in children {
        outcome = outcome.and(child.wait());
    }
    outcome
}

/// A process made by [`start`].
pub(crate) struct Process {
    pid: i32,
    pipe: std::fs::File,
}

/// Runs `work` in a copy of this process.
pub(crate) fn start(work: impl FnOnce() -> Outcome) -> Result<Process, Stop> {
    let (reader, mut writer) = io::pipe().doing("make a pipe")?;
    // SAFETY: the child runs on with this thread alone; it uses memory allocation, which glibc
    // keeps usable after fork, and its own files.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        let error = io::Error::last_os_error();
        if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOMEM)) {
            return Err(Stop::Skip(format!("no room for another process: {error}")));
        }
        return Err(error).doing("fork");
    }
    if pid == 0 {
        drop(reader);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let outcome = outcome
            .unwrap_or_else(|_| Err(Stop::Fail("a process of the scenario panicked".to_owned())));
        let _ = writer.write_all(Verdict::from(outcome).to_line().as_bytes());
        // SAFETY: ends this process without running what belongs to the parent.
        unsafe { libc::_exit(0) };
    }
    drop(writer);
    // SAFETY: the descriptor is taken out of the reader, so it has one owner.
    let pipe = unsafe { std::fs::File::from_raw_fd(reader.into_raw_fd()) };
    Ok(Process { pid, pipe })
}

impl Process {
    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Outcome {
        let mut line = String::new();
        let read = self.pipe.read_to_string(&mut line);
        let mut status = 0;
        // SAFETY: the status is a valid place for the time of the call.
        while unsafe { libc::waitpid(self.pid, &mut status, 0) } < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
        read.doing("read from a process of the scenario")?;
        match Verdict::from_line(&line) {
            Some(Verdict::Pass) => Ok(()),
            Some(Verdict::Skip(why)) => Err(Stop::Skip(why)),
            Some(verdict) => Err(Stop::Fail(verdict.what().to_owned())),
            None => Err(Stop::Fail(format!(
                "a process of the scenario ended with wait status {status:#x}"
            ))),
        }
    }
}
