//! Which offsets are likely, and what makes them repeatable.

use super::super::error::Fault;
use super::super::kinds::Distribution;
use super::super::value::Value;
use super::{Draft, Known, set, show_flag};

pub(super) const TABLE: &[Known] = &[
    Known::typed("random_distribution", &[], set_distribution, |o| {
        match o.distribution {
            Distribution::Random => None,
            Distribution::Zipf { theta, center } => Some(show_distribution("zipf", theta, center)),
            Distribution::Pareto { power, center } => {
                Some(show_distribution("pareto", power, center))
            }
            Distribution::Normal { deviation, center } => {
                Some(show_distribution("normal", deviation, center))
            }
        }
    }),
    Known::typed(
        "norandommap",
        &[],
        |d, v| set(&mut d.options.norandommap, v.flag()),
        |o| show_flag(o.norandommap, false),
    ),
    Known::kept("softrandommap"),
    Known::kept("random_generator"),
    Known::typed(
        "randrepeat",
        &[],
        |d, v| set(&mut d.options.randrepeat, v.boolean()),
        |o| show_flag(o.randrepeat, true),
    ),
    Known::typed(
        "allrandrepeat",
        &[],
        |d, v| set(&mut d.options.allrandrepeat, v.boolean()),
        |o| show_flag(o.allrandrepeat, false),
    ),
    Known::typed(
        "randseed",
        &[],
        |d, v| set(&mut d.options.randseed, v.bytes().map(Some)),
        |o| o.randseed.map(|seed| seed.to_string()),
    ),
    Known::fixed(
        "percentage_random",
        &["100", "100,100", "100,100,100"],
        "a random job is random altogether",
    ),
];

fn set_distribution(draft: &mut Draft, value: Value<'_>) -> Result<(), Fault> {
    let text = value.text()?;
    let mut parts = text.split(':');
    let word = parts.next().unwrap_or("");
    if matches!(word, "zoned" | "zoned_abs") {
        return Err(Fault::unsupported(
            "zoned distributions are not offered here: take zipf, pareto or normal",
        ));
    }
    let mut parameter = || {
        parts
            .next()
            .map(|part| {
                Value {
                    text: Some(part),
                    ..value
                }
                .real()
            })
            .transpose()
    };
    let (first, center) = (parameter()?, parameter()?);
    if parts.next().is_some() {
        return Err(Fault::value(format!("{text:?} has too many parts")));
    }
    if center.is_some_and(|center| !(0.0..=1.0).contains(&center)) {
        return Err(Fault::value("the centre is from 0 to 1"));
    }
    // What holds without a number is fio's choice.
    draft.options.distribution = match word {
        "random" if first.is_none() => Distribution::Random,
        "zipf" => match first.unwrap_or(1.1) {
            theta if theta < 0.0 => return Err(Fault::value("zipf's theta is not negative")),
            theta if (theta - 1.0).abs() < 1e-6 => {
                return Err(Fault::value("zipf's theta can't be 1: take 0.99 or 1.01"));
            }
            theta => Distribution::Zipf { theta, center },
        },
        "pareto" => match first.unwrap_or(0.2) {
            power if power > 0.0 && power < 1.0 => Distribution::Pareto { power, center },
            _ => return Err(Fault::value("pareto's power is between 0 and 1")),
        },
        "normal" | "gauss" => match first.unwrap_or(0.0) {
            deviation if (0.0..100.0).contains(&deviation) => {
                Distribution::Normal { deviation, center }
            }
            _ => return Err(Fault::value("the deviation is from 0 to less than 100")),
        },
        _ => {
            return Err(Fault::value(format!(
                "{text:?} is none of random, zipf:theta, pareto:power, normal:deviation"
            )));
        }
    };
    Ok(())
}

fn show_distribution(word: &str, first: f64, center: Option<f64>) -> String {
    match center {
        Some(center) => format!("{word}:{first}:{center}"),
        None => format!("{word}:{first}"),
    }
}
