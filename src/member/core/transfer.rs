//! The agreed state, for a node that is so far behind that the entries are gone.

use super::lead::Follower;
use super::{Core, Out, Role};
use crate::member::io::CoreEffect;
use crate::member::message::{CHUNK_MAX, LogEnd, Message};
use crate::member::state::State;
use crate::types::{Index, NodeId, Time};

/// Pieces on their way before the first of them is acknowledged.
const WINDOW: usize = 8;

/// A piece of a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// The last entry that the snapshot contains.
    pub(super) last: LogEnd,
    /// Bytes of the whole.
    pub(super) total: u32,
    /// Where this piece belongs.
    pub(super) offset: u32,
    /// The piece.
    pub(super) bytes: Vec<u8>,
}

/// A snapshot that is being received.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    last: LogEnd,
    bytes: Vec<u8>,
}

impl Core {
    /// Sends the next pieces of the snapshot.
    pub(super) fn send_snapshot(
        &self,
        node: NodeId,
        mut follower: Follower,
        out: Out<'_>,
    ) -> Follower {
        let (last, state) = (self.log.base(), self.log.snapshot());
        if follower.snapshot.0 != last.index {
            follower.snapshot = (last.index, 0);
        }
        // Everything was taken, and not acknowledged: the last piece asks again.
        let last_piece = state.len().saturating_sub(1) / CHUNK_MAX * CHUNK_MAX;
        let from = (follower.snapshot.1 as usize).min(last_piece);
        for (at, bytes) in state[from..].chunks(CHUNK_MAX).take(WINDOW).enumerate() {
            let piece = Message::Snapshot {
                term: self.log.ballot().term,
                last,
                total: state.len() as u32,
                offset: (from + at * CHUNK_MAX) as u32,
                bytes: bytes.to_vec(),
            };
            self.send(node, &piece, out);
        }
        follower
    }

    /// A node has pieces up to `taken` bytes of the snapshot up to the entry named with it.
    pub(super) fn snapshot_taken(
        &mut self,
        now: Time,
        from: NodeId,
        term: u64,
        taken: (Index, u32),
        out: Out<'_>,
    ) {
        let Some(mut follower) = self.follower(from) else {
            return;
        };
        if term == self.log.ballot().term {
            follower.heard_at = now;
            self.set_follower(from, follower);
        }
        let floor = self.log.floor().index;
        let other = follower.snapshot.0 != taken.0;
        if term != self.log.ballot().term || other || follower.next > floor {
            return;
        }
        // A window further on: what is on its way is not sent twice. Fewer bytes than before are
        // an old answer, or a node that has begun anew: it goes on from there in due time.
        let before = follower.snapshot.1 as usize / (CHUNK_MAX * WINDOW);
        follower.snapshot = taken;
        if taken.1 as usize / (CHUNK_MAX * WINDOW) > before {
            follower.sent_at = now;
            follower = self.send_snapshot(from, follower, out);
        }
        self.set_follower(from, follower);
    }

    /// A piece of the leader's state.
    pub(super) fn snapshot_came(
        &mut self,
        now: Time,
        from: NodeId,
        term: u64,
        piece: &Piece,
        out: Out<'_>,
    ) {
        if !self.follow(now, from, term, out) {
            return;
        }
        let last = piece.last;
        if last.index <= self.commit {
            // All of it is here already, and agreed: the leader may go on from its end.
            self.verified = self.verified.max(last.index);
            self.acknowledged = Index(0);
            self.incoming = None;
            return;
        }
        let known = self.incoming.take().filter(|known| known.last == last);
        let mut incoming = known.unwrap_or(Incoming {
            last,
            bytes: Vec::new(),
        });
        let total = piece.total as usize;
        let fits = piece.offset as usize == incoming.bytes.len()
            && incoming.bytes.len() + piece.bytes.len() <= total
            && total <= self.log.snapshot_max();
        if fits {
            incoming.bytes.extend_from_slice(&piece.bytes);
        }
        let offset = incoming.bytes.len() as u32;
        if fits && incoming.bytes.len() == total {
            let sound = |state: &State| {
                let mut entries = state.roster.values().map(|&(_, at)| at);
                entries.all(|at| at <= last.index)
            };
            if let Some(state) = State::decode(&incoming.bytes).filter(sound) {
                self.install(incoming.last, incoming.bytes, state, out);
            }
        } else {
            self.incoming = Some(incoming);
        }
        let last = last.index;
        let taken = Message::SnapshotTaken { term, last, offset };
        self.send(from, &taken, out);
    }

    fn install(&mut self, last: LogEnd, bytes: Vec<u8>, state: State, out: Out<'_>) {
        assert!(
            matches!(self.role, Role::Follower) && last.index > self.commit,
            "a snapshot only goes forward"
        );
        self.log.install(last, bytes);
        let before = std::mem::replace(&mut self.state, state);
        self.commit = last.index;
        self.applied = last.index;
        self.verified = self.verified.max(last.index);
        self.renew_promises(out);
        if before.view != self.state.view {
            out.push(CoreEffect::View(self.state.view.clone()));
            out.push(self.note_view());
        }
        for (id, volume) in &self.state.volumes {
            if before.volumes.get(id).map(|known| &known.record) != Some(&volume.record) {
                out.push(CoreEffect::Record(volume.record.clone()));
            }
        }
        let over = self.state.over(self.config.me);
        if over >= self.incarnation {
            self.rise_above(over);
        }
    }
}
