//! Gateways of other nodes: who may enter, whose session has ended.

use super::op::{Kind, Source};
use super::{Cx, Primary};
use crate::engine::io::{Buf, Effect, LinkId};
use crate::types::{NodeId, SessionId, Term};
use crate::wire::frame::{Frame, Refusal};

/// A link that a gateway entered by. Kept by the facade, so that one who comes before this node is
/// primary waits.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Entrant {
    pub link: LinkId,
    pub peer: NodeId,
    pub session: SessionId,
    pub welcomed: bool,
}

impl Primary {
    /// Welcomes those that wait and whose session the record lists.
    pub fn welcome_entrants(&mut self, cx: &mut Cx<'_>) {
        if !self.is_serving() || self.failing {
            return;
        }
        let (windows, record, out, term) = (&cx.store.windows, cx.record, &mut *cx.out, self.term);
        cx.entrants.retain_mut(|entrant| {
            let listed = record
                .sessions
                .iter()
                .any(|s| s.id == entrant.session && s.gateway == entrant.peer);
            if entrant.welcomed || !listed {
                return true;
            }
            if windows.is_lost(entrant.session) {
                turn_away(entrant.link, Refusal::NoSession, term, out);
                return false;
            }
            entrant.welcomed = true;
            out.push(Effect::Send {
                link: entrant.link,
                frame: Frame::Welcome { term },
                buf: Buf::NONE,
            });
            true
        });
    }

    /// This primary ends: those that were welcomed ask elsewhere.
    pub(super) fn dismiss_entrants(&mut self, cx: &mut Cx<'_>) {
        let (out, term) = (&mut *cx.out, self.term);
        cx.entrants.retain(|entrant| {
            if entrant.welcomed {
                turn_away(entrant.link, Refusal::NotPrimary, term, out);
            }
            !entrant.welcomed
        });
    }

    /// A gateway's link has ended.
    pub fn gateway_gone(&mut self, link: LinkId, cx: &mut Cx<'_>) {
        self.detach(link, cx);
        self.pump(cx);
    }

    /// A gateway broke the rules.
    pub(super) fn expel(&mut self, source: Source, cx: &mut Cx<'_>) {
        let Source::Link { link, .. } = source else {
            return;
        };
        if cx.entrants.iter().any(|entrant| entrant.link == link) {
            cx.entrants.retain(|entrant| entrant.link != link);
            turn_away(link, Refusal::NoSession, self.term, cx.out);
            self.detach(link, cx);
        }
    }

    /// The record may list other sessions: what the ended ones have begun is finished before
    /// anything else begins, the rest never takes effect.
    pub(super) fn sessions_changed(&mut self, cx: &mut Cx<'_>) {
        cx.store
            .windows
            .set_listed(&cx.record.sessions, cx.record.term);
        let listed = |id| cx.record.sessions.iter().any(|s| s.id == id);
        let mut gone = std::mem::take(&mut self.scratch);
        let (out, term) = (&mut *cx.out, self.term);
        cx.entrants.retain(|entrant| {
            let keep = !entrant.welcomed || listed(entrant.session);
            if !keep {
                turn_away(entrant.link, Refusal::TooEarly, term, out);
                gone.push(entrant.link.0);
            }
            keep
        });
        for link in gone.drain(..) {
            self.detach(LinkId(link), cx);
        }
        self.scratch = gone;
        for (_, op) in self.ops.iter_mut() {
            if op.kind == Kind::Change
                && op.state == super::op::State::Sent
                && !op.displaced
                && !listed(op.origin.session)
            {
                op.displaced = true;
                self.displaced += 1;
            }
        }
        self.welcome_entrants(cx);
    }
}

/// Refuses a gateway and closes its link.
pub(in crate::engine) fn turn_away(
    link: LinkId,
    why: Refusal,
    term: Term,
    out: &mut crate::engine::io::Effects,
) {
    out.push(Effect::Send {
        link,
        frame: Frame::NotNow { why, term },
        buf: Buf::NONE,
    });
    out.push(Effect::Close { link });
}
