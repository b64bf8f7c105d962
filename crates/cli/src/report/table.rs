//! What every table has: its width, its colours, what stands above it and what below. Pure: gets
//! everything it shows, and whether it may colour it.

use std::fmt::Write;

use super::setting::Setting;
use crate::figures::text::wrap;
use crate::figures::units;

/// The widest line.
pub(crate) const WIDTH: usize = 100;

/// How the text is adorned.
#[derive(Clone, Copy)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// A ratio, green or red from a twentieth away from 1.
    pub(crate) fn ratio(self, text: &str, ratio: f64) -> String {
        match ratio {
            r if r >= 1.05 => self.wrap("32", text),
            r if r <= 0.95 => self.wrap("31", text),
            _ => text.to_owned(),
        }
    }
}

/// What stands above a table.
pub(crate) fn setting(setting: &Setting) -> String {
    let flags = if setting.engine.flags.is_empty() {
        String::new()
    } else {
        format!(" ({})", setting.engine.flags.join(" "))
    };
    let because = setting
        .engine
        .reason
        .as_ref()
        .map(|r| format!(", because {r}"))
        .unwrap_or_default();
    let facts = format!(
        "nofault {} on Linux {}: {} file in {} ({}), {}, back end {}{flags}{because}",
        setting.version,
        setting.kernel,
        units::size(setting.file_bytes),
        setting.dir,
        setting.filesystem,
        setting.file.path,
        setting.engine.backend
    );
    wrap(&facts, WIDTH).join("\n") + "\n"
}

/// What stands below a table.
pub(crate) fn notes(notes: &[String], interrupted: bool, paint: Paint) -> String {
    let mut out = String::new();
    for note in notes {
        for (i, line) in wrap(note, WIDTH - 2).iter().enumerate() {
            let _ = writeln!(
                out,
                "{}",
                paint.dim(&format!("{} {line}", if i == 0 { '·' } else { ' ' }))
            );
        }
    }
    if interrupted {
        let _ = writeln!(
            out,
            "{}",
            paint.bold("Interrupted: these are the figures measured until then.")
        );
    }
    out
}

/// A ratio to the buffered column.
pub(crate) fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(
        || "-".into(),
        |r| {
            if r >= 99.95 {
                format!("{r:.0}x")
            } else {
                format!("{r:.2}x")
            }
        },
    )
}
