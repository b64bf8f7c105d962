//! fio's arithmetic: what may stand in parentheses instead of a number.
//!
//! `+ - * / % ^`, whole numbers and decimal fractions, suffixes. The operators bind as in fio: a
//! suffix weaker than `*`, so that `2*4k` and `4k*2` are the same, `^` stronger than `*`, and `%`
//! stronger still. A number without a unit is in the option's own unit, unless another number of
//! the same expression has a unit: then a bare time is microseconds. (Distributions build fio
//! without this; then it refuses all parentheses.)

use super::error::Fault;
use super::number::Unit;

/// How deep parentheses, signs and right-hand sides may nest.
const MAX_DEPTH: u32 = 64;

/// A whole number as long as it can be one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Whole(i128),
    Real(f64),
}

impl Value {
    fn real(self) -> f64 {
        match self {
            Value::Whole(value) => value as f64,
            Value::Real(value) => value,
        }
    }
}

/// The value of the expression: bytes, or microseconds.
pub(super) fn evaluate(text: &str, unit: Unit) -> Result<u64, Fault> {
    let mut parser = Parser {
        text,
        at: 0,
        unit,
        had_unit: false,
    };
    let value = parser.expression(0, 0)?;
    if parser.peek().is_some() {
        return Err(parser.unexpected());
    }
    let bare = if parser.had_unit {
        1
    } else {
        i128::from(unit.factor("").unwrap_or(1))
    };
    let value = combine('*', value, Value::Whole(bare))?;
    let result = match value {
        Value::Whole(value) => i64::try_from(value).ok(),
        Value::Real(value) if value.is_finite() && value.abs() < i64::MAX as f64 => {
            Some(value as i64)
        }
        Value::Real(_) => None,
    };
    match result {
        Some(result) => {
            u64::try_from(result).map_err(|_| Fault::value(format!("{text} is negative")))
        }
        None => Err(too_large()),
    }
}

fn too_large() -> Fault {
    Fault::value("the result is too large")
}

fn combine(operator: char, left: Value, right: Value) -> Result<Value, Fault> {
    let zero = || Fault::value("division by zero");
    if let (Value::Whole(left), Value::Whole(right)) = (left, right) {
        let result = match operator {
            '+' => left.checked_add(right),
            '-' => left.checked_sub(right),
            '*' => left.checked_mul(right),
            '/' | '%' if right == 0 => return Err(zero()),
            '/' => left.checked_div(right),
            '%' => left.checked_rem(right),
            // To a negative power it is a fraction.
            _ if right < 0 => return Ok(Value::Real((left as f64).powf(right as f64))),
            _ => u32::try_from(right)
                .ok()
                .and_then(|power| left.checked_pow(power)),
        };
        return result.map(Value::Whole).ok_or_else(too_large);
    }
    let (left, right) = (left.real(), right.real());
    Ok(Value::Real(match operator {
        '+' => left + right,
        '-' => left - right,
        '*' => left * right,
        '/' if right == 0.0 => return Err(zero()),
        '/' => left / right,
        '%' => return Err(Fault::value("% takes whole numbers only")),
        _ => left.powf(right),
    }))
}

/// How strongly an operator binds to its left and to its right.
fn binding(operator: char) -> Option<(u8, u8)> {
    Some(match operator {
        '+' | '-' => (1, 2),
        '*' | '/' => (5, 6),
        // To the right first: 2^3^2 is 2^9.
        '^' => (8, 7),
        '%' => (9, 10),
        _ => return None,
    })
}

/// A suffix binds more strongly than `+`, more weakly than `*`.
const SUFFIX: u8 = 3;
const SIGN: u8 = 11;

struct Parser<'t> {
    text: &'t str,
    at: usize,
    unit: Unit,
    had_unit: bool,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        let rest = self.text[self.at..].trim_start_matches([' ', '\t']);
        self.at = self.text.len() - rest.len();
        rest.chars().next()
    }

    fn unexpected(&self) -> Fault {
        match self.text[self.at..].chars().next() {
            Some(letter) => Fault::value(format!(
                "{letter:?} is not expected at character {} of {:?}",
                self.text[..self.at].chars().count() + 1,
                self.text
            )),
            None => Fault::value(format!("{:?} ends too early", self.text)),
        }
    }

    fn expression(&mut self, weakest: u8, depth: u32) -> Result<Value, Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::value(format!(
                "{:?} is nested too deeply",
                self.text
            )));
        }
        let mut value = self.operand(depth)?;
        while let Some(letter) = self.peek() {
            if letter.is_ascii_alphabetic() {
                if SUFFIX < weakest {
                    break;
                }
                let factor = self.suffix()?;
                value = combine('*', value, Value::Whole(factor))?;
            } else {
                let Some((left, right)) = binding(letter) else {
                    break;
                };
                if left < weakest {
                    break;
                }
                self.at += 1;
                value = combine(letter, value, self.expression(right, depth + 1)?)?;
            }
        }
        Ok(value)
    }

    fn operand(&mut self, depth: u32) -> Result<Value, Fault> {
        match self.peek() {
            Some('(') => {
                self.at += 1;
                let value = self.expression(0, depth + 1)?;
                if self.peek() != Some(')') {
                    return Err(self.unexpected());
                }
                self.at += 1;
                Ok(value)
            }
            Some('-') => {
                self.at += 1;
                let value = self.expression(SIGN, depth + 1)?;
                combine('-', Value::Whole(0), value)
            }
            Some(letter) if letter.is_ascii_digit() || letter == '.' => self.literal(),
            _ => Err(self.unexpected()),
        }
    }

    fn literal(&mut self) -> Result<Value, Fault> {
        let rest = &self.text[self.at..];
        if let Some(hex) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
            let end = hex
                .find(|letter: char| !letter.is_ascii_hexdigit())
                .unwrap_or(hex.len());
            self.at += 2 + end;
            return i128::from_str_radix(&hex[..end], 16)
                .map(Value::Whole)
                .map_err(|_| Fault::value(format!("{rest:?} is no number")));
        }
        let end = rest
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .unwrap_or(rest.len());
        let digits = &rest[..end];
        self.at += end;
        let value = if digits.contains('.') {
            digits.parse().ok().map(Value::Real)
        } else {
            digits.parse().ok().map(Value::Whole)
        };
        value.ok_or_else(|| Fault::value(format!("{digits:?} is no number")))
    }

    fn suffix(&mut self) -> Result<i128, Fault> {
        let rest = &self.text[self.at..];
        let end = rest
            .find(|letter: char| !letter.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let suffix = &rest[..end];
        let factor = self
            .unit
            .factor(&suffix.to_ascii_lowercase())
            .ok_or_else(|| Fault::value(format!("unknown suffix {suffix:?} in {:?}", self.text)))?;
        self.at += end;
        self.had_unit = true;
        Ok(i128::from(factor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::KbBase;

    const BYTES: Unit = Unit::Count(KbBase::Binary);

    #[test]
    fn operators_bind_as_in_fio() {
        for (text, expected) in [
            ("(1+2*3)", 7),
            ("((1+2)*3)", 9),
            ("(10-2-3)", 5),
            ("(2^3^2)", 512),
            ("(2*3^2)", 18),
            ("(20/3)", 6),
            ("(20%6)", 2),
            ("(2^5%3)", 4),
            ("(-2+5)", 3),
            ("(-2^2)", 4),
            ("(4k*2)", 8192),
            ("(2*4k)", 8192),
            ("(2+4k)", 4098),
            ("(1+2)m", 3 << 20),
            ("(1.5g)", 3 << 29),
            ("(0x10*2)", 32),
            ("(7/2.0)", 3),
            ("(2^-1*8)", 4),
            (" ( 1 + 1 ) ", 2),
        ] {
            assert_eq!(evaluate(text.trim(), BYTES), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_bare_time_has_the_unit_of_the_option_unless_another_one_is_named() {
        assert_eq!(evaluate("(10*60)", Unit::Seconds), Ok(600_000_000));
        assert_eq!(evaluate("(10*60)", Unit::Micros), Ok(600));
        assert_eq!(evaluate("(1m+30)", Unit::Seconds), Ok(60_000_030));
        assert_eq!(evaluate("(1m+30s)", Unit::Seconds), Ok(90_000_000));
    }

    #[test]
    fn mistakes_are_errors() {
        for text in [
            "(",
            "()",
            "(1",
            "(1+)",
            "(1 2)",
            "(1+2))",
            "(1/0)",
            "(1%0)",
            "(1.0/0)",
            "(1.5%2)",
            "(1-2)",
            "(4x)",
            "(1..2)",
            "(0x)",
            "(2^200)",
            "(2.0^5000)",
            "(1+é)",
        ] {
            assert!(evaluate(text, BYTES).is_err(), "{text}");
        }
        assert!(evaluate(&"(".repeat(5000), BYTES).is_err());
        assert!(evaluate(&format!("({}1)", "-".repeat(5000)), BYTES).is_err());
        assert!(evaluate(&format!("(1{})", "^1".repeat(4000)), BYTES).is_err());
        assert_eq!(
            evaluate(&format!("(1{})", "+1".repeat(4000)), BYTES),
            Ok(4001)
        );
    }
}
