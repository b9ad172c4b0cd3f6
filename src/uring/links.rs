//! Data links: opened, accepted, moved on, ended.

use std::os::fd::OwnedFd;

use super::kit::Wants;
use super::link::{Ended, Fault, Link};
use super::pass::Pass;
use super::socket;
use crate::engine::io::{Buf, Direction, Event, LinkId};
use crate::types::{NodeId, Time};
use crate::wire::frame::Frame;

/// Links that have been accepted and not proved anything yet; more are not taken.
const UNPROVED_MAX: usize = 64;

impl Pass {
    fn link_slot(&self, id: LinkId) -> Option<u32> {
        let index = self
            .link_slots
            .binary_search_by_key(&id.0, |&(id, _)| id)
            .ok()?;
        Some(self.link_slots[index].1)
    }

    fn new_link_id(&mut self) -> LinkId {
        let id = LinkId(self.next_link);
        self.next_link = self
            .next_link
            .checked_add(1)
            .expect("fewer links than 2^32 in one run");
        id
    }

    /// Opens a link to a peer.
    pub(super) fn connect(&mut self, volume: usize, peer: NodeId) {
        let known = self.config.peers.iter().find(|known| known.node == peer);
        let begun = known.and_then(|&known| {
            let limit = self.config.limits.link_timeout;
            socket::begin_connect(self.config.address, known.data, limit)
                .inspect_err(|error| tracing::debug!(peer = peer.0, %error, "no data link"))
                .ok()
                .map(|socket| (socket, known))
        });
        let Some((socket, peer)) = begun else {
            self.events.push_back((
                volume,
                Event::LinkDown {
                    link: None,
                    peer,
                    direction: Direction::Out,
                },
            ));
            return;
        };
        let deadline = self.kit.now.after(self.config.connect);
        self.watch(deadline);
        let id = self.new_link_id();
        let link = Link::out(socket, id, peer, volume, deadline);
        let slot = self.links.insert(Box::new(link));
        self.link_slots.push((id.0, slot));
        self.links[slot].await_connection(slot, &mut self.kit);
    }

    /// A peer has connected.
    pub(super) fn link_called(&mut self, socket: OwnedFd) {
        let limit = self.config.limits.link_timeout;
        let prepared = socket::remote(&socket)
            .and_then(|remote| socket::prepare_link(&socket, limit).map(|()| remote));
        let remote = match prepared {
            Ok(remote) => remote,
            Err(error) => {
                tracing::debug!(%error, "a data link ended before it began");
                return;
            }
        };
        let unproved = self.links.iter().filter(|(_, link)| !link.is_up()).count();
        if unproved >= UNPROVED_MAX {
            let now = self.kit.now;
            self.complaints.of_stranger(now, remote, Fault::TooMany);
            return;
        }
        let deadline = self.watch_handshake();
        let id = self.new_link_id();
        let slot = self
            .links
            .insert(Box::new(Link::called(socket, id, remote, deadline)));
        self.link_slots.push((id.0, slot));
        self.link_advance(slot);
    }

    pub(super) fn link_connected(&mut self, slot: u32) {
        let link = &mut self.links[slot];
        let volume = link.volume.expect("a link out is for a volume");
        match link.connected(&self.credentials, self.volumes[volume].id) {
            Ok(()) if link.closed => self.bury_link(slot),
            Ok(()) => {
                self.link_sends(slot);
                self.link_advance(slot);
            }
            Err(why) => self.end_link(slot, &why),
        }
    }

    pub(super) fn link_received(&mut self, slot: u32, result: Result<u32, u16>) {
        let link = &mut self.links[slot];
        link.inbound.received(result.unwrap_or(0) as usize);
        match result {
            _ if link.closed => self.bury_link(slot),
            Ok(0) => self.end_link(slot, &Ended::ByPeer),
            Ok(_) => self.link_advance(slot),
            Err(errno) => self.end_link(slot, &failed(errno)),
        }
    }

    pub(super) fn link_sent(&mut self, slot: u32, result: Result<u32, u16>) {
        let link = &mut self.links[slot];
        let sent = link.outbound.sent(&mut self.kit.slab, result);
        match sent {
            _ if link.closed => self.bury_link(slot),
            Ok(()) => self.link_sends(slot),
            Err(error) => self.end_link(slot, &Ended::Failed(error.into())),
        }
    }

    /// Has the link flushed at the end of the pass.
    fn link_sends(&mut self, slot: u32) {
        let link = &mut self.links[slot];
        if !std::mem::replace(&mut link.listed, true) {
            self.sending_links.push(slot);
        }
    }

    /// Goes on with what has come from a peer.
    pub(super) fn link_advance(&mut self, slot: u32) {
        loop {
            let Some(link) = self.links.get_mut(slot) else {
                return;
            };
            let wants = link.advance(&mut self.kit, &self.credentials, &mut self.volumes);
            let volume = link.volume;
            if link.outbound.backlog() > 0 {
                self.link_sends(slot);
            }
            if let Some(volume) = volume {
                self.apply(volume);
                self.deliver();
            }
            let Some(link) = self.links.get_mut(slot) else {
                return;
            };
            match wants {
                _ if link.closed => return,
                Ok(Wants::Apply) => {}
                Ok(Wants::Bytes) => return link.receive(slot, &mut self.kit),
                Ok(Wants::Room | Wants::Drain) => {
                    if !std::mem::replace(&mut link.starved, true) {
                        self.starved_links.push_back(slot);
                    }
                    return;
                }
                Ok(Wants::Nothing) => return,
                Err(why) => return self.end_link(slot, &why),
            }
        }
    }

    /// Sends a frame; to a link that has just ended it goes nowhere.
    pub(super) fn send(&mut self, id: LinkId, frame: &Frame, buf: Buf) {
        let Some(slot) = self.link_slot(id) else {
            return;
        };
        let link = &mut self.links[slot];
        if link.is_up() {
            link.send(&mut self.kit.slab, frame, buf);
            self.link_sends(slot);
        }
    }

    /// Closes a link for the engine.
    pub(super) fn close(&mut self, id: LinkId) {
        if let Some(slot) = self.link_slot(id)
            && !self.links[slot].closed
        {
            self.shut_link(slot);
        }
    }

    /// Sends what is ready, on all links.
    pub(super) fn flush_links(&mut self) {
        let mut sending = std::mem::take(&mut self.sending_links);
        for slot in sending.drain(..) {
            let Some(link) = self.links.get_mut(slot) else {
                continue;
            };
            link.listed = false;
            if link.closed {
                continue;
            }
            if let Err(why) = link.flush(slot, &mut self.kit) {
                self.end_link(slot, &why);
                self.again = true;
            }
        }
        self.sending_links = sending;
    }

    /// A link has ended by itself: tells its volume.
    fn end_link(&mut self, slot: u32, why: &Ended) {
        let link = &self.links[slot];
        if link.closed {
            return self.bury_link(slot);
        }
        let (id, direction, is_up) = (link.id, link.direction, link.is_up());
        let (peer, volume, remote) = (link.peer, link.volume, link.remote);
        match why {
            Ended::ByPeer => tracing::debug!(link = id.0, "{remote} has closed a data link"),
            Ended::Failed(error) => {
                tracing::debug!(link = id.0, "a data link with {remote} has failed: {error}");
            }
            Ended::Fault(fault) => self.complaints.of_link(self.kit.now, link, *fault),
        }
        if let (Some(peer), Some(volume)) = (peer, volume)
            && (is_up || direction == Direction::Out)
        {
            self.events.push_back((
                volume,
                Event::LinkDown {
                    link: is_up.then_some(id),
                    peer,
                    direction,
                },
            ));
        }
        self.shut_link(slot);
    }

    fn shut_link(&mut self, slot: u32) {
        let link = &mut self.links[slot];
        // A last word, as far as the socket takes it.
        let _ = link.flush(slot, &mut self.kit);
        link.close(slot, &mut self.kit);
        self.bury_link(slot);
    }

    fn bury_link(&mut self, slot: u32) {
        let link = &mut self.links[slot];
        if !link.bury(&mut self.kit.slab) {
            return;
        }
        if link.starved {
            self.starved_links.retain(|&other| other != slot);
        }
        if link.listed {
            self.sending_links.retain(|&other| other != slot);
        }
        let id = link.id.0;
        self.links.remove(slot);
        self.link_slots.retain(|&(other, _)| other != id);
    }

    /// Ends the links whose handshake takes too long.
    pub(super) fn late_links(&mut self, now: Time) {
        for slot in 0..self.links.end() {
            let Some(link) = self.links.get(slot) else {
                continue;
            };
            let deadline = link.deadline;
            if link.closed {
                continue;
            }
            if now >= deadline {
                self.end_link(slot, &Fault::Late.into());
            } else {
                self.watch(deadline);
            }
        }
    }

    /// Closes every link, without telling anybody.
    pub(super) fn end_links(&mut self) {
        for slot in 0..self.links.end() {
            if self.links.get(slot).is_some_and(|link| !link.closed) {
                self.shut_link(slot);
            }
        }
    }
}

fn failed(errno: u16) -> Ended {
    Ended::Failed(std::io::Error::from_raw_os_error(i32::from(errno)))
}
