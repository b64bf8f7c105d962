//! A program as a child: ended when a signal comes or its time is over, and waited for, unless not
//! even SIGKILL ends it.
//!
//! It has a process group of its own. A signal from the terminal is for us: we ask the program to
//! end, so that it can report what it has, and kill the whole group if it does not.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

/// How often it is looked after.
const LOOK: Duration = Duration::from_millis(50);
/// How long it may take to end when asked to, and again when killed.
const GRACE: Duration = Duration::from_secs(5);

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself.
    Ended(ExitStatus),
    /// Because a signal came to us.
    Interrupted,
    /// Because its time was over.
    TooLong,
}

/// It is over.
pub(super) struct Over {
    pub(super) end: End,
    /// User and system time of the processes that it has started and waited for, in the steps of
    /// /proc.
    pub(super) jobs_cpu: Duration,
}

/// Runs it to its end. `signal` is 0 until a signal comes; `look` is called again and again with
/// the time that it has taken.
pub(super) fn run(
    command: &mut Command,
    limit: Duration,
    signal: &AtomicUsize,
    mut look: impl FnMut(Duration),
) -> io::Result<Over> {
    let mut child = command.process_group(0).spawn()?;
    let begun = Instant::now();
    let pid = Pid::from_child(&child);
    let mut asked: Option<(End, Instant)> = None;
    let mut killed = false;
    let (sender, over) = mpsc::channel::<()>();
    let waiter = std::thread::Builder::new()
        .name("wait for child".to_owned())
        .spawn(move || {
            // It is only seen, not taken away: until then its number is nobody else's.
            while let Err(rustix::io::Errno::INTR) = rustix::process::waitid(
                WaitId::Pid(pid),
                WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
            ) {}
            drop(sender);
        });
    if let Err(error) = waiter {
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        child.wait()?;
        return Err(error);
    }
    while over.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        look(begun.elapsed());
        match asked {
            None => {
                let end = if signal.load(Ordering::Relaxed) != 0 {
                    End::Interrupted
                } else if begun.elapsed() >= limit {
                    End::TooLong
                } else {
                    continue;
                };
                // If it has just ended, there is nothing to be asked.
                let _ = rustix::process::kill_process(pid, Signal::TERM);
                asked = Some((end, Instant::now()));
            }
            Some((_, when)) if when.elapsed() >= GRACE && !killed => {
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
                killed = true;
            }
            // It waits for a disk, and nobody can end it.
            Some((end, when)) if when.elapsed() >= 2 * GRACE => {
                return Ok(Over {
                    end,
                    jobs_cpu: Duration::ZERO,
                });
            }
            Some(_) => {}
        }
    }
    let jobs_cpu = children_cpu(pid).unwrap_or_default();
    // Whatever it has left behind. The group is still its own, because it has not been taken away.
    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    let status = child.wait()?;
    Ok(Over {
        end: asked.map_or(End::Ended(status), |(end, _)| end),
        jobs_cpu,
    })
}

/// What the children of this process have used that it has waited for.
fn children_cpu(pid: Pid) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    children_ticks(&stat).map(|ticks| Duration::from_secs_f64(ticks as f64 / ticks_per_second()))
}

/// `cutime` and `cstime` of a line of proc_pid_stat(5).
fn children_ticks(stat: &str) -> Option<u64> {
    // The name may have spaces and brackets, so from its end on: the state is the third field,
    // these are 16 and 17.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(16 - 3);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn ticks_per_second() -> f64 {
    // SAFETY: sysconf takes no pointer.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    if ticks > 0 { ticks as f64 } else { 100.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    fn shell(text: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", text])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    #[test]
    fn a_program_that_ends_is_waited_for() {
        let over = run(
            &mut shell("exit 3"),
            Duration::from_secs(60),
            &AtomicUsize::new(0),
            |_| (),
        )
        .expect("it starts");
        assert!(
            matches!(over.end, End::Ended(status) if status.code() == Some(3)),
            "{:?}",
            over.end
        );
    }

    /// Runs it; nobody holds its standard output when this is over.
    fn ended(text: &str, limit: Duration, signal: usize) -> End {
        let (mut held, out) = io::pipe().expect("a pipe");
        let mut command = shell(text);
        command.stdout(out);
        let over = run(&mut command, limit, &AtomicUsize::new(signal), |_| ()).expect("it starts");
        drop(command);
        let (sender, closed) = mpsc::channel();
        std::thread::spawn(move || sender.send(io::copy(&mut held, &mut io::sink())));
        closed
            .recv_timeout(Duration::from_secs(60))
            .expect("something was left behind")
            .expect("read");
        over.end
    }

    #[test]
    fn a_signal_ends_a_program_and_what_it_has_started() {
        assert_eq!(
            ended("sleep 100000 & wait", Duration::from_secs(600), 2),
            End::Interrupted
        );
    }

    #[test]
    fn its_time_ends_a_program_even_if_it_does_not_want_to() {
        assert_eq!(
            ended(
                "trap '' TERM; sleep 100000 & wait",
                Duration::from_millis(300),
                0
            ),
            End::TooLong
        );
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let none = run(
            &mut Command::new("/nowhere/fio"),
            Duration::from_secs(1),
            &AtomicUsize::new(0),
            |_| (),
        );
        assert_eq!(
            none.map(|_| ()).map_err(|error| error.kind()),
            Err(io::ErrorKind::NotFound)
        );
    }

    #[test]
    fn the_time_of_the_children_is_read_whatever_the_name_is() {
        let line = "12 (a b) c)) Z 1 12 12 0 -1 4228108 2 3 4 5 60 70 800 900 20 0 1 0 5 0 0";
        assert_eq!(children_ticks(line), Some(1700));
        assert_eq!(children_ticks("12 (a) Z 1"), None);
    }
}
