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
            colours: std::io::stdout().is_terminal()
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
    fn plain_is_plain() {
        assert_eq!(Paint::plain().mood(Mood::Bad, "x"), "x");
        let coloured = Paint { colours: true }.mood(Mood::Bad, "x");
        assert!(coloured.starts_with('\u{1b}') && coloured.contains('x'));
    }
}
