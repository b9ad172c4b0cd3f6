//! Messages between cores: whom one that came is for, and the way of one that goes.

use super::{Core, Out, follow, transfer};
use crate::member::io::CoreEffect;
use crate::member::message::{Envelope, Message};
use crate::types::{NodeId, Time};

impl Core {
    /// A message has come: passes on what is for another node, takes up what is for this one.
    pub(super) fn receive(&mut self, now: Time, bytes: &[u8], out: Out<'_>) {
        let Some(envelope) = Envelope::open(bytes) else {
            return;
        };
        let (from, to) = (envelope.from, envelope.to);
        if !self.knows(from) || !self.knows(to) || from == self.config.me {
            return;
        }
        if to != self.config.me {
            if !envelope.relayed {
                let relayed = true;
                let bytes = Envelope {
                    relayed,
                    ..envelope
                }
                .seal();
                out.push(CoreEffect::Send { to, bytes });
            }
            return;
        }
        let Some(message) = Message::decode(envelope.body) else {
            return;
        };
        match message {
            Message::Outlook(outlook) => self.outlook_came(now, from, outlook),
            Message::Vote { term, end, run } => {
                self.vote_asked(now, from, (term, end), run, out);
            }
            Message::Voted { term, run, outlook } => {
                let log = outlook.log;
                self.outlook_came(now, from, outlook);
                self.vote_came(from, term, run, log);
            }
            Message::Append {
                term,
                prev,
                commit,
                entries,
            } => self.append_came(
                now,
                from,
                follow::Append {
                    term,
                    prev,
                    commit,
                    entries,
                },
                out,
            ),
            Message::Appended { term, matched, log } => {
                self.appended_came(now, from, term, (matched, log));
            }
            Message::Rejected { term, end } => self.rejected_came(now, from, term, end),
            Message::Snapshot {
                term,
                last,
                total,
                offset,
                bytes,
            } => {
                let piece = transfer::Piece {
                    last,
                    total,
                    offset,
                    bytes,
                };
                self.snapshot_came(now, from, term, &piece, out);
            }
            Message::SnapshotTaken { term, last, offset } => {
                self.snapshot_taken(now, from, term, (last, offset), out);
            }
            Message::Propose(proposal) => self.proposal_came(now, proposal, out),
            Message::Report {
                incarnation,
                report,
            } => self.report_came(from, incarnation, report),
            Message::Progress(progress) => self.progress_came(now, from, progress),
        }
    }

    /// Sends a message, through another node where the direct path is broken.
    pub(super) fn send(&self, to: NodeId, message: &Message, out: Out<'_>) {
        let Some(body) = message.encode() else {
            return;
        };
        let envelope = Envelope {
            from: self.config.me,
            to,
            relayed: false,
            body: &body,
        };
        let bytes = envelope.seal();
        let to = self.liveness.route(to);
        out.push(CoreEffect::Send { to, bytes });
    }
}
