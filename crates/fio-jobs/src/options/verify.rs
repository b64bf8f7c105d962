//! Whether what was written is read back, and how it is known again.

use super::super::error::Fault;
use super::super::kinds::{PatternPart, Verify};
use super::super::value::Value;
use super::{Draft, Known, set, show_flag};

/// The bytes that a pattern may have; fio's own limit.
const MAX_PATTERN: usize = 512;

const WHOLE: &str = "everything is verified once it was written";

pub(super) const TABLE: &[Known] = &[
    Known::typed("verify", &[], set_verify, |o| {
        o.verify.map(|verify| match verify {
            Verify::Crc32c => "crc32c".to_owned(),
            Verify::Crc32 => "crc32".to_owned(),
            Verify::Pattern => "pattern".to_owned(),
        })
    }),
    Known::typed(
        "do_verify",
        &[],
        |d, v| set(&mut d.options.do_verify, v.boolean()),
        |o| show_flag(o.do_verify, true),
    ),
    Known::typed(
        "verify_fatal",
        &[],
        |d, v| set(&mut d.options.verify_fatal, v.boolean()),
        |o| show_flag(o.verify_fatal, false),
    ),
    Known::typed(
        "verify_pattern",
        &[],
        |d, v| set(&mut d.options.verify_pattern, v.text().and_then(pattern)),
        |o| {
            (!o.verify_pattern.is_empty()).then(|| o.verify_pattern.iter().map(show_part).collect())
        },
    ),
    Known::ignored("verify_dump", "blocks that differ are counted, not stored"),
    Known::ignored("verify_async", "verification is done by the worker itself"),
    Known::ignored(
        "verify_async_cpus",
        "verification is done by the worker itself",
    ),
    Known::kept("verify_state_save"),
    Known::fixed("verify_state_load", &["0"], WHOLE),
    Known::fixed(
        "verify_only",
        &["0"],
        "only what this run has written can be verified",
    ),
    Known::fixed("verify_backlog", &["0"], WHOLE),
    Known::fixed("verify_backlog_batch", &["0"], WHOLE),
    Known::fixed("experimental_verify", &["0"], WHOLE),
    Known::refused("verify_interval", "there is one header in each block"),
    Known::refused(
        "verify_offset",
        "the header stands at the start of the block",
    ),
];

fn set_verify(draft: &mut Draft, value: Value<'_>) -> Result<(), Fault> {
    const OTHERS: [&str; 19] = [
        "md5",
        "crc64",
        "crc16",
        "crc7",
        "xxhash",
        "sha1",
        "sha256",
        "sha512",
        "sha3-224",
        "sha3-256",
        "sha3-384",
        "sha3-512",
        "meta",
        "null",
        "1",
        "header",
        "pattern_hdr",
        "xxh3",
        "crc32c-arm64",
    ];
    draft.options.verify = match value.text()? {
        "0" => None,
        "crc32c" | "crc32c-intel" => Some(Verify::Crc32c),
        "crc32" => Some(Verify::Crc32),
        "pattern" => Some(Verify::Pattern),
        other if OTHERS.contains(&other) => {
            return Err(Fault::unsupported(format!(
                "{other} is not offered here: take crc32c, crc32 or pattern"
            )));
        }
        other => {
            return Err(Fault::value(format!(
                "{other:?} is none of crc32c, crc32, pattern"
            )));
        }
    };
    Ok(())
}

/// Numbers, strings and `%o`, one behind the other. A decimal number stands for its bytes, the
/// lowest first, without the zeros at the end; a hexadecimal one for the bytes as they are written.
fn pattern(text: &str) -> Result<Vec<PatternPart>, Fault> {
    let (mut parts, mut rest, mut total) = (Vec::new(), text, 0);
    while !rest.is_empty() {
        let (part, after) = part(rest)?;
        let bytes = match &part {
            PatternPart::Bytes(bytes) => bytes.len(),
            PatternPart::Offset => 8,
        };
        total += bytes;
        if total > MAX_PATTERN {
            return Err(Fault::value(format!(
                "the pattern has more than {MAX_PATTERN} bytes"
            )));
        }
        match (parts.last_mut(), part) {
            (Some(PatternPart::Bytes(before)), PatternPart::Bytes(bytes)) => before.extend(bytes),
            (_, part) => parts.push(part),
        }
        rest = after;
    }
    Ok(parts)
}

fn part(text: &str) -> Result<(PatternPart, &str), Fault> {
    let bad = || {
        Fault::value(format!(
            "no pattern starts with {text:?}: write 0x and hexadecimal digits, a decimal number, a \"string\", or %o"
        ))
    };
    if let Some(rest) = text.strip_prefix("%o") {
        return Ok((PatternPart::Offset, rest));
    }
    if let Some(rest) = text.strip_prefix('"') {
        let (string, rest) = rest
            .split_once('"')
            .filter(|(string, _)| !string.is_empty())
            .ok_or_else(bad)?;
        return Ok((PatternPart::Bytes(string.as_bytes().to_vec()), rest));
    }
    if text.starts_with('\'') {
        return Err(Fault::unsupported(
            "a pattern from a file is not offered here",
        ));
    }
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let end = hex
            .find(|letter: char| !letter.is_ascii_hexdigit())
            .unwrap_or(hex.len());
        let (digits, rest) = hex.split_at(end);
        // With an odd number of digits the first one is a byte of its own.
        let even = format!("{}{digits}", if end % 2 == 1 { "0" } else { "" });
        let bytes: Result<Vec<u8>, _> = (0..even.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&even[at..at + 2], 16))
            .collect();
        return bytes
            .ok()
            .filter(|bytes| !bytes.is_empty())
            .map(|bytes| (PatternPart::Bytes(bytes), rest))
            .ok_or_else(bad);
    }
    let sign = usize::from(text.starts_with('-'));
    let end = text[sign..]
        .find(|letter: char| !letter.is_ascii_digit())
        .map_or(text.len(), |end| sign + end);
    let (digits, rest) = text.split_at(end);
    let number: i64 = digits.parse().map_err(|_| bad())?;
    if number < i64::from(i32::MIN) || number > i64::from(u32::MAX) {
        return Err(Fault::value(format!(
            "{digits} has more than 32 bits: write it as 0x"
        )));
    }
    let mut bytes = (number as u32).to_le_bytes().to_vec();
    while bytes.len() > 1 && bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok((PatternPart::Bytes(bytes), rest))
}

fn show_part(part: &PatternPart) -> String {
    match part {
        PatternPart::Offset => "%o".to_owned(),
        PatternPart::Bytes(bytes) => bytes
            .iter()
            .fold("0x".to_owned(), |shown, byte| format!("{shown}{byte:02x}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_numbers_strings_and_offsets() {
        use PatternPart::{Bytes, Offset};
        for (text, expected) in [
            ("0xdeadface", vec![Bytes(vec![0xde, 0xad, 0xfa, 0xce])]),
            ("0xfff", vec![Bytes(vec![0x0f, 0xff])]),
            ("255", vec![Bytes(vec![255])]),
            ("256", vec![Bytes(vec![0, 1])]),
            ("0", vec![Bytes(vec![0])]),
            ("%o", vec![Offset]),
            // The documentation's example of everything.
            (
                "0xff%o\"abcd\"-12",
                vec![
                    Bytes(vec![0xff]),
                    Offset,
                    Bytes(vec![b'a', b'b', b'c', b'd', 0xf4, 0xff, 0xff, 0xff]),
                ],
            ),
        ] {
            let parts = pattern(text).unwrap();
            assert_eq!(parts, expected, "{text}");
            assert_eq!(
                pattern(&parts.iter().map(show_part).collect::<String>()).unwrap(),
                expected,
                "{text}"
            );
        }
        for text in [
            "0x",
            "\"\"",
            "\"abc",
            "'file'",
            "x",
            "4294967296",
            "-",
            "%p",
            &"0xff".repeat(600),
        ] {
            assert!(pattern(text).is_err(), "{text}");
        }
    }
}
