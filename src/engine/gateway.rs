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
//! again cannot undo a later one of the same gateway; windows (`window.rs`) see to those of others.
//! When the way to the primary breaks, everything unanswered is sent again by the next one, changes
//! in the order of their numbers.

mod pieces;
mod session;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use pieces::PIECES;
use pieces::Pieces;
use session::{Promises, Session};

use super::io::{Buf, ClientId, Effect, Effects, LinkId, Note, Tag};
use crate::record::{SessionRecord, VolumeChange, VolumeRecord};
use crate::types::{BLOCK, Extent, Incarnation, Index, NodeId, SessionId, Term, Time};
use crate::wire::frame::{Ask, Frame, Origin, Refusal};

/// `errno` for pieces whose session is over: for nobody, their client is being disconnected.
pub const ESHUTDOWN: u16 = 108;

/// A peer that was silent for so long and is heard again gets a new link: TCP would wait long, by
/// then, before it sends the old one's data again.
const SILENCE_MAX: Duration = Duration::from_millis(500);

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

/// The way to the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    None,
    /// This node's primary serves.
    Local,
    /// The last attempt failed.
    Wait {
        peer: NodeId,
        until: Time,
    },
    Connecting {
        peer: NodeId,
    },
    /// `Enter` was sent.
    Entering {
        peer: NodeId,
        link: LinkId,
    },
    /// `Welcome` has come.
    Open {
        peer: NodeId,
        link: LinkId,
        term: Term,
    },
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
            pieces: Pieces::new(),
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
        let retry = match self.route {
            Route::Wait { until, .. } => until,
            Route::None
            | Route::Local
            | Route::Connecting { .. }
            | Route::Entering { .. }
            | Route::Open { .. } => Time::MAX,
        };
        propose.min(retry)
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

    /// Whether a link to the peer that this node opened should be given to `link_up`.
    #[must_use]
    pub fn wants(&self, peer: NodeId) -> bool {
        self.route == Route::Connecting { peer }
    }

    /// Whether the link is the gateway's.
    #[must_use]
    pub fn owns(&self, link: LinkId) -> bool {
        self.link() == Some(link)
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

    /// Whether this node and a peer hear each other.
    pub fn hearing(&mut self, now: Time, node: NodeId, heard: bool, out: &mut Effects) {
        if self.peer() != Some(node) {
            return;
        }
        if !heard {
            self.silent.get_or_insert(now);
            return;
        }
        let silence = self
            .silent
            .take()
            .map_or(Duration::ZERO, |at| now.since(at));
        if let Route::Wait { peer, .. } = self.route {
            self.route = Route::Wait { peer, until: now };
        } else if silence >= SILENCE_MAX && self.link().is_some() {
            self.leave(out);
        }
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

    /// This node's primary says, before it serves, that the session's window was lost on every
    /// replica.
    pub fn session_lost(&mut self, now: Time, out: &mut Effects) {
        self.window_lost(out);
        self.update(now, out);
    }

    /// A link that the gateway wants is up.
    pub fn link_up(&mut self, link: LinkId, peer: NodeId, out: &mut Effects) {
        assert!(self.wants(peer), "nobody asked for this link");
        let Some(session) = self.session() else {
            panic!("connecting without a session");
        };
        self.route = Route::Entering { peer, link };
        out.push(Effect::Send {
            link,
            frame: Frame::Enter { session },
            buf: Buf::NONE,
        });
    }

    /// A link has ended (it need not be the gateway's), or an attempt to connect has failed.
    pub fn link_down(&mut self, now: Time, link: Option<LinkId>, peer: NodeId, out: &mut Effects) {
        let ours = match link {
            Some(link) => self.owns(link),
            None => self.wants(peer),
        };
        if ours {
            self.pieces.take_back();
            self.wait(now, peer);
            self.update(now, out);
        }
    }

    /// A frame has come by the gateway's link.
    pub fn frame(&mut self, now: Time, link: LinkId, frame: Frame, buf: Buf, out: &mut Effects) {
        assert!(self.owns(link), "another's link");
        match (self.route, frame) {
            (Route::Entering { peer, .. }, Frame::Welcome { term })
                if self.record.is_some_and(|record| term >= record.term) =>
            {
                release(buf, out);
                self.route = Route::Open { peer, link, term };
                self.pump(out);
            }
            (
                Route::Open { .. },
                Frame::Done {
                    tag,
                    errno,
                    len,
                    skip,
                },
            ) if self.is_answer(tag, errno, len, skip, buf) => {
                self.finish(tag, errno, buf, out);
                self.pump(out);
            }
            (
                Route::Entering { peer, .. } | Route::Open { peer, .. },
                Frame::NotNow { why, .. },
            ) => {
                release(buf, out);
                self.leave(out);
                self.wait(now, peer);
                if why == Refusal::NoSession {
                    self.window_lost(out);
                }
                self.update(now, out);
            }
            (Route::Entering { peer, .. } | Route::Open { peer, .. }, _) => {
                // A primary of an older term, or a peer that breaks the protocol.
                release(buf, out);
                self.leave(out);
                self.wait(now, peer);
                self.update(now, out);
            }
            (Route::None | Route::Local | Route::Wait { .. } | Route::Connecting { .. }, _) => {
                unreachable!("such a route has no link")
            }
        }
    }

    /// The time of `deadline` has come.
    pub fn tick(&mut self, now: Time, out: &mut Effects) {
        self.update(now, out);
    }

    // Inside.

    fn link(&self) -> Option<LinkId> {
        match self.route {
            Route::Entering { link, .. } | Route::Open { link, .. } => Some(link),
            Route::None | Route::Local | Route::Wait { .. } | Route::Connecting { .. } => None,
        }
    }

    fn peer(&self) -> Option<NodeId> {
        match self.route {
            Route::Wait { peer, .. }
            | Route::Connecting { peer }
            | Route::Entering { peer, .. }
            | Route::Open { peer, .. } => Some(peer),
            Route::None | Route::Local => None,
        }
    }

    /// Brings session, way and pieces as far as they can come now.
    fn update(&mut self, now: Time, out: &mut Effects) {
        self.open_session(now, out);
        self.steer(now, out);
        self.pump(out);
    }

    /// Has a session as soon as somebody needs one.
    fn open_session(&mut self, now: Time, out: &mut Effects) {
        let needed = !self.clients.is_empty() || self.pieces.live() > 0;
        if !needed && self.session.is_some_and(|session| !session.open) {
            self.session = None;
        } else if needed && self.session.is_none() {
            self.begin_session(None);
        }
        if let (Some(session), Some(record)) = (&mut self.session, &self.record)
            && !session.open
            && session.propose_at <= now
        {
            session.propose_at = now.after(self.config.propose_every);
            out.push(Effect::Propose {
                prev: record.entry,
                change: VolumeChange::OpenSession {
                    session: SessionRecord {
                        id: session.id,
                        gateway: self.config.me,
                    },
                },
            });
        }
    }

    fn begin_session(&mut self, carried: Option<u64>) {
        self.sessions_begun += 1;
        let GatewayConfig {
            me, incarnation, ..
        } = self.config;
        let session = Session::new(me, incarnation, self.sessions_begun, carried);
        self.session = Some(session);
    }

    /// Brings the way in line with the record, this node's primary and the session.
    fn steer(&mut self, now: Time, out: &mut Effects) {
        let open = self.session().is_some();
        let record = self.record.filter(|_| open);
        let peer = record
            .and_then(|record| record.primary)
            .filter(|&peer| peer != self.config.me);
        if open && self.local.is_some() {
            if self.route != Route::Local {
                self.leave(out);
                self.route = Route::Local;
            }
            return;
        }
        if self.route == Route::Local {
            // Without a session; what was submitted is abandoned or answered.
            self.route = Route::None;
        }
        let keep = match self.route {
            Route::Open { peer: at, term, .. } => {
                peer == Some(at) && record.is_some_and(|record| term >= record.term)
            }
            Route::Wait { peer: at, until } => peer == Some(at) && now < until,
            Route::Connecting { peer: at } | Route::Entering { peer: at, .. } => peer == Some(at),
            Route::None | Route::Local => false,
        };
        if keep {
            return;
        }
        self.leave(out);
        if let Some(peer) = peer {
            self.route = Route::Connecting { peer };
            out.push(Effect::Connect { peer });
        }
    }

    /// Gives up the way by a link, or the attempt: what was sent is taken back.
    fn leave(&mut self, out: &mut Effects) {
        if let Some(link) = self.link() {
            out.push(Effect::Close { link });
            self.pieces.take_back();
        }
        if self.route != Route::Local {
            self.route = Route::None;
            self.silent = None;
        }
    }

    fn wait(&mut self, now: Time, peer: NodeId) {
        self.route = Route::Wait {
            peer,
            until: now.after(self.config.link_retry),
        };
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

    /// Whether `Done` answers something that was asked, and as the protocol says.
    fn is_answer(&self, tag: u32, errno: u16, len: u32, skip: u16, buf: Buf) -> bool {
        let Some(piece) = self.pieces.sent(tag) else {
            return false;
        };
        if piece.ask == Ask::Read && errno == 0 {
            let place = piece.extent.offset % BLOCK;
            len == piece.extent.len && u64::from(skip) == place && buf.is_some()
        } else {
            len == 0 && !buf.is_some()
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

    /// The record does not list the session any more. `quiet`: all replicas lost power, and nobody
    /// else has used the volume since.
    fn session_ended(&mut self, quiet: bool, out: &mut Effects) {
        let shared = self.record.is_some_and(|record| record.shared);
        // The windows are gone with the power: whether a change that was sent took effect cannot be
        // known, and others may have changed the place since.
        let doubtful = shared && self.pieces.has_numbered();
        if quiet && !self.promises.is_dirty() && !doubtful {
            self.renew_session(out);
        } else {
            self.end_session(out);
        }
    }

    /// The record lists the session, but whether its changes took effect is not known anywhere.
    fn window_lost(&mut self, out: &mut Effects) {
        if !self.record.is_some_and(|record| record.shared) {
            // Nobody else writes: sending again is harmless, and the primary will see that.
        } else if self.pieces.has_numbered() {
            self.end_session(out);
        } else {
            self.renew_session(out);
        }
    }

    /// Goes on in a new session, unseen by the clients.
    fn renew_session(&mut self, out: &mut Effects) {
        assert!(self.route != Route::Local, "the primary still serves");
        self.leave(out);
        let openings = self.record.map(|record| record.openings);
        let sent = self.pieces.has_numbered();
        self.pieces.renumber();
        self.begin_session(openings.filter(|_| sent));
    }

    /// Disconnects the clients and drops what they asked.
    fn end_session(&mut self, out: &mut Effects) {
        let local = self.route == Route::Local;
        if !local {
            self.leave(out);
        }
        out.push(Effect::Note(Note::SessionEnded));
        out.push(Effect::DisconnectClients);
        self.pieces.abandon(local, |piece, free| {
            reply(piece.tag, ESHUTDOWN, Buf::NONE, out);
            if free {
                release(piece.buf, out);
            }
        });
        self.clients.clear();
        self.session = None;
        self.promises = Promises::default();
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
