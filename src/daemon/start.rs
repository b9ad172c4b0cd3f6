//! A node from nothing to running, in the order that is safe: lock log and stores (free only after
//! the old run's last write), read them, make the next incarnation durable and known to the parent,
//! bind, and only then the first heartbeat.

use std::sync::Arc;
use std::thread;

use config::{Config, Role};

use super::core_thread::{CoreInput, CoreSetup, CoreThread, Ended};
use super::open::{open_log, open_stores};
use super::parts::{Parts, timing, voters};
use super::pulse_thread::{self, PulseSetup};
use super::serve::serve;
use super::stopped::Stopped;
use super::wake::{Inbox, Post};
use super::{DaemonOptions, clock, exit, sockets};
use crate::api::handle::control;
use crate::api::server;
use crate::member::Canaries;
use crate::member::pulse::{Pulse, PulseConfig};
use crate::types::NodeId;
use crate::uring::{
    Handle, Input, LeaseCell, Limits, NbdAddress, Output, Peer, ProgressCell, Reactor,
    ReactorConfig, VolumeSetup,
};
use crate::wire::key::ClusterKey;
use crate::wire::seal::Seal;

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
        .spawn({
            let end = EndsAll(post.clone());
            move || {
                let _end = end;
                reactor.run()
            }
        })
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
                enrolled: core.is_enrolled(),
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
        end: Box::new(EndsAll(post.clone())),
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

    let served = serve(config, api, &control, seat, &post, &handle, core_ended);
    post.send(CoreInput::Stop);
    let ended = core_thread.join();
    handle.send(Input::Stop);
    let reactor_ended = reactor_thread.join();
    match (served, ended, reactor_ended) {
        (Err(error), _, _) => Err(error),
        (_, Ok(Ended::Log(error)), _) => Err(Stopped::crash("writing the cluster log", error)),
        (_, Ok(Ended::Pulse(error)), _) => Err(Stopped::crash("the pulse", error)),
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

/// Stops the daemon when the thread that holds it ends, be it by a panic. Without its data path a
/// node would keep its lease and its volumes and answer nobody; without its pulse it would be silent
/// for good.
struct EndsAll(Post<CoreInput>);

impl Drop for EndsAll {
    fn drop(&mut self) {
        // A core that has ended needs no telling.
        let _ended = self.0.send(CoreInput::Stop);
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

/// Keeps the daemon's memory from being paged out: a primary whose own pages wait for its own
/// volume would never get them.
fn lock_memory() {
    use rustix::mm::{MlockAllFlags, mlockall};
    if let Err(error) = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE) {
        tracing::warn!(%error, "memory is not locked: raise LimitMEMLOCK");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_thread_stops_the_daemon() {
        for panics in [false, true] {
            let (post, inbox) = Inbox::<CoreInput>::new().unwrap();
            let end = EndsAll(post.clone());
            let thread = thread::spawn(move || {
                let _end = end;
                assert!(!panics, "on purpose");
            });
            assert_eq!(thread.join().is_err(), panics);
            assert!(matches!(inbox.next(), Ok(Some(CoreInput::Stop))));
        }
    }
}
