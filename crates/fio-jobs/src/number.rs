//! Numbers with fio's suffixes.
//!
//! fio drops what it does not understand behind a number without a word: `1.5g` is one byte to it,
//! `5sec` five microseconds, ` 4k` with a blank before it four bytes. Here all of these are errors,
//! because nobody who wrote them meant that.

use std::time::Duration;

use super::arithmetic;
use super::error::Fault;
use super::kinds::Size;

/// What the prefixes k, m, g, t and p stand for (`kb_base`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum KbBase {
    /// k is 1024, and kib, by fio's choice, 1000.
    #[default]
    Binary,
    /// k is 1000, and kib 1024.
    Decimal,
}

/// What a number counts, and so which suffixes it takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    /// Bytes, or anything else that may be many.
    Count(KbBase),
    /// Microseconds.
    Micros,
    /// Microseconds too, but a number alone is seconds.
    Seconds,
}

impl Unit {
    /// What `suffix`, in lower case, multiplies a number by.
    pub(super) fn factor(self, suffix: &str) -> Option<u64> {
        match self {
            Unit::Count(base) => count_factor(suffix, base),
            Unit::Micros if suffix.is_empty() => Some(1),
            Unit::Seconds if suffix.is_empty() => Some(1_000_000),
            Unit::Micros | Unit::Seconds => time_factor(suffix),
        }
    }
}

fn count_factor(suffix: &str, base: KbBase) -> Option<u64> {
    if suffix.is_empty() || suffix == "b" {
        return Some(1);
    }
    let power = 1 + "kmgtp".find(suffix.chars().next()?)? as u32;
    // `ki` is what `k` is: so does fio, whose documentation says otherwise.
    let thousand = match (&suffix[1..], base) {
        ("" | "b" | "i", KbBase::Binary) | ("ib", KbBase::Decimal) => 1024u64,
        ("" | "b" | "i", KbBase::Decimal) | ("ib", KbBase::Binary) => 1000,
        _ => return None,
    };
    Some(thousand.pow(power))
}

fn time_factor(suffix: &str) -> Option<u64> {
    Some(match suffix {
        "us" | "usec" => 1,
        "ms" | "msec" => 1000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    })
}

const BLANK: [char; 2] = [' ', '\t'];

/// What fio would take a number for that has `words` behind its suffix, where that is something
/// else than what is written. fio ignores such words, but a unit among them is meant, and behind
/// the units of one letter they make fio ignore the unit as well.
fn misread(unit: Unit, suffix: &str, words: &str) -> Option<&'static str> {
    let words = words.trim_matches(BLANK).to_ascii_lowercase();
    let word = words.split(BLANK).next().filter(|word| !word.is_empty())?;
    let suffix = suffix.to_ascii_lowercase();
    let meant = time_word(word);
    match unit {
        Unit::Count(base) if suffix.is_empty() => {
            let size = [
                "kilo", "mega", "giga", "tera", "peta", "kby", "mby", "gby", "tby", "%",
            ];
            let bytes = ["b", "byte", "bytes"].contains(&word);
            let larger = count_factor(word, base).is_some()
                || size.iter().any(|start| word.starts_with(start));
            (larger && !bytes).then_some("bytes, or of whatever it counts")
        }
        Unit::Count(_) => None,
        Unit::Micros if suffix.is_empty() => meant
            .is_some_and(|factor| factor != 1)
            .then_some("microseconds"),
        Unit::Seconds if suffix.is_empty() => meant
            .is_some_and(|factor| factor != 1_000_000)
            .then_some("seconds"),
        Unit::Micros | Unit::Seconds => {
            (suffix.len() == 1 || time_factor(&suffix).is_none()).then_some("microseconds")
        }
    }
}

/// The unit of time that a word names.
fn time_word(word: &str) -> Option<u64> {
    let words = [
        ("us", 1),
        ("micro", 1),
        ("ms", 1000),
        ("milli", 1000),
        ("sec", 1_000_000),
        ("min", 60_000_000),
        ("hour", 3_600_000_000),
        ("day", 86_400_000_000),
    ];
    let long = words.iter().find(|(start, _)| word.starts_with(start));
    time_factor(word).or(long.map(|&(_, factor)| factor))
}

/// Whether there are words behind a number in this value, which fio ignores: in any of its parts,
/// if it has several.
pub(super) fn has_words(text: &str) -> bool {
    !text.contains('(')
        && text
            .split([',', ':', '-', '/'])
            .any(|part| part.trim_matches(BLANK).contains(BLANK))
}

/// Reads a whole number, with a suffix or as an expression in parentheses. With `math` an
/// expression needs no parentheses.
pub(super) fn number(text: &str, unit: Unit, math: bool) -> Result<u64, Fault> {
    let trimmed = text.trim_matches(BLANK);
    if trimmed.starts_with('(') || math && trimmed.contains(['+', '-', '*', '/']) {
        return arithmetic::evaluate(trimmed, unit);
    }
    let leading = text.starts_with(BLANK);
    let (trimmed, words) = trimmed.split_once(BLANK).unwrap_or((trimmed, ""));
    let (value, suffix) = digits(trimmed)?;
    if let Some(read) = misread(unit, suffix, words) {
        return Err(Fault::value(format!(
            "fio takes {:?} for {value} {read}: write nothing between a number and its unit, and nothing behind it",
            text.trim_matches(BLANK)
        )));
    }
    if !suffix.is_empty() && leading {
        return Err(Fault::value(format!(
            "a blank before {trimmed:?} makes fio drop the suffix {suffix:?}; write no blank after the ="
        )));
    }
    let factor = unit
        .factor(&suffix.to_ascii_lowercase())
        .ok_or_else(|| Fault::value(bad_suffix(suffix, unit)))?;
    value
        .checked_mul(factor)
        .ok_or_else(|| Fault::value(format!("{trimmed} is too large")))
}

/// The same, or a percentage from 1 to 100.
pub(super) fn size(text: &str, base: KbBase, math: bool) -> Result<Size, Fault> {
    // As behind any number, fio ignores the words behind a percentage.
    let percent = text
        .split_once('%')
        .filter(|(_, words)| words.is_empty() || words.starts_with(BLANK));
    let Some((percent, _)) = percent else {
        return number(text, Unit::Count(base), math).map(Size::Bytes);
    };
    match number(percent, Unit::Count(base), false) {
        // With a blank before the %, fio takes it for so many bytes.
        Ok(percent @ 1..=100) if !text.contains(" %") && !text.contains("\t%") => {
            Ok(Size::Percent(percent as u8))
        }
        _ => Err(Fault::value(format!(
            "{text:?} is no percentage from 1% to 100%"
        ))),
    }
}

/// Splits at `separator`, but not inside of parentheses.
pub(super) fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0usize);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if letter == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + letter.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Two numbers with `-` or `:` between them, the smaller one first. The minus is taken, so that
/// arithmetic needs parentheses here.
pub(super) fn range(text: &str, unit: Unit) -> Result<(u64, u64), Fault> {
    if text.contains('/') && !text.contains('(') {
        return Err(Fault::value(format!(
            "fio ignores what follows the / in {text:?}; write a comma between the range for reads and the one for writes"
        )));
    }
    let parts = match split(text, '-') {
        parts if parts.len() > 1 => parts,
        _ => split(text, ':'),
    };
    let [low, high] = parts[..] else {
        return Err(Fault::value(format!(
            "{text:?} is no range: write for example 1k-4k"
        )));
    };
    let (low, high) = (number(low, unit, false)?, number(high, unit, false)?);
    Ok((low.min(high), low.max(high)))
}

fn digits(text: &str) -> Result<(u64, &str), Fault> {
    let not_a_number = || Fault::value(format!("{text:?} is no number"));
    let plain = text.strip_prefix('+').unwrap_or(text);
    if plain.starts_with('-') {
        return Err(Fault::value(format!("{text:?} is negative")));
    }
    let hex = plain
        .strip_prefix("0x")
        .or_else(|| plain.strip_prefix("0X"));
    let (radix, plain) = hex.map_or((10, plain), |hex| (16, hex));
    let end = plain
        .find(|letter: char| !letter.is_digit(radix))
        .unwrap_or(plain.len());
    let (digits, rest) = plain.split_at(end);
    if digits.is_empty() {
        return Err(not_a_number());
    }
    if rest.starts_with('.') {
        return Err(Fault::value(format!(
            "{text:?} is no whole number; fio would take it for {digits}"
        )));
    }
    if radix == 16 && !rest.is_empty() {
        return Err(Fault::value(format!(
            "{text:?}: fio takes no suffix behind a hexadecimal number"
        )));
    }
    let value = u64::from_str_radix(digits, radix)
        .map_err(|_| Fault::value(format!("{text} is too large")))?;
    // fio reads into a signed 64-bit number.
    if value > i64::MAX as u64 {
        Err(Fault::value(format!("{text} is too large")))
    } else {
        Ok((value, rest))
    }
}

fn bad_suffix(suffix: &str, unit: Unit) -> String {
    match unit {
        Unit::Count(_) if suffix.starts_with('%') => "a percentage is not taken here".to_owned(),
        Unit::Count(_) if suffix.eq_ignore_ascii_case("z") => {
            "zones are not offered here".to_owned()
        }
        Unit::Count(_) => format!(
            "unknown suffix {suffix:?}, which fio would ignore; k, m, g, t, p, and kib, mib and so on are known"
        ),
        Unit::Micros | Unit::Seconds => {
            format!(
                "unknown unit {suffix:?}, which fio would take for microseconds; us, ms, s, m, h and d are known"
            )
        }
    }
}

/// A number of bytes as fio reads it, with the largest suffix that leaves it whole.
pub(super) fn show_bytes(bytes: u64) -> String {
    let power = if bytes == 0 {
        0
    } else {
        (bytes.trailing_zeros() / 10).min(5)
    };
    format!(
        "{}{}",
        bytes >> (10 * power),
        ["", "k", "m", "g", "t", "p"][power as usize]
    )
}

/// A size as fio reads it.
pub(super) fn show_size(size: Size) -> String {
    match size {
        Size::Bytes(bytes) => show_bytes(bytes),
        Size::Percent(percent) => format!("{percent}%"),
    }
}

/// A time as fio reads it, with the largest unit up to seconds that leaves it whole.
pub(super) fn show_time(time: Duration) -> String {
    let micros = time.as_micros();
    match micros {
        _ if micros.is_multiple_of(1_000_000) => format!("{}s", micros / 1_000_000),
        _ if micros.is_multiple_of(1000) => format!("{}ms", micros / 1000),
        _ => format!("{micros}us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINARY: Unit = Unit::Count(KbBase::Binary);
    const DECIMAL: Unit = Unit::Count(KbBase::Decimal);

    fn message(text: &str, unit: Unit) -> String {
        number(text, unit, false).expect_err(text).message
    }

    #[test]
    fn sizes_have_the_suffixes_of_the_documentation() {
        // The documentation's own examples, both bases, but for `ki`, where fio does otherwise than
        // it says.
        for text in [
            "4096", "4096b", "4096B", "4k", "4kb", "4kB", "4K", "4KB", "0x1000", "+4096", "4ki",
            "4Ki",
        ] {
            assert_eq!(number(text, BINARY, false), Ok(4096), "{text}");
        }
        for (text, expected) in [
            ("1m", 1 << 20),
            ("1024k", 1 << 20),
            ("1mib", 1_000_000),
            ("1000kib", 1_000_000),
            ("1t", 1 << 40),
            ("1tib", 1_000_000_000_000),
        ] {
            assert_eq!(number(text, BINARY, false), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("4kib", 4096),
            ("4KiB", 4096),
            ("1mib", 1 << 20),
            ("1m", 1_000_000),
            ("1000k", 1_000_000),
            ("1pb", 10u64.pow(15)),
        ] {
            assert_eq!(number(text, DECIMAL, false), Ok(expected), "{text}");
        }
    }

    #[test]
    fn times_have_the_suffixes_that_fio_really_knows() {
        for (text, expected) in [
            ("10", 10_000_000),
            ("10s", 10_000_000),
            ("10S", 10_000_000),
            ("500ms", 500_000),
            ("5msec", 5000),
            ("7us", 7),
            ("7usec", 7),
        ] {
            assert_eq!(number(text, Unit::Seconds, false), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("10", 10),
            ("10m", 600_000_000),
            ("1h", 3_600_000_000),
            ("1d", 86_400_000_000),
            ("(2*3)", 6),
            ("(1s+1)", 1_000_001),
        ] {
            assert_eq!(number(text, Unit::Micros, false), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_fio_would_misread_is_an_error_that_says_so() {
        assert!(message(" 4k", BINARY).contains("drop the suffix"));
        assert!(message("1.5g", BINARY).contains("take it for 1"));
        assert!(message("5sec", Unit::Seconds).contains("microseconds"));
        assert!(message("5min", Unit::Seconds).contains("microseconds"));
        assert!(message("4x", BINARY).contains("ignore"));
        assert!(message("0x10k", BINARY).contains("hexadecimal"));
        assert!(message("-1", BINARY).contains("negative"));
        assert!(message("2z", BINARY).contains("zones"));
        assert!(message("20%", BINARY).contains("percentage"));
        for text in ["", "k", "0x", "four", "--1", "+"] {
            assert!(number(text, BINARY, false).is_err(), "{text:?}");
        }
        // A blank alone is read as it is meant.
        assert_eq!(number(" 4", BINARY, false), Ok(4));
    }

    #[test]
    fn nothing_wraps_around() {
        for text in [
            "18446744073709551615",
            "9223372036854775808",
            "20000p",
            "99999999999999999999",
            "0xffffffffffffffffff",
            "(2^64)",
            "(9223372036854775807*2*2*2)",
        ] {
            assert!(number(text, BINARY, false).is_err(), "{text}");
        }
        assert_eq!(
            number("9223372036854775807", BINARY, false),
            Ok(i64::MAX as u64)
        );
        assert!(number("300000000000d", Unit::Seconds, false).is_err());
    }

    #[test]
    fn percentages_and_ranges() {
        assert_eq!(size("20%", KbBase::Binary, false), Ok(Size::Percent(20)));
        assert_eq!(size("1k", KbBase::Binary, false), Ok(Size::Bytes(1024)));
        for text in ["0%", "101%", "%", "-1%", "1.5%"] {
            assert!(size(text, KbBase::Binary, false).is_err(), "{text}");
        }
        assert_eq!(range("1k-4k", BINARY), Ok((1024, 4096)));
        assert_eq!(range("4k:1k", BINARY), Ok((1024, 4096)));
        assert_eq!(range("(2*1k)-(9k-1k)", BINARY), Ok((2048, 8192)));
        assert_eq!(range("1s-2s", Unit::Seconds), Ok((1_000_000, 2_000_000)));
        for text in ["4k", "1k-2k-3k", "-", "1k-", "1k-4k/8k-32k"] {
            assert!(range(text, BINARY).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_read_again() {
        for bytes in [
            0,
            1,
            1023,
            1024,
            4096,
            1 << 20,
            3 << 30,
            5 << 40,
            1 << 50,
            1 << 62,
            1_000_000,
            i64::MAX as u64,
        ] {
            assert_eq!(number(&show_bytes(bytes), BINARY, false), Ok(bytes));
        }
        for micros in [0, 1, 999, 1000, 1500, 1_000_000, 90_000_000, 123_456_789] {
            assert_eq!(
                number(
                    &show_time(Duration::from_micros(micros)),
                    Unit::Seconds,
                    false
                ),
                Ok(micros)
            );
        }
    }
}
