//! What the arguments of the command line mean.

use nofault::Backend;

use super::suite::cell::Cell;
use super::suite::{Column, column};

pub(super) fn column(word: &str) -> Result<Column, String> {
    let names = || Column::ALL.map(Column::name).join(", ");
    Column::from_name(word).ok_or_else(|| format!("the columns are {}", names()))
}

pub(super) fn backend(word: &str) -> Result<Backend, String> {
    column::backend_from_name(word)
        .ok_or_else(|| "the back ends are auto, uring and threads".to_owned())
}

pub(super) fn cell(word: &str) -> Result<Cell, String> {
    Cell::from_word(word).ok_or_else(|| "not a cell".to_owned())
}

/// Bytes, with K, M or G for the powers of 1024.
pub(super) fn size(word: &str) -> Result<u64, String> {
    let (digits, unit) = match word.to_ascii_uppercase().as_bytes() {
        [.., b'K'] => (&word[..word.len() - 1], 10),
        [.., b'M'] => (&word[..word.len() - 1], 20),
        [.., b'G'] => (&word[..word.len() - 1], 30),
        _ => (word, 0),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "a number with K, M or G".to_owned())?;
    match number.checked_mul(1 << unit) {
        Some(bytes) if bytes >= 4 << 20 => Ok(bytes),
        Some(_) => Err("at least 4M".to_owned()),
        None => Err("too large".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_a_least_value() {
        assert_eq!(size("64M"), Ok(64 << 20));
        assert_eq!(size("1g"), Ok(1 << 30));
        assert_eq!(size("4194304"), Ok(4 << 20));
        for bad in ["", "M", "1M", "-4M", "99999999999G", "4T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
