//! The charts of one job: latency by percentile, and throughput over time. Pure.

use std::time::Duration;

use super::chart::{Chart, Scale, Series};
use super::page::{Job, Measured, Page};
use super::scale::{Spread, even_marks, log_marks};
use crate::figures::curve::nines;
use crate::figures::timeline::Timeline;

/// Percentiles with a mark.
const PERCENTILES: [f64; 6] = [50.0, 90.0, 99.0, 99.9, 99.99, 99.999];
/// Points of a line over time, at most and at least, all rounds together.
const POINTS_MAX: f64 = 120.0;
const POINTS_MIN: f64 = 12.0;
/// Requests of a round, below which no line is drawn unless another column has more.
const REQUESTS_SEEN: f64 = 100.0;
/// Requests in a bucket on average, so that the line is not of single requests.
const REQUESTS_MIN: f64 = 10.0;

/// Latency by percentile; none if there were not ten requests in any round.
pub(super) fn latency(page: &Page, number: usize, job: &Job) -> Option<Chart> {
    let all = || job.measured().flat_map(|(_, measured)| &measured.latency);
    let least = all().map(|point| point.1).reduce(f64::min)?;
    let most = all().map(|point| point.1).reduce(f64::max)?;
    let end = all().map(|point| point.0).fold(0.0, f64::max);
    // A handful of requests makes no curve.
    if end < 1.0 {
        return None;
    }
    // Up to the mark that holds the end of the longest line.
    let last = PERCENTILES
        .iter()
        .position(|percentile| nines(percentile / 100.0) >= end - 1e-3)
        .unwrap_or(PERCENTILES.len() - 1);
    let shown = || {
        PERCENTILES[..=last]
            .iter()
            .map(|percentile| (nines(percentile / 100.0), *percentile))
    };
    let series = job
        .measured()
        .filter(|(_, measured)| !measured.latency.is_empty())
        .map(|(cell, measured)| {
            let marked =
                |point: &&(f64, f64)| shown().any(|(nines, _)| (nines - point.0).abs() < 5e-3);
            Series {
                name: cell.column.clone(),
                look: page.look(&cell.column),
                pieces: vec![measured.latency.clone()],
                points: measured.latency.iter().filter(marked).copied().collect(),
            }
        });
    Some(Chart {
        id: format!("latency-{number}"),
        title: "Latency by percentile".into(),
        description: format!(
            "{}. Both axes are logarithmic. {}",
            job.title,
            said(job, &["p50 latency", "p99 latency", "p99.9 latency"])
        ),
        x: Scale {
            spread: Spread::Even,
            marks: shown()
                .map(|(nines, percentile)| (nines, format!("p{percentile}")))
                .collect(),
        },
        y: Scale {
            spread: Spread::Log,
            marks: log_marks(least, most, 7)
                .into_iter()
                .map(|us| (us, whole_time(us)))
                .collect(),
        },
        right: Vec::new(),
        parts: Vec::new(),
        series: series.collect(),
    })
}

/// Figures as a sentence for each column.
fn said(job: &Job, names: &[&str]) -> String {
    let of = |measured: &Measured| -> String {
        let wanted = measured
            .figures
            .iter()
            .filter(|(name, _)| names.contains(name));
        wanted
            .map(|(name, value)| format!("{name} {value}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    job.measured()
        .map(|(cell, measured)| format!("{}: {}. ", cell.column, of(measured)))
        .collect::<String>()
        .trim_end()
        .to_owned()
}

/// A time that is 1, 2, 3 or 5 of something.
fn whole_time(us: f64) -> String {
    let (value, unit) = match us {
        us if us >= 999_500.0 => (us / 1e6, "s"),
        us if us >= 999.5 => (us / 1e3, "ms"),
        us if us >= 0.9995 => (us, "µs"),
        us => (us * 1e3, "ns"),
    };
    format!("{} {unit}", short(value))
}

/// At most three places, and no zeroes at the end.
fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Requests a second over time, with bytes a second on the right if all requests have one size, and
/// else as a chart of its own. None without a column that knows its course.
pub(super) fn throughput(page: &Page, number: usize, job: &Job) -> Vec<Chart> {
    let courses: Vec<Course> = job
        .measured()
        .filter(|(_, measured)| {
            measured
                .rounds
                .iter()
                .any(|round| !round.timeline.buckets().is_empty())
        })
        .map(|(cell, measured)| Course::of(cell.column.clone(), measured))
        .collect();
    // Of a few requests there is no course to see.
    let requests = |course: &Course| course.requests / course.rounds.len().max(1) as f64;
    if courses
        .iter()
        .all(|course| requests(course) < REQUESTS_SEEN)
    {
        return Vec::new();
    }
    // All columns have the same time for a round, so that a round stands below that of the others.
    let rounds = courses
        .iter()
        .map(|course| course.rounds.len())
        .max()
        .unwrap_or(1);
    let longest = |number: usize| {
        let lengths = job
            .measured()
            .filter_map(|(_, measured)| measured.rounds.get(number))
            .map(|round| round.elapsed.as_secs_f64());
        lengths.fold(1e-6, f64::max)
    };
    let starts: Vec<f64> = (0..rounds)
        .scan(0.0, |next, number| {
            Some(std::mem::replace(next, *next + longest(number)))
        })
        .collect();
    let end = starts
        .last()
        .map_or(0.0, |start| start + longest(rounds - 1));
    let size = one_size(&courses);
    let ground = Ground {
        page,
        job,
        starts,
        end,
        courses: &courses,
    };
    let mut charts = vec![ground.chart(
        format!("requests-{number}"),
        "Requests per second over time",
        |bucket| bucket.requests,
        whole_rate,
    )];
    match size {
        Some(size) => {
            let bytes = |(rate, _): &(f64, String)| (*rate, whole_bytes(rate * size));
            charts[0].right = charts[0].y.marks.iter().map(bytes).collect();
            charts[0].title = "Requests and MiB per second over time".into();
        }
        None => charts.push(ground.chart(
            format!("bytes-{number}"),
            "MiB per second over time",
            |bucket| bucket.bytes,
            whole_bytes,
        )),
    }
    charts
}

/// The size that all requests have; None if they have several.
fn one_size(courses: &[Course]) -> Option<f64> {
    let mut buckets = courses
        .iter()
        .flat_map(|course| &course.rounds)
        .flatten()
        .filter(|part| part.requests > 0.0);
    let first = buckets.next()?;
    let size = first.bytes / first.requests;
    buckets
        .all(|part| (part.bytes / part.requests / size - 1.0).abs() < 1e-9)
        .then_some(size)
}

fn whole_rate(rate: f64) -> String {
    match rate {
        rate if rate >= 1e6 => format!("{}M", short(rate / 1e6)),
        rate if rate >= 1e3 => format!("{}k", short(rate / 1e3)),
        rate => short(rate),
    }
}

/// In MiB, with three digits.
fn whole_bytes(bytes: f64) -> String {
    let mib = bytes / f64::from(1 << 20);
    match mib {
        mib if mib >= 99.95 || mib == mib.round() => format!("{mib:.0}"),
        mib if mib >= 9.995 => format!("{mib:.1}"),
        mib => format!("{mib:.2}"),
    }
}

/// One span of a round.
struct Part {
    /// Its middle, in seconds from the round's beginning.
    middle: f64,
    /// Both a second.
    requests: f64,
    bytes: f64,
}

/// One column over time.
struct Course {
    column: String,
    requests: f64,
    rounds: Vec<Vec<Part>>,
}

impl Course {
    fn of(column: String, measured: &Measured) -> Course {
        let seconds: f64 = measured
            .rounds
            .iter()
            .map(|round| round.elapsed.as_secs_f64())
            .sum();
        let requests: u64 = measured
            .rounds
            .iter()
            .flat_map(|round| round.timeline.buckets())
            .map(|bucket| bucket.requests)
            .sum();
        let least = measured.rounds.len() as f64 * 2.0;
        let points =
            (requests as f64 / REQUESTS_MIN).clamp(POINTS_MIN.max(least), POINTS_MAX.max(least));
        let width = Duration::from_secs_f64(seconds / points);
        let rounds = measured
            .rounds
            .iter()
            .map(|round| parts(&round.timeline.coarser(width), round.elapsed.as_secs_f64()));
        Course {
            column,
            requests: requests as f64,
            rounds: rounds.collect(),
        }
    }
}

/// The buckets of a round as rates; what the last one lacks of its width does not count.
fn parts(timeline: &Timeline, elapsed: f64) -> Vec<Part> {
    let width = timeline.width().as_secs_f64();
    let buckets = timeline.buckets();
    let mut parts: Vec<Part> = Vec::new();
    for (at, bucket) in buckets.iter().enumerate() {
        let begun = at as f64 * width;
        let span = if at + 1 == buckets.len() {
            (elapsed - begun).min(width)
        } else {
            width
        };
        // The rest of a round, far shorter than a bucket, would be a line straight up or down.
        if span < width * 0.3 && at > 0 {
            continue;
        }
        let span = span.max(1e-9);
        parts.push(Part {
            middle: begun + span / 2.0,
            requests: bucket.requests as f64 / span,
            bytes: bucket.bytes as f64 / span,
        });
    }
    parts
}

struct Ground<'a> {
    page: &'a Page,
    job: &'a Job,
    /// When each round begins, and when the last one ends, in seconds.
    starts: Vec<f64>,
    end: f64,
    courses: &'a [Course],
}

impl Ground<'_> {
    fn chart(
        &self,
        id: String,
        title: &str,
        value: impl Fn(&Whole) -> f64,
        label: impl Fn(f64) -> String,
    ) -> Chart {
        let place = |round: usize, part: &Part| {
            (
                self.starts[round] + part.middle,
                value(&Whole {
                    requests: part.requests,
                    bytes: part.bytes,
                }),
            )
        };
        let series: Vec<Series> = self
            .courses
            .iter()
            .map(|course| {
                let piece = |(at, round): (usize, &Vec<Part>)| {
                    round.iter().map(|part| place(at, part)).collect::<Vec<_>>()
                };
                let pieces: Vec<Vec<(f64, f64)>> =
                    course.rounds.iter().enumerate().map(piece).collect();
                let look = self.page.look(&course.column);
                Series {
                    name: course.column.clone(),
                    look,
                    points: some(&pieces, look),
                    pieces,
                }
            })
            .collect();
        let most = series
            .iter()
            .flat_map(|series| &series.pieces)
            .flatten()
            .map(|point| point.1)
            .fold(0.0, f64::max);
        let end = self.end;
        let rounds = if self.starts.len() > 1 {
            format!(" {} rounds, one after the other.", self.starts.len())
        } else {
            String::new()
        };
        let mut seconds: Vec<(f64, String)> = even_marks(end, 5)
            .into_iter()
            .filter(|mark| *mark <= end)
            .map(|mark| (mark, whole_time(mark * 1e6)))
            .collect();
        // The axis ends with the last round; where a mark would be too close to that, its label
        // gives way.
        if seconds
            .last()
            .is_some_and(|mark| mark.0 < end * (1.0 - 1e-9))
        {
            seconds.push((end, String::new()));
        }
        if let Some(first) = seconds.first_mut() {
            first.1 = "0".into();
        }
        Chart {
            id,
            title: title.to_owned(),
            description: format!(
                "{}.{rounds} {}",
                self.job.title,
                said(self.job, &["requests/s", "throughput"])
            ),
            x: Scale {
                spread: Spread::Even,
                marks: seconds,
            },
            y: Scale {
                spread: Spread::Even,
                marks: even_marks(most, 5)
                    .into_iter()
                    .map(|mark| (mark, label(mark)))
                    .collect(),
            },
            right: Vec::new(),
            parts: self.starts[1..].to_vec(),
            series,
        }
    }
}

/// Rates.
struct Whole {
    requests: f64,
    bytes: f64,
}

/// Some points for marks, spread over the line, and other ones for each look.
fn some(pieces: &[Vec<(f64, f64)>], look: usize) -> Vec<(f64, f64)> {
    let all: Vec<(f64, f64)> = pieces.iter().flatten().copied().collect();
    let step = (all.len() / 6).max(1);
    all.into_iter().skip(look % step).step_by(step).collect()
}

#[cfg(test)]
mod tests {
    use super::super::page::{Cell, Round};
    use super::*;
    use std::time::Instant;

    /// A column that makes so many requests of this size in each millisecond, in rounds of a
    /// second.
    fn cell(column: &str, each_ms: u64, sizes: &[u64], rounds: usize) -> Cell {
        let round = || {
            let begun = Instant::now();
            let mut timeline = Timeline::default();
            timeline.begin(begun);
            for number in 0..1000 * each_ms {
                timeline.ended(
                    sizes[number as usize % sizes.len()],
                    begun + Duration::from_micros(number * 1000 / each_ms),
                );
            }
            Round {
                elapsed: Duration::from_secs(1),
                timeline,
            }
        };
        let latency = (3..40)
            .map(|step| (f64::from(step) / 10.0, 100.0 * f64::from(step)))
            .collect();
        let measured = Measured {
            figures: vec![("requests/s", "x".into())],
            requests_per_second: 0.0,
            ratio_to_buffered: None,
            latency,
            rounds: (0..rounds).map(|_| round()).collect(),
        };
        Cell {
            column: column.into(),
            measured: Ok(measured),
        }
    }

    fn page(cells: Vec<Cell>) -> Page {
        let columns = cells
            .iter()
            .map(|cell| (cell.column.clone(), String::new()))
            .collect();
        let job = Job {
            group: String::new(),
            name: "j".into(),
            title: "j: something".into(),
            cells,
        };
        Page {
            subject: String::new(),
            facts: Vec::new(),
            columns,
            jobs: vec![job],
            pairs: Vec::new(),
            notes: Vec::new(),
            interrupted: false,
        }
    }

    #[test]
    fn a_steady_rate_is_a_level_line_to_the_very_end() {
        let page = page(vec![cell("a", 20, &[4096], 3), cell("b", 2, &[4096], 3)]);
        let [chart] = &throughput(&page, 1, &page.jobs[0])[..] else {
            panic!("one chart")
        };
        for (series, rate) in chart.series.iter().zip([20_000.0, 2000.0]) {
            assert_eq!(series.pieces.len(), 3);
            for point in series.pieces.iter().flatten() {
                assert!((point.1 / rate - 1.0).abs() < 0.06, "{point:?} {rate}");
            }
            let count = series.pieces.iter().flatten().count();
            assert!(
                count as f64 <= POINTS_MAX * 1.1 && count as f64 >= POINTS_MIN,
                "{count}"
            );
        }
        assert_eq!(chart.parts, [1.0, 2.0]);
        // 20k of 4 KiB.
        assert_eq!(chart.right.last().map(|mark| mark.1.as_str()), Some("97.7"));
    }

    #[test]
    fn requests_of_several_sizes_have_a_chart_for_the_bytes() {
        let page = page(vec![cell("a", 20, &[4096, 65536, 512], 1)]);
        let charts = throughput(&page, 1, &page.jobs[0]);
        assert_eq!(charts.len(), 2);
        assert!(charts.iter().all(|chart| chart.right.is_empty()));
    }

    #[test]
    fn a_column_without_a_course_has_no_line_and_is_no_trouble() {
        let mut blank = cell("fio", 1, &[4096], 1);
        if let Ok(measured) = &mut blank.measured {
            measured.rounds[0].timeline = Timeline::default();
        }
        let page = page(vec![blank, cell("a", 20, &[4096], 1)]);
        assert_eq!(throughput(&page, 1, &page.jobs[0])[0].series.len(), 1);
        assert_eq!(
            latency(&page, 1, &page.jobs[0])
                .expect("a chart")
                .series
                .len(),
            2
        );
    }

    #[test]
    fn the_latency_axes_hold_all_points_and_marks_stand_at_the_percentiles() {
        let page = page(vec![cell("a", 1, &[4096], 1)]);
        let chart = latency(&page, 1, &page.jobs[0]).expect("a chart");
        let names: Vec<&str> = chart.x.marks.iter().map(|mark| mark.1.as_str()).collect();
        assert_eq!(names, ["p50", "p90", "p99", "p99.9", "p99.99"]);
        assert_eq!(chart.series[0].points.len(), 4);
        assert!(
            chart.y.marks[0].0 <= 300.0
                && chart.y.marks.last().is_some_and(|mark| mark.0 >= 3900.0)
        );
        assert_eq!(chart.y.marks[0].1, "200 µs");
    }

    #[test]
    fn nothing_measured_is_no_chart() {
        let page = page(vec![Cell {
            column: "a".into(),
            measured: Err("no".into()),
        }]);
        assert!(
            latency(&page, 1, &page.jobs[0]).is_none()
                && throughput(&page, 1, &page.jobs[0]).is_empty()
        );
    }

    #[test]
    fn labels_are_short() {
        assert_eq!(
            [
                whole_time(0.5),
                whole_time(200.0),
                whole_time(5000.0),
                whole_time(2e6)
            ],
            ["500 ns", "200 µs", "5 ms", "2 s"]
        );
        assert_eq!(
            [whole_rate(0.0), whole_rate(20_000.0), whole_rate(2.5e6)],
            ["0", "20k", "2.5M"]
        );
        assert_eq!(
            [
                whole_bytes(0.0),
                whole_bytes(1048576.0 * 78.125),
                whole_bytes(1048576.0 * 300.2)
            ],
            ["0", "78.1", "300"]
        );
    }
}
