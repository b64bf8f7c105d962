//! The options that `bench` and `stall` have in common, and what their values may be.

use std::path::PathBuf;
use std::time::Duration;

use super::engine::BackendChoice;
use crate::figures::units;

/// What is measured on, for how long, by which back end.
#[derive(clap::Args)]
pub(crate) struct Measure {
    /// Directory to make the file in; the filesystem there is what is measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Size of the file, rounded up to whole MiB
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = file_size)]
    pub(crate) size: u64,
    /// Time for each row in each column
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = units::parse_seconds)]
    pub(crate) seconds: Duration,
    /// Rounds that this time is divided into; figures are medians over them
    #[arg(long, value_name = "COUNT", default_value = "5", value_parser = rounds())]
    pub(crate) rounds: u32,
    /// Back end of the nofault column
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) backend: BackendChoice,
    /// Print the figures as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Say on standard error which row is being measured
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// How many rounds there may be.
pub(crate) fn rounds() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1000)
}

/// The size of a file, rounded up to whole MiB.
pub(crate) fn file_size(text: &str) -> Result<u64, String> {
    let bytes = units::parse_size(text)?;
    if bytes == 0 {
        return Err("the file has to hold something, 1M at least".into());
    }
    bytes
        .checked_next_multiple_of(1 << 20)
        .filter(|&b| b <= i64::MAX as u64)
        .ok_or_else(|| format!("`{text}` is more than a file can hold"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_requests_and_never_nothing() {
        assert_eq!(file_size("1"), Ok(1 << 20));
        assert_eq!(file_size("256M"), Ok(256 << 20));
        assert!(file_size("0").is_err());
        assert!(file_size("9223372036854775807").is_err());
    }
}
