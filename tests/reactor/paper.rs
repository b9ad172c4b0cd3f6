//! Reactors without a membership core: whoever proposes a change is believed, and leases never end.
//!
//! For tests of the data path and for measuring it by itself. Everything below the reactor is real:
//! sockets, stores, the engine, the links between the nodes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use steadfast::engine::io::Note;
use steadfast::member::io::{CoreEvent, Member, Proposal, View};
use steadfast::meta::store::{self, Identity};
use steadfast::node::ToVolume;
use steadfast::record::{Grant, ReplicaRecord, ReplicaState, VolumeChange, VolumeRecord};
use steadfast::types::{BootId, Incarnation, Index, Lease, NodeId, StoreId, Term, Time, VolumeId};
use steadfast::uring::{
    Figures, Handle, Input, LeaseCell, Limits, NbdAddress, Output, Peer, ProgressCell, Reactor,
    ReactorConfig, Store, VolumeSetup,
};

/// The cluster.
pub const CLUSTER: u128 = 0x5eed;
/// Its key.
pub const KEY: [u8; 32] = [3; 32];
/// Its first volume.
pub const VOLUME: VolumeId = VolumeId(7);
const BOOT: BootId = BootId(99);
const INCARNATION: Incarnation = Incarnation(1);

/// The records, and whom to tell when they change.
struct Paper {
    records: Vec<VolumeRecord>,
    handles: Vec<Handle>,
    notes: Vec<(NodeId, Note)>,
    /// Whether no replica is shrunk out, whoever proposes it, and how often that was proposed.
    no_shrinks: bool,
    refused: usize,
}

impl Paper {
    /// Applies a change if it names the newest entry.
    fn propose(&mut self, volume: VolumeId, prev: Index, change: VolumeChange) {
        let find = |record: &&mut VolumeRecord| record.id == volume && record.last_entry == prev;
        let Some(record) = self.records.iter_mut().find(find) else {
            return;
        };
        if self.no_shrinks && matches!(change, VolumeChange::Shrink { .. }) {
            self.refused += 1;
            return;
        }
        record.last_entry = Index(prev.0 + 1);
        let entry = record.last_entry;
        match change {
            VolumeChange::OpenSession { session } => {
                let shared = record.shared;
                record
                    .sessions
                    .retain(|other| shared && other.gateway != session.gateway);
                record.sessions.push(session);
                record.openings += 1;
            }
            VolumeChange::Shrink { replicas, .. } => {
                for replica in replicas.iter() {
                    set_state(record, replica, ReplicaState::Behind { since: entry });
                }
            }
            VolumeChange::Grow { replica, boot, .. } => {
                set_state(record, replica, ReplicaState::InSync { boot });
            }
            VolumeChange::Demote { .. } => record.primary = None,
            VolumeChange::Promote { .. } | VolumeChange::Replace { .. } => {}
        }
        for handle in &self.handles {
            handle.send(Input::Volume(ToVolume::Record(record.clone())));
        }
    }
}

fn set_state(record: &mut VolumeRecord, node: NodeId, state: ReplicaState) {
    for replica in &mut record.replicas {
        if replica.node == node {
            replica.state = state;
        }
    }
}

/// Some nodes, each with a reactor of its own.
pub struct Nodes {
    paper: Arc<Mutex<Paper>>,
    handles: Vec<Handle>,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
    sockets: Vec<PathBuf>,
    data: Vec<SocketAddr>,
    leases: Vec<Arc<LeaseCell>>,
}

impl Nodes {
    /// Starts `replicas` nodes with a store each in `dir`, and one without; the first is primary.
    pub fn start(dir: &Path, replicas: u8, size: u64) -> Self {
        Self::start_volumes(dir, replicas, size, &[0])
    }

    /// As `start`, with a volume for each of these primaries: `vol`, `vol1`, and so on.
    pub fn start_volumes(dir: &Path, replicas: u8, size: u64, primaries: &[u8]) -> Self {
        let count = replicas + 1;
        let mut stores: Vec<Vec<_>> = (0..primaries.len())
            .map(|volume| {
                let open = |node| Some(open(dir, volume, node, size));
                (0..replicas).map(open).collect()
            })
            .collect();
        let data: Vec<_> = (0..count).map(free_address).collect();
        let records: Vec<_> = (0..primaries.len())
            .map(|volume| {
                // Above what an earlier run has used.
                let stores = stores[volume].iter().flatten();
                let used = stores.map(|store| store.recovered.term.0).max();
                let term = Term(used.unwrap_or(0) + 1);
                record(volume, size, replicas, primaries[volume], term)
            })
            .collect();
        let paper = Arc::new(Mutex::new(Paper {
            records: records.clone(),
            handles: Vec::new(),
            notes: Vec::new(),
            no_shrinks: false,
            refused: 0,
        }));
        let mut nodes = Self {
            paper: Arc::clone(&paper),
            handles: Vec::new(),
            threads: Vec::new(),
            sockets: Vec::new(),
            data: data.clone(),
            leases: Vec::new(),
        };
        let view = View {
            number: 1,
            members: (0..count)
                .map(|node| Member {
                    node: NodeId(node),
                    incarnation: INCARNATION,
                    boot: BOOT,
                })
                .collect(),
        };
        for node in 0..count {
            let socket = dir.join(format!("{node}.sock"));
            let volumes = records.iter().zip(&mut stores).map(|(record, stores)| {
                let store = stores.get_mut(usize::from(node)).and_then(Option::take);
                VolumeSetup {
                    id: record.id,
                    name: record.name.clone(),
                    size,
                    shared: true,
                    store,
                }
            });
            let lease = Arc::new(LeaseCell::new());
            lease.publish(Lease {
                incarnation: INCARNATION,
                until: Time::MAX,
            });
            let config = ReactorConfig {
                me: NodeId(node),
                boot: BOOT,
                incarnation: INCARNATION,
                cluster: CLUSTER,
                key: KEY,
                address: data[usize::from(node)].ip(),
                nbd: vec![NbdAddress::Unix(socket.clone())],
                data: data[usize::from(node)],
                peers: (0..count)
                    .filter(|&peer| peer != node)
                    .map(|peer| Peer {
                        node: NodeId(peer),
                        data: data[usize::from(peer)],
                    })
                    .collect(),
                volumes: volumes.collect(),
                suspicion: Duration::from_millis(300),
                limits: Limits {
                    handshake: Duration::from_secs(2),
                    ..Limits::default()
                },
                lease: Arc::clone(&lease),
                progress: Arc::new(ProgressCell::new()),
                output: output(NodeId(node), Arc::clone(&paper)),
            };
            let (reactor, handle) = Reactor::new(config).expect("the addresses are free");
            nodes.threads.push(
                std::thread::Builder::new()
                    .name(format!("reactor-{node}"))
                    .spawn(move || reactor.run())
                    .expect("a thread"),
            );
            nodes.handles.push(handle);
            nodes.sockets.push(socket);
            nodes.leases.push(lease);
        }
        paper.lock().expect("no test panics with it").handles = nodes.handles.clone();
        for (me, handle) in (0..).zip(&nodes.handles) {
            handle.send(Input::Volume(ToVolume::View(view.clone())));
            for node in (0..count).filter(|&node| node != me) {
                handle.send(Input::Volume(ToVolume::Hearing {
                    node: NodeId(node),
                    heard: true,
                }));
            }
            for record in &records {
                handle.send(Input::Volume(ToVolume::Record(record.clone())));
            }
        }
        nodes
    }

    /// The NBD URI of a node's volume.
    pub fn uri(&self, node: usize) -> String {
        format!("nbd+unix:///vol?socket={}", self.sockets[node].display())
    }

    /// A node's NBD socket.
    pub fn socket(&self, node: usize) -> &Path {
        &self.sockets[node]
    }

    /// A node's data-link listener.
    pub fn data(&self, node: usize) -> SocketAddr {
        self.data[node]
    }

    /// Takes a node's lease away, or gives it back.
    pub fn lease(&self, node: usize, held: bool) {
        let until = if held { Time::MAX } else { Time::ZERO };
        self.leases[node].publish(Lease {
            incarnation: INCARNATION,
            until,
        });
        self.handles[node].wake();
    }

    /// Lets two nodes hear each other, or not.
    pub fn hear(&self, node: u8, peer: u8, heard: bool) {
        for (node, peer) in [(node, peer), (peer, node)] {
            self.tell_hearing(node, peer, heard);
        }
    }

    /// Lets one node think that it and a peer hear each other, or not.
    pub fn tell_hearing(&self, node: u8, peer: u8, heard: bool) {
        let node_id = NodeId(peer);
        let told = ToVolume::Hearing {
            node: node_id,
            heard,
        };
        self.handles[usize::from(node)].send(Input::Volume(told));
    }

    /// Lets no replica be shrunk out, so that whoever wants one to leave waits; or lets it again.
    pub fn refuse_shrinks(&self, refuse: bool) {
        self.paper
            .lock()
            .expect("no test panics with it")
            .no_shrinks = refuse;
    }

    /// How many proposals to shrink were refused.
    pub fn refused_shrinks(&self) -> usize {
        self.paper.lock().expect("no test panics with it").refused
    }

    /// Tells a node's reactor something.
    pub fn tell(&self, node: usize, input: Input) {
        self.handles[node].send(input);
    }

    /// What a node is doing.
    pub fn figures(&self, node: usize) -> Figures {
        let (ask, answer) = std::sync::mpsc::channel();
        self.handles[node].send(Input::Query(ask));
        answer.recv().expect("the reactor lives")
    }

    /// The first volume's record as it is.
    pub fn record(&self) -> VolumeRecord {
        self.paper.lock().expect("no test panics with it").records[0].clone()
    }

    /// What the nodes have noted.
    pub fn notes(&self) -> Vec<(NodeId, Note)> {
        self.paper
            .lock()
            .expect("no test panics with it")
            .notes
            .clone()
    }

    /// Ends all reactors; each has to end well.
    pub fn stop(mut self) {
        for handle in &self.handles {
            handle.send(Input::Stop);
        }
        for thread in self.threads.drain(..) {
            thread
                .join()
                .expect("a reactor does not panic")
                .expect("a reactor ends well");
        }
    }
}

fn output(me: NodeId, paper: Arc<Mutex<Paper>>) -> Box<dyn FnMut(Output) + Send> {
    Box::new(move |output| {
        let mut paper = paper.lock().expect("no test panics with it");
        match output {
            Output::Core(CoreEvent::Propose(Proposal::Volume {
                volume,
                prev,
                change,
            })) => {
                paper.propose(volume, prev, change);
            }
            Output::Note { note, .. } => paper.notes.push((me, note)),
            Output::Core(_) => {}
        }
    })
}

fn free_address(node: u8) -> SocketAddr {
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 10 + node));
    TcpListener::bind((address, 0))
        .and_then(|listener| listener.local_addr())
        .expect("loopback has free ports")
}

/// The record that a volume begins with.
fn record(volume: usize, size: u64, replicas: u8, primary: u8, term: Term) -> VolumeRecord {
    VolumeRecord {
        id: volume_id(volume),
        name: match volume {
            0 => "vol".into(),
            _ => format!("vol{volume}"),
        },
        size,
        shared: true,
        last_entry: Index(1),
        term,
        primary: Some(Grant {
            node: NodeId(primary),
            incarnation: INCARNATION,
            boot: BOOT,
        }),
        replicas: (0..replicas)
            .map(|node| ReplicaRecord {
                node: NodeId(node),
                store: store_id(volume, node),
                state: ReplicaState::InSync { boot: BOOT },
            })
            .collect(),
        sessions: Vec::new(),
        openings: 0,
        losses: 0,
    }
}

fn volume_id(volume: usize) -> VolumeId {
    VolumeId(VOLUME.0 + volume as u128)
}

fn store_id(volume: usize, node: u8) -> StoreId {
    StoreId(volume as u128 * 256 + u128::from(node) + 1)
}

fn open(dir: &Path, volume: usize, node: u8, size: u64) -> Store {
    let path = dir.join(match volume {
        0 => format!("{node}.store"),
        _ => format!("{node}.{volume}.store"),
    });
    let identity = Identity {
        cluster: CLUSTER,
        volume: volume_id(volume),
        store: store_id(volume, node),
        node: NodeId(node),
        size,
    };
    if !path.exists() {
        store::create(&path, &identity, &mut |_, _| {}).expect("a new store");
    }
    let opened =
        store::open(&path, &identity, Duration::from_secs(5)).expect("the store is in order");
    Store {
        file: opened.file,
        recovered: opened.recovered,
    }
}
