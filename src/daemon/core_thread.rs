//! The core's thread: UDP socket, timer, log writes, and the hub of the node's signals.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use config::Config;

use super::clock;
use super::datagram::{self, DATAGRAM_MAX};
use super::pulse_thread::PulseHandle;
use super::strangers::{self, Stranger, Strangers};
use super::wake::{Inbox, sleep_until};
use crate::api::event::News;
use crate::api::handle::{Command, EventLog};
use crate::api::handover;
use crate::engine::io::Note;
use crate::member::core::Core;
use crate::member::io::{CoreEffect, CoreEvent, Page, Proposal, PulseSignal};
use crate::node::{CoreIo, Signal, ToVolume, route_core};
use crate::record::{ReplicaRecord, ReplicaState, VolumeRecord};
use crate::status::{self, Status};
use crate::types::{Incarnation, NodeId, StoreId, Time, VolumeId};
use crate::uring::{Handle, Input, LeaseCell};
use crate::wire::seal::Seal;

/// Datagrams handled in one go before other inputs are looked at again.
const BURST: usize = 64;

/// For the core's thread.
#[derive(Debug)]
pub enum CoreInput {
    /// For the core.
    Event(CoreEvent),
    /// A volume has something to tell.
    Note {
        /// Which.
        volume: VolumeId,
        /// When.
        at: Time,
        /// What.
        note: Note,
    },
    /// Asked through the control interface.
    Command(Command),
    /// The log writer has done, or failed.
    Written(io::Result<u64>),
    /// End.
    Stop,
}

/// What the thread has to do its work.
pub struct CoreSetup {
    /// The state machine.
    pub core: Core,
    /// This node's configuration, for names.
    pub config: Arc<Config>,
    /// This node's socket, bound and non-blocking.
    pub socket: UdpSocket,
    /// Where each node's core listens, by node.
    pub peers: Vec<SocketAddr>,
    /// Seals and opens datagrams.
    pub seal: Seal,
    /// Writes the log.
    pub log: Sender<(u64, Vec<Page>)>,
    /// The pulse.
    pub pulse: PulseHandle,
    /// The reactor.
    pub reactor: Handle,
    /// The lease, for status.
    pub lease: Arc<LeaseCell>,
    /// What happened.
    pub events: EventLog,
    /// Told each incarnation before it is used.
    pub parent: super::parent::Parent,
}

/// Why the thread ended.
#[derive(Debug)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// The log could not be written: a voter that cannot keep its word must not go on.
    Log(io::Error),
    /// The socket or the wake-up failed.
    Network(io::Error),
    /// The pulse had ended.
    Pulse(io::Error),
    /// The parent is gone.
    Parent(io::Error),
}

/// The running core.
pub struct CoreThread {
    setup: CoreSetup,
    inbox: Inbox<CoreInput>,
    me: NodeId,
    effects: Vec<CoreEffect>,
    strangers: Strangers,
    /// When to look again whether the log has every configured volume; never once it has.
    create_at: Time,
}

/// Between proposals to create a volume.
const CREATE_EVERY: Duration = Duration::from_millis(200);

impl CoreThread {
    /// Puts it together; `run` runs it.
    #[must_use]
    pub fn new(setup: CoreSetup, inbox: Inbox<CoreInput>) -> Self {
        let me = NodeId(setup.config.node.index as u8);
        Self {
            setup,
            inbox,
            me,
            effects: Vec::new(),
            strangers: Strangers::default(),
            create_at: Time::ZERO,
        }
    }

    /// Runs until told to stop, or until something ends it. `first` are effects that the core had
    /// when it was made.
    pub fn run(mut self, first: Vec<CoreEffect>) -> Ended {
        super::priority::raise("core", super::priority::CORE);
        self.effects = first;
        let ended = loop {
            match self.turn() {
                Ok(()) => {}
                Err(ended) => break ended,
            }
        };
        match (ended, self.setup.pulse.stop()) {
            (Ended::Stopped, Err(error)) => Ended::Pulse(error),
            (ended, _) => ended,
        }
    }

    fn turn(&mut self) -> Result<(), Ended> {
        self.perform()?;
        let deadline = self.setup.core.deadline().min(self.create_at);
        let readable = sleep_until(self.setup.socket.as_fd(), self.inbox.waker(), deadline)
            .map_err(Ended::Network)?;
        while let Ok(signal) = self.setup.pulse.signals.pop() {
            // What the pulse tells the volumes goes the same way (see `pulse_thread`).
            if let PulseSignal::Hearing { node, heard } = signal {
                self.setup
                    .reactor
                    .send(Input::Volume(ToVolume::Hearing { node, heard }));
            }
            self.step(CoreEvent::Pulse(signal))?;
        }
        while let Ok(stranger) = self.setup.pulse.strangers.pop() {
            strangers::warn(&self.setup.config, "pulse", stranger);
        }
        if readable {
            self.receive()?;
        }
        loop {
            match self.inbox.next() {
                Ok(Some(input)) => self.take(input)?,
                Ok(None) => break,
                Err(_) => return Err(Ended::Stopped),
            }
        }
        if self.setup.core.deadline() <= clock::now() {
            self.step(CoreEvent::Tick)?;
        }
        if self.create_at <= clock::now() {
            self.create_volumes()?;
        }
        Ok(())
    }

    /// Proposes volumes that are configured and not in the log yet, once every node that keeps a
    /// copy is a member: its boot must be known. All copies begin in sync, since fresh stores are
    /// all zero. The log takes the first proposal, whoever makes it.
    fn create_volumes(&mut self) -> Result<(), Ended> {
        let now = clock::now();
        let status = self.setup.core.status(now);
        let config = Arc::clone(&self.setup.config);
        let missing = config.volumes.iter().filter(|volume| {
            !status
                .volumes
                .iter()
                .any(|(record, _)| record.id.0 == volume.id)
        });
        self.create_at = Time::MAX;
        for volume in missing {
            self.create_at = now.after(CREATE_EVERY);
            let replicas: Option<Vec<_>> = volume
                .stores
                .iter()
                .map(|store| {
                    let node = NodeId(store.node as u8);
                    let member = status
                        .view
                        .members
                        .iter()
                        .find(|member| member.node == node)?;
                    let state = ReplicaState::InSync { boot: member.boot };
                    Some(ReplicaRecord {
                        node,
                        store: StoreId(store.id),
                        state,
                    })
                })
                .collect();
            if let Some(replicas) = replicas {
                let record = VolumeRecord {
                    id: VolumeId(volume.id),
                    name: volume.name.clone(),
                    size: volume.size,
                    shared: volume.shared,
                    replicas,
                    ..VolumeRecord::default()
                };
                self.step(CoreEvent::Propose(Proposal::Create { record }))?;
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), Ended> {
        let mut datagram = [0; DATAGRAM_MAX];
        for _ in 0..BURST {
            let Ok((len, address)) = self.setup.socket.recv_from(&mut datagram) else {
                return Ok(());
            };
            let nodes = self.setup.peers.len();
            let (from, bytes) = match datagram::open(&self.setup.seal, nodes, &datagram[..len]) {
                Ok(opened) => opened,
                Err(why) => {
                    let stranger = Stranger { from: address, why };
                    if self.strangers.is_news(clock::now(), stranger) {
                        strangers::warn(&self.setup.config, "core", stranger);
                    }
                    continue;
                }
            };
            let bytes = bytes.to_vec();
            self.step(CoreEvent::Message { from, bytes })?;
        }
        Ok(())
    }

    fn take(&mut self, input: CoreInput) -> Result<(), Ended> {
        match input {
            CoreInput::Event(event) => self.step(event),
            CoreInput::Note { volume, at, note } => {
                let news = News::of_volume(&self.setup.config, volume, note);
                self.setup
                    .events
                    .push(&self.setup.config.node.name, at, news);
                Ok(())
            }
            CoreInput::Command(command) => {
                self.answer(command);
                Ok(())
            }
            CoreInput::Written(Ok(ticket)) => self.step(CoreEvent::Persisted { ticket }),
            CoreInput::Written(Err(error)) => Err(Ended::Log(error)),
            CoreInput::Stop => Err(Ended::Stopped),
        }
    }

    fn status(&self) -> Status {
        let now = clock::now();
        let core = self.setup.core.status(now);
        status::build(&self.setup.config, &core, self.setup.lease.load(), now)
    }

    fn answer(&self, command: Command) {
        // Whoever asked may have hung up; then nobody wants the answer.
        match command {
            Command::Status { reply } => drop(reply.send(self.status())),
            Command::Handover { volume, to, reply } => {
                let plan = handover::plan(&self.status(), &volume, to.as_deref());
                if let Ok(plan) = &plan
                    && plan.begun
                {
                    self.hand_over(plan);
                }
                drop(reply.send(plan));
            }
        }
    }

    fn hand_over(&self, plan: &handover::Handover) {
        let config = &self.setup.config;
        let volume = config
            .volumes
            .iter()
            .find(|volume| volume.name == plan.volume);
        let node = config.nodes.iter().position(|node| node.name == plan.to);
        if let (Some(volume), Some(node)) = (volume, node) {
            self.setup.reactor.send(Input::Volume(ToVolume::Demote {
                volume: VolumeId(volume.id),
                prefer: Some(NodeId(node as u8)),
            }));
        }
    }

    fn step(&mut self, event: CoreEvent) -> Result<(), Ended> {
        self.setup.core.step(clock::now(), event, &mut self.effects);
        self.perform()
    }

    fn perform(&mut self) -> Result<(), Ended> {
        let mut effects = std::mem::take(&mut self.effects);
        let (mut io, mut signals) = (Vec::new(), Vec::new());
        for effect in effects.drain(..) {
            route_core(
                effect,
                |wanted| io.push(wanted),
                |signal| signals.push(signal),
            );
            for wanted in io.drain(..) {
                self.perform_io(wanted)?;
            }
            for signal in signals.drain(..) {
                self.carry(signal)?;
            }
        }
        self.effects = effects;
        Ok(())
    }

    fn perform_io(&mut self, io: CoreIo) -> Result<(), Ended> {
        match io {
            CoreIo::Send { to, bytes } => self.send(to, &bytes),
            CoreIo::Persist { ticket, pages } => {
                // A writer that is gone has said why by `Written`, which comes next.
                drop(self.setup.log.send((ticket, pages)));
            }
            // `Core::status` has them.
            CoreIo::Record(_) | CoreIo::View(_) => {}
            CoreIo::Note(note) => self.tell(News::of_core(&self.setup.config, &note)),
        }
        Ok(())
    }

    fn tell(&self, news: News) {
        self.setup
            .events
            .push(&self.setup.config.node.name, clock::now(), news);
    }

    fn send(&self, to: NodeId, bytes: &[u8]) {
        let Some(peer) = self.setup.peers.get(usize::from(to.0)) else {
            return;
        };
        let mut datagram = [0; DATAGRAM_MAX];
        let len = datagram::seal(&self.setup.seal, self.me, bytes, &mut datagram);
        // A datagram that cannot be sent is a lost one; the core repeats what matters.
        let _lost = self.setup.socket.send_to(&datagram[..len], peer);
    }

    fn carry(&mut self, signal: Signal) -> Result<(), Ended> {
        match signal {
            Signal::Pulse(message) => {
                if let crate::node::ToPulse::Adopt { incarnation } = message {
                    self.tell_parent(incarnation)?;
                }
                if !self.setup.pulse.send(message) {
                    return Err(Ended::Network(io::Error::other("the pulse does not run")));
                }
                Ok(())
            }
            Signal::Core(event) => {
                self.setup.core.step(clock::now(), event, &mut self.effects);
                Ok(())
            }
            Signal::Volume(message) => {
                self.setup.reactor.send(Input::Volume(message));
                Ok(())
            }
        }
    }

    fn tell_parent(&mut self, incarnation: Incarnation) -> Result<(), Ended> {
        self.setup.parent.tell(incarnation).map_err(Ended::Parent)
    }
}
