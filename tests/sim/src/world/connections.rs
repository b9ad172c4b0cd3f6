//! Where clients connect, how they go, and how they are sent away.

use steadfast::engine::io::ClientId;
use steadfast::types::NodeId;

use super::World;
use super::clients::Client;
use super::event::{Event, Happening, Part};
use crate::queue::{MICRO, MILLI};

impl World {
    pub(super) fn client_connects(&mut self, client: usize) {
        if self.stopping || self.clients[client].is_connected() {
            return;
        }
        let node = self.clients[client].node;
        let Some(run) = self.node(node).run.as_ref().map(|run| run.number) else {
            // Refused: another node, or the same later.
            let mut wait = self.clients[client].random.within(MILLI, 20 * MILLI);
            if self.clients[client].random.chance(600) {
                self.client_moves(client);
                wait /= 4;
            }
            self.queue.after(wait, Event::ClientConnects(client));
            return;
        };
        self.connections += 1;
        let connection = self.connections;
        self.clients[client].connection = connection;
        self.clients[client].run = Some(run);
        let place = self.place(node, run, Part::Reactor);
        let came = Happening::ClientCame { client, connection };
        self.queue.after(50 * MICRO, Event::At(place, came));
        let scripted = self.clients[client].scripted;
        for _ in 0..if scripted { 0 } else { self.options.load.depth } {
            let wait = 60 * MICRO + self.clients[client].random.below(MILLI);
            self.queue
                .after(wait, Event::ClientTurn { client, connection });
        }
    }

    fn client_moves(&mut self, client: usize) {
        let nodes = self.nodes.len();
        // Where only one gateway may have the volume, clients mostly gather.
        let gather = !self.options.shared && self.clients[client].random.chance(800);
        let node = if gather {
            self.clients[0].node
        } else {
            NodeId(self.clients[client].random.index(nodes) as u8)
        };
        self.clients[client].node = node;
    }

    /// The connection is over; what was asked may have happened or not.
    pub(super) fn client_dropped(&mut self, client: usize, wanted: bool) {
        let this = &mut self.clients[client];
        if this.run.take().is_none() {
            return;
        }
        if !wanted {
            this.disconnects += 1;
        }
        this.own_busy = false;
        this.requests.clear();
        let wait = this.random.within(MILLI, 60 * MILLI);
        if this
            .random
            .chance(if self.options.shared { 400 } else { 150 })
        {
            self.client_moves(client);
        }
        self.queue.after(wait, Event::ClientConnects(client));
    }

    /// The client goes of its own will, perhaps in the middle of its requests.
    pub(super) fn client_leaves(&mut self, client: usize) {
        let this = &self.clients[client];
        let Some(run) = this.run else { return };
        let connection = this.connection;
        let place = self.place(this.node, run, Part::Reactor);
        self.queue.after(
            30 * MICRO,
            Event::At(place, Happening::ClientWent { connection }),
        );
        self.abandon(client);
        self.client_dropped(client, true);
    }

    /// What the client has asked of its own blocks and is not going to hear of.
    pub(super) fn abandon(&mut self, client: usize) {
        let (node, run) = (self.clients[client].node, self.clients[client].run);
        let connection = self.clients[client].connection;
        let mut lost = Vec::new();
        if let Some(running) = self.node(node).run.as_ref()
            && Some(running.number) == run
        {
            let all = running.pending.iter().flatten().chain(&running.backlog);
            lost.extend(all.filter(|p| p.connection == connection).copied());
        }
        for piece in lost {
            self.unanswered(&piece);
        }
    }

    /// A client that only asks what a script says, at a node.
    pub fn add_client(&mut self, node: NodeId) -> usize {
        let client = self.clients.len();
        let random = self.random.fork();
        let mut made = Client::new(node, 0, 0, random);
        made.scripted = true;
        self.clients.push(made);
        self.queue.push(self.now(), Event::ClientConnects(client));
        client
    }

    /// The engine ends all connections of this node.
    pub(super) fn disconnect_clients(&mut self, node: NodeId) {
        let Some(run) = self.nodes[node.0 as usize].run.as_mut() else {
            return;
        };
        let connections = std::mem::take(&mut run.connections);
        let number = run.number;
        for client in 0..self.clients.len() {
            let this = &self.clients[client];
            if this.node == node
                && this.run == Some(number)
                && connections.contains(&this.connection)
            {
                self.abandon(client);
                self.client_dropped(client, false);
                self.marks.count("clients disconnected");
            }
        }
        if let Some(run) = self.nodes[node.0 as usize].run.as_mut() {
            run.backlog.retain(|p| !connections.contains(&p.connection));
        }
    }

    /// The engine's number of a connection.
    #[must_use]
    pub(super) const fn client_id(connection: u32) -> ClientId {
        ClientId(connection)
    }
}
