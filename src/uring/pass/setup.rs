//! A pass before its first turn: ring, memory and volumes, as its configuration says.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use nbd_server::{Export, Flags};

use super::{Pass, Settings};
use crate::engine::io::Effects;
use crate::engine::{Canaries, Timing, VolumeConfig};
use crate::types::Time;
use crate::uring::clock;
use crate::uring::complaints::Complaints;
use crate::uring::config::ReactorConfig;
use crate::uring::disk::Disk;
use crate::uring::kit::Kit;
use crate::uring::link::Credentials;
use crate::uring::message::Inbox;
use crate::uring::reactor::Listener;
use crate::uring::requests::Requests;
use crate::uring::ring::Ring;
use crate::uring::served::Served;
use crate::uring::slab::Slab;
use crate::uring::slots::Slots;
use crate::wire::handshake::Identity;
use crate::wire::key::ClusterKey;
/// Bounds of how long an attempt to connect may take (4 D): an attempt that lost its first packet to
/// a partition must not outlast it by seconds.
const CONNECT_MIN: Duration = Duration::from_millis(500);
const CONNECT_MAX: Duration = Duration::from_secs(5);

impl Pass {
    /// # Errors
    /// The kernel refuses the ring or the memory.
    pub fn new(
        config: ReactorConfig,
        inbox: Arc<Inbox>,
        listeners: Vec<Listener>,
    ) -> io::Result<Self> {
        let now = clock::now();
        let ring = Ring::new()?;
        let slab = Slab::new()?;
        let has_store = config.volumes.iter().any(|volume| volume.store.is_some());
        let fixed = has_store && {
            let (base, len) = slab.registered();
            // SAFETY: `kit` holds both, and lets the ring go first.
            let registered = unsafe { ring.register(base, len) };
            registered
                .inspect_err(|error| tracing::debug!(%error, "buffers are not registered"))
                .is_ok()
        };
        let mut exports = Vec::new();
        let mut volumes = Vec::new();
        for setup in config.volumes {
            let flags = Flags::DISK;
            let mut export = Export::new(setup.name.clone(), String::new(), setup.size, flags);
            export.default = exports.is_empty();
            exports.push(export);
            let engine = VolumeConfig {
                me: config.me,
                boot: config.boot,
                incarnation: config.incarnation,
                id: setup.id,
                name: setup.name.clone(),
                size: setup.size,
                shared: setup.shared,
                timing: Timing::for_suspicion(config.suspicion),
                canaries: Canaries::default(),
            };
            volumes.push(Served::new(setup, engine, now));
        }
        let kit = Kit {
            ring,
            slab,
            disk: Disk::new(fixed),
            now,
        };
        Ok(Self {
            kit,
            volumes,
            exports,
            requests: Requests::new(),
            clients: Slots::new(),
            links: Slots::new(),
            link_slots: Vec::new(),
            complaints: Complaints::default(),
            listeners,
            events: VecDeque::new(),
            sending_clients: Vec::new(),
            sending_links: Vec::new(),
            starved_clients: VecDeque::new(),
            starved_links: VecDeque::new(),
            room: false,
            again: true,
            next_client: 0,
            next_link: 0,
            config: Settings {
                address: config.address,
                peers: config.peers,
                limits: config.limits,
                connect: (config.suspicion * 4).clamp(CONNECT_MIN, CONNECT_MAX),
            },
            credentials: Credentials {
                key: ClusterKey::new(config.key),
                identity: Identity {
                    cluster: config.cluster,
                    node: config.me,
                    incarnation: config.incarnation,
                },
            },
            output: config.output,
            spare: Effects::new(),
            inbox,
            inputs: Vec::new(),
            lease: config.lease,
            progress: config.progress,
            completions: Vec::new(),
            wake: Box::new([0; 8]),
            tell_at: now,
            housekeeping_at: Time::MAX,
            failed_listeners: Vec::new(),
            lapsed: false,
            draining: false,
            stopping: false,
        })
    }
}
