//! The other end of a measured process. Every wait has an end, and a signal ends it too.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::child::{Answer, Ask, Start};

/// How long an answer may take before the process counts as hung.
const PATIENCE: Duration = Duration::from_secs(120);

/// SIGINT, SIGTERM and SIGHUP end the run in order: the number is 0 until one came.
#[derive(Clone)]
pub(crate) struct Signals(Arc<AtomicUsize>);

impl Signals {
    pub(crate) fn watch() -> io::Result<Signals> {
        let which = Arc::new(AtomicUsize::new(0));
        for signal in [
            signal_hook::consts::SIGINT,
            signal_hook::consts::SIGTERM,
            signal_hook::consts::SIGHUP,
        ] {
            signal_hook::flag::register_usize(signal, which.clone(), signal as usize)?;
        }
        Ok(Signals(which))
    }

    /// The signal that came, if one did.
    pub(crate) fn seen(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|&signal| signal != 0)
    }
}

/// Why there is no answer.
pub(crate) enum Trouble {
    /// A signal came: stop everything.
    Interrupted,
    /// This one is lost, and why.
    Lost(String),
}

/// A measured process, killed when dropped.
pub(crate) struct Worker {
    child: Child,
    asks: ChildStdin,
    answers: Receiver<io::Result<String>>,
}

impl Worker {
    pub(crate) fn start(start: &Start) -> io::Result<Worker> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("--child")
            .arg(serde_json::to_string(start)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        // Ctrl-C is for this process, which then ends the others.
        let mut child = command.process_group(0).spawn()?;
        let piped = || io::Error::other("a pipe is missing");
        let asks = child.stdin.take().ok_or_else(piped)?;
        let out = child.stdout.take().ok_or_else(piped)?;
        let (sender, answers) = channel();
        // Ends with the child, whose end of the pipe is the only one.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Worker {
            child,
            asks,
            answers,
        })
    }

    /// Asks for something, and waits for the answer.
    pub(crate) fn ask(&mut self, ask: Ask, signals: &Signals) -> Result<Answer, Trouble> {
        let mut line =
            serde_json::to_vec(&ask).map_err(|error| Trouble::Lost(error.to_string()))?;
        line.push(b'\n');
        // A process that is gone says so below.
        let _ = self.asks.write_all(&line);
        self.answer(signals)
    }

    /// Waits for an answer.
    pub(crate) fn answer(&mut self, signals: &Signals) -> Result<Answer, Trouble> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if signals.seen().is_some() {
                return Err(Trouble::Interrupted);
            }
            match self.answers.recv_timeout(Duration::from_millis(50)) {
                Ok(Ok(line)) => {
                    return serde_json::from_str(&line)
                        .map_err(|error| Trouble::Lost(format!("unreadable answer: {error}")));
                }
                Ok(Err(error)) => return Err(Trouble::Lost(error.to_string())),
                Err(RecvTimeoutError::Disconnected) => {
                    let how = self
                        .child
                        .wait()
                        .map_or_else(|error| error.to_string(), |status| status.to_string());
                    return Err(Trouble::Lost(format!("the process ended: {how}")));
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                    return Err(Trouble::Lost(format!(
                        "no answer within {} s",
                        PATIENCE.as_secs()
                    )));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
