//! What a driver does: carries out the effects of a volume.

use std::collections::VecDeque;

use super::{Item, Link, World};
use crate::engine::io::*;
use crate::engine::tests::look;
use crate::meta::{self, PAGE};
use crate::types::*;
use crate::wire::frame::{Ask, Frame};

impl World {
    pub(super) fn effect(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Reply { tag, errno, buf } => {
                let n = &mut self.nodes[node];
                let (ask, extent) = n.asked.remove(&tag.0).expect("answered twice");
                let data = if ask == Ask::Read && errno == 0 {
                    let bytes = n.bufs[buf.0 as usize].as_ref().unwrap();
                    let skip = (extent.offset % BLOCK) as usize;
                    bytes[skip..skip + extent.len as usize].to_vec()
                } else {
                    Vec::new()
                };
                n.replies.insert(tag.0, (errno, data));
            }
            Effect::Disk { id, op } => {
                if self.nodes[node].hold_meta && matches!(op, DiskOp::Meta { .. }) {
                    return;
                }
                if self.nodes[node].hold_disk {
                    // Written from as it is now.
                    self.nodes[node].held_disk.push((id, op));
                    if let DiskOp::Write { .. } | DiskOp::Meta { .. } = op {
                        self.disk_act(node, op);
                    }
                } else {
                    self.disk_act(node, op);
                    self.disk_done(node, id, op);
                }
            }
            Effect::Send { link, frame, buf } => {
                self.sent += 1;
                match frame {
                    Frame::Copy { .. } => self.copied += u64::from(frame.payload_len()),
                    Frame::Compare { .. } => self.compares += 1,
                    _ => {}
                }
                let Some(known) = self.links.get(&link.0) else {
                    return;
                };
                let to = if known.opener == node {
                    known.other
                } else {
                    known.opener
                };
                let len = frame.payload_len() as usize;
                let payload = (len > 0).then(|| {
                    let bytes = self.nodes[node].bufs[buf.0 as usize].as_ref().unwrap();
                    let skip = frame.payload_skip() as usize;
                    bytes[skip..skip + len].to_vec()
                });
                self.queue.push_back(Item::Frame(to, link, frame, payload));
            }
            Effect::Connect { peer } => {
                let to = usize::from(peer.0);
                if self.hears(node, to) {
                    self.next_link += 1;
                    let link = LinkId(self.next_link);
                    self.links.insert(
                        self.next_link,
                        Link {
                            opener: node,
                            other: to,
                        },
                    );
                    for (at, peer, direction) in
                        [(to, node, Direction::In), (node, to, Direction::Out)]
                    {
                        let incarnation = Incarnation(self.nodes[peer].incarnation);
                        let event = Event::LinkUp {
                            link,
                            peer: NodeId(peer as u8),
                            incarnation,
                            direction,
                        };
                        self.queue.push_back(Item::Event(at, event));
                    }
                } else {
                    let event = Event::LinkDown {
                        link: None,
                        peer,
                        direction: Direction::Out,
                    };
                    self.queue.push_back(Item::Event(node, event));
                }
            }
            Effect::Close { link } => {
                let Some(known) = self.links.remove(&link.0) else {
                    return;
                };
                let (end, direction) = if known.opener == node {
                    (known.other, Direction::In)
                } else {
                    (known.opener, Direction::Out)
                };
                // Frames that were sent before arrive first; those to the closer do not.
                let mut kept = VecDeque::new();
                for item in std::mem::take(&mut self.queue) {
                    match item {
                        Item::Frame(to, l, frame, payload) if l == link => {
                            if to == end && payload.is_none() {
                                let buf = Buf::NONE;
                                kept.push_back(Item::Event(end, Event::Frame { link, frame, buf }));
                            }
                        }
                        other => kept.push_back(other),
                    }
                }
                self.queue = kept;
                let event = Event::LinkDown {
                    link: Some(link),
                    peer: NodeId(node as u8),
                    direction,
                };
                self.queue.push_back(Item::Event(end, event));
            }
            Effect::Patch {
                from,
                from_at,
                to,
                to_at,
                len,
            } => {
                let n = &mut self.nodes[node];
                let bytes = n.bufs[from.0 as usize].as_ref().unwrap()
                    [from_at as usize..(from_at + len) as usize]
                    .to_vec();
                n.bufs[to.0 as usize].as_mut().unwrap()[to_at as usize..(to_at + len) as usize]
                    .copy_from_slice(&bytes);
            }
            Effect::Clear { buf, at, len } => {
                let n = &mut self.nodes[node];
                n.bufs[buf.0 as usize].as_mut().unwrap()[at as usize..(at + len) as usize].fill(0);
            }
            Effect::Release { buf } => {
                let place = &mut self.nodes[node].bufs[buf.0 as usize];
                assert!(place.take().is_some(), "released twice");
            }
            Effect::DisconnectClients => {
                self.nodes[node].disconnected += 1;
                if let Some(client) = self.nodes[node].client.take() {
                    self.queue
                        .push_back(Item::Event(node, Event::ClientWent { client }));
                }
            }
            Effect::Propose { prev, change } => {
                if self.hold_log {
                    self.held_log.push((prev, change));
                } else {
                    self.commit(prev, change);
                }
            }
            Effect::Note(note) => self.notes.push((node, note)),
        }
    }

    pub(super) fn disk_act(&mut self, node: usize, op: DiskOp) {
        let data = meta::layout(self.size).data;
        let n = &mut self.nodes[node];
        if n.fail_disk.is_some() {
            return;
        }
        match op {
            DiskOp::Read { .. } => {}
            DiskOp::Write { extent, buf } => {
                let at = (data + extent.offset) as usize;
                let len = extent.len as usize;
                let Some(bytes) = n.bufs[buf.0 as usize].as_ref() else {
                    return;
                };
                n.store[at..at + len].copy_from_slice(&bytes[..len]);
            }
            DiskOp::Zero { extent, .. } => {
                let at = (data + extent.offset) as usize;
                n.store[at..at + extent.len as usize].fill(0);
            }
            DiskOp::Flush => n.durable.clone_from(&n.store),
            DiskOp::Meta { offset, page } => {
                let Some(volume) = &n.volume else { return };
                let bytes = volume.page(page);
                let at = offset as usize;
                n.store[at..at + PAGE].copy_from_slice(bytes);
                n.durable[at..at + PAGE].copy_from_slice(bytes);
            }
        }
    }

    pub(super) fn disk_done(&mut self, node: usize, id: DiskId, op: DiskOp) {
        let data = meta::layout(self.size).data;
        let n = &mut self.nodes[node];
        let errno = n.fail_disk.unwrap_or(0);
        let (mut buf, mut content) = (Buf::NONE, Content::Data);
        if let DiskOp::Read { extent, probe, .. } = op
            && errno == 0
        {
            let at = (data + extent.offset) as usize;
            let bytes = n.store[at..at + extent.len as usize].to_vec();
            content = look(probe, &bytes);
            buf = n.buf(bytes);
        }
        if let DiskOp::Zero { .. } | DiskOp::Flush = op {
            self.disk_act(node, op);
        }
        let event = Event::Disk {
            id,
            errno,
            buf,
            content,
        };
        self.queue.push_back(Item::Event(node, event));
    }
}
