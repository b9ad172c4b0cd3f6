//! Scripted runs: a quiet world in which a scenario decides what happens and when.

use steadfast::types::{BLOCK, Extent, NodeId};
use steadfast::wire::frame::{Ask, Change};

use crate::options::Options;
use crate::queue::{Instant, MILLI, SECOND};
use crate::world::{Planted, World};

/// How a script says that its schedule did not come about.
pub const NEVER: &str = "never came to this: ";

/// A request that a script has made.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    client: usize,
    request: u64,
}

/// A world with a script.
pub struct Script {
    /// The world.
    pub world: World,
}

impl Script {
    /// A world whose volume is being served, and every replica is in sync.
    ///
    /// # Errors
    /// It did not come so far.
    pub fn new(options: Options, planted: Planted, tracing: bool) -> Result<Self, String> {
        let mut script = Self {
            world: World::new(options, planted, tracing),
        };
        script.until("the volume is served by all", |world| {
            let replicas = world.known.record().map(|record| &record.replicas);
            world.primary().is_some()
                && replicas.is_some_and(|all| all.iter().all(|r| r.state.is_in_sync()))
        })?;
        script.wait(100 * MILLI);
        Ok(script)
    }

    /// Goes on until `done`.
    ///
    /// # Errors
    /// It does not come to that within two seconds, or a rule is broken.
    pub fn until(&mut self, what: &str, done: impl FnMut(&World) -> bool) -> Result<(), String> {
        let limit = self.world.now() + 2 * SECOND;
        if self.world.run_until(limit, done) {
            return Ok(());
        }
        match &self.world.failed {
            Some(violation) => Err(format!("{}: {}", violation.oracle, violation.text)),
            None => Err(format!("{NEVER}{what}\n{}", self.world.statuses())),
        }
    }

    /// Goes on for so long.
    pub fn wait(&mut self, span: Instant) {
        self.world.run_for(span);
    }

    /// The primary.
    ///
    /// # Errors
    /// There is none.
    pub fn primary(&self) -> Result<NodeId, String> {
        let primary = self.world.primary();
        primary.ok_or_else(|| format!("{NEVER}a primary"))
    }

    /// A client at a node, connected.
    ///
    /// # Errors
    /// It does not come to that.
    pub fn client(&mut self, node: NodeId) -> Result<usize, String> {
        let client = self.world.add_client(node);
        self.until("the client is connected", |world| {
            world.clients[client].is_connected()
        })?;
        // The engine is told a little later.
        self.wait(MILLI);
        Ok(client)
    }

    fn ask(&mut self, client: usize, ask: Ask, extent: Extent) -> Asked {
        let request = self.world.client_asks(client, ask, extent, false);
        Asked { client, request }
    }

    /// Asks to write a block.
    pub fn write(&mut self, client: usize, block: u64) -> Asked {
        self.change(client, block, false)
    }

    /// Asks to write a block durably.
    pub fn write_through(&mut self, client: usize, block: u64) -> Asked {
        self.change(client, block, true)
    }

    fn change(&mut self, client: usize, block: u64, fua: bool) -> Asked {
        let change = Ask::Change {
            change: Change::Write,
            fua,
        };
        self.ask(client, change, blocks(block, 1))
    }

    /// Asks to read a block.
    pub fn read(&mut self, client: usize, block: u64) -> Asked {
        self.ask(client, Ask::Read, blocks(block, 1))
    }

    /// Asks to flush.
    pub fn flush(&mut self, client: usize) -> Asked {
        self.ask(client, Ask::Flush, Extent::default())
    }

    /// Whether it has been answered (or its client was disconnected).
    #[must_use]
    pub fn is_answered(&self, asked: Asked) -> bool {
        !self.world.clients[asked.client].waits_for(asked.request)
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// None comes.
    pub fn answer(&mut self, asked: Asked) -> Result<(), String> {
        self.until("a request is answered", |world| {
            !world.clients[asked.client].waits_for(asked.request)
        })
    }

    /// Writes a block and waits for the answer.
    ///
    /// # Errors
    /// None comes.
    pub fn written(&mut self, client: usize, block: u64) -> Result<(), String> {
        let asked = self.write(client, block);
        self.answer(asked)
    }

    /// What a node sends another by the links that are open now arrives a second later, if those
    /// links are still there. New links are not concerned.
    pub fn delay_links(&mut self, from: NodeId, to: NodeId) {
        let links = self.world.net.links().filter_map(|(number, link)| {
            let [a, b] = link.ends.map(|end| end.node);
            let side = usize::from(a != from);
            let between = [a, b] == [from, to] || [a, b] == [to, from];
            between.then_some((number, side))
        });
        for (number, side) in links.collect::<Vec<_>>() {
            self.world.net.slow_down(number, side, SECOND);
        }
    }

    /// Reads a block and waits for the answer.
    ///
    /// # Errors
    /// None comes.
    pub fn is_read(&mut self, client: usize, block: u64) -> Result<(), String> {
        let asked = self.read(client, block);
        self.answer(asked)
    }

    /// Ends all faults, and then everything that every run ends with.
    ///
    /// # Errors
    /// The rule that did not hold.
    pub fn finish(mut self) -> Result<(), String> {
        self.world.options.faulty = self.world.now();
        self.world.run();
        crate::scenarios::verdict(&self.world)
    }
}

/// Whole blocks.
#[must_use]
pub const fn blocks(first: u64, count: u64) -> Extent {
    Extent {
        offset: first * BLOCK,
        len: (count * BLOCK) as u32,
    }
}
