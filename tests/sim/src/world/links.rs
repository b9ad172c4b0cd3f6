//! Data links of the world: connecting, delivering, breaking.

use std::rc::Rc;

use steadfast::engine::io::{Buf, Direction, Event as EngineEvent, LinkId};
use steadfast::types::NodeId;
use steadfast::wire::codec;
use steadfast::wire::frame::Frame;

use super::World;
use super::event::{Event, Happening, Part};
use crate::net::{Arm, End, Item};
use crate::queue::{Instant, MICRO, MILLI};
use crate::slab::GARBAGE;

impl World {
    pub(super) fn arm(&mut self, arm: Option<Arm>) {
        if let Some(arm) = arm {
            self.queue.push(arm.at, Event::Link(arm));
        }
    }

    /// The engine wants a link.
    pub(super) fn wants_link(&mut self, from: NodeId, run: u64, to: NodeId) {
        let way = self.net.delay() + self.net.delay();
        self.queue.after(way, Event::Connect { from, run, to });
    }

    pub(super) fn connects(&mut self, from: NodeId, run: u64, to: NodeId) {
        let now = self.now();
        let opener = self.node(from).run.as_ref();
        if opener.is_none_or(|opener| opener.number != run) {
            return;
        }
        let cut = self.net.is_cut(from, to) || self.net.is_cut(to, from);
        let place = self.place(from, run, Part::Reactor);
        let failed = Event::At(place, Happening::Unreachable { peer: to });
        let peer = self.node(to);
        if cut || !peer.powered {
            // Nobody answers: a time-out.
            let wait = self.random.within(50 * MILLI, 300 * MILLI);
            return self.queue.after(wait, failed);
        }
        let Some(other) = peer.run.as_ref() else {
            return self.queue.after(20 * MICRO, failed);
        };
        let own = self.node(from).run.as_ref().expect("looked at above");
        if other.is_stopped(Part::Reactor, now) || own.is_stopped(Part::Reactor, now) {
            // The handshake needs both.
            return self
                .queue
                .after(3 * MILLI, Event::Connect { from, run, to });
        }
        let (other, incarnation) = (other.number, other.incarnation);
        let mine = self.new_link(from);
        let theirs = self.new_link(to);
        let ends = [
            End {
                node: from,
                run,
                id: mine,
            },
            End {
                node: to,
                run: other,
                id: theirs,
            },
        ];
        let own = self.node(from).run.as_ref().map(|run| run.incarnation);
        let (link, arm) = self.net.open(ends, own.unwrap_or_default(), now);
        for (side, end) in ends.iter().enumerate() {
            let run = self.nodes[end.node.0 as usize].run.as_mut();
            run.expect("both run").links.insert(end.id, (link, side));
        }
        self.arm(Some(arm));
        // The opener knows as soon as it has the peer's proof; whatever it is told of the link
        // comes after that.
        self.trace(from, || format!("link {} to n{} is up", mine.0, to.0));
        let up = EngineEvent::LinkUp {
            link: mine,
            peer: to,
            incarnation,
            direction: Direction::Out,
        };
        self.reactor_event(from, up);
    }

    fn new_link(&mut self, node: NodeId) -> LinkId {
        let run = self.nodes[node.0 as usize].run.as_mut();
        let run = run.expect("a running node");
        run.next_link += 1;
        LinkId(run.next_link)
    }

    /// The receiver's thread looks at what has come.
    pub(super) fn link_looked_at(&mut self, arm: Arm) {
        let Some(link) = self.net.link(arm.link) else {
            return;
        };
        let end = link.ends[1 - arm.side];
        let place = self.place(end.node, end.run, Part::Reactor);
        let alive = self
            .node(end.node)
            .run
            .as_ref()
            .is_some_and(|run| run.number == end.run);
        if alive {
            // Goes through the thread's inbox if it is stopped.
            self.happen_at(place, Happening::Link(arm));
        } else {
            // Whatever comes for a dead process is dropped.
            self.net.arrive(arm.link, arm.side, self.queue.now());
        }
    }

    pub(super) fn link_delivers(&mut self, arm: Arm) {
        let now = self.now();
        let Some(link) = self.net.link(arm.link) else {
            return;
        };
        let from = link.ends[arm.side];
        let end = link.ends[1 - arm.side];
        let (item, next) = self.net.arrive(arm.link, arm.side, now);
        self.arm(next);
        let direction = if arm.side == 0 {
            Direction::In
        } else {
            Direction::Out
        };
        match item {
            None => {}
            Some(Item::Up { incarnation }) => {
                self.trace(end.node, || {
                    format!("link {} from n{} is up", end.id.0, from.node.0)
                });
                self.reactor_event(
                    end.node,
                    EngineEvent::LinkUp {
                        link: end.id,
                        peer: from.node,
                        incarnation,
                        direction,
                    },
                );
            }
            Some(Item::Down) => {
                let Some(run) = self.nodes[end.node.0 as usize].run.as_mut() else {
                    return;
                };
                if run.links.remove(&end.id).is_none() {
                    return;
                }
                self.trace(end.node, || {
                    format!("link {} with n{} is down", end.id.0, from.node.0)
                });
                self.net.end(arm.link, 1 - arm.side, now, 0);
                self.reactor_event(
                    end.node,
                    EngineEvent::LinkDown {
                        link: Some(end.id),
                        peer: from.node,
                        direction,
                    },
                );
            }
            Some(Item::Frame {
                frame,
                payload,
                sent,
            }) => self.frame_arrives(end, from.node, frame, payload, sent),
        }
    }

    fn frame_arrives(
        &mut self,
        end: End,
        from: NodeId,
        frame: Frame,
        payload: Option<Rc<Vec<u8>>>,
        sent: Instant,
    ) {
        let Some(run) = self.nodes[end.node.0 as usize].run.as_mut() else {
            return;
        };
        if !run.links.contains_key(&end.id) {
            return;
        }
        let frame = if self.options.encode {
            match recoded(&frame) {
                Ok(frame) => frame,
                Err(text) => return self.fail("wire", text),
            }
        } else {
            frame
        };
        let buf = payload.map_or(Buf::NONE, |bytes| {
            let (skip, len) = (frame.payload_skip() as usize, frame.payload_len() as usize);
            let whole = skip == 0 && len == bytes.len();
            run.slab.give(if whole {
                bytes
            } else {
                // Only the payload travels.
                let size = (skip + len).next_multiple_of(crate::disk::PAGE);
                let mut mine = vec![GARBAGE; size];
                mine[skip..skip + len].copy_from_slice(&bytes[skip..skip + len]);
                Rc::new(mine)
            })
        });
        if matches!(frame, Frame::Done { .. }) {
            run.answered = Some(sent);
        }
        self.trace(end.node, || {
            format!("by link {} of n{}: {frame:?}", end.id.0, from.0)
        });
        self.reactor_event(
            end.node,
            EngineEvent::Frame {
                link: end.id,
                frame,
                buf,
            },
        );
        if let Some(run) = self.nodes[end.node.0 as usize].run.as_mut() {
            run.answered = None;
        }
    }

    /// The engine sends a frame.
    pub(super) fn sends(&mut self, node: NodeId, link: LinkId, frame: Frame, buf: Buf) {
        let now = self.now();
        let Some(run) = self.nodes[node.0 as usize].run.as_mut() else {
            return;
        };
        let len = frame.payload_len() as usize;
        let payload = if len > 0 {
            match run.slab.bytes(buf, "Send") {
                Ok(bytes) if bytes.len() >= frame.payload_skip() as usize + len => Some(bytes),
                Ok(_) => return self.fail("driver", format!("{frame:?} has too small a buffer")),
                Err(e) => return self.fail("driver", format!("{frame:?}: {e}")),
            }
        } else {
            None
        };
        let Some(&(link, side)) = run.links.get(&link) else {
            // The link has broken; the engine will be told, or has closed it.
            return;
        };
        let item = Item::Frame {
            frame,
            payload,
            sent: now,
        };
        let arm = self.net.push(link, side, item, now);
        self.arm(arm);
    }

    /// The engine closes a link.
    pub(super) fn closes(&mut self, node: NodeId, id: LinkId) {
        let now = self.now();
        let Some(run) = self.nodes[node.0 as usize].run.as_mut() else {
            return;
        };
        if let Some((link, side)) = run.links.remove(&id) {
            let told = self.net.delay();
            let arm = self.net.end(link, side, now, told);
            self.arm(arm);
        }
    }

    /// All links of a run that is over. `told`: when the peers hear of it, at the earliest and
    /// latest.
    pub(super) fn end_links(&mut self, node: NodeId, run: u64, told: (Instant, Instant)) {
        let now = self.now();
        let links: Vec<_> = self
            .net
            .links()
            .filter_map(|(link, entry)| Some((link, entry.side(node, run)?)))
            .collect();
        for (link, side) in links {
            let told = self.random.within(told.0, told.1);
            let arm = self.net.end(link, side, now, told);
            self.arm(arm);
        }
    }

    /// A link breaks.
    pub fn reset_link(&mut self, link: u32) {
        let now = self.now();
        let told = [0, 1].map(|_| {
            if self.random.chance(200) {
                // Half open: this side does not know for long.
                self.random.within(20 * MILLI, 600 * MILLI)
            } else {
                self.random.below(2 * MILLI)
            }
        });
        for arm in self.net.reset(link, now, told) {
            self.arm(arm);
        }
    }

    /// A link breaks for its opener; the other end still receives what was sent before.
    pub fn half_reset_link(&mut self, link: u32) {
        let now = self.now();
        let Some(entry) = self.net.link(link) else {
            return;
        };
        let [opener, taker] = entry.ends;
        let arm = self.net.end(link, 0, now, 40 * MILLI);
        self.arm(arm);
        let Some(run) = self.nodes[opener.node.0 as usize].run.as_mut() else {
            return;
        };
        if run.links.remove(&opener.id).is_some() {
            self.reactor_event(
                opener.node,
                EngineEvent::LinkDown {
                    link: Some(opener.id),
                    peer: taker.node,
                    direction: Direction::Out,
                },
            );
        }
    }

    /// Links over a path that was cut break in the end, if the cut lasts.
    pub(super) fn time_out_links(&mut self, a: NodeId, b: NodeId) {
        let links: Vec<_> = self
            .net
            .links()
            .filter(|(_, link)| {
                let nodes = link.ends.map(|end| end.node);
                nodes == [a, b] || nodes == [b, a]
            })
            .map(|(number, _)| number)
            .collect();
        for link in links {
            let patience = self.random.within(60 * MILLI, 900 * MILLI);
            self.queue.after(patience, Event::LinkTimeout(link));
        }
    }

    pub(super) fn link_timed_out(&mut self, link: u32) {
        let Some(entry) = self.net.link(link) else {
            return;
        };
        let [a, b] = entry.ends.map(|end| end.node);
        if entry.is_whole() && (self.net.is_cut(a, b) || self.net.is_cut(b, a)) {
            self.reset_link(link);
        }
    }
}

/// A frame after its encoding and back.
fn recoded(frame: &Frame) -> Result<Frame, String> {
    let mut header = [0; codec::HEADER];
    codec::encode(frame, 0, &mut header);
    match codec::decode(&header) {
        Ok((back, _)) if back == *frame => Ok(back),
        Ok((back, _)) => Err(format!("{frame:?} came out as {back:?}")),
        Err(e) => Err(format!("{frame:?}: {e}")),
    }
}
