//! Links and their frames: whose each is, and what the first frame of a peer's link asks for.

use super::{Volume, with_primary, with_replica};
use crate::engine::io::{Buf, Direction, Effect, Effects, LinkId};
use crate::engine::primary::{Cx, Entrant, Heard, Primary, Source, turn_away};
use crate::engine::replica::{ReplicaCx, TERM_MAX, refuse};
use crate::engine::store::release;
use crate::types::{NodeId, Term, Time};
use crate::wire::frame::{Ask, Frame, Refusal};

impl Volume {
    pub(super) fn link_up(
        &mut self,
        now: Time,
        link: LinkId,
        peer: NodeId,
        direction: Direction,
        out: &mut Effects,
    ) {
        match direction {
            Direction::In => self.inbound.push((link, peer)),
            Direction::Out => {
                if self.primary.as_ref().is_some_and(|p| p.wants(peer)) {
                    with_primary!(self, now, out, |primary, cx| {
                        primary.link_up(link, peer, cx);
                    });
                } else if self.gateway.wants(peer) {
                    self.gateway.link_up(link, peer, out);
                } else {
                    out.push(Effect::Close { link });
                }
            }
        }
    }

    pub(super) fn link_down(
        &mut self,
        now: Time,
        link: Option<LinkId>,
        peer: NodeId,
        direction: Direction,
        out: &mut Effects,
    ) {
        if direction == Direction::Out {
            with_primary!(self, now, out, |primary, cx| {
                primary.link_down(link, peer, cx);
            });
            self.gateway.link_down(now, link, peer, out);
        } else if let Some(link) = link {
            self.inbound.retain(|&(other, _)| other != link);
            self.replica.link_down(link);
            if self.entrants.iter().any(|entrant| entrant.link == link) {
                self.entrants.retain(|entrant| entrant.link != link);
                with_primary!(self, now, out, |primary, cx| {
                    primary.gateway_gone(link, cx);
                });
            }
        }
    }

    pub(super) fn frame(
        &mut self,
        now: Time,
        link: LinkId,
        frame: Frame,
        buf: Buf,
        out: &mut Effects,
    ) {
        if self.gateway.owns(link) {
            self.gateway.frame(now, link, frame, buf, out);
        } else if self.primary.as_ref().is_some_and(|p| p.owns(link)) {
            release(buf, out);
            let heard = with_primary!(self, now, out, |primary, cx| {
                primary.frame(link, frame, cx)
            });
            if heard == Some(Heard::Superseded) {
                self.stop_primary(now, out);
            }
        } else if self.replica.owns(link) {
            with_replica!(self, out, |cx| {
                self.replica.frame(link, frame, buf, cx);
            });
        } else if let Some(at) = self.entrants.iter().position(|e| e.link == link) {
            self.request(now, self.entrants[at], frame, buf, out);
        } else if let Some(at) = self.inbound.iter().position(|&(other, _)| other == link) {
            let (_, peer) = self.inbound.remove(at);
            release(buf, out);
            self.first_frame(now, link, peer, frame, out);
        } else {
            // Of a link that was closed in the meantime.
            release(buf, out);
        }
    }

    /// The first frame of a peer's link says what it is for.
    fn first_frame(
        &mut self,
        now: Time,
        link: LinkId,
        peer: NodeId,
        frame: Frame,
        out: &mut Effects,
    ) {
        match frame {
            Frame::Attach {
                term,
                purpose,
                resync,
                ..
            } => {
                if term == Term(0) || term > TERM_MAX {
                    // Nobody has granted this.
                    out.push(Effect::Close { link });
                    return;
                }
                let Some(store) = &self.store else {
                    refuse(link, Refusal::NoStore, term, out);
                    return;
                };
                let serving = self
                    .primary
                    .as_ref()
                    .map_or(Term(0), |p| Term(p.term().0 + 1));
                let newest = store.term.max(self.replica.term()).max(serving);
                if term < newest && !self.config.canaries.accept_old_term {
                    // One below `serving` is known: this node's own term.
                    let seen = store.term.max(self.replica.term());
                    let own = self.primary.as_ref().map_or(Term(0), Primary::term);
                    refuse(link, Refusal::OldTerm, seen.max(own), out);
                    return;
                }
                if self.record.is_none() {
                    refuse(link, Refusal::TooEarly, newest, out);
                    return;
                }
                if store.broken.is_some() {
                    refuse(link, Refusal::StoreFailed, newest, out);
                    return;
                }
                // Another primary has been granted a later term: this one is over.
                self.stop_primary(now, out);
                with_replica!(self, out, |cx| {
                    self.replica.attach(link, term, purpose, resync, cx);
                });
            }
            Frame::Enter { session } => {
                self.entrants.push(Entrant {
                    link,
                    peer,
                    session,
                    welcomed: false,
                });
                with_primary!(self, now, out, |primary, cx| primary.welcome_entrants(cx));
            }
            _ => out.push(Effect::Close { link }),
        }
    }

    /// A frame of a gateway that has entered.
    fn request(&mut self, now: Time, entrant: Entrant, frame: Frame, buf: Buf, out: &mut Effects) {
        let Frame::Request {
            tag,
            ask,
            extent,
            origin,
        } = frame
        else {
            self.expel(now, entrant, buf, out);
            return;
        };
        let change = matches!(ask, Ask::Change { .. });
        let sound = entrant.welcomed
            && extent.end() <= self.config.size
            && (extent.len == 0) == (ask == Ask::Flush)
            && (origin.session == entrant.session)
            && (origin.number != 0) == change;
        if !sound || self.primary.is_none() {
            self.expel(now, entrant, buf, out);
            return;
        }
        let source = Source::Link {
            link: entrant.link,
            tag,
        };
        with_primary!(self, now, out, |primary, cx| {
            primary.submit(source, ask, extent, origin, buf, cx);
        });
    }

    fn expel(&mut self, now: Time, entrant: Entrant, buf: Buf, out: &mut Effects) {
        release(buf, out);
        self.entrants.retain(|other| other.link != entrant.link);
        turn_away(entrant.link, Refusal::NotPrimary, self.stopped, out);
        with_primary!(self, now, out, |primary, cx| {
            primary.gateway_gone(entrant.link, cx);
        });
    }
}
