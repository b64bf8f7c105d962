//! One picture for each pair of jobs: what of the rate with warm buffers is left with cold ones, a
//! bar for each column. Pure.

use maud::{Markup, html};

use super::chart::{COLOURS, px};
use super::page::{Page, Pair};

const WIDTH: f64 = 360.0;
const BAR: f64 = 22.0;
const TOP: f64 = 30.0;
/// What a bar is as long as that is as good as warm.
const EVEN: f64 = 190.0;
const LEFT: f64 = 124.0;

/// The bars of one pair; nothing if no column has both.
pub(super) fn render(page: &Page, number: usize, pair: &Pair) -> Markup {
    let bars: Vec<(usize, &str, f64)> = page
        .columns
        .iter()
        .enumerate()
        .filter_map(|(look, (column, _))| {
            Some((look, column.as_str(), pair.ratio(&page.jobs, column)?.2))
        })
        .collect();
    if bars.is_empty() {
        return html! {};
    }
    let most = bars.iter().map(|bar| bar.2).fold(1.0, f64::max);
    // Bars that are longer than warm make all of them shorter.
    let even = EVEN / most;
    let height = TOP + bars.len() as f64 * BAR + 26.0;
    let base = height - 22.0;
    let said: String = bars
        .iter()
        .map(|(_, column, ratio)| format!("{column}: {ratio:.2}. "))
        .collect();
    let (title_id, text_id) = (
        format!("cold-{number}-title"),
        format!("cold-{number}-text"),
    );
    html! {
        svg id={ "cold-" (number) } class="chart" viewBox={ "0 0 " (WIDTH) " " (px(height)) } role="img"
            aria-labelledby={ (title_id) " " (text_id) } font-family="system-ui, sans-serif" font-size="14" fill="#1b1f24" {
            title id=(title_id) { (pair.title) }
            desc id=(text_id) { "Requests per second with cold buffers against warm ones. " (said.trim_end()) }
            rect class="ground" width=(WIDTH) height=(px(height)) fill="#ffffff" {}
            text x="2" y="17" font-weight="600" { (pair.title) }
            path class="parts" stroke="#59636e" stroke-width="1.5" stroke-dasharray="3 3"
                d={ "M" (px(LEFT + even)) " " (px(TOP - 2.0)) "V" (px(base)) } {}
            @for (at, (look, column, ratio)) in bars.iter().enumerate() {
                @let top = TOP + at as f64 * BAR;
                @let look = look % COLOURS.len();
                @let width = (ratio * even).max(1.0);
                text x=(px(LEFT - 6.0)) y=(px(top + 15.0)) text-anchor="end" { (column) }
                rect class={ "bar s" (look) } x=(px(LEFT)) y=(px(top + 3.0)) width=(px(width)) height=(px(BAR - 6.0))
                    color=(COLOURS[look]) fill="currentColor" {}
                // Its edge keeps it readable where the line runs through it.
                text class="edge" x=(px(LEFT + width + 6.0)) y=(px(top + 15.0)) paint-order="stroke" stroke="#ffffff" stroke-width="5" { (format!("{ratio:.2}")) }
            }
            text x=(px(LEFT + even)) y=(px(base + 16.0)) text-anchor="middle" { "as warm" }
        }
    }
}
