//! A node from nothing to running, in the order that is safe: lock log and stores (free only after
//! the old run's last write), read them, make the next incarnation durable and known to the parent,
//! bind, and only then the first heartbeat.

use std::fmt::Display;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use config::{Config, Role};
use tokio::signal::unix::{SignalKind, signal};

use super::core_thread::{CoreInput, CoreSetup, CoreThread, Ended};
use super::log_file::LogFile;
use super::pulse_thread::{self, PulseSetup};
use super::wake::{Inbox, Post};
use super::{DaemonOptions, clock, exit, sockets};
use crate::api::handle::{ControlHandle, ControlSeat, control};
use crate::api::server;
use crate::member::Canaries;
use crate::member::core::{Core, CoreConfig};
use crate::member::io::{CoreEffect, CoreEvent, Timing};
use crate::member::pulse::{Pulse, PulseConfig};
use crate::meta::store::{self, Identity, Opened, Problem};
use crate::types::{BootId, NodeId, NodeSet, VolumeId};
use crate::uring::{
    Handle, Input, LeaseCell, Limits, NbdAddress, Output, Peer, ProgressCell, Reactor,
    ReactorConfig, Store, VolumeSetup,
};
use crate::wire::key::ClusterKey;
use crate::wire::seal::Seal;

/// How long a start waits for a store that a killed run still writes to.
const STORE_PATIENCE: Duration = Duration::from_secs(10);
/// How long it does so without a word.
const STORE_QUIET: Duration = Duration::from_secs(1);
/// How long a stop waits for the volumes to be handed over to other nodes.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(5);

/// Why the daemon cannot run (any more), and what its parent should make of it.
#[derive(Debug)]
pub struct Stopped {
    /// For people.
    pub why: String,
    /// One of `exit`.
    pub code: u8,
}

impl Stopped {
    fn new(code: u8, what: impl Display, error: impl Display) -> Self {
        Self {
            why: format!("{what}: {error}"),
            code,
        }
    }

    /// A crash: started again.
    fn crash(what: impl Display, error: impl Display) -> Self {
        Self::new(1, what, error)
    }
}

/// What all parts of the node are made from.
struct Parts<'a> {
    config: &'a Config,
    me: NodeId,
    boot: BootId,
    timing: Timing,
    seal: Seal,
}

/// The cluster's timing as the state machines take it.
#[must_use]
pub fn timing(config: &Config) -> Timing {
    let mut timing = Timing::every(config.cluster.interval);
    timing.missed = config.cluster.missed;
    timing.lease = config.lease();
    timing
}

/// The nodes that vote.
#[must_use]
pub fn voters(config: &Config) -> NodeSet {
    let nodes = config.nodes.iter().enumerate();
    nodes
        .filter(|(_, node)| node.voter)
        .map(|(index, _)| NodeId(index as u8))
        .collect()
}

/// Runs the daemon to its end.
///
/// # Errors
///
/// Something that it needs is missing, wrong or in use, or broke while it ran.
pub fn run(config: &Config, mut options: DaemonOptions) -> Result<(), Stopped> {
    let parts = Parts {
        config,
        me: NodeId(config.node.index as u8),
        boot: clock::boot_id().map_err(|error| Stopped::new(exit::CONFIG, "boot id", error))?,
        timing: timing(config),
        seal: Seal::new(&ClusterKey::new(config.cluster.key.0), config.cluster.id),
    };
    let (log, core, first) = open_log(&parts)?;
    let volumes = open_stores(&parts)?;
    // Before anything is heard of this run, so that a start in vain disturbs nobody.
    let api = config.api();
    let api = server::listen(&api).map_err(|error| sockets::of_control(&api, &error))?;
    let incarnation = core.incarnation();
    options
        .parent
        .tell(incarnation)
        .map_err(|error| Stopped::crash("telling the parent", error))?;

    let (post, inbox) =
        Inbox::<CoreInput>::new().map_err(|error| Stopped::crash("eventfd", error))?;
    let lease = Arc::new(LeaseCell::new());
    let progress = Arc::new(ProgressCell::new());
    let (reactor, handle) = bind_reactor(&parts, volumes, incarnation, &post, &lease, &progress)?;
    let pulse_socket = sockets::udp(config.me().pulse(), "heartbeats, port \"pulse\"")?;
    let core_socket = sockets::udp(config.me().core(), "the cluster log, port \"core\"")?;
    core_socket
        .set_nonblocking(true)
        .map_err(|error| Stopped::crash("core's socket", error))?;
    lock_memory();

    let written = post.clone();
    let writer = log
        .writer(move |result| {
            // A core that has ended wants no tickets.
            let _ended = written.send(CoreInput::Written(result));
        })
        .map_err(|error| Stopped::crash("log writer", error))?;
    let reactor_thread = thread::Builder::new()
        .name("reactor".into())
        .spawn(move || reactor.run())
        .map_err(|error| Stopped::crash("reactor", error))?;
    let pulse = pulse_thread::start(PulseSetup {
        pulse: Pulse::new(
            PulseConfig {
                me: parts.me,
                nodes: config.nodes.len() as u8,
                voters: voters(config),
                configuration: 1,
                timing: parts.timing,
                boot: parts.boot,
                incarnation,
                forbidden: core.promises(),
                canaries: Canaries::default(),
            },
            clock::now(),
        ),
        socket: pulse_socket,
        peers: config.nodes.iter().map(config::Node::pulse).collect(),
        seal: parts.seal.clone(),
        lease: Arc::clone(&lease),
        progress,
        stall: parts.timing.stall,
        core: inbox.waker().clone(),
        reactor: handle.clone(),
    })
    .map_err(|error| Stopped::crash("pulse", error))?;

    let (control, seat) = control();
    let core = CoreThread::new(
        CoreSetup {
            core,
            config: Arc::new(config.clone()),
            socket: core_socket,
            peers: config.nodes.iter().map(config::Node::core).collect(),
            seal: parts.seal,
            log: writer,
            pulse,
            reactor: handle.clone(),
            lease,
            events: seat.events.clone(),
            parent: options.parent,
        },
        inbox,
    );
    let (ending, core_ended) = tokio::sync::oneshot::channel();
    let core_thread = thread::Builder::new()
        .name("core".into())
        .spawn(move || {
            let ended = core.run(first);
            // Nobody waits for it any more when the daemon is stopping anyway.
            let _stopping = ending.send(());
            ended
        })
        .map_err(|error| Stopped::crash("core", error))?;

    let served = serve(config, api, &control, seat, &post, core_ended);
    post.send(CoreInput::Stop);
    let ended = core_thread.join();
    handle.send(Input::Stop);
    let reactor_ended = reactor_thread.join();
    match (served, ended, reactor_ended) {
        (Err(error), _, _) => Err(error),
        (_, Ok(Ended::Log(error)), _) => Err(Stopped::crash("writing the cluster log", error)),
        (_, Ok(Ended::Network(error)), _) => Err(Stopped::crash("the core's socket", error)),
        (_, Ok(Ended::Parent(error)), _) => Err(Stopped::crash("telling the parent", error)),
        (_, _, Ok(Err(error))) => Err(Stopped::crash("the reactor", error)),
        (_, Ok(Ended::Stopped), Ok(Ok(()))) => Ok(()),
        (_, Err(_), _) | (_, _, Err(_)) => Err(Stopped {
            why: "a thread panicked; what it said is above".into(),
            code: 1,
        }),
    }
}

/// The log, locked and read; the core, with its next incarnation durable.
fn open_log(parts: &Parts<'_>) -> Result<(LogFile, Core, Vec<CoreEffect>), Stopped> {
    let path = parts.config.log();
    let refuse = |code, error: &dyn Display| Stopped::new(code, path.display(), error);
    let log = LogFile::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => refuse(
            exit::CONFIG,
            &"there is no cluster log; `steadfast node init` makes one for a new cluster",
        ),
        io::ErrorKind::ResourceBusy => refuse(exit::BUSY, &error),
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::ReadOnlyFilesystem => refuse(
            exit::CONFIG,
            &format_args!("{error}; this user must be able to read and write this file"),
        ),
        _ => refuse(1, &error),
    })?;
    let bytes = log.read().map_err(|error| refuse(1, &error))?;
    let config = CoreConfig {
        me: parts.me,
        names: parts
            .config
            .nodes
            .iter()
            .map(|node| node.name.clone())
            .collect(),
        voters: voters(parts.config),
        timing: parts.timing,
        boot: parts.boot,
        canaries: Canaries::default(),
    };
    let recovered = crate::member::log::recover(&bytes, parts.config.cluster.id, parts.me)
        .map_err(|error| refuse(exit::CONFIG, &error))?;
    drop(bytes);
    let mut effects = Vec::new();
    let mut core = Core::new(config, recovered, clock::now(), &mut effects);
    // The incarnation must be durable before anything is heard of it: written here and now.
    let mut rest = Vec::new();
    for effect in effects {
        match effect {
            CoreEffect::Persist { ticket, pages } => {
                log.write(&pages).map_err(|error| refuse(1, &error))?;
                core.step(clock::now(), CoreEvent::Persisted { ticket }, &mut rest);
            }
            other => rest.push(other),
        }
    }
    Ok((log, core, rest))
}

fn open_stores(parts: &Parts<'_>) -> Result<Vec<VolumeSetup>, Stopped> {
    let mut volumes = Vec::new();
    for volume in &parts.config.volumes {
        let mut setup = VolumeSetup {
            id: VolumeId(volume.id),
            name: volume.name.clone(),
            size: volume.size,
            shared: volume.shared,
            store: None,
        };
        if let Some(mine) = volume.store(parts.config.node.index) {
            let identity = super::init::identity(parts.config, volume, mine);
            let opened = open_store(&mine.path, &identity).map_err(|error| {
                let busy = matches!(error.problem, Problem::InUse { .. });
                let code = if busy { exit::BUSY } else { exit::CONFIG };
                Stopped {
                    why: error.to_string(),
                    code,
                }
            })?;
            setup.store = Some(Store {
                file: opened.file,
                recovered: opened.recovered,
            });
        }
        volumes.push(setup);
    }
    Ok(volumes)
}

/// Says in time what it waits for.
fn open_store(path: &Path, identity: &Identity) -> Result<Opened, store::Error> {
    match store::open(path, identity, STORE_QUIET) {
        Err(error) if matches!(error.problem, Problem::InUse { .. }) => {
            tracing::warn!("waiting for it: {error}");
            store::open(path, identity, STORE_PATIENCE - STORE_QUIET)
        }
        opened => opened,
    }
}

fn bind_reactor(
    parts: &Parts<'_>,
    volumes: Vec<VolumeSetup>,
    incarnation: crate::types::Incarnation,
    post: &Post<CoreInput>,
    lease: &Arc<LeaseCell>,
    progress: &Arc<ProgressCell>,
) -> Result<(Reactor, Handle), Stopped> {
    let config = parts.config;
    let storage = |(index, node): (usize, &config::Node)| {
        (index != config.node.index && node.role == Role::Storage).then(|| Peer {
            node: NodeId(index as u8),
            data: node.data(),
        })
    };
    let output = post.clone();
    Reactor::new(ReactorConfig {
        me: parts.me,
        boot: parts.boot,
        incarnation,
        cluster: config.cluster.id,
        key: config.cluster.key.0,
        address: config.me().address,
        nbd: vec![
            NbdAddress::Tcp(config.me().nbd()),
            NbdAddress::Unix(config.nbd_socket()),
        ],
        data: config.me().data(),
        peers: config
            .nodes
            .iter()
            .enumerate()
            .filter_map(storage)
            .collect(),
        volumes,
        suspicion: parts.timing.suspicion(),
        limits: Limits::default(),
        lease: Arc::clone(lease),
        progress: Arc::clone(progress),
        output: Box::new(move |said| {
            // The core outlives the reactor, except at the very end.
            let _ended = output.send(match said {
                Output::Core(event) => CoreInput::Event(event),
                Output::Note { volume, at, note } => CoreInput::Note { volume, at, note },
            });
        }),
    })
    .map_err(|error| sockets::of_reactor(config, &error))
}

/// Serves the control interface until a signal asks the daemon to stop, or the core has ended.
fn serve(
    config: &Config,
    listener: UnixListener,
    control: &ControlHandle,
    seat: ControlSeat,
    post: &Post<CoreInput>,
    core_ended: tokio::sync::oneshot::Receiver<()>,
) -> Result<(), Stopped> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Stopped::crash("tokio", error))?;
    let post = post.clone();
    runtime.block_on(async {
        let mut terminate =
            signal(SignalKind::terminate()).map_err(|error| Stopped::crash("signals", error))?;
        let mut interrupt =
            signal(SignalKind::interrupt()).map_err(|error| Stopped::crash("signals", error))?;
        let mut commands = seat.commands;
        tokio::spawn(async move {
            while let Some(command) = commands.recv().await {
                if !post.send(CoreInput::Command(command)) {
                    return;
                }
            }
        });
        let server = tokio::spawn(server::serve(listener, control.clone()));
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = core_ended => return Ok(()),
            ended = server => {
                return Err(Stopped::crash("control interface", format_args!("{ended:?}")));
            }
        }
        // It may take too long, or be impossible; the others then take the volumes over.
        let handed_over = hand_over(config, control);
        if tokio::time::timeout(HANDOVER_PATIENCE, handed_over)
            .await
            .is_err()
        {
            tracing::warn!("stopping although this node is still primary");
        }
        Ok(())
    })
}

/// Gives the volumes that this node serves to other in-sync nodes, as far as there are any.
async fn hand_over(config: &Config, control: &ControlHandle) {
    for volume in &config.volumes {
        // Refused where this node is not primary, or nobody else could be.
        if !matches!(control.handover(volume.name.clone(), None).await, Ok(Ok(plan)) if plan.begun)
        {
            continue;
        }
        loop {
            let Ok(status) = control.status().await else {
                return;
            };
            let mine = status.volumes.iter().any(|known| {
                known.name == volume.name && known.primary.as_ref() == Some(&status.node)
            });
            if !mine {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Keeps the daemon's memory from being paged out: a primary whose own pages wait for its own
/// volume would never get them.
fn lock_memory() {
    use rustix::mm::{MlockAllFlags, mlockall};
    if let Err(error) = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE) {
        tracing::warn!(%error, "memory is not locked: raise LimitMEMLOCK");
    }
}
