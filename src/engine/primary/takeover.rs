//! Taking over: from the grant to the first answer.

use super::{Cx, Phase, Primary};
use crate::engine::io::{Effect, Note};
use crate::engine::store::Begin;
use crate::types::Index;

impl Primary {
    pub(super) fn begin_collecting(&mut self, cx: &mut Cx<'_>) {
        if !cx.store.windows.is_complete() {
            // Whether a change that is sent again took effect cannot be known here. That matters
            // only where another session's change can have come in between.
            if cx.record.shared && !cx.config.canaries.trust_lost_windows {
                let (sessions, term) = (&cx.record.sessions, self.term);
                cx.store.windows.give_up(sessions, term);
            } else {
                cx.store.windows.forget_all();
                cx.store.windows.complete();
            }
        }
        for at in 0..self.peers.len() {
            if at == self.me {
                continue;
            }
            let peer = &self.peers[at];
            match peer.since() {
                None => cx.store.end_absent(peer.node, cx.out),
                Some(since) => self.begin_absent(at, since, cx),
            }
        }
        self.phase = Phase::Collecting { since: cx.now };
        self.alert = true;
        self.refresh(cx);
        for at in 0..self.peers.len() {
            if self.peers[at].link.is_some() {
                self.send_attach(at, cx);
            }
        }
    }

    pub(super) fn is_collected(&self) -> bool {
        (0..self.peers.len()).all(|at| {
            let peer = &self.peers[at];
            at == self.me || !peer.counts || peer.reported || peer.fault.is_some()
        })
    }

    pub(super) fn begin_serving(&mut self, cx: &mut Cx<'_>) {
        self.collect_own(cx);
        self.phase = Phase::Serving;
        self.alert = true;
        cx.out.push(Effect::Note(Note::Serving { term: self.term }));
        self.welcome_entrants(cx);
        self.retry_held(cx);
    }

    /// Begins the bitmap of a replica that is absent.
    pub(super) fn begin_absent(&mut self, at: usize, since: Index, cx: &mut Cx<'_>) {
        let how = if since.0 == 0 {
            Begin::Written
        } else {
            Begin::Unstable
        };
        cx.store
            .begin_absent(self.peers[at].node, since, how, cx.out);
        self.unmarked = true;
    }
}
