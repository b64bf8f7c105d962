//! The command line.

use std::path::PathBuf;

use crate::job::{Access, PAGE};
use crate::peers::{self, Entry};

/// The same reads and writes by nofault, by bare io_uring, by other runtimes and by threads, taking
/// turns.
#[derive(clap::Parser)]
#[command(name = "peers", version)]
pub(crate) struct Options {
    /// Only peers whose name contains one of these
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) peers: Vec<String>,
    /// Requests in flight
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,8,32,128", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) depth: Vec<u32>,
    /// Bytes a request, multiples of 4K
    #[arg(long, value_name = "SIZE,...", value_delimiter = ',', default_value = "4K,128K", value_parser = block)]
    pub(crate) block: Vec<usize>,
    /// Reads, writes or both
    #[arg(
        long,
        value_name = "ACCESS,...",
        value_delimiter = ',',
        default_value = "read,write"
    )]
    pub(crate) rw: Vec<Access>,
    /// A file in --dir, a file on a loop device over tmpfs (as root), or both
    #[arg(
        long,
        value_name = "PLACE,...",
        value_delimiter = ',',
        default_value = "disk,loop"
    )]
    pub(crate) place: Vec<PlaceName>,
    /// Where the file on the disk goes
    #[arg(long, default_value = ".")]
    pub(crate) dir: PathBuf,
    /// The size of each file
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = file_size)]
    pub(crate) size: u64,
    /// How often the peers take turns; first for requests and CPU, then as often for latencies
    #[arg(long, value_name = "N", default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: u32,
    /// About how long a turn is; at least 1000 requests
    #[arg(long, default_value_t = 0.05, value_parser = seconds, conflicts_with = "ops")]
    pub(crate) seconds: f64,
    /// Exactly so many requests a turn instead
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) ops: Option<u64>,
    /// Also write everything to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Each combination once, tiny: does everything run? The figures mean nothing
    #[arg(long)]
    pub(crate) quick: bool,
    /// List the peers
    #[arg(long)]
    pub(crate) list: bool,
    /// How the program starts itself
    #[arg(long, hide = true, value_name = "JSON")]
    pub(crate) child: Option<String>,
}

/// Where the file lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum PlaceName {
    Disk,
    Loop,
}

impl Options {
    /// Makes the lists sorted and free of doubles, and applies `--quick`. Reads come before writes,
    /// since writes change what reads check.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        if self.quick {
            (self.rounds, self.ops) = (1, Some(self.ops.unwrap_or(128)));
            self.size = self.size.min(8 << 20);
        }
        self.depth.sort_unstable();
        self.depth.dedup();
        self.block.sort_unstable();
        self.block.dedup();
        self.rw.sort_unstable();
        self.rw.dedup();
        self.place.sort_unstable();
        self.place.dedup();
        match self.block.last() {
            Some(&largest) if largest as u64 > self.size => {
                Err("a block is larger than the file".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The peers to run, in the order of the table.
    pub(crate) fn entries(&self) -> Result<Vec<&'static Entry>, String> {
        let names = || {
            peers::ALL
                .iter()
                .map(|entry| entry.name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        if let Some(word) = self.peers.iter().find(|word| {
            !peers::ALL
                .iter()
                .any(|entry| entry.name.contains(word.as_str()))
        }) {
            return Err(format!(
                "no peer has {word} in its name; there are {}",
                names()
            ));
        }
        let wanted = |entry: &&Entry| {
            self.peers.is_empty()
                || self
                    .peers
                    .iter()
                    .any(|word| entry.name.contains(word.as_str()))
        };
        Ok(peers::ALL.iter().filter(wanted).collect())
    }
}

/// Bytes, with K, M or G for the powers of 1024.
fn bytes(word: &str) -> Result<u64, String> {
    let (digits, shift) = match word.as_bytes().last() {
        Some(b'k' | b'K') => (&word[..word.len() - 1], 10),
        Some(b'm' | b'M') => (&word[..word.len() - 1], 20),
        Some(b'g' | b'G') => (&word[..word.len() - 1], 30),
        _ => (word, 0),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "a number with K, M or G".to_owned())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "too large".to_owned())
}

fn block(word: &str) -> Result<usize, String> {
    match bytes(word)? {
        block if block > 0 && block <= 16 << 20 && block % PAGE as u64 == 0 => Ok(block as usize),
        _ => Err("a multiple of 4K, at most 16M".to_owned()),
    }
}

fn file_size(word: &str) -> Result<u64, String> {
    match bytes(word)? {
        size if (1 << 20..=1 << 40).contains(&size) && size.is_multiple_of(1 << 20) => Ok(size),
        _ => Err("a multiple of 1M, at most 1024G".to_owned()),
    }
}

fn seconds(word: &str) -> Result<f64, String> {
    match word.parse() {
        Ok(seconds) if (0.001..=60.0).contains(&seconds) => Ok(seconds),
        _ => Err("from 0.001 to 60".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bounded_and_have_units() {
        assert_eq!(
            (block("4K"), block("128k"), file_size("256M")),
            (Ok(4096), Ok(128 << 10), Ok(256 << 20))
        );
        for bad in ["", "K", "0", "512", "5000", "17M", "99999999999999G"] {
            assert!(block(bad).is_err(), "{bad}");
        }
        assert!(file_size("4K").is_err() && file_size("2000G").is_err());
        assert!(seconds("0").is_err() && seconds("nan").is_err() && seconds("0.5").is_ok());
    }
}
