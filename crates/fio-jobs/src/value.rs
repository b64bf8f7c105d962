//! One value of an option, and the ways in which options read theirs.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::Fault;
use super::kinds::{PerDirection, Size};
use super::number::{self, KbBase, Unit};

/// What stands behind the `=`, expanded; or nothing at all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'v> {
    pub(super) text: Option<&'v str>,
    /// Numbers may be expressions without parentheses.
    pub(super) math: bool,
    pub(super) base: KbBase,
}

impl<'v> Value<'v> {
    fn with(self, text: &'v str) -> Value<'v> {
        Value {
            text: Some(text),
            ..self
        }
    }

    fn given(self) -> Result<&'v str, Fault> {
        match self.text {
            Some("") => Err(Fault::value("its value is empty")),
            Some(text) => Ok(text),
            None => Err(Fault::value("needs a value")),
        }
    }

    /// What stands before the first blank behind it. As fio, which ignores the rest.
    fn first_word(self) -> Result<&'v str, Fault> {
        let text = self.given()?.trim_matches([' ', '\t']);
        Ok(text.split([' ', '\t']).next().unwrap_or(text))
    }

    /// Any text. A blank before it would be part of it to fio.
    pub(super) fn text(self) -> Result<&'v str, Fault> {
        match self.given()? {
            text if text.starts_with([' ', '\t']) => Err(Fault::value(
                "there is a blank behind the =, which fio takes for a part of the value",
            )),
            text => Ok(text),
        }
    }

    /// An option that may stand alone.
    pub(super) fn flag(self) -> Result<bool, Fault> {
        if self.text.is_none() {
            Ok(true)
        } else {
            self.boolean()
        }
    }

    pub(super) fn boolean(self) -> Result<bool, Fault> {
        match self.first_word()? {
            "0" => Ok(false),
            "1" => Ok(true),
            other => Err(Fault::value(format!("{other:?} is neither 0 nor 1"))),
        }
    }

    pub(super) fn number(self, unit: Unit) -> Result<u64, Fault> {
        number::number(self.given()?, unit, self.math)
    }

    /// A count or a number of bytes in these bounds.
    pub(super) fn count(self, bounds: RangeInclusive<u64>) -> Result<u64, Fault> {
        let value = self.number(Unit::Count(self.base))?;
        if bounds.contains(&value) {
            Ok(value)
        } else if value < *bounds.start() {
            Err(Fault::value(format!(
                "{value} is too little: at least {}",
                bounds.start()
            )))
        } else {
            Err(Fault::value(format!(
                "{value} is too much: at most {}",
                bounds.end()
            )))
        }
    }

    /// The same, for what is never more than 32 bits wide.
    pub(super) fn count32(self, least: u32) -> Result<u32, Fault> {
        self.count(u64::from(least)..=u64::from(u32::MAX))
            .map(|value| value as u32)
    }

    pub(super) fn bytes(self) -> Result<u64, Fault> {
        self.count(0..=i64::MAX as u64)
    }

    pub(super) fn size(self) -> Result<Size, Fault> {
        number::size(self.given()?, self.base, self.math)
    }

    pub(super) fn byte_range(self) -> Result<(u64, u64), Fault> {
        number::range(self.given()?, Unit::Count(self.base))
    }

    pub(super) fn time(self, unit: Unit) -> Result<Duration, Fault> {
        self.number(unit).map(Duration::from_micros)
    }

    pub(super) fn real(self) -> Result<f64, Fault> {
        let text = self.first_word()?;
        // `inf` and `nan` parse too, and mean nothing here.
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(Fault::value(format!("{text:?} is no number"))),
        }
    }

    /// One of these words.
    pub(super) fn one_of<T: Copy>(self, words: &[(&str, T)]) -> Result<T, Fault> {
        let text = self.text()?;
        words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|&(_, value)| value)
            .ok_or_else(|| {
                let words: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
                Fault::value(format!("{text:?} is none of {}", words.join(", ")))
            })
    }

    /// Values for reads, writes and trims with commas between them, as fio deals them out: the last
    /// one also holds for what follows it, unless a comma comes after it; an empty one leaves
    /// things as they are. Trims are checked and forgotten.
    pub(super) fn directions<T: Clone>(
        self,
        read: impl Fn(Value<'v>) -> Result<T, Fault>,
    ) -> Result<PerDirection<Option<T>>, Fault> {
        let text = self.given()?;
        let mut parts = number::split(text, ',');
        let closed = parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty());
        if closed {
            parts.pop();
        }
        if parts.len() > 3 || parts.iter().all(|part| part.is_empty()) {
            return Err(Fault::value(format!(
                "{text:?} is not one value, or up to three for reads, writes and trims"
            )));
        }
        let mut values = Vec::with_capacity(3);
        for part in parts {
            values.push(if part.is_empty() {
                None
            } else {
                Some(read(self.with(part))?)
            });
        }
        let rest = if closed {
            None
        } else {
            values.last().cloned().flatten()
        };
        values.resize(3, rest);
        let [read, write, _trim] =
            <[_; 3]>::try_from(values).map_err(|_| Fault::value("too many values"))?;
        Ok(PerDirection { read, write })
    }

    /// Values with colons between them.
    pub(super) fn list(self) -> Result<impl Iterator<Item = Value<'v>>, Fault> {
        Ok(number::split(self.text()?, ':')
            .into_iter()
            .map(move |part| self.with(part)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value<'_> {
        Value {
            text: Some(text),
            math: false,
            base: KbBase::Binary,
        }
    }

    #[test]
    fn directions_are_dealt_out_as_the_documentation_says() {
        let read = |text| {
            value(text)
                .directions(Value::bytes)
                .map(|values| (values.read, values.write))
        };
        for (text, expected) in [
            ("256k", (Some(256 << 10), Some(256 << 10))),
            ("8k,32k", (Some(8 << 10), Some(32 << 10))),
            ("8k,32k,", (Some(8 << 10), Some(32 << 10))),
            ("8k,", (Some(8 << 10), None)),
            (",8k", (None, Some(8 << 10))),
            (",8k,", (None, Some(8 << 10))),
            ("1,2,3", (Some(1), Some(2))),
            (",,3", (None, None)),
            ("(1k*2),4k", (Some(2048), Some(4096))),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for text in ["", ",", ",,", "1,2,3,4", "x", "1,x"] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn flags_stand_alone_and_booleans_do_not() {
        let alone = Value {
            text: None,
            math: false,
            base: KbBase::Binary,
        };
        assert_eq!(
            (alone.flag(), value("0").flag(), value("1").flag()),
            (Ok(true), Ok(false), Ok(true))
        );
        assert!(
            alone.boolean().is_err()
                && value("yes").boolean().is_err()
                && value("").flag().is_err()
                && value("2").flag().is_err()
        );
    }

    #[test]
    fn words_and_numbers_say_what_they_take() {
        assert_eq!(value("b").one_of(&[("a", 1), ("b", 2)]), Ok(2));
        assert_eq!(
            value("c").one_of(&[("a", 1), ("b", 2)]),
            Err(Fault::value("\"c\" is none of a, b"))
        );
        assert!(
            value(" a")
                .one_of(&[("a", 1)])
                .unwrap_err()
                .message
                .contains("blank")
        );
        assert_eq!(value("4k").count(1..=4096), Ok(4096));
        assert!(
            value("4097")
                .count(1..=4096)
                .unwrap_err()
                .message
                .contains("at most 4096")
        );
        assert!(
            value("0")
                .count(1..=4096)
                .unwrap_err()
                .message
                .contains("at least 1")
        );
        assert!(value("4g").count32(0).is_err());
        assert_eq!(value("0.5").real(), Ok(0.5));
        assert!(value("nan").real().is_err() && value("inf").real().is_err());
    }
}
