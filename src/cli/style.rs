//! Colours and sizes for people. Plain where the output is no terminal.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};

use crate::status::Health;

/// How to write on the standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paint {
    colours: bool,
}

impl Paint {
    /// For the standard output: colours on a terminal, unless `NO_COLOR` is set.
    pub(super) fn stdout() -> Self {
        Self {
            colours: is_screen(&std::io::stdout())
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    /// Never colours.
    #[cfg(test)]
    pub(super) const fn plain() -> Self {
        Self { colours: false }
    }

    /// `text` in the colour of `mood`.
    pub(super) fn mood(self, mood: Mood, text: &str) -> String {
        if !self.colours {
            return text.to_owned();
        }
        let style = mood.style();
        format!("{style}{text}{style:#}")
    }

    /// `text`, stronger.
    pub(super) fn bold(self, text: &str) -> String {
        if !self.colours {
            return text.to_owned();
        }
        let style = Style::new().bold();
        format!("{style}{text}{style:#}")
    }

    /// A table without lines, with this header.
    pub(super) fn table(self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(header.iter().map(|title| {
                let cell = Cell::new(title);
                if self.colours {
                    cell.add_attribute(Attribute::Bold)
                } else {
                    cell
                }
            }));
        if self.colours {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table
    }

    /// A cell in the colour of `mood`.
    pub(super) fn cell(self, mood: Mood, text: &str) -> Cell {
        let cell = Cell::new(text);
        if self.colours {
            cell.fg(match mood {
                Mood::Good => Color::Green,
                Mood::Worry => Color::Yellow,
                Mood::Bad => Color::Red,
            })
        } else {
            cell
        }
    }
}

/// Whether it is a terminal that understands more than letters.
pub(super) fn is_screen(out: &impl IsTerminal) -> bool {
    out.is_terminal() && std::env::var_os("TERM").is_none_or(|kind| kind != "dumb")
}

/// Columns and rows of the terminal; of an endless one where that is not known.
pub(super) fn window() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (usize::MAX, usize::MAX),
    }
}

/// The beginning of `text` that a window of these columns and rows shows with a row to spare, so
/// that nothing scrolls.
pub(super) fn fit(text: &str, (columns, rows): (usize, usize)) -> &str {
    let mut left = rows.saturating_sub(1);
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        let needed = width(line).div_ceil(columns).max(1);
        if needed > left {
            break;
        }
        left -= needed;
        end += line.len();
    }
    &text[..end]
}

/// Columns of a line: its characters without colours.
fn width(line: &str) -> usize {
    let mut colour = false;
    line.chars()
        .filter(|c| {
            let shown = !colour && !c.is_control();
            colour = *c == '\u{1b}' || (colour && *c != 'm');
            shown
        })
        .count()
}

/// What a word means for the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// As it should be.
    Good,
    /// Look at it.
    Worry,
    /// Act.
    Bad,
}

impl Mood {
    fn style(self) -> Style {
        let colour = match self {
            Self::Good => AnsiColor::Green,
            Self::Worry => AnsiColor::Yellow,
            Self::Bad => AnsiColor::Red,
        };
        Style::new().fg_color(Some(colour.into()))
    }

    /// Of a health.
    pub(super) const fn of(health: Health) -> Self {
        match health {
            Health::Healthy => Self::Good,
            Health::Degraded => Self::Worry,
            Health::Unavailable => Self::Bad,
        }
    }
}

/// A number of bytes as people read it: `1.5 GiB`.
pub(super) fn bytes(bytes: u64) -> String {
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    if tenths.is_multiple_of(10) {
        format!("{} {}", tenths / 10, UNITS[unit])
    } else {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_read_them() {
        for (number, text) in [
            (0, "0 B"),
            (4096, "4 KiB"),
            (1536, "1.5 KiB"),
            (8 << 30, "8 GiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn a_text_is_cut_to_the_window() {
        let text = "one\n\u{1b}[32mtwo22\u{1b}[0m\n\nfour\n";
        assert_eq!(fit(text, (80, 5)), text);
        assert_eq!(fit(text, (80, 4)), "one\n\u{1b}[32mtwo22\u{1b}[0m\n\n");
        assert_eq!(fit(text, (5, 3)), "one\n\u{1b}[32mtwo22\u{1b}[0m\n");
        // Two rows for the second.
        assert_eq!(fit(text, (4, 3)), "one\n");
        assert_eq!(fit(text, (80, 0)), "");
        assert_eq!(fit(text, (usize::MAX, usize::MAX)), text);
    }

    #[test]
    fn plain_is_plain() {
        assert_eq!(Paint::plain().mood(Mood::Bad, "x"), "x");
        let coloured = Paint { colours: true }.mood(Mood::Bad, "x");
        assert!(coloured.starts_with('\u{1b}') && coloured.contains('x'));
    }
}
