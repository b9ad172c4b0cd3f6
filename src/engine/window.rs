//! The window of one session: which of its changes have been applied, or (on a gateway) answered.

use crate::types::SessionId;
use crate::wire::frame::{SessionWindow, WINDOW};

/// `SessionWindow::confirmed` of a session whose window was lost everywhere: its changes must be
/// refused for ever. Travels like any other window.
pub const LOST: u64 = u64::MAX;

/// What is known of a change of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Not applied here.
    New,
    /// Applied here.
    Applied,
    /// The session's window was lost: whether it was applied cannot be known.
    Lost,
    /// Not a number that this session may use now: the peer breaks the protocol.
    OutOfWindow,
}

impl SessionWindow {
    /// A session's window before its first change.
    #[must_use]
    pub const fn first(session: SessionId) -> Self {
        Self {
            session,
            confirmed: 1,
            applied: [0; (WINDOW / 64) as usize],
        }
    }

    /// Forgets every number below `confirmed`; never goes back.
    pub fn confirm(&mut self, confirmed: u64) {
        if confirmed <= self.confirmed {
            return;
        }
        let shift = confirmed - self.confirmed;
        self.confirmed = confirmed;
        let (words, bits) = ((shift / 64) as usize, shift % 64);
        for at in 0..self.applied.len() {
            let low = self.applied.get(at + words).copied().unwrap_or(0);
            let high = self.applied.get(at + words + 1).copied().unwrap_or(0);
            self.applied[at] = if bits == 0 {
                low
            } else {
                low >> bits | high << (64 - bits)
            };
        }
    }

    /// What is known of a number.
    #[must_use]
    pub const fn known(&self, number: u64) -> Known {
        if self.confirmed == LOST {
            Known::Lost
        } else if number == 0 || number >= self.confirmed.saturating_add(WINDOW) {
            Known::OutOfWindow
        } else if number < self.confirmed {
            // The client has its answer; this is an echo that nobody waits for.
            Known::Applied
        } else {
            let at = number - self.confirmed;
            if self.applied[(at / 64) as usize] >> (at % 64) & 1 != 0 {
                Known::Applied
            } else {
                Known::New
            }
        }
    }

    /// Marks a number of the window and then moves the window past the marked ones at its start.
    /// This is how a gateway keeps what it has answered.
    pub fn answer(&mut self, number: u64) {
        assert_eq!(self.known(number), Known::New, "number {number}");
        let at = number - self.confirmed;
        self.applied[(at / 64) as usize] |= 1 << (at % 64);
        let mut ones = 0;
        for word in self.applied {
            ones += u64::from(word.trailing_ones());
            if word != u64::MAX {
                break;
            }
        }
        self.confirm(self.confirmed + ones);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateways_own_window_moves_past_what_is_answered() {
        let mut window = SessionWindow::first(SessionId(7));
        for number in (2..=256).rev() {
            window.answer(number);
        }
        assert_eq!(window.confirmed, 1);
        window.answer(1);
        assert_eq!(
            window,
            SessionWindow {
                confirmed: 257,
                ..SessionWindow::first(SessionId(7))
            }
        );
    }
}
