//! What is shown while one has to wait: a bar on a terminal, else a line where something
//! has changed.

use std::cell::RefCell;
use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::sandbox::kind;
use super::style::is_screen;
use crate::status;

/// Shown on the standard error, so that the standard output keeps what lasts.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    told: RefCell<String>,
}

impl Progress {
    pub(super) fn new() -> Self {
        let bar = is_screen(&std::io::stderr()).then(|| {
            // Before the first tick, which would draw indicatif's own bar.
            let bar = ProgressBar::no_length().with_style(spinner());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self {
            bar,
            told: RefCell::default(),
        }
    }

    /// `done` bytes of `all` have been reserved for something.
    pub(super) fn making(&self, what: &str, done: u64, all: u64) {
        let part = done as f64 / all.max(1) as f64;
        self.show(
            &format!("preallocating {what}"),
            Some((part, String::new())),
        );
    }

    /// Something else has to happen first.
    pub(super) fn waiting(&self, why: &str) {
        self.show(why, None);
    }

    /// A copy is brought up to date.
    pub(super) fn syncing(&self, sentence: &str, percent: f64, seconds_left: Option<u64>) {
        let left = format!(", {}", status::left(seconds_left));
        self.show(sentence, Some((percent / 100.0, left)));
    }

    /// Takes the bar away: something that lasts is printed next, or it is over.
    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.set_style(spinner());
            bar.set_message("");
            bar.finish_and_clear();
        }
    }

    /// `part` is how much of it is done, and what is said of the rest.
    fn show(&self, what: &str, part: Option<(f64, String)>) {
        match &self.bar {
            Some(bar) => {
                if bar.is_finished() {
                    bar.reset();
                }
                // Each of these may be drawn at once: no gauge may stand beside the words of before.
                match part {
                    Some((part, left)) => {
                        bar.set_message(what.to_owned());
                        bar.set_length(1000);
                        bar.set_position((part.clamp(0.0, 1.0) * 1000.0) as u64);
                        bar.set_prefix(left);
                        bar.set_style(gauge());
                    }
                    None => {
                        bar.set_style(spinner());
                        bar.set_message(what.to_owned());
                    }
                }
            }
            None => {
                let mut told = self.told.borrow_mut();
                if kind(&told) != kind(what) {
                    // Nobody has to read it.
                    let _ = writeln!(std::io::stderr(), "{what}");
                    what.clone_into(&mut told);
                }
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn gauge() -> ProgressStyle {
    // What matters first: a narrow window cuts the end off.
    styled("[{bar:20}] {percent} %{prefix}  {wide_msg}")
}

fn spinner() -> ProgressStyle {
    styled("{spinner} {wide_msg}")
}

fn styled(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
