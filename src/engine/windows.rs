//! Which changes of each session have been applied, so that a re-sent one is known wherever it
//! arrives.
//!
//! A change that is applied twice may undo a later one by another gateway. So every replica notes
//! the number of each change that it stores, until the gateway says that it has answered it. The
//! notes live in memory and travel: a primary's go to every replica that it takes up; one that lost
//! its own in a restart is told by the others. Only where all have lost them (`give_up`) are the
//! sessions over.

use super::window::{Known, LOST};
use crate::record::SessionRecord;
use crate::types::{SessionId, Term};
use crate::wire::frame::{Origin, SessionWindow};

#[derive(Clone, Copy, Debug)]
struct Entry {
    window: SessionWindow,
    /// The record has listed the session, so that its absence means that it has ended.
    listed: bool,
    /// The term in which the session was first noted.
    term: Term,
    /// Taken over since `import_begin`.
    imported: bool,
}

/// The windows of all sessions of a volume, on one replica.
#[derive(Clone, Debug)]
pub struct SessionWindows {
    entries: Vec<Entry>,
    complete: bool,
}

impl SessionWindows {
    /// No window. `complete` only where no change of any session can have been applied before, as
    /// on a blank store; after a restart it is false.
    #[must_use]
    pub fn new(complete: bool) -> Self {
        Self {
            entries: Vec::with_capacity(16),
            complete,
        }
    }

    /// Whether what is not noted here was not applied here.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// What is known of a change before it is applied. Also takes note of what its gateway
    /// confirms.
    pub fn look_up(&mut self, term: Term, origin: Origin) -> Known {
        let entry = self.entry(term, origin);
        entry.window.known(origin.number)
    }

    /// Whether a change counts as applied, or its session is over.
    #[must_use]
    pub fn has(&self, origin: Origin) -> bool {
        self.position(origin.session).is_some_and(|at| {
            let known = self.entries[at].window.known(origin.number);
            matches!(known, Known::Applied | Known::Lost)
        })
    }

    /// Notes that a change is applied here, whatever is missing besides. One without a session
    /// (reconcile, resync) needs no note. A number that the session may not use is not noted
    /// (`look_up` tells).
    pub fn note(&mut self, term: Term, origin: Origin) {
        if origin.session == SessionId(0) {
            return;
        }
        let entry = self.entry(term, origin);
        if entry.window.known(origin.number) == Known::New {
            let at = origin.number - entry.window.confirmed;
            entry.window.applied[(at / 64) as usize] |= 1 << (at % 64);
        }
    }

    /// The record lists these sessions, and `term` is its term. Forgets the windows of the sessions
    /// that have ended; those that are merely newer than this record stay.
    pub fn set_listed(&mut self, sessions: &[SessionRecord], term: Term) {
        self.entries.retain_mut(|entry| {
            let listed = sessions.iter().any(|s| s.id == entry.window.session);
            entry.listed |= listed;
            // A session is used only after the entry that opened it, in the term of a primary that
            // has seen that entry; so a record of a later term is newer than that entry.
            listed || !(entry.listed || entry.term < term)
        });
    }

    /// The windows, to be handed over.
    pub fn export(&self) -> impl Iterator<Item = SessionWindow> + '_ {
        self.entries.iter().map(|entry| entry.window)
    }

    /// A change that was noted is not applied here after all: it waited, and its primary is gone.
    pub fn forget(&mut self, origin: Origin) {
        let Some(at) = self.position(origin.session) else {
            return;
        };
        let window = &mut self.entries[at].window;
        if window.confirmed <= origin.number && window.known(origin.number) == Known::Applied {
            let at = origin.number - window.confirmed;
            window.applied[(at / 64) as usize] &= !(1 << (at % 64));
        }
    }

    /// Forgets which changes were applied, and nothing else. Against the rules: for a self-test.
    pub fn forget_all(&mut self) {
        for entry in &mut self.entries {
            entry.window.applied = Default::default();
        }
    }

    /// The primary's windows follow.
    pub fn import_begin(&mut self) {
        for entry in &mut self.entries {
            entry.imported = false;
        }
    }

    /// Takes over one window of the primary. Where this replica's own are complete, a change stays
    /// noted only if both have it: one that only this replica holds is about to be overwritten, and
    /// one that only the primary holds comes, and is noted, with its data. Where they are not, the
    /// primary's stand in for them.
    pub fn import(&mut self, term: Term, mut window: SessionWindow) {
        let complete = self.complete;
        let at = match self.position(window.session) {
            Some(at) => at,
            None => {
                self.insert(term, SessionWindow::first(window.session));
                self.entries.len() - 1
            }
        };
        let entry = &mut self.entries[at];
        if complete && window.confirmed != LOST && entry.window.confirmed != LOST {
            window.confirm(entry.window.confirmed);
            entry.window.confirm(window.confirmed);
            for (own, other) in entry.window.applied.iter_mut().zip(window.applied) {
                *own &= other;
            }
        } else {
            entry.window = window;
        }
        entry.imported = true;
    }

    /// All have been taken over: sessions that the primary has no window of have none here.
    pub fn import_end(&mut self) {
        self.entries.retain(|entry| entry.imported);
    }

    /// What the primary holds has been taken over to the last change: these are complete.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// Changes were applied elsewhere that this replica has not seen: its own windows count for
    /// nothing beside the primary's.
    pub fn missed_changes(&mut self) {
        self.complete = false;
    }

    /// The windows were lost on every replica: every session that the record lists is over, newer
    /// ones begin afresh.
    pub fn give_up(&mut self, sessions: &[SessionRecord], term: Term) {
        self.entries.clear();
        for session in sessions {
            let window = SessionWindow {
                session: session.id,
                confirmed: LOST,
                applied: Default::default(),
            };
            self.insert(term, window).listed = true;
        }
        self.complete = true;
    }

    /// Whether the session's window was lost everywhere.
    #[must_use]
    pub fn is_lost(&self, session: SessionId) -> bool {
        self.position(session)
            .is_some_and(|at| self.entries[at].window.confirmed == LOST)
    }

    /// Forgets everything, and that it was complete.
    pub fn lose(&mut self) {
        self.entries.clear();
        self.complete = false;
    }

    fn position(&self, session: SessionId) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| entry.window.session == session)
    }

    fn insert(&mut self, term: Term, window: SessionWindow) -> &mut Entry {
        self.entries.push(Entry {
            window,
            listed: false,
            term,
            imported: false,
        });
        let last = self.entries.len() - 1;
        &mut self.entries[last]
    }

    /// The entry of the origin's session, moved on to what the gateway has confirmed.
    fn entry(&mut self, term: Term, origin: Origin) -> &mut Entry {
        assert!(origin.session != SessionId(0), "a change of no session");
        let at = self.position(origin.session);
        let entry = match at {
            Some(at) => &mut self.entries[at],
            None => self.insert(
                term,
                SessionWindow {
                    session: origin.session,
                    confirmed: 1,
                    applied: Default::default(),
                },
            ),
        };
        // Nobody confirms numbers that it has not used; a peer that does is caught by `known`.
        let honest = origin.confirmed <= origin.number || origin.number == 0;
        if honest && origin.confirmed != LOST {
            entry.window.confirm(origin.confirmed);
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::types::NodeId;
    use crate::wire::frame::WINDOW;

    const TERM: Term = Term(3);

    fn origin(session: u64, number: u64, confirmed: u64) -> Origin {
        Origin {
            session: SessionId(session),
            number,
            confirmed,
        }
    }

    fn listed(ids: &[u64]) -> Vec<SessionRecord> {
        ids.iter()
            .map(|&id| SessionRecord {
                id: SessionId(id),
                gateway: NodeId(0),
            })
            .collect()
    }

    #[test]
    fn a_resent_change_is_known_until_confirmed() {
        let mut windows = SessionWindows::new(true);
        assert_eq!(windows.look_up(TERM, origin(7, 1, 1)), Known::New);
        windows.note(TERM, origin(7, 1, 1));
        windows.note(TERM, origin(7, 3, 1));
        assert_eq!(windows.look_up(TERM, origin(7, 1, 1)), Known::Applied);
        assert_eq!(windows.look_up(TERM, origin(7, 2, 1)), Known::New);
        assert_eq!(windows.look_up(TERM, origin(7, 300, 3)), Known::OutOfWindow);
        assert_eq!(windows.look_up(TERM, origin(7, 258, 3)), Known::New);
        assert_eq!(windows.look_up(TERM, origin(7, 3, 3)), Known::Applied);
        assert_eq!(windows.look_up(TERM, origin(8, 3, 3)), Known::New);
    }

    #[test]
    fn a_peer_that_confirms_what_it_sends_is_refused() {
        let mut windows = SessionWindows::new(true);
        windows.note(TERM, origin(7, 1, 1));
        let bad = origin(7, 2, u64::MAX);
        assert_eq!(windows.look_up(TERM, bad), Known::New);
        assert!(!windows.is_lost(SessionId(7)));
    }

    #[test]
    fn windows_end_with_their_sessions_and_not_before() {
        let mut windows = SessionWindows::new(true);
        windows.note(TERM, origin(7, 1, 1));
        // This replica's record is older than the session.
        windows.set_listed(&listed(&[5]), TERM);
        assert_eq!(windows.export().count(), 1);
        windows.set_listed(&listed(&[5, 7]), TERM);
        windows.set_listed(&listed(&[7]), Term(4));
        assert_eq!(windows.export().count(), 1);
        windows.set_listed(&listed(&[5]), Term(4));
        assert_eq!(windows.export().count(), 0);
        // Opened and ended between two records that this replica has seen.
        windows.note(Term(4), origin(8, 1, 1));
        windows.set_listed(&listed(&[5]), Term(5));
        assert_eq!(windows.export().count(), 0);
    }

    fn hand_over(from: &SessionWindows, to: &mut SessionWindows) {
        to.import_begin();
        for window in from.export() {
            to.import(Term(4), window);
        }
        to.import_end();
    }

    #[test]
    fn incomplete_windows_are_replaced_by_the_primarys() {
        let mut old = SessionWindows::new(false);
        old.note(TERM, origin(7, 1, 1));
        old.note(TERM, origin(8, 1, 1));
        let mut new = SessionWindows::new(true);
        new.note(TERM, origin(7, 2, 1));
        hand_over(&new, &mut old);
        assert!(!old.is_complete());
        old.complete();
        assert!(old.is_complete());
        assert_eq!(old.look_up(TERM, origin(7, 1, 1)), Known::New);
        assert_eq!(old.look_up(TERM, origin(7, 2, 1)), Known::Applied);
        assert_eq!(old.look_up(TERM, origin(8, 1, 1)), Known::New);
    }

    #[test]
    fn of_complete_windows_what_both_have_stays() {
        let mut own = SessionWindows::new(true);
        for number in [1, 3, 4] {
            own.note(TERM, origin(7, number, 1));
        }
        own.note(TERM, origin(8, 1, 1));
        let mut primary = SessionWindows::new(true);
        for number in [2, 3, 4] {
            primary.note(TERM, origin(7, number, 2));
        }
        hand_over(&primary, &mut own);
        let known = [1, 2, 3, 4].map(|number| own.look_up(TERM, origin(7, number, 2)));
        // 1 is confirmed; 2 comes with its data.
        assert_eq!(
            known,
            [Known::Applied, Known::New, Known::Applied, Known::Applied]
        );
        assert_eq!(own.look_up(TERM, origin(8, 1, 1)), Known::New);
    }

    #[test]
    fn a_change_that_was_dropped_while_it_waited_is_new_again() {
        let mut windows = SessionWindows::new(true);
        windows.note(TERM, origin(7, 1, 1));
        windows.note(TERM, origin(7, 2, 1));
        windows.forget(origin(7, 2, 1));
        assert_eq!(windows.look_up(TERM, origin(7, 1, 1)), Known::Applied);
        assert_eq!(windows.look_up(TERM, origin(7, 2, 1)), Known::New);
    }

    #[test]
    fn a_lost_session_is_refused_wherever_it_goes() {
        let mut windows = SessionWindows::new(false);
        windows.give_up(&listed(&[7]), TERM);
        let mut other = SessionWindows::new(true);
        hand_over(&windows, &mut other);
        other.note(TERM, origin(7, 9, 9));
        assert_eq!(other.look_up(TERM, origin(7, 9, 9)), Known::Lost);
        assert_eq!(other.look_up(TERM, origin(9, 1, 1)), Known::New);
        assert!(other.is_lost(SessionId(7)) && !other.is_lost(SessionId(9)));
    }

    proptest! {
        #[test]
        fn equals_a_set_of_numbers(ops in prop::collection::vec((0_u64..300, 0_u64..40), 1..200)) {
            let mut windows = SessionWindows::new(true);
            let mut model = BTreeSet::new();
            let mut confirmed = 1;
            for (ahead, step) in ops {
                let number = confirmed + ahead;
                let expected = if ahead >= WINDOW {
                    Known::OutOfWindow
                } else if model.contains(&number) {
                    Known::Applied
                } else {
                    Known::New
                };
                prop_assert_eq!(windows.look_up(TERM, origin(7, number, confirmed)), expected);
                windows.note(TERM, origin(7, number, confirmed));
                if ahead < WINDOW {
                    model.insert(number);
                }
                confirmed += step;
            }
        }
    }
}
