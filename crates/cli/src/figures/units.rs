//! Sizes, rates and times as people write and read them. Pure text; knows nothing of the rest.

use std::time::Duration;

/// Reads a size in bytes: digits, then nothing, `K`, `M`, `G` or `T` (powers of 1024), with or
/// without `iB` or `B` after it.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let wrong = || {
        format!("`{text}` is not a size: write bytes, or a number with K, M, G or T, as in 256M")
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(1 << shift)
        .filter(|&bytes| bytes <= i64::MAX as u64)
        .ok_or_else(|| format!("`{text}` is more than a file can hold"))
}

/// Reads a time in seconds, more than 0 and at most an hour.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a number of seconds between 0 and 3600");
    let seconds: f64 = text.trim().parse().map_err(|_| wrong())?;
    if seconds > 0.0 && seconds <= 3600.0 {
        Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
    } else {
        Err(wrong())
    }
}

/// A size with the largest binary unit that leaves it whole or has three digits: `4 KiB`, `1.5
/// GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = 0;
    let mut value = bytes as f64;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value.fract() == 0.0 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{} {}", three_digits(value), UNITS[unit])
    }
}

/// Bytes a second, in MiB or GiB.
pub(crate) fn byte_rate(bytes_per_second: f64) -> String {
    let mib = bytes_per_second / (1 << 20) as f64;
    if mib >= 10_000.0 {
        format!("{} GiB/s", three_digits(mib / 1024.0))
    } else {
        format!("{} MiB/s", three_digits(mib))
    }
}

/// Requests a second: `45.1k`.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        v if v >= 999_500.0 => format!("{}M", three_digits(v / 1e6)),
        v if v >= 999.5 => format!("{}k", three_digits(v / 1e3)),
        v => three_digits(v),
    }
}

/// A time given in microseconds, with a unit that suits it.
pub(crate) fn time_us(us: f64) -> String {
    match us {
        v if v >= 999_500.0 => format!("{} s", three_digits(v / 1e6)),
        v if v >= 999.5 => format!("{} ms", three_digits(v / 1e3)),
        v => format!("{} µs", three_digits(v)),
    }
}

/// Three digits that count; below 1, two places.
fn three_digits(value: f64) -> String {
    match value {
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_the_unit_may_be_short_or_long() {
        for text in ["268435456", "256M", "256m", "256MiB", "256 MB", " 256M "] {
            assert_eq!(parse_size(text), Ok(256 << 20), "{text}");
        }
        assert_eq!(parse_size("4K"), Ok(4096));
        assert_eq!(parse_size("2T"), Ok(2 << 40));
        assert_eq!(parse_size("0"), Ok(0));
    }

    #[test]
    fn what_is_no_size_is_refused_with_its_own_text() {
        for text in [
            "",
            "M",
            "12X",
            "-1",
            "1.5G",
            "1e3",
            "99999999999999999999",
            "8388608T",
            "9223372036854775808",
        ] {
            let message = parse_size(text).expect_err(text);
            assert!(message.contains(text.trim()), "{message}");
        }
    }

    #[test]
    fn seconds_are_positive_and_finite() {
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "nan", "inf", "3601", "x", ""] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn figures_keep_three_digits_in_every_unit() {
        assert_eq!(size(4096), "4 KiB");
        assert_eq!(size(3 << 29), "1.50 GiB");
        assert_eq!(size(u64::MAX), "16 EiB");
        assert_eq!(rate(45_123.0), "45.1k");
        assert_eq!(rate(999.6), "1.00k");
        assert_eq!(rate(12.0), "12.0");
        assert_eq!(byte_rate(812.4 * 1048576.0), "812 MiB/s");
        assert_eq!(byte_rate(20_480.0 * 1048576.0), "20.0 GiB/s");
        assert_eq!(time_us(0.034), "0.03 µs");
        assert_eq!(time_us(999.7), "1.00 ms");
        assert_eq!(time_us(40_800.0), "40.8 ms");
        assert_eq!(time_us(2_500_000.0), "2.50 s");
    }
}
