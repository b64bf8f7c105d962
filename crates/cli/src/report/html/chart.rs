//! One chart as SVG: lines over two axes, with a key. Pure: gets everything it shows.
//!
//! It is drawn as wide as a telephone, so that its text has its true size there, and scales up.
//! Colours are attributes, which style sheets override: the page has others in the dark, and a
//! chart that is cut out of the page still has those for light paper. Lines are told apart by
//! dashes and marks as well as by colour.

use maud::{Markup, html};

use super::scale::{Axis, Spread};

/// What is drawn.
pub(super) struct Chart {
    /// Names it within the page.
    pub(super) id: String,
    pub(super) title: String,
    /// For those who can't see it.
    pub(super) description: String,
    pub(super) x: Scale,
    pub(super) y: Scale,
    /// What the marks of `y` are on the right-hand side.
    pub(super) right: Vec<(f64, String)>,
    /// Where on `x` one part ends and the next begins.
    pub(super) parts: Vec<f64>,
    pub(super) series: Vec<Series>,
}

/// One axis with its marks; the first and the last mark are its ends.
pub(super) struct Scale {
    pub(super) spread: Spread,
    pub(super) marks: Vec<(f64, String)>,
}

/// One line.
pub(super) struct Series {
    pub(super) name: String,
    /// Which of the colours, dashes and marks.
    pub(super) look: usize,
    /// Points that are joined; a line may have gaps.
    pub(super) pieces: Vec<Vec<(f64, f64)>>,
    /// Points that have a mark.
    pub(super) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 360.0;
const PLOT_HEIGHT: f64 = 220.0;
const TEXT: f64 = 14.0;
/// The width of a letter on average, in the widest of the usual faces.
const LETTER: f64 = 8.6;

/// Colours that the colour-blind tell apart as well, each at least 3:1 against white.
pub(super) const COLOURS: [&str; 6] = [
    "#0068a8", "#c44e00", "#00805c", "#93328e", "#7d6400", "#454f5e",
];
const DASHES: [&str; 6] = ["none", "8 4", "2 3", "11 3 2 3", "5 2", "1 5"];

/// The whole chart.
pub(super) fn render(chart: &Chart) -> Markup {
    let keys = keys(&chart.series);
    let key_height = keys.last().map_or(0.0, |key| key.top + 22.0);
    let widest = |marks: &[(f64, String)]| {
        marks
            .iter()
            .map(|(_, label)| label.chars().count())
            .max()
            .unwrap_or(0) as f64
            * LETTER
    };
    let top = 38.0 + key_height;
    let left = widest(&chart.y.marks) + 12.0;
    let right = WIDTH
        - if chart.right.is_empty() {
            14.0
        } else {
            widest(&chart.right) + 12.0
        };
    let bottom = top + PLOT_HEIGHT;
    let height = bottom + 30.0;
    let x = chart.x.axis(left, right);
    let y = chart.y.axis(bottom, top);
    let (title_id, text_id) = (format!("{}-title", chart.id), format!("{}-text", chart.id));
    html! {
        svg id=(chart.id) class="chart" viewBox={ "0 0 " (WIDTH) " " (px(height)) } role="img" aria-labelledby={ (title_id) " " (text_id) }
            font-family="system-ui, sans-serif" font-size=(TEXT) fill="#1b1f24" {
            title id=(title_id) { (chart.title) }
            desc id=(text_id) { (chart.description) }
            rect class="ground" width=(WIDTH) height=(px(height)) fill="#ffffff" {}
            text x="2" y="17" font-weight="600" { (chart.title) }
            @for (key, series) in keys.iter().zip(&chart.series) {
                g transform={ "translate(" (px(key.left)) " " (px(key.top + 30.0)) ")" } {
                    (sample(series.look))
                    text x="36" y="13" { (series.name) }
                }
            }
            g class="grid" stroke="#d3d8de" stroke-width="1" {
                @for (value, _) in &chart.y.marks { path d={ "M" (px(left)) " " (px(y.at(*value))) "H" (px(right)) } {} }
                @for (value, _) in &chart.x.marks { path d={ "M" (px(x.at(*value))) " " (px(top)) "V" (px(bottom)) } {} }
            }
            g class="parts" stroke="#59636e" stroke-width="1" stroke-dasharray="1 3" {
                @for value in &chart.parts { path d={ "M" (px(x.at(*value))) " " (px(top)) "V" (px(bottom)) } {} }
            }
            g text-anchor="end" {
                @for (value, label) in &chart.y.marks { text x=(px(left - 7.0)) y=(px(y.at(*value) + 5.0)) { (label) } }
            }
            g {
                @for (value, label) in &chart.right { text x=(px(right + 7.0)) y=(px(y.at(*value) + 5.0)) { (label) } }
            }
            g text-anchor="middle" {
                @for (place, label) in labels(&chart.x.marks, &x) { text x=(px(place)) y=(px(bottom + 20.0)) { (label) } }
            }
            @for series in &chart.series { (line(series, &x, &y)) }
        }
    }
}

impl Scale {
    fn axis(&self, first: f64, last: f64) -> Axis {
        let end = |mark: Option<&(f64, String)>| mark.map_or(0.0, |mark| mark.0);
        Axis {
            spread: self.spread,
            low: end(self.marks.first()),
            high: end(self.marks.last()),
            first,
            last,
        }
    }
}

/// The labels below, as many as have room, kept within the picture.
fn labels<'a>(marks: &'a [(f64, String)], x: &Axis) -> Vec<(f64, &'a str)> {
    let mut shown = Vec::new();
    let mut used = f64::MIN;
    for (value, label) in marks {
        let half = label.chars().count() as f64 * LETTER / 2.0;
        let place = x.at(*value).min(WIDTH - half - 1.0).max(half);
        if place - half >= used {
            shown.push((place, label.as_str()));
            used = place + half + 4.0;
        }
    }
    shown
}

fn line(series: &Series, x: &Axis, y: &Axis) -> Markup {
    let look = series.look % COLOURS.len();
    let place = |&(a, b): &(f64, f64)| (x.at(a), y.at(b));
    let path = |points: &Vec<(f64, f64)>| -> String {
        points
            .iter()
            .map(place)
            .enumerate()
            .map(|(at, (a, b))| format!("{}{} {}", if at == 0 { 'M' } else { 'L' }, px(a), px(b)))
            .collect()
    };
    html! {
        g class={ "s" (look) } color=(COLOURS[look]) fill="none" stroke="currentColor" stroke-width="2.2" stroke-linejoin="round" {
            path stroke-dasharray=(DASHES[look]) d=(series.pieces.iter().map(path).collect::<String>()) {}
            @for (a, b) in series.points.iter().map(place) { (mark(look, a, b)) }
        }
    }
}

fn mark(look: usize, x: f64, y: f64) -> Markup {
    let shape = match look {
        0 => "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
        1 => "M-4-4h8v8h-8z",
        2 => "M0-5L5 4H-5z",
        3 => "M0-5.5L5 0L0 5.5L-5 0z",
        4 => "M-5 0H5M0-5V5",
        _ => "M-4-4L4 4M-4 4L4-4",
    };
    html! { path class="mark" fill="currentColor" transform={ "translate(" (px(x)) " " (px(y)) ")" } d=(shape) {} }
}

/// A piece of a line as it looks in the charts.
fn sample(look: usize) -> Markup {
    let look = look % COLOURS.len();
    html! {
        g class={ "s" (look) } color=(COLOURS[look]) fill="none" stroke="currentColor" stroke-width="2.2" {
            path stroke-dasharray=(DASHES[look]) d="M0 8H30" {}
            (mark(look, 15.0, 8.0))
        }
    }
}

/// The sample alone, for the head of a table.
pub(super) fn key(look: usize) -> Markup {
    html! { svg class="key" viewBox="0 0 30 16" width="30" height="16" aria-hidden="true" { (sample(look)) } }
}

struct Key {
    left: f64,
    top: f64,
}

/// Where the names of the lines stand: beside each other as long as there is room.
fn keys(series: &[Series]) -> Vec<Key> {
    let (mut left, mut top) = (0.0, 0.0);
    let mut keys = Vec::new();
    for series in series {
        let width = 36.0 + series.name.chars().count() as f64 * LETTER;
        if left > 0.0 && left + width > WIDTH {
            (left, top) = (0.0, top + 20.0);
        }
        keys.push(Key {
            left: left + 2.0,
            top,
        });
        left += width + 6.0;
    }
    keys
}

/// A length with one place, and none where it needs none.
pub(super) fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(values: &[f64]) -> Vec<(f64, String)> {
        values
            .iter()
            .map(|value| (*value, value.to_string()))
            .collect()
    }

    fn chart(names: &[&str]) -> Chart {
        let series = |(look, name): (usize, &&str)| Series {
            name: (*name).to_owned(),
            look,
            pieces: vec![vec![(0.0, 1.0), (1.0, 10.0)], vec![(2.0, 1e9)]],
            points: vec![(1.0, 10.0)],
        };
        Chart {
            id: "c".into(),
            title: "a <b> & \"c\"".into(),
            description: "</desc><script>".into(),
            x: Scale {
                spread: Spread::Even,
                marks: marks(&[0.0, 1.0, 2.0]),
            },
            y: Scale {
                spread: Spread::Log,
                marks: marks(&[1.0, 10.0, 100.0]),
            },
            right: Vec::new(),
            parts: vec![1.5],
            series: names.iter().enumerate().map(series).collect(),
        }
    }

    /// All numbers of attributes that are lengths across.
    fn numbers(text: &str, attribute: &str) -> Vec<f64> {
        let beginning = format!(" {attribute}=\"");
        let after = text.split(&beginning).skip(1);
        after
            .map(|rest| {
                rest.split('"')
                    .next()
                    .and_then(|number| number.parse().ok())
                    .expect("a number")
            })
            .collect()
    }

    #[test]
    fn names_can_not_break_out_of_the_text() {
        let text = render(&chart(&["<svg onload=x>", "b"])).into_string();
        assert!(
            text.contains("a &lt;b&gt; &amp; &quot;c&quot;")
                && text.contains("&lt;svg onload=x&gt;"),
            "{text}"
        );
        assert!(
            !text.contains("<script>") && text.matches("</desc>").count() == 1,
            "{text}"
        );
    }

    #[test]
    fn everything_stands_within_the_picture() {
        let long = [
            "a name that is rather long",
            "nofault buffered",
            "x",
            "bare io_uring",
            "fio io_uring",
            "fio libaio",
            "fio psync",
        ];
        let text = render(&chart(&long)).into_string();
        let height: f64 = text
            .split("viewBox=\"0 0 360 ")
            .nth(1)
            .and_then(|rest| rest.split('"').next()?.parse().ok())
            .expect("a height");
        assert!(
            numbers(&text, "x")
                .iter()
                .all(|&x| (0.0..=WIDTH).contains(&x)),
            "{text}"
        );
        assert!(
            numbers(&text, "y")
                .iter()
                .all(|&y| (0.0..=height).contains(&y)),
            "{text}"
        );
        assert!(
            !text.contains("NaN") && !text.contains("inf\"") && !text.contains("xmlns"),
            "{text}"
        );
    }

    #[test]
    fn lines_differ_in_more_than_their_colour() {
        let text = render(&chart(&["a", "b", "c", "d", "e", "f"])).into_string();
        for look in 0..6 {
            assert_eq!(
                text.matches(&format!("stroke-dasharray=\"{}\"", DASHES[look]))
                    .count(),
                2,
                "{look}"
            );
            assert!(text.contains(COLOURS[look]));
        }
    }

    #[test]
    fn the_key_wraps_rather_than_run_out_of_the_picture() {
        let wide = chart(&["nofault direct", "bare io_uring", "nofault buffered"]);
        let keys = keys(&wide.series);
        assert!(keys[2].top > keys[0].top);
        assert!(
            keys.iter().zip(&wide.series).all(|(key, series)| key.left
                + 36.0
                + series.name.len() as f64 * LETTER
                <= WIDTH + 2.0)
        );
    }

    #[test]
    fn labels_do_not_run_into_each_other() {
        let axis = Axis {
            spread: Spread::Even,
            low: 0.0,
            high: 100.0,
            first: 50.0,
            last: 346.0,
        };
        let many: Vec<(f64, String)> = (0..=100)
            .map(|number| (f64::from(number), format!("{number} seconds")))
            .collect();
        let shown = labels(&many, &axis);
        assert!(shown.len() > 2 && shown.len() < 8);
        assert!(
            shown
                .windows(2)
                .all(|pair| pair[1].0 - pair[0].0 >= pair[1].1.len() as f64 * LETTER * 0.9)
        );
    }
}
