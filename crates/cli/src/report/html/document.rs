//! The page itself. Pure text; all that comes from job files and the system is escaped by maud.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::page::{Cell, Job, Page};
use super::write::GENERATOR;
use super::{bars, chart, curves};
use crate::figures::units;

const STYLE: &str = include_str!("style.css");

/// The whole page.
pub(crate) fn render(page: &Page) -> String {
    let title = format!("nofault: {}", page.subject);
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="generator" content=(GENERATOR);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.program { "nofault" }
                    h1 { (page.subject) }
                    @if page.interrupted {
                        p.interrupted role="note" { "Interrupted: these are the figures measured until then." }
                    }
                }
                main {
                    section.setting { (facts(page)) }
                    @if page.jobs.len() > 1 { (overview(page)) }
                    (jobs(page))
                    @if !page.pairs.is_empty() { (pairs(page)) }
                    @if !page.notes.is_empty() {
                        section {
                            h2 { "Notes" }
                            ul.notes { @for note in &page.notes { li { (note) } } }
                        }
                    }
                }
            }
        }
    };
    markup.into_string() + "\n"
}

fn facts(page: &Page) -> Markup {
    html! {
        div {
            h2 { "Where and how" }
            dl.facts { @for (name, value) in &page.facts { div { dt { (name) } dd { (value) } } } }
        }
        div {
            h2 { "Columns" }
            dl.columns {
                @for (look, (name, what)) in page.columns.iter().enumerate() {
                    div { dt { (chart::key(look)) " " (name) } dd { (what) } }
                }
            }
        }
    }
}

/// All jobs with one figure each, and a way to the rest.
fn overview(page: &Page) -> Markup {
    html! {
        section {
            h2 { "Requests per second" }
            div.scroll tabindex="0" role="region" aria-label="Requests per second" {
                table.overview {
                    caption { "Each job in each column, and its ratio to buffered." }
                    thead { tr { th scope="col" { "Job" } @for (name, _) in &page.columns { th scope="col" { (name) } } } }
                    @for (number, job) in page.jobs.iter().enumerate() {
                        @if !job.group.is_empty() && (number == 0 || page.jobs[number - 1].group != job.group) {
                            tbody { tr { th.group scope="rowgroup" colspan=(page.columns.len() + 1) { (job.group) } } }
                        }
                        tbody { tr {
                            th scope="row" { a href={ "#job-" (number + 1) } { (job.name) } }
                            @for (column, _) in &page.columns { (overview_cell(job, column)) }
                        } }
                    }
                }
            }
        }
    }
}

fn overview_cell(job: &Job, column: &str) -> Markup {
    let cell = job.cells.iter().find(|cell| cell.column == column);
    html! {
        @match cell.map(|cell| &cell.measured) {
            Some(Ok(measured)) => td {
                (units::rate(measured.requests_per_second))
                @if let Some(ratio) = measured.ratio_to_buffered { " " small class=(judged(ratio)) { (format!("{ratio:.2}×")) } }
            },
            Some(Err(_)) => td { "none" },
            None => td { "" },
        }
    }
}

/// A twentieth away from 1, as on the terminal.
fn judged(ratio: f64) -> &'static str {
    match ratio {
        ratio if ratio >= 1.05 => "more",
        ratio if ratio <= 0.95 => "less",
        _ => "even",
    }
}

fn jobs(page: &Page) -> Markup {
    html! {
        @for (number, job) in page.jobs.iter().enumerate() {
            section.job id={ "job-" (number + 1) } {
                h2 { @if !job.group.is_empty() { span.group { (job.group) } " " } (job.title) }
                div.parts {
                    div.scroll tabindex="0" role="region" aria-label={ "Figures of " (job.name) } { (table(page, job)) }
                    @for chart in curves::latency(page, number + 1, job).iter().chain(&curves::throughput(page, number + 1, job)) {
                        figure { "\n" (chart::render(chart)) "\n" }
                    }
                }
            }
        }
    }
}

/// The figures of one job, its columns side by side.
fn table(page: &Page, job: &Job) -> Markup {
    let names: Vec<&str> = match job.measured().next() {
        Some((_, measured)) => measured.figures.iter().map(|(name, _)| *name).collect(),
        None => vec!["requests/s"],
    };
    html! {
        table {
            caption { "Figures of " (job.name) }
            thead { tr {
                th scope="col" { "" span.hidden { "Figure" } }
                @for cell in &job.cells { th scope="col" { (chart::key(page.look(&cell.column))) br; (cell.column) } }
            } }
            tbody {
                @for (line, name) in names.iter().enumerate() {
                    tr {
                        th scope="row" { (name) }
                        @for cell in &job.cells { (figure(cell, line, names.len())) }
                    }
                }
            }
        }
    }
}

fn figure(cell: &Cell, line: usize, lines: usize) -> Markup {
    html! {
        @match &cell.measured {
            Ok(measured) => td { (measured.figures.get(line).map_or("", |(_, value)| value.as_str())) },
            Err(reason) => @if line == 0 { td.missing rowspan=(lines) { (reason) } },
        }
    }
}

fn pairs(page: &Page) -> Markup {
    html! {
        section {
            h2 { "Cold buffers against warm ones" }
            p {
                "The same requests with memory that nobody has touched yet, and with memory that was used before. 1.00: cold buffers cost "
                "nothing; 0.50: they take twice as long. Requests per second, cold and warm, stand below each ratio."
            }
            div.scroll tabindex="0" role="region" aria-label="Cold buffers against warm ones" {
                table.overview {
                    caption { "Rate with cold buffers over the rate with warm ones" }
                    thead { tr { th scope="col" { "Jobs" } @for (name, _) in &page.columns { th scope="col" { (name) } } } }
                    tbody {
                        @for pair in &page.pairs {
                            tr {
                                th scope="row" { (pair.title) }
                                @for (column, _) in &page.columns {
                                    td {
                                        @if let Some((warm, cold, ratio)) = pair.ratio(&page.jobs, column) {
                                            (format!("{ratio:.2}")) br;
                                            small { (units::rate(cold)) " / " (units::rate(warm)) }
                                        } @else { "none" }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            div.parts.bars {
                @for (number, pair) in page.pairs.iter().enumerate() {
                    figure { "\n" (bars::render(page, number + 1, pair)) "\n" }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::{Measured, Pair, Round};
    use super::*;
    use crate::figures::timeline::Timeline;
    use std::time::{Duration, Instant};

    const NASTY: &str = "<script src=\"https://x\">&'\"</script>";

    fn page() -> Page {
        let begun = Instant::now();
        let mut timeline = Timeline::default();
        timeline.begin(begun);
        (0..500).for_each(|ms| timeline.ended(4096, begun + Duration::from_millis(ms)));
        let measured = |rate| Measured {
            figures: vec![
                ("requests/s", "12.3k".into()),
                ("p50 latency", "<1 µs".into()),
            ],
            requests_per_second: rate,
            ratio_to_buffered: Some(1.2),
            latency: vec![(0.3, 10.0), (1.0, 20.0)],
            rounds: vec![Round {
                elapsed: Duration::from_millis(500),
                timeline: timeline.clone(),
            }],
        };
        let cells = |rate| {
            vec![
                Cell {
                    column: NASTY.into(),
                    measured: Ok(measured(rate)),
                },
                Cell {
                    column: "b".into(),
                    measured: Err(format!("not available: {NASTY}")),
                },
            ]
        };
        let job = |rate| Job {
            group: NASTY.into(),
            name: NASTY.into(),
            title: NASTY.into(),
            cells: cells(rate),
        };
        Page {
            subject: NASTY.into(),
            facts: vec![("Command", NASTY.into())],
            columns: vec![
                (NASTY.into(), NASTY.into()),
                ("b".into(), "what it is".into()),
            ],
            jobs: vec![job(1000.0), job(500.0)],
            pairs: vec![Pair {
                title: NASTY.into(),
                warm: 0,
                cold: 1,
            }],
            notes: vec![NASTY.into()],
            interrupted: true,
        }
    }

    #[test]
    fn nothing_on_the_page_comes_from_elsewhere_or_can_be_run() {
        let text = render(&page());
        let text = text.replace("https://x", "");
        for word in [
            "<script",
            "src=\"",
            "http",
            "url(",
            "@import",
            "<link",
            "javascript:",
            " onload",
        ] {
            assert!(!text.contains(word), "{word}");
        }
        // The name is there, as text.
        assert!(text.contains("&lt;script src=&quot;"));
    }

    #[test]
    fn every_element_that_is_opened_is_closed() {
        let text = render(&page());
        let mut open: Vec<&str> = Vec::new();
        for piece in text.split('<').skip(1) {
            let name = piece
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '/' && c != '!')
                .next()
                .expect("a name");
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name), "{piece}"),
                None if matches!(name, "meta" | "br") || name.starts_with('!') => {}
                None => open.push(name),
            }
        }
        assert_eq!(open, [""; 0]);
    }

    #[test]
    fn names_of_elements_are_unique_and_links_lead_to_one() {
        let text = render(&page());
        let after = |word: &str| -> Vec<String> {
            text.split(word)
                .skip(1)
                .map(|rest| rest.split('"').next().expect("an end").to_owned())
                .collect()
        };
        let ids = after(" id=\"");
        let mut once = ids.clone();
        once.sort();
        once.dedup();
        assert_eq!(ids.len(), once.len());
        for name in after("href=\"#").into_iter().chain(
            after("aria-labelledby=\"")
                .iter()
                .flat_map(|names| names.split(' '))
                .map(str::to_owned),
        ) {
            assert!(ids.contains(&name), "{name}");
        }
    }

    #[test]
    fn tables_have_captions_and_heads_and_what_is_missing_says_why() {
        let text = render(&page());
        assert_eq!(
            text.matches("<table").count(),
            text.matches("<caption>").count()
        );
        assert!(text.contains("scope=\"row\"") && text.contains("scope=\"col\""));
        assert!(text.contains("not available: ") && text.contains("rowspan=\"2\""));
        assert!(text.contains("Interrupted"));
        assert!(text.contains(">0.50<"), "half of the rate is left");
    }
}
