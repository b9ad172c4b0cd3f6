//! Links to the replicas: connecting, attaching, what a replica is handed when it is taken up.

use super::op::{Kind, Op, Source, State};
use super::peer::{Fault, Stage};
use super::resync::Step;
use super::{Cx, Phase, Primary};
use crate::engine::io::{Buf, Effect, LinkId};
use crate::record::ReplicaRecord;
use crate::types::{NodeId, NodeSet, Seq, Time};
use crate::wire::frame::{Frame, Purpose};

impl Primary {
    /// Connects to every replica that should have a link and has none.
    pub(super) fn connect(&mut self, cx: &mut Cx<'_>) {
        for (at, peer) in self.peers.iter_mut().enumerate() {
            if at != self.me
                && peer.stage == Stage::Down
                && peer.fault.is_none()
                && peer.retry_at <= cx.now
                && cx.hearing.contains(peer.node)
            {
                peer.stage = Stage::Connecting;
                let peer = peer.node;
                cx.out.push(Effect::Connect { peer });
            }
        }
    }

    /// Whether a link to the peer is awaited.
    pub fn wants(&self, node: NodeId) -> bool {
        let awaits = |stage| stage == Stage::Connecting;
        self.peers
            .iter()
            .any(|peer| peer.node == node && awaits(peer.stage) && peer.link.is_none())
    }

    /// A link that this primary wants is up.
    pub fn link_up(&mut self, link: LinkId, node: NodeId, cx: &mut Cx<'_>) {
        let Some(at) = self.peers.iter().position(|peer| peer.node == node) else {
            panic!("a link that nobody wants");
        };
        self.peers[at].link = Some(link);
        if matches!(self.phase, Phase::Collecting { .. } | Phase::Serving) {
            self.send_attach(at, cx);
        }
        self.pump(cx);
    }

    /// A link to the peer, or an attempt at one, has ended.
    pub fn link_down(&mut self, link: Option<LinkId>, node: NodeId, cx: &mut Cx<'_>) {
        let Some(at) = self.peers.iter().position(|peer| peer.node == node) else {
            return;
        };
        let ours = match link {
            Some(_) => self.peers[at].link == link,
            None => self.peers[at].stage == Stage::Connecting && self.peers[at].link.is_none(),
        };
        if ours {
            self.lose(at, cx);
            self.pump(cx);
        }
    }

    /// Gives up a replica's link; it is tried again later.
    pub(super) fn hang_up(&mut self, at: usize, cx: &mut Cx<'_>) {
        if let Some(link) = self.peers[at].link {
            cx.out.push(Effect::Close { link });
        }
        self.lose(at, cx);
    }

    fn lose(&mut self, at: usize, cx: &mut Cx<'_>) {
        self.alert = true;
        self.peers[at].unlink(cx.now);
        self.peers[at].retry_at = cx.now.after(cx.config.timing.link_retry);
        self.end_resync(at, cx);
        self.refresh(cx);
        self.sweep(cx);
    }

    pub(super) fn send_attach(&mut self, at: usize, cx: &mut Cx<'_>) {
        self.attaches = self.attaches.wrapping_add(1);
        let peer = &mut self.peers[at];
        let Some(link) = peer.link else { return };
        peer.attach = self.attaches;
        peer.stage = Stage::Attaching;
        peer.purpose = if peer.counts {
            Purpose::InSync
        } else {
            Purpose::Resync
        };
        let frame = Frame::Attach {
            term: self.term,
            entry: cx.record.last_entry,
            purpose: peer.purpose,
            resync: peer.attach,
        };
        send(link, frame, Buf::NONE, cx);
    }

    /// A replica that counts has reported: hands it everything that it needs to go on.
    pub(super) fn take_up(&mut self, at: usize, cx: &mut Cx<'_>) {
        let Some(link) = self.peers[at].link else {
            panic!("reported without a link");
        };
        self.hand_windows(link, cx);
        // This node as well: the other may have missed that it is in sync.
        for other in 0..self.peers.len() {
            self.send_mark(at, other, cx);
        }
        let peer = &mut self.peers[at];
        peer.stage = Stage::Live;
        peer.taken_up_at = self.seq;
        peer.heard_at = cx.now;
        self.refresh(cx);
        self.send_again(at, link, cx);
        self.flush_again(at, link, cx);
        self.tell_reconciled(cx);
    }

    pub(super) fn hand_windows(&self, link: LinkId, cx: &mut Cx<'_>) {
        let skip = cx.config.canaries.skip_window_handover;
        for window in cx.store.windows.export().filter(|_| !skip) {
            let frame = Frame::Window(window);
            cx.out.push(Effect::Send {
                link,
                frame,
                buf: Buf::NONE,
            });
        }
        send(link, Frame::WindowsEnd, Buf::NONE, cx);
    }

    /// Tells the replica at `at` whether the one at `other` is absent.
    pub(super) fn send_mark(&mut self, at: usize, other: usize, cx: &mut Cx<'_>) {
        let (replica, since) = (self.peers[other].node, self.peers[other].since());
        let record = cx.record.last_entry;
        let peer = &mut self.peers[at];
        let Some(link) = peer.link else { return };
        let frame = match since {
            Some(_) if at == other => return,
            Some(entry) => Frame::MarkAbsent {
                replica,
                entry,
                record,
            },
            None => Frame::MarkPresent {
                replica,
                entry: record,
            },
        };
        peer.configures += 1;
        send(link, frame, Buf::NONE, cx);
    }

    /// Sends every change that the replica still owes, in the order of writes.
    fn send_again(&mut self, at: usize, link: LinkId, cx: &mut Cx<'_>) {
        let mut seq = self.stable;
        while seq < self.seq {
            seq = seq.next();
            let op = self.by_seq[seq.0 as usize % super::RING];
            if let Some(op) = self.ops.get(op)
                && op.seq == seq
                && op.unacked & 1 << at != 0
            {
                let frame = self.change_frame(op, cx);
                let buf = op.payload();
                send(link, frame, buf, cx);
            }
        }
    }

    /// What the record says of a replica may have changed.
    pub(super) fn replica_changed(&mut self, at: usize, new: ReplicaRecord, cx: &mut Cx<'_>) {
        let peer = &mut self.peers[at];
        let old = (peer.state, peer.store);
        if old == (new.state, new.store) {
            return;
        }
        let was_in_sync = old.0.is_in_sync();
        peer.state = new.state;
        peer.store = new.store;
        match peer.since() {
            None => {
                if !was_in_sync {
                    self.grown(at, cx);
                }
            }
            Some(since) => {
                peer.counts = false;
                peer.fault = None;
                peer.grow = None;
                peer.reported = false;
                peer.incorporated = None;
                self.hang_up(at, cx);
                self.peers[at].retry_at = cx.now;
                self.begin_absent(at, since, cx);
                for other in 0..self.peers.len() {
                    if other != self.me && self.peers[other].counts && self.peers[other].is_live() {
                        self.send_mark(other, at, cx);
                    }
                }
            }
        }
    }

    /// Finds replicas that count and cannot be waited for any longer.
    pub(super) fn find_faults(&mut self, cx: &mut Cx<'_>) {
        if !self.alert && cx.now < self.faults_at {
            return;
        }
        self.alert = false;
        let timing = &cx.config.timing;
        let is_member = |node| cx.view.members.iter().any(|m| m.node == node);
        let known = is_member(cx.config.me);
        let mut due = cx.now.after(timing.stall / 4);
        let waits = |op: &Op| op.state == State::Locking && op.source != Source::Nobody;
        let waiting = !self.crowded.is_empty() || self.ops.iter().any(|(_, op)| waits(op));
        let mut stalled = None;
        let mut lost = 0_u8;
        for at in 0..self.peers.len() {
            if at == self.me {
                continue;
            }
            let owes = self.peers[at].is_live() && self.owes(at);
            let peer = &mut self.peers[at];
            // One that is merely resynced must not hold up the clients.
            let patience = if waiting && !peer.counts {
                timing.stall / 4
            } else {
                timing.stall
            };
            if !owes {
                peer.heard_at = cx.now;
            } else if cx.now >= peer.heard_at.after(patience) {
                stalled = Some(at);
            } else {
                due = due.min(peer.heard_at.after(patience));
            }
            let hearing = cx.hearing.contains(peer.node);
            if hearing {
                peer.unheard_since = None;
            } else {
                peer.unheard_since.get_or_insert(cx.now);
            }
            if known && !is_member(peer.node) {
                peer.excluded_since.get_or_insert(cx.now);
            } else {
                peer.excluded_since = None;
            }
            if !peer.counts || peer.fault.is_some() {
                continue;
            }
            let unheard = peer.unheard_since;
            let until = match (self.phase, peer.excluded_since) {
                // Where everything has just been started, the view loses a node that it has from
                // before, and has it again an entry later.
                (Phase::Collecting { .. }, Some(at)) if hearing => at.after(timing.link_retry),
                (_, Some(_)) => cx.now,
                // A link that lost its network may look alive for long.
                (_, None) if peer.is_live() => {
                    unheard.map_or(Time::MAX, |at| at.after(timing.shrink_delay))
                }
                (Phase::Draining | Phase::Term { .. }, None) => Time::MAX,
                // The view has it, so somebody hears it: where everything has just been started,
                // it may be heard here a heartbeat later.
                (Phase::Collecting { since }, None) if !hearing => since.after(timing.shrink_delay),
                (Phase::Collecting { since }, None) => since.after(timing.attach_timeout),
                (Phase::Serving, None) => peer.down_since.after(timing.shrink_delay),
            };
            if cx.now >= until {
                lost |= 1 << at;
            } else {
                due = due.min(until);
            }
        }
        self.faults_at = due;
        for at in 0..self.peers.len() {
            if lost & 1 << at != 0 {
                self.give_up(at, Fault::Gone, cx);
            }
        }
        if let Some(at) = stalled {
            self.give_up(at, Fault::Stalled, cx);
        }
    }

    /// A replica cannot be waited for: one that the log has in sync, or may have by now, has to
    /// leave; another one is merely taken up again later.
    pub(super) fn give_up(&mut self, at: usize, fault: Fault, cx: &mut Cx<'_>) {
        let peer = &mut self.peers[at];
        if peer.counts && (peer.state.is_in_sync() || peer.grow.is_some()) {
            peer.fault.get_or_insert(fault);
        } else if peer.link.is_some() {
            self.hang_up(at, cx);
        }
    }

    /// When a link should be tried again.
    pub(super) fn retry_deadline(&self, hearing: NodeSet) -> Time {
        let down =
            |peer: &&super::peer::Peer| peer.stage == Stage::Down && hearing.contains(peer.node);
        let due = self.peers.iter().filter(down).map(|peer| peer.retry_at);
        due.min().unwrap_or(Time::MAX)
    }

    /// The oldest change that the replica has not acknowledged, answered or not; looked for only
    /// while that decides whether it may grow.
    pub(super) fn oldest_owed(&self, at: usize) -> Option<Seq> {
        let resync = self.peers[at].resync.as_ref()?;
        if !matches!(resync.step, Step::Catching { .. }) {
            return None;
        }
        let owed = self.ops.iter().filter(|(_, op)| op.unacked & 1 << at != 0);
        owed.map(|(_, op)| op.seq).min()
    }

    /// Whether the replica owes an acknowledgement.
    fn owes(&self, at: usize) -> bool {
        let bit = 1 << at;
        let copying = |op: &Op| {
            let its = matches!(op.kind, Kind::Copy { peer, .. } if usize::from(peer) == at);
            its && matches!(op.state, State::Comparing | State::Sent)
        };
        self.peers[at].configures > 0
            || self.rounds.iter().any(|round| round.waiting & bit != 0)
            || self
                .ops
                .iter()
                .any(|(_, op)| op.unacked & bit != 0 || copying(op))
    }
}

pub(super) fn send(link: LinkId, frame: Frame, buf: Buf, cx: &mut Cx<'_>) {
    cx.out.push(Effect::Send { link, frame, buf });
}
