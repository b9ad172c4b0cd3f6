//! NBD connections: accepted, moved on, ended.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use io_uring::{opcode, types};

use super::kit::Wants;
use super::pass::Pass;
use super::reactor::Purpose;
use super::ring::Completion;
use super::session::{Client, Life};
use super::socket;
use super::token::Token;
use crate::engine::io::{ClientId, Event};
use crate::types::Time;

/// A client that takes nothing for so long loses its connection if others wait for room.
const STALLED: Duration = Duration::from_secs(30);

impl Pass {
    /// Accepts connections of a listener, until that ends.
    pub(super) fn accept(&mut self, listener: u32) {
        let socket = &self.listeners[listener as usize].socket;
        let entry = opcode::AcceptMulti::new(types::Fd(socket.as_raw_fd()))
            .flags(rustix::net::SocketFlags::CLOEXEC.bits() as i32)
            .build();
        // SAFETY: no memory is involved; the listener is kept as long as the ring.
        unsafe { self.kit.ring.push(entry, Token::Accept(listener)) };
    }

    pub(super) fn accepted(&mut self, listener: u32, completion: Completion) {
        let Ok(socket) = completion.count() else {
            if !completion.more {
                self.accept_later(listener);
            }
            return;
        };
        if !completion.more {
            self.accept(listener);
        }
        // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket as i32) };
        match self.listeners[listener as usize].purpose {
            Purpose::Client if self.draining => drop(socket),
            Purpose::Link => self.link_called(socket),
            Purpose::Client => self.client_came(socket),
        }
    }

    fn client_came(&mut self, socket: OwnedFd) {
        if self.clients.len() >= self.config.limits.clients {
            tracing::warn!(
                limit = self.config.limits.clients,
                "too many NBD connections: one more was closed"
            );
            return;
        }
        socket::prepare_client(&socket);
        let deadline = self.watch_handshake();
        let id = ClientId(self.next_client);
        self.next_client = self.next_client.wrapping_add(1);
        let slot = self
            .clients
            .insert(Box::new(Client::new(socket, id, deadline)));
        self.client_advance(slot);
    }

    pub(super) fn client_received(&mut self, slot: u32, result: Result<u32, u16>) {
        let client = &mut self.clients[slot];
        client.inbound.received(result.unwrap_or(0) as usize);
        match (client.life, result) {
            (Life::Closed, _) => self.bury_client(slot),
            // The end of the stream, or of the connection.
            (Life::Open | Life::Ending | Life::Parting, Ok(0) | Err(_)) => self.end_client(slot),
            (Life::Parting, Ok(_)) => client.discard(slot, &mut self.kit),
            (Life::Open | Life::Ending, Ok(_)) => self.client_advance(slot),
        }
    }

    pub(super) fn client_sent(&mut self, slot: u32, result: Result<u32, u16>) {
        let client = &mut self.clients[slot];
        let sent = client.outbound.sent(&mut self.kit.slab, result);
        if client.life == Life::Closed {
            self.bury_client(slot);
        } else if sent.is_err() {
            self.end_client(slot);
        } else {
            // There is room in the backlog again, for whoever waits for it.
            self.room = true;
            self.client_sends(slot);
        }
    }

    /// Has the connection flushed at the end of the pass.
    pub(super) fn client_sends(&mut self, slot: u32) {
        let client = &mut self.clients[slot];
        if !std::mem::replace(&mut client.listed, true) {
            self.sending_clients.push(slot);
        }
    }

    /// Goes on with what has come from a client.
    pub(super) fn client_advance(&mut self, slot: u32) {
        loop {
            let Some(client) = self.clients.get_mut(slot) else {
                return;
            };
            let wants = client.advance(
                slot,
                &mut self.kit,
                &mut self.requests,
                &mut self.volumes,
                &self.exports,
            );
            let volume = client.volume();
            if client.outbound.backlog() > 0 || client.life == Life::Ending {
                self.client_sends(slot);
            }
            if let Some(volume) = volume {
                self.apply(volume);
                self.deliver();
            }
            let Some(client) = self.clients.get_mut(slot) else {
                return;
            };
            match wants {
                _ if client.life == Life::Closed => return,
                Wants::Apply => {}
                Wants::Bytes => return client.receive(slot, &mut self.kit),
                Wants::Room | Wants::Drain => {
                    if !std::mem::replace(&mut client.starved, true) {
                        self.starved_clients.push_back(slot);
                        let then = self.kit.now.after(STALLED);
                        self.watch(then);
                    }
                    return;
                }
                Wants::Nothing => {
                    // Whoever has asked to go does not stay for long because it takes no answers.
                    client.deadline = self.kit.now.after(self.config.limits.handshake);
                    let deadline = client.deadline;
                    return self.watch(deadline);
                }
            }
        }
    }

    /// Sends what is ready, to all clients.
    pub(super) fn flush_clients(&mut self) {
        let mut sending = std::mem::take(&mut self.sending_clients);
        for slot in sending.drain(..) {
            let Some(client) = self.clients.get_mut(slot) else {
                continue;
            };
            client.listed = false;
            if client.life == Life::Closed {
                continue;
            }
            let broken = client.flush(slot, &mut self.kit).is_err();
            if !broken && client.is_done() && client.is_leaving() {
                client.part();
                client.discard(slot, &mut self.kit);
            } else if broken || client.is_done() {
                self.end_client(slot);
                self.again = true;
            }
        }
        self.sending_clients = sending;
    }

    /// Ends a connection, with or without its client's consent.
    pub(super) fn end_client(&mut self, slot: u32) {
        let client = &mut self.clients[slot];
        if client.life != Life::Closed {
            client.close();
            if let Some(volume) = client.volume() {
                let client = client.id;
                self.events
                    .push_back((volume, Event::ClientWent { client }));
            }
            self.requests.abandon(&mut self.kit.slab, slot);
        }
        self.bury_client(slot);
    }

    fn bury_client(&mut self, slot: u32) {
        let client = &mut self.clients[slot];
        if !client.bury(&mut self.kit.slab) {
            return;
        }
        if client.starved {
            self.starved_clients.retain(|&other| other != slot);
        }
        if client.listed {
            self.sending_clients.retain(|&other| other != slot);
        }
        self.clients.remove(slot);
    }

    /// Ends all connections to a volume.
    pub(super) fn disconnect_clients(&mut self, volume: usize) {
        for slot in 0..self.clients.end() {
            if self
                .clients
                .get(slot)
                .is_some_and(|client| client.volume() == Some(volume))
            {
                self.end_client(slot);
            }
        }
    }

    /// Ends the connections whose handshake, or end, takes too long; and, while others wait for
    /// room, those that keep buffers because they do not take their answers.
    pub(super) fn late_clients(&mut self, now: Time) {
        let since = Time(now.0.saturating_sub(STALLED.as_nanos() as u64));
        let wanted = !self.starved_clients.is_empty();
        if wanted {
            self.watch(now.after(STALLED));
        }
        for slot in 0..self.clients.end() {
            let Some(client) = self.clients.get(slot) else {
                continue;
            };
            let deadline = client.deadline;
            if now >= deadline {
                self.end_client(slot);
            } else if wanted && client.has_stalled(since) {
                tracing::warn!(
                    client = client.id.0,
                    "NBD client takes no answers while others wait: closed"
                );
                self.end_client(slot);
            } else {
                self.watch(deadline);
            }
        }
    }

    /// Takes nothing more from any client, and closes each when it has its answers.
    pub(super) fn drain_clients(&mut self) {
        self.draining = true;
        for slot in 0..self.clients.end() {
            let Some(client) = self.clients.get_mut(slot) else {
                continue;
            };
            if client.leave() {
                // Closed when it has nothing more to get: at once, perhaps.
                self.client_sends(slot);
            } else {
                self.end_client(slot);
            }
        }
    }

    /// Ends every connection.
    pub(super) fn end_clients(&mut self) {
        for slot in 0..self.clients.end() {
            if self.clients.get(slot).is_some() {
                self.end_client(slot);
            }
        }
    }

    /// Stops listening.
    pub(super) fn end_accepts(&mut self) {
        for listener in 0..self.listeners.len() {
            let accept = Token::Accept(listener as u32).pack();
            let entry = opcode::AsyncCancel::new(accept).build();
            // SAFETY: no memory is involved.
            unsafe { self.kit.ring.push(entry, Token::Cancel) };
        }
    }
}
