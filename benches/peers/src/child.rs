//! The measured process: one peer, one job. It does what it is asked on standard input, a line
//! each, and answers on standard output.

use std::io::{self, BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::job::{Job, Lane, Mode};
use crate::peers::{self, Peer};
use crate::usage;

/// What the process is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) peer: String,
    pub(crate) job: Job,
    /// How long to run before it is ready, to get warm and to find out how fast it is.
    pub(crate) warm_up_seconds: f64,
}

/// What it is asked for: so many requests.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    Plain(u64),
    Latency(u64),
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The peer can't run here, and why.
    Skip(String),
    /// The peer ran and went wrong.
    Failed(String),
    Ready {
        ops_per_second: f64,
        note: Option<String>,
    },
    Plain {
        seconds: f64,
        cpu_seconds: f64,
        peak_kib: u64,
    },
    Latency(Latency),
}

/// Microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
}

/// Runs until standard input ends.
pub(crate) fn run(start: &str) -> io::Result<()> {
    // Should the other side be killed, so shall this one, whatever it hangs in.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let start: Start = serde_json::from_str(start)?;
    let mut peer = match begin(&start) {
        Ok(peer) => peer,
        Err(reason) => return answer(&Answer::Skip(reason)),
    };
    let mut turns = Turns {
        peer: &mut *peer,
        job: &start.job,
        number: 0,
    };
    if let Err(error) = turns.serve(&start) {
        answer(&Answer::Failed(error.to_string()))?;
    }
    // Nothing is in flight. How long a runtime takes to be torn down is nobody's question here.
    std::process::exit(0)
}

/// Makes the peer. Some runtimes panic where they can't start.
fn begin(start: &Start) -> Result<Box<dyn Peer>, String> {
    let entry =
        peers::find(&start.peer).ok_or_else(|| format!("there is no peer {}", start.peer))?;
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let made = catch_unwind(AssertUnwindSafe(|| (entry.start)(&start.job)));
    std::panic::set_hook(usual);
    match made {
        Ok(made) => made.map_err(|error| error.to_string()),
        Err(payload) => {
            let text = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied());
            Err(format!("it panicked: {}", text.unwrap_or("no message")))
        }
    }
}

fn answer(answer: &Answer) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, answer)?;
    out.write_all(b"\n")?;
    out.flush()
}

struct Turns<'a> {
    peer: &'a mut dyn Peer,
    job: &'a Job,
    /// Each turn has other offsets.
    number: u64,
}

impl Turns<'_> {
    fn serve(&mut self, start: &Start) -> io::Result<()> {
        let (lanes, _, _) = self.turn((2 * self.job.depth as u64).max(32), Mode::Verify)?;
        self.job.verify_written(&lanes)?;
        let ops_per_second = self.warm_up(start.warm_up_seconds)?;
        answer(&Answer::Ready {
            ops_per_second,
            note: self.peer.note(),
        })?;
        for line in io::stdin().lock().lines() {
            match serde_json::from_str(&line?)? {
                Ask::Plain(count) => {
                    let (_, elapsed, cpu) = self.turn(count, Mode::Plain)?;
                    let peak_kib = usage::peak_kib()?;
                    answer(&Answer::Plain {
                        seconds: elapsed.as_secs_f64(),
                        cpu_seconds: cpu.as_secs_f64(),
                        peak_kib,
                    })?;
                }
                Ask::Latency(count) => {
                    let (lanes, _, _) = self.turn(count, Mode::Latency)?;
                    answer(&Answer::Latency(percentiles(&lanes)))?;
                }
            }
        }
        Ok(())
    }

    fn turn(&mut self, count: u64, mode: Mode) -> io::Result<(Vec<Lane>, Duration, Duration)> {
        self.number += 1;
        let lanes = self.job.lanes(self.number, count, mode);
        let (start, cpu) = (Instant::now(), usage::cpu_time());
        let lanes = self.peer.run(lanes)?;
        let (elapsed, cpu) = (start.elapsed(), usage::cpu_time().saturating_sub(cpu));
        let ended: u64 = lanes.iter().map(Lane::ended).sum();
        if ended != count {
            return Err(io::Error::other(format!(
                "{ended} requests ended, and not {count}"
            )));
        }
        Ok((lanes, elapsed, cpu))
    }

    /// Runs for about so long, and says how many requests a second that gave.
    fn warm_up(&mut self, seconds: f64) -> io::Result<f64> {
        let mut count = 4 * self.job.depth as u64;
        loop {
            let (_, elapsed, _) = self.turn(count, Mode::Plain)?;
            if elapsed.as_secs_f64() * 2.0 >= seconds || count >= 1 << 24 {
                return Ok(count as f64 / elapsed.as_secs_f64().max(1e-9));
            }
            count *= 2;
        }
    }
}

fn percentiles(lanes: &[Lane]) -> Latency {
    let mut all: Vec<u32> = lanes.iter().flat_map(Lane::samples).copied().collect();
    all.sort_unstable();
    // The smallest value that so many are not above.
    let of = |share: f64| {
        let rank = (share * all.len() as f64).ceil() as usize;
        all.get(rank.saturating_sub(1))
            .map_or(f64::NAN, |&ns| f64::from(ns) / 1000.0)
    };
    Latency {
        p50_us: of(0.5),
        p99_us: of(0.99),
        p999_us: of(0.999),
    }
}
