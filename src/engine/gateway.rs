//! The gateway: takes the requests of this node's clients to the primary, wherever that is, and
//! brings the answers back, each request once, across failovers.
//!
//! Contract with the facade (`Volume`), besides what the methods say:
//! - After each call the facade hands what is in `submissions` to this node's primary, in order, and
//!   empties it. The primary borrows the buffers; they stay the gateway's. It answers each with
//!   `answered` once the lease allows, or forgets all of them before `set_local` says that it does
//!   not serve any more (its disk operations may still be on their way).
//! - Of one record the primary is told first: if it stops serving, `set_local` comes before
//!   `set_record`.
//! - A link that comes up is the gateway's if `wants` its peer; from then on `owns` it, and its
//!   frames and its end are told here. A link that nobody wants is closed by the facade.
//! - The primary holds an `Enter` that comes too early, for it or its record, until it can answer
//!   `Welcome`; `NotNow` makes the gateway try again later, and `NotNow(NoSession)` says that the
//!   session's window was lost on every replica.
//!
//! Rules: every change has a number in the session; the session is an entry of the log. A piece that
//! overlaps an older unanswered one is held back unless both are reads, so a change that is sent
//! again cannot undo a later one of the same gateway; windows (`windows.rs`) see to those of others.
//! When the way to the primary breaks, everything unanswered is sent again by the next one, changes
//! in the order of their numbers.

mod pieces;
mod route;
mod session;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use pieces::PIECES;
use pieces::Pieces;
use route::Route;
use session::{Promises, Session};

use super::config::Canaries;
use super::io::{Buf, ClientId, Effect, Effects, LinkId, Tag};
use crate::record::VolumeRecord;
use crate::types::{Extent, Incarnation, Index, NodeId, SessionId, Term, Time};
use crate::wire::frame::{Ask, Frame, Origin};

/// `errno` for pieces whose session is over: for nobody, their client is being disconnected.
pub const ESHUTDOWN: u16 = 108;

/// What a gateway is made from.
#[derive(Clone, Copy, Debug)]
pub struct GatewayConfig {
    /// This node.
    pub me: NodeId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Between attempts to reach the primary.
    pub link_retry: Duration,
    /// Between proposals to open a session.
    pub propose_every: Duration,
    /// Rules to break.
    pub canaries: Canaries,
}

/// A piece for this node's primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The piece's name, echoed in `Gateway::answered`.
    pub slot: u32,
    /// What.
    pub ask: Ask,
    /// Any alignment, within one region; empty for a flush.
    pub extent: Extent,
    /// `number` is 0 for reads and flushes.
    pub origin: Origin,
    /// Data of a write, else none; borrowed.
    pub buf: Buf,
}

/// What the gateway keeps of the volume's record.
#[derive(Clone, Copy, Debug)]
struct Known {
    entry: Index,
    term: Term,
    primary: Option<NodeId>,
    shared: bool,
    losses: u64,
    openings: u64,
}

/// The gateway of one volume on one node.
#[derive(Clone, Debug)]
pub struct Gateway {
    config: GatewayConfig,
    clients: Vec<ClientId>,
    pieces: Pieces,
    session: Option<Session>,
    sessions_begun: u64,
    promises: Promises,
    record: Option<Known>,
    /// The term in which this node's primary serves.
    local: Option<Term>,
    route: Route,
    /// Since when the route's peer is not heard.
    silent: Option<Time>,
    submissions: Vec<Submission>,
}

impl Gateway {
    /// A gateway without clients that knows no record yet.
    #[must_use]
    pub fn new(config: GatewayConfig) -> Self {
        Self {
            config,
            clients: Vec::with_capacity(16),
            pieces: Pieces::new(config.canaries.send_overlapping),
            session: None,
            sessions_begun: 0,
            promises: Promises::default(),
            record: None,
            local: None,
            route: Route::None,
            silent: None,
            submissions: Vec::with_capacity(PIECES),
        }
    }

    /// How many more pieces `request` takes.
    #[must_use]
    pub fn room(&self) -> usize {
        self.pieces.room()
    }

    /// When `tick` is due.
    #[must_use]
    pub fn deadline(&self) -> Time {
        let propose = match &self.session {
            Some(session) if !session.open && self.record.is_some() => session.propose_at,
            _ => Time::MAX,
        };
        propose.min(self.route.deadline())
    }

    /// Whether no request is unanswered.
    #[must_use]
    pub fn at_rest(&self) -> bool {
        self.pieces.is_empty()
    }

    /// This node's clients of the volume.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// The open session.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.session.filter(|s| s.open).map(|s| s.id)
    }

    /// What this node's primary is to do; emptied by the facade.
    pub fn submissions(&mut self) -> &mut Vec<Submission> {
        &mut self.submissions
    }

    // What clients do.

    /// A client has come.
    pub fn client_came(&mut self, now: Time, client: ClientId, out: &mut Effects) {
        assert!(!self.clients.contains(&client), "client came twice");
        self.clients.push(client);
        self.update(now, out);
    }

    /// A client has gone, by itself or because it was disconnected.
    pub fn client_went(&mut self, client: ClientId) {
        self.clients.retain(|&other| other != client);
    }

    /// A client asks for something; only while there is room. `buf` belongs to the gateway now.
    pub fn request(
        &mut self,
        now: Time,
        tag: Tag,
        ask: Ask,
        extent: Extent,
        buf: Buf,
        out: &mut Effects,
    ) {
        if self.clients.is_empty() {
            // Of a client that is being disconnected.
            reply(tag, ESHUTDOWN, Buf::NONE, out);
            release(buf, out);
            return;
        }
        assert!((extent.len == 0) == (ask == Ask::Flush));
        self.pieces
            .add(tag, ask, extent, buf, self.promises.covers());
        self.pump(out);
        if self.route == Route::None {
            self.update(now, out);
        }
    }

    // What the cluster says.

    /// A newer record of the volume.
    pub fn set_record(&mut self, now: Time, record: &VolumeRecord, out: &mut Effects) {
        assert!(self.submissions.is_empty(), "not handed to the primary");
        let old = self.record;
        if old.is_some_and(|old| record.last_entry <= old.entry) {
            return;
        }
        let new = Known {
            entry: record.last_entry,
            term: record.term,
            primary: record.primary.map(|grant| grant.node),
            shared: record.shared,
            losses: record.losses,
            openings: record.openings,
        };
        self.record = Some(new);
        if let Some(session) = &mut self.session {
            let listed = record.sessions.iter().any(|s| s.id == session.id);
            if session.open && !listed {
                let lost = old.is_some_and(|old| old.losses < new.losses);
                let alone = old.is_some_and(|old| old.openings == new.openings);
                self.session_ended(lost && (alone || new.shared), out);
            } else if !session.open {
                let others = session
                    .carried
                    .is_some_and(|before| new.openings != before + u64::from(listed));
                if others {
                    self.end_session(out);
                } else {
                    session.open = listed;
                    // What was proposed named an older entry.
                    session.propose_at = now;
                }
            }
        }
        if let Route::Wait { peer, .. } = self.route
            && old.is_some_and(|old| old.term < new.term)
        {
            self.route = Route::Wait { peer, until: now };
        }
        self.update(now, out);
    }

    /// This node has a new incarnation. Its sessions stay.
    pub fn set_incarnation(&mut self, incarnation: Incarnation) {
        self.config.incarnation = incarnation;
    }

    /// This node's primary serves from now on in this term, or does not any more and has forgotten
    /// all that was submitted to it.
    pub fn set_local(&mut self, now: Time, local: Option<Term>, out: &mut Effects) {
        if self.local == local {
            return;
        }
        self.local = local;
        if self.route == Route::Local {
            self.submissions.clear();
            self.pieces.take_back();
            self.route = Route::None;
        }
        self.pieces.free_abandoned(|buf| release(buf, out));
        self.update(now, out);
    }

    // What the primary says.

    /// This node's primary answers a submission: `buf` has the data of a successful read, at the
    /// extent's place in its first block, and belongs to the gateway now.
    pub fn answered(&mut self, slot: u32, errno: u16, buf: Buf, out: &mut Effects) {
        assert!(self.local.is_some(), "answered after it stopped");
        if let Some(own) = self.pieces.finish_abandoned(slot) {
            release(own, out);
            release(buf, out);
            return;
        }
        self.finish(slot, errno, buf, out);
        self.pump(out);
    }

    /// The time of `deadline` has come.
    pub fn tick(&mut self, now: Time, out: &mut Effects) {
        self.update(now, out);
    }

    /// Brings session, way and pieces as far as they can come now.
    fn update(&mut self, now: Time, out: &mut Effects) {
        self.open_session(now, out);
        self.steer(now, out);
        self.pump(out);
    }

    /// Sends what can be sent.
    fn pump(&mut self, out: &mut Effects) {
        let link = match self.route {
            Route::Local => None,
            Route::Open { link, .. } => Some(link),
            Route::None
            | Route::Wait { .. }
            | Route::Connecting { .. }
            | Route::Entering { .. } => return,
        };
        let Some(mut session) = self.session else {
            return;
        };
        while let Some((slot, given)) = self.pieces.next_change() {
            let number = match given {
                0 => match session.number() {
                    Some(number) => number,
                    None => break,
                },
                given => given,
            };
            self.send(link, slot, session.origin(number), out);
        }
        while let Some(slot) = self.pieces.next_other() {
            self.send(link, slot, session.origin(0), out);
        }
        self.session = Some(session);
    }

    fn send(&mut self, link: Option<LinkId>, slot: u32, origin: Origin, out: &mut Effects) {
        let piece = self.pieces.send(slot, origin.number);
        match link {
            None => self.submissions.push(Submission {
                slot,
                ask: piece.ask,
                extent: piece.extent,
                origin,
                buf: piece.buf,
            }),
            Some(link) => out.push(Effect::Send {
                link,
                frame: Frame::Request {
                    tag: slot,
                    ask: piece.ask,
                    extent: piece.extent,
                    origin,
                },
                buf: piece.buf,
            }),
        }
    }

    fn finish(&mut self, slot: u32, errno: u16, buf: Buf, out: &mut Effects) {
        let piece = self.pieces.finish(slot);
        let read = piece.ask == Ask::Read && errno == 0;
        assert!(read == buf.is_some(), "data for what was no read, or none");
        reply(piece.tag, errno, buf, out);
        release(buf, out);
        release(piece.buf, out);
        if piece.number != 0 {
            let Some(session) = &mut self.session else {
                panic!("answer without a session");
            };
            session.answered(piece.number);
        }
        match piece.ask {
            Ask::Change { fua: false, .. } if errno == 0 => self.promises.change(),
            Ask::Flush if errno == 0 => self.promises.flush(piece.covers),
            Ask::Change { .. } | Ask::Flush | Ask::Read => {}
        }
    }
}

fn reply(tag: Tag, errno: u16, buf: Buf, out: &mut Effects) {
    out.push(Effect::Reply { tag, errno, buf });
}

fn release(buf: Buf, out: &mut Effects) {
    if buf.is_some() {
        out.push(Effect::Release { buf });
    }
}
