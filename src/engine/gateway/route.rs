//! The way to the primary: this node's own, or a link to another node.

use std::time::Duration;

use super::{Gateway, release};
use crate::engine::io::{Buf, Effect, Effects, LinkId};
use crate::types::{BLOCK, NodeId, Term, Time};
use crate::wire::frame::{Ask, Frame, Refusal};

/// A peer that was silent for so long and is heard again gets a new link: TCP would wait long, by
/// then, before it sends the old one's data again.
const SILENCE_MAX: Duration = Duration::from_millis(500);

/// The way to the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
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

impl Route {
    /// The gateway's link.
    pub fn link(self) -> Option<LinkId> {
        match self {
            Self::Entering { link, .. } | Self::Open { link, .. } => Some(link),
            Self::None | Self::Local | Self::Wait { .. } | Self::Connecting { .. } => None,
        }
    }

    /// The node that the way leads to, if it is another one.
    pub fn peer(self) -> Option<NodeId> {
        match self {
            Self::Wait { peer, .. }
            | Self::Connecting { peer }
            | Self::Entering { peer, .. }
            | Self::Open { peer, .. } => Some(peer),
            Self::None | Self::Local => None,
        }
    }

    /// When the next attempt is due.
    pub fn deadline(self) -> Time {
        match self {
            Self::Wait { until, .. } => until,
            Self::None
            | Self::Local
            | Self::Connecting { .. }
            | Self::Entering { .. }
            | Self::Open { .. } => Time::MAX,
        }
    }
}

impl Gateway {
    /// Whether a link to the peer that this node opened should be given to `link_up`.
    #[must_use]
    pub fn wants(&self, peer: NodeId) -> bool {
        self.route == Route::Connecting { peer }
    }

    /// Whether the link is the gateway's.
    #[must_use]
    pub fn owns(&self, link: LinkId) -> bool {
        self.route.link() == Some(link)
    }

    /// Whether this node and a peer hear each other.
    pub fn hearing(&mut self, now: Time, node: NodeId, heard: bool, out: &mut Effects) {
        if self.route.peer() != Some(node) {
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
        } else if silence >= SILENCE_MAX && self.route.link().is_some() {
            self.leave(out);
        }
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
            self.take_back();
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

    /// Whether `Done` answers something that was asked, and as the protocol says.
    pub(super) fn is_answer(&self, tag: u32, errno: u16, len: u32, skip: u16, buf: Buf) -> bool {
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

    /// Brings the way in line with the record, this node's primary and the session.
    pub(super) fn steer(&mut self, now: Time, out: &mut Effects) {
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
    pub(super) fn leave(&mut self, out: &mut Effects) {
        if let Some(link) = self.route.link() {
            out.push(Effect::Close { link });
            self.take_back();
        }
        if self.route != Route::Local {
            self.route = Route::None;
            self.silent = None;
        }
    }

    /// What was sent and not answered is sent again by the next way.
    fn take_back(&mut self) {
        if !self.config.canaries.forget_unanswered {
            self.pieces.take_back();
        }
    }

    pub(super) fn wait(&mut self, now: Time, peer: NodeId) {
        self.route = Route::Wait {
            peer,
            until: now.after(self.config.link_retry),
        };
    }
}
