//! Runs one cell in a process of its own and ends it when its time is over.
//!
//! Nothing here waits without bound: a process in uninterruptible sleep does not even end by
//! SIGKILL, and is left behind then.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::cell::Cell;
use super::{Verdict, stacks};

/// How long a killed process may take to go.
const GRACE: Duration = Duration::from_secs(5);
/// What std says, as it panics, where the system gives no thread.
const NO_THREAD: &str = "failed to spawn thread";
/// How often the deadline and the wish to stop are looked at.
const TICK_MS: i32 = 50;
/// What is kept of what a cell writes, in bytes.
const KEPT: usize = 64 << 10;

/// What became of a cell.
#[derive(Debug)]
pub(crate) struct Report {
    /// `None` when it was stopped because the whole run is.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) took: Duration,
    /// The process is still there: its directory may not be removable.
    pub(crate) left_behind: bool,
    /// Why there was no process at all: nothing was checked.
    pub(crate) not_started: Option<String>,
}

/// Starts `launch(cell)` in `dir` and sees to its end. `stop` is asked again and again whether to
/// give up.
pub(crate) fn run(
    launch: &dyn Fn(&Cell) -> io::Result<Command>,
    cell: &Cell,
    dir: &Path,
    limit: Duration,
    stop: &dyn Fn() -> bool,
) -> Report {
    let begun = Instant::now();
    let (mut left_behind, mut not_started) = (false, None);
    let verdict = match start(launch, cell, dir) {
        Err(error) => {
            not_started = Some(format!("the process of a cell cannot be started: {error}"));
            None
        }
        Ok(watched) => watched.attend(begun + limit, stop, &mut left_behind),
    };
    Report {
        verdict,
        took: begun.elapsed(),
        left_behind,
        not_started,
    }
}

fn start(
    launch: &dyn Fn(&Cell) -> io::Result<Command>,
    cell: &Cell,
    dir: &Path,
) -> io::Result<Watched> {
    let mut command = launch(cell)?;
    command
        .current_dir(dir)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // The words of a panic, not its stack, are told.
    command.env("RUST_BACKTRACE", "0");
    // SAFETY: prctl is async-signal-safe. The cell is not to outlive the one who removes its files.
    unsafe {
        command.pre_exec(
            || match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            },
        );
    }
    let mut child = command.spawn()?;
    let taken = (
        child.stdout.take().map(OwnedFd::from),
        child.stderr.take().map(OwnedFd::from),
    );
    let (Some(out), Some(err)) = taken else {
        return Err(io::Error::other("no pipes"));
    };
    Ok(Watched {
        child,
        out: Stream::new(out),
        err: Stream::new(err),
    })
}

struct Watched {
    child: Child,
    out: Stream,
    err: Stream,
}

impl Watched {
    fn attend(
        mut self,
        deadline: Instant,
        stop: &dyn Fn() -> bool,
        left_behind: &mut bool,
    ) -> Option<Verdict> {
        loop {
            self.listen();
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    self.kill();
                    self.listen();
                    return Some(self.verdict(status));
                }
                Ok(None) => {}
                Err(error) => {
                    return Some(Verdict::Fail(format!(
                        "the cell's process cannot be waited for: {error}"
                    )));
                }
            }
            let stopped = stop();
            if stopped || Instant::now() >= deadline {
                let mut seen = if stopped {
                    String::new()
                } else {
                    stacks::of(self.child.id())
                };
                if let Some(verdict) = self.out.verdict() {
                    seen = format!(
                        "after {} {}, at its end: {seen}",
                        verdict.word(),
                        verdict.what()
                    );
                }
                if !self.end() {
                    *left_behind = true;
                    seen.push_str(&format!(
                        "; process {} does not even end by SIGKILL and is left behind",
                        self.child.id()
                    ));
                }
                return (!stopped).then_some(Verdict::Hang(seen));
            }
        }
    }

    /// Takes in what it has written, waiting a tick at most.
    fn listen(&mut self) {
        let poll = |stream: &Stream| libc::pollfd {
            fd: stream.fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let mut both = [poll(&self.out), poll(&self.err)];
        // SAFETY: two entries, alive for the call. A closed stream is -1, which poll passes over.
        let ready = unsafe { libc::poll(both.as_mut_ptr(), 2, TICK_MS) };
        if ready > 0 {
            for (entry, stream) in both.iter().zip([&mut self.out, &mut self.err]) {
                if entry.revents != 0 {
                    stream.read();
                }
            }
        }
    }

    /// SIGKILL for it and all that it has started.
    fn kill(&self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // SAFETY: no pointers; the group was made for this child.
            unsafe { libc::kill(-pid, libc::SIGKILL) };
        }
    }

    /// Whether it is gone.
    fn end(&mut self) -> bool {
        self.kill();
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            self.listen();
            if self.out.file.is_none() && self.err.file.is_none() {
                // Its pipes are closed and it is about to go: nothing tells when.
                std::thread::yield_now();
            }
        }
        false
    }

    fn verdict(&self, status: ExitStatus) -> Verdict {
        match self.out.verdict() {
            Some(verdict) if status.success() => verdict,
            verdict => {
                let how = match (status.signal(), status.code()) {
                    (Some(signal), _) => format!("crashed: signal {signal}"),
                    (None, code) => format!("crashed: exit status {}", code.unwrap_or(-1)),
                };
                let after = verdict
                    .map(|verdict| format!(" after {} {}", verdict.word(), verdict.what()))
                    .unwrap_or_default();
                let words = String::from_utf8_lossy(&self.err.bytes);
                let last: Vec<&str> = words
                    .lines()
                    .filter(|line| !line.is_empty() && !line.starts_with("note:"))
                    .collect();
                // A thread that there is no room for says nothing of the I/O.
                if let Some(line) = last.iter().find(|line| line.contains(NO_THREAD)) {
                    return Verdict::Skip(format!("no room for a thread here: {line}"));
                }
                Verdict::Fail(format!(
                    "{how}{after}; {}",
                    last[last.len().saturating_sub(3)..].join("; ")
                ))
            }
        }
    }
}

/// One of its outputs.
struct Stream {
    file: Option<File>,
    bytes: Vec<u8>,
}

impl Stream {
    fn new(fd: OwnedFd) -> Stream {
        Stream {
            file: Some(fd.into()),
            bytes: Vec::new(),
        }
    }

    fn fd(&self) -> i32 {
        self.file.as_ref().map_or(-1, |file| file.as_raw_fd())
    }

    /// Once, when poll says that it does not block.
    fn read(&mut self) {
        let mut block = [0; 4096];
        match self.file.as_mut().map(|file| file.read(&mut block)) {
            Some(Ok(0)) => self.file = None,
            Some(Ok(count)) => {
                self.bytes.extend_from_slice(&block[..count]);
                // The end is what matters, in both streams.
                let surplus = self.bytes.len().saturating_sub(KEPT);
                self.bytes.drain(..surplus);
            }
            Some(Err(error)) if error.kind() != io::ErrorKind::Interrupted => self.file = None,
            _ => {}
        }
    }

    fn verdict(&self) -> Option<Verdict> {
        String::from_utf8_lossy(&self.bytes)
            .lines()
            .rev()
            .find_map(Verdict::from_line)
    }
}
