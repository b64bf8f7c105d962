//! Result files: of `bench --json`, of `run --json`, and of real fio. Pure: from
//! bytes to figures.

use serde_json::Value;

use super::statistics::{Metric, Unit};

/// What a file holds.
pub(super) struct Results {
    pub(super) file: String,
    pub(super) about: Vec<(&'static str, String)>,
    pub(super) entries: Vec<Entry>,
}

/// One job in one column.
pub(super) struct Entry {
    pub(super) job: String,
    /// Empty where there are no columns: a file of real fio's.
    pub(super) column: String,
    /// Of several of the same name its place among them, from 0.
    pub(super) number: usize,
    pub(super) failed: bool,
    /// Each with its rounds.
    pub(super) figures: Vec<(Metric, Vec<f64>)>,
}

impl Entry {
    /// The name, with a number from the second of the same name on.
    pub(super) fn shown(&self) -> String {
        if self.number == 0 {
            self.job.clone()
        } else {
            format!("{} ({})", self.job, self.number + 1)
        }
    }
}

/// Reads a file. The error is the whole line for the user: the file, and what is missing.
pub(super) fn results(file: &str, text: &[u8]) -> Result<Results, String> {
    let value = parse(text).map_err(|error| format!("{file} is no JSON: {error}"))?;
    let wrong =
        |what: String| format!("{file} is no result of bench --json, run --json or fio: {what}");
    let read = match (value.get("jobs"), value.get("rows")) {
        (Some(jobs), _) => (about_fio(&value), entries(jobs, "jobs", fio_job)),
        (None, Some(rows)) => (about_rows(&value), rows_entries(rows)),
        (None, None) => return Err(wrong("it has neither \"jobs\" nor \"rows\"".into())),
    };
    let (about, entries) = (read.0, read.1.map_err(wrong)?);
    if entries.is_empty() {
        return Err(wrong("there is no job in it".into()));
    }
    let mut results = Results {
        file: file.to_owned(),
        about,
        entries,
    };
    number(&mut results.entries);
    Ok(results)
}

/// fio writes its warnings into the same file, before the document.
fn parse(text: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(text).or_else(|error| {
        let starts = text
            .iter()
            .enumerate()
            .filter(|(at, byte)| **byte == b'{' && (*at == 0 || text[at - 1] == b'\n'))
            .map(|(at, _)| at);
        starts
            .take(1)
            .find_map(|at| serde_json::from_slice(&text[at..]).ok())
            .ok_or(error)
    })
}

fn number(entries: &mut [Entry]) {
    for at in 1..entries.len() {
        let (before, this) = entries.split_at_mut(at);
        this[0].number = before
            .iter()
            .filter(|other| (&other.job, &other.column) == (&this[0].job, &this[0].column))
            .count();
    }
}

fn entries(
    list: &Value,
    name: &str,
    read: impl Fn(&Value) -> Result<Entry, String>,
) -> Result<Vec<Entry>, String> {
    let list = list
        .as_array()
        .ok_or_else(|| format!("\"{name}\" is no list"))?;
    list.iter()
        .enumerate()
        .map(|(at, value)| read(value).map_err(|what| format!("{name}[{at}] {what}")))
        .collect()
}

fn text(value: &Value, name: &str) -> Option<String> {
    match value.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn needed(value: &Value, name: &str) -> Result<String, String> {
    text(value, name).ok_or_else(|| format!("has no \"{name}\""))
}

fn about(from: &[(&'static str, Option<String>)]) -> Vec<(&'static str, String)> {
    from.iter()
        .filter_map(|(name, value)| Some((*name, value.clone()?)))
        .collect()
}

fn about_fio(value: &Value) -> Vec<(&'static str, String)> {
    let own = value.get("nofault").unwrap_or(&Value::Null);
    about(&[
        ("program", text(value, "fio version")),
        ("kernel", text(own, "kernel")),
        ("rounds", text(own, "rounds")),
        ("interrupted", interrupted(own)),
    ])
}

fn about_rows(value: &Value) -> Vec<(&'static str, String)> {
    about(&[
        (
            "program",
            text(value, "version").map(|version| format!("nofault-{version}")),
        ),
        ("kernel", text(value, "kernel")),
        ("filesystem", text(value, "filesystem")),
        ("rounds", text(value, "rounds")),
        ("file bytes", text(value, "file_bytes")),
        ("seconds", text(value, "seconds_per_cell")),
        ("interrupted", interrupted(value)),
    ])
}

fn interrupted(value: &Value) -> Option<String> {
    (value.get("interrupted").and_then(Value::as_bool) == Some(true)).then(|| "yes".to_owned())
}

/// The figures of one kind from all rounds. What a round lacks is left out.
fn rounds(
    list: &[Value],
    name: &str,
    unit: Unit,
    field: &str,
    scale: f64,
) -> Option<(Metric, Vec<f64>)> {
    let values: Vec<f64> = list
        .iter()
        .filter_map(|round| round.get(field)?.as_f64())
        .map(|value| value * scale)
        .collect();
    (!values.is_empty()).then(|| {
        (
            Metric {
                name: name.to_owned(),
                unit,
            },
            values,
        )
    })
}

/// The names that the figures have in every layout.
const RATE: &str = "requests/s";
const PERCENTILES: [(&str, &str); 3] = [
    ("p50 latency", "50.000000"),
    ("p99 latency", "99.000000"),
    ("p99.9 latency", "99.900000"),
];
const CPU: &str = "CPU per request";

/// An entry of `jobs`: with `nofault` below it as `nofault run JOBFILE --json` writes it, without
/// as fio does.
fn fio_job(value: &Value) -> Result<Entry, String> {
    let failed = value.get("error").and_then(Value::as_i64).unwrap_or(0) != 0;
    let own = value.get("nofault").filter(|own| own.is_object());
    let Some(own) = own else {
        let job = needed(value, "jobname")?;
        let figures = if failed {
            Vec::new()
        } else {
            fio_figures(value).ok_or_else(|| {
                format!("(\"{job}\") has requests neither in \"read\" nor in \"write\"")
            })?
        };
        return Ok(Entry {
            job,
            column: String::new(),
            number: 0,
            failed,
            figures,
        });
    };
    let name = needed(own, "job").map_err(|what| format!("{what} below \"nofault\""))?;
    // The same job file may have been named in another way.
    let profile = text(own, "profile").and_then(|path| path.rsplit('/').next().map(str::to_owned));
    let job = profile.map_or(name.clone(), |profile| format!("{profile}: {name}"));
    let column =
        needed(own, "column").map_err(|what| format!("(\"{name}\") {what} below \"nofault\""))?;
    let mut figures = Vec::new();
    if !failed {
        let list = own
            .get("rounds")
            .and_then(Value::as_array)
            .ok_or_else(|| format!("(\"{name}\") has no \"rounds\" below \"nofault\""))?;
        let us = |name, field| rounds(list, name, Unit::Microseconds, field, 1e-3);
        figures.extend(rounds(list, RATE, Unit::PerSecond, "iops", 1.0));
        figures.extend(
            [
                us(PERCENTILES[0].0, "p50_ns"),
                us(PERCENTILES[1].0, "p99_ns"),
                us(PERCENTILES[2].0, "p999_ns"),
            ]
            .into_iter()
            .flatten(),
        );
        figures.extend(rounds(
            list,
            CPU,
            Unit::Microseconds,
            "cpu_us_per_request",
            1.0,
        ));
        if figures
            .first()
            .is_none_or(|(metric, _)| metric.name != RATE)
        {
            return Err(format!("(\"{name}\") has no \"iops\" in its \"rounds\""));
        }
    }
    Ok(Entry {
        job,
        column,
        number: 0,
        failed,
        figures,
    })
}

/// The figures of a job of real fio's: one round. Where it both reads and writes, the latencies
/// stand for themselves.
fn fio_figures(value: &Value) -> Option<Vec<(Metric, Vec<f64>)>> {
    let count = |side: &Value| side.get("total_ios").and_then(Value::as_f64).unwrap_or(0.0);
    let sides: Vec<(&str, &Value)> = ["read", "write"]
        .into_iter()
        .filter_map(|name| Some((name, value.get(name)?)))
        .filter(|(_, side)| count(side) > 0.0)
        .collect();
    if sides.is_empty() {
        return None;
    }
    let rate: Option<f64> = sides
        .iter()
        .map(|(_, side)| side.get("iops")?.as_f64())
        .sum();
    let mut figures = vec![(
        Metric {
            name: RATE.to_owned(),
            unit: Unit::PerSecond,
        },
        vec![rate?],
    )];
    for (name, side) in &sides {
        // Where fio was asked for percentiles of the whole time it has none of the completion
        // alone.
        let percentiles = ["clat_ns", "lat_ns"]
            .iter()
            .find_map(|times| side.get(times)?.get("percentile"));
        for (title, key) in PERCENTILES {
            if let Some(ns) = percentiles.and_then(|all| all.get(key)?.as_f64()) {
                let title = if sides.len() > 1 {
                    format!("{name} {title}")
                } else {
                    title.to_owned()
                };
                figures.push((
                    Metric {
                        name: title,
                        unit: Unit::Microseconds,
                    },
                    vec![ns / 1e3],
                ));
            }
        }
    }
    let number = |name: &str| value.get(name).and_then(Value::as_f64);
    if let (Some(user), Some(system), Some(runtime_ms)) =
        (number("usr_cpu"), number("sys_cpu"), number("job_runtime"))
    {
        let requests: f64 = sides.iter().map(|(_, side)| count(side)).sum();
        figures.push((
            Metric {
                name: CPU.to_owned(),
                unit: Unit::Microseconds,
            },
            vec![(user + system) / 100.0 * runtime_ms * 1e3 / requests],
        ));
    }
    Some(figures)
}

/// The layout of `bench --json`.
fn rows_entries(rows: &Value) -> Result<Vec<Entry>, String> {
    let list = rows
        .as_array()
        .ok_or_else(|| "\"rows\" is no list".to_owned())?;
    let mut all = Vec::new();
    for (at, row) in list.iter().enumerate() {
        let job = needed(row, "name").map_err(|what| format!("rows[{at}] {what}"))?;
        let columns = row
            .get("columns")
            .ok_or_else(|| format!("rows[{at}] (\"{job}\") has no \"columns\""))?;
        let found = entries(columns, "columns", |cell| rows_cell(&job, cell))
            .map_err(|what| format!("rows[{at}] (\"{job}\"): {what}"))?;
        all.extend(found);
    }
    Ok(all)
}

fn rows_cell(job: &str, cell: &Value) -> Result<Entry, String> {
    let column = needed(cell, "column")?;
    let figures = cell.get("figures").filter(|figures| figures.is_object());
    let mut entry = Entry {
        job: job.to_owned(),
        column,
        number: 0,
        failed: figures.is_none(),
        figures: Vec::new(),
    };
    let Some(figures) = figures else {
        return Ok(entry);
    };
    // Files from before there were rounds have the medians alone.
    let single = [figures.clone()];
    let list = cell
        .get("rounds")
        .and_then(Value::as_array)
        .map_or(&single[..], Vec::as_slice);
    let us = |name, field| rounds(list, name, Unit::Microseconds, field, 1.0);
    let rate = rounds(list, RATE, Unit::PerSecond, "requests_per_second", 1.0)
        .ok_or_else(|| "has no \"requests_per_second\"".to_owned())?;
    let latencies = [
        us(PERCENTILES[0].0, "latency_us_p50"),
        us(PERCENTILES[1].0, "latency_us_p99"),
        us(PERCENTILES[2].0, "latency_us_p999"),
    ];
    entry.figures = std::iter::once(Some(rate))
        .chain(latencies)
        .chain([us(CPU, "cpu_us_per_request")])
        .flatten()
        .collect();
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> Result<Results, String> {
        results("x.json", value.to_string().as_bytes())
    }

    fn names(entry: &Entry) -> Vec<&str> {
        entry
            .figures
            .iter()
            .map(|figure| figure.0.name.as_str())
            .collect()
    }

    #[test]
    fn a_file_of_real_fio_has_one_round_of_what_it_tells() {
        let side = |iops: f64| json!({ "total_ios": 1000, "iops": iops, "clat_ns": { "percentile": { "50.000000": 1000, "99.000000": 9000, "99.900000": 20000 } } });
        let none = json!({ "total_ios": 0, "iops": 0.0 });
        let job = |read: &Value, write: &Value| json!({ "jobname": "j", "error": 0, "read": read, "write": write, "usr_cpu": 10.0, "sys_cpu": 30.0, "job_runtime": 1000 });
        let found =
            read(&json!({ "fio version": "fio-3.36", "jobs": [job(&side(5.0), &none), job(&side(5.0), &side(7.0))] })).expect("results");
        assert_eq!(
            names(&found.entries[0]),
            [
                "requests/s",
                "p50 latency",
                "p99 latency",
                "p99.9 latency",
                "CPU per request"
            ]
        );
        assert_eq!(
            found.entries[0]
                .figures
                .iter()
                .map(|figure| figure.1[0])
                .collect::<Vec<_>>(),
            [5.0, 1.0, 9.0, 20.0, 400.0]
        );
        let both = &found.entries[1];
        assert_eq!(
            (both.number, both.shown().as_str(), both.figures[0].1[0]),
            (1, "j (2)", 12.0)
        );
        assert!(names(both).contains(&"write p99 latency"));
        // 400 ms for 2000 requests.
        assert_eq!(both.figures.last().map(|figure| figure.1[0]), Some(200.0));
    }

    #[test]
    fn warnings_of_fio_before_the_document_do_not_matter() {
        let text = "fio: this option is deprecated {\n{ \"jobs\": [ { \"jobname\": \"j\", \"read\": { \"total_ios\": 1, \"iops\": 1 } } ] }\n";
        assert_eq!(
            results("x", text.as_bytes())
                .expect("results")
                .entries
                .len(),
            1
        );
    }

    #[test]
    fn every_round_of_a_profile_counts_wherever_the_job_file_was() {
        let round = |iops: f64| json!({ "iops": iops, "p50_ns": 1000, "cpu_us_per_request": 3.0 });
        let job = json!({ "jobname": "j (c)", "error": 0, "nofault": { "job": "j", "column": "c", "profile": "/a/b/p.fio", "rounds": [round(1.0), round(2.0)] } });
        let found = read(&json!({ "jobs": [job], "nofault": { "kernel": "6", "rounds": 2 } }))
            .expect("results");
        let entry = &found.entries[0];
        assert_eq!(
            (
                entry.job.as_str(),
                entry.column.as_str(),
                &entry.figures[0].1[..]
            ),
            ("p.fio: j", "c", &[1.0, 2.0][..])
        );
        assert_eq!(
            names(entry),
            ["requests/s", "p50 latency", "CPU per request"]
        );
    }

    #[test]
    fn what_is_missing_is_named_with_the_file() {
        for (value, words) in [
            (json!([1, 2]), vec!["\"jobs\"", "\"rows\""]),
            (json!({ "jobs": 3 }), vec!["\"jobs\" is no list"]),
            (json!({ "jobs": [] }), vec!["no job"]),
            (
                json!({ "jobs": [{ "x": 1 }] }),
                vec!["jobs[0]", "\"jobname\""],
            ),
            (
                json!({ "jobs": [{ "jobname": "j" }] }),
                vec!["(\"j\")", "\"read\"", "\"write\""],
            ),
            (
                json!({ "jobs": [{ "nofault": { "job": "j", "column": "c" } }] }),
                vec!["(\"j\")", "\"rounds\""],
            ),
            (
                json!({ "jobs": [{ "nofault": { "job": "j", "column": "c", "rounds": [] } }] }),
                vec!["\"iops\""],
            ),
            (
                json!({ "rows": [{ "name": "r" }] }),
                vec!["rows[0]", "\"columns\""],
            ),
            (
                json!({ "rows": [{ "name": "r", "columns": [{ "column": "c", "figures": {} }] }] }),
                vec!["columns[0]", "\"requests_per_second\""],
            ),
        ] {
            let line = read(&value).map(|_| ()).expect_err("alien");
            assert!(line.starts_with("x.json "), "{line}");
            assert!(words.iter().all(|word| line.contains(word)), "{line}");
        }
        for text in [&b""[..], b"{", b"\xff\xfe", b"text\n{ broken"] {
            assert!(
                results("x.json", text)
                    .map(|_| ())
                    .expect_err("no JSON")
                    .starts_with("x.json is no JSON")
            );
        }
    }
}
