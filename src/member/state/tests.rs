use super::*;
use crate::record::{Grant, ReplicaState, SessionRecord, VolumeChange};
use crate::types::{SessionId, StoreId};

const VOLUME: VolumeId = VolumeId(5);

const fn member(node: u8, incarnation: u64) -> Member {
    Member {
        node: NodeId(node),
        incarnation: Incarnation(incarnation),
        boot: BootId(100 + node as u128),
    }
}

fn replica(node: u8) -> ReplicaRecord {
    let boot = member(node, 0).boot;
    ReplicaRecord {
        node: NodeId(node),
        store: StoreId(u128::from(node)),
        state: ReplicaState::InSync { boot },
    }
}

fn record() -> VolumeRecord {
    VolumeRecord {
        id: VOLUME,
        name: "data".into(),
        size: 1 << 20,
        replicas: vec![replica(0), replica(1)],
        ..VolumeRecord::default()
    }
}

/// Applies entries one after the other.
struct Log {
    state: State,
    last: Index,
}

impl Log {
    /// Three members, and a volume of the first two, which n0 is primary of.
    fn serving() -> Self {
        let mut log = Self {
            state: State::default(),
            last: Index(0),
        };
        for node in 0..3 {
            assert!(log.apply(&Command::Admit(member(node, 10))).view);
        }
        assert_eq!(log.apply(&Command::Create(record())).volume, Some(VOLUME));
        assert!(log.change(log.promotion(0)));
        log
    }

    fn apply(&mut self, command: &Command) -> Applied {
        self.last.0 += 1;
        self.state.apply(self.last, command, &Canaries::default())
    }

    fn record(&self) -> &VolumeRecord {
        &self.state.volumes[&VOLUME].record
    }

    fn promotion(&self, node: u8) -> VolumeChange {
        let member = self.state.member(NodeId(node)).copied();
        let member = member.unwrap_or(member_of_nobody());
        VolumeChange::Promote {
            grant: Grant {
                node: NodeId(node),
                incarnation: member.incarnation,
                boot: member.boot,
            },
            after_power_loss: false,
        }
    }

    /// Whether the change takes effect after the volume's newest entry.
    fn change(&mut self, change: VolumeChange) -> bool {
        let prev = self.record().last_entry;
        self.change_after(prev, change)
    }

    fn change_after(&mut self, prev: Index, change: VolumeChange) -> bool {
        let volume = VOLUME;
        let command = Command::Volume {
            volume,
            prev,
            change,
        };
        self.apply(&command).volume.is_some()
    }

    fn shrink(&mut self, nodes: &[u8]) -> bool {
        let term = self.record().term;
        let replicas = nodes.iter().map(|&node| NodeId(node)).collect();
        self.change(VolumeChange::Shrink { term, replicas })
    }
}

const fn member_of_nobody() -> Member {
    member(9, 1)
}

#[test]
fn a_snapshot_is_the_state_again_and_nonsense_is_none() {
    let mut log = Log::serving();
    let logs = (0..3).map(|node| (NodeId(node), LogId(u64::from(node))));
    log.apply(&Command::Found(logs.collect()));
    let bytes = log.state.encode();
    assert_eq!(State::decode(&bytes), Some(log.state.clone()));
    assert_eq!(State::decode(&[]), Some(State::default()));
    assert_eq!(State::decode(&bytes[..bytes.len() - 1]), None, "cut off");
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(State::decode(&longer), None, "something is left over");
    let other = [&[VERSION + 1], &bytes[1..]].concat();
    assert_eq!(State::decode(&other), None, "another version");
    log.state.excluded.insert(NodeId(0), Incarnation(u64::MAX));
    assert_eq!(State::decode(&log.state.encode()), None, "the end of all");
}

#[test]
fn a_run_that_is_over_never_comes_back() {
    let mut log = Log::serving();
    let exclude = |incarnation| Command::Exclude {
        node: NodeId(1),
        incarnation: Incarnation(incarnation),
        certificate: false,
    };
    assert!(!log.apply(&exclude(9)).view, "an older run");
    assert!(log.apply(&exclude(10)).view);
    assert_eq!(log.state.member(NodeId(1)), None);
    assert!(!log.apply(&Command::Admit(member(1, 10))).view);
    assert!(log.apply(&Command::Admit(member(1, 11))).view);
    // A newer run ends the one before.
    assert!(log.apply(&Command::Admit(member(1, 14))).view);
    assert_eq!(log.state.over(NodeId(1)), Incarnation(11));
    assert_eq!(log.state.view.members.len(), 3);
    assert_eq!(log.state.view.number, 6);
}

#[test]
fn a_change_that_names_an_older_entry_is_void() {
    let mut log = Log::serving();
    let before = log.record().last_entry;
    assert!(log.shrink(&[1]));
    let grow = VolumeChange::Grow {
        term: log.record().term,
        replica: NodeId(1),
        boot: member(1, 10).boot,
        store: StoreId(1),
    };
    assert!(
        !log.change_after(before, grow),
        "proposed before the shrink"
    );
    assert!(!log.record().replicas[1].state.is_in_sync());
    assert!(log.change(grow));
}

#[test]
fn only_a_primary_of_this_term_that_is_a_member_shrinks() {
    let mut log = Log::serving();
    assert!(!log.shrink(&[0]), "not itself");
    assert!(!log.shrink(&[0, 1]), "not the last");
    assert!(!log.shrink(&[2]), "not what is no copy");
    let term = Term(log.record().term.0 - 1);
    let replicas = std::iter::once(NodeId(1)).collect();
    assert!(!log.change(VolumeChange::Shrink { term, replicas }));
    log.apply(&Command::Admit(member(0, 11)));
    assert!(!log.shrink(&[1]), "the grant was for the run before");
}

#[test]
fn nobody_is_promoted_beside_another_or_out_of_sync() {
    let mut log = Log::serving();
    assert!(!log.change(log.promotion(1)), "n0 serves");
    assert!(log.shrink(&[1]));
    log.apply(&Command::Exclude {
        node: NodeId(0),
        incarnation: Incarnation(10),
        certificate: true,
    });
    assert!(!log.change(log.promotion(1)), "it is behind");
    assert!(!log.change(log.promotion(2)), "it has no copy");
    log.apply(&Command::Admit(member(0, 11)));
    assert!(log.change(log.promotion(0)));
    assert_eq!(log.record().term, Term(2));
}

#[test]
fn a_session_displaces_others_unless_the_volume_is_shared() {
    for shared in [false, true] {
        let mut log = Log::serving();
        let volume = log.state.volumes.get_mut(&VOLUME).unwrap();
        volume.record.shared = shared;
        let open = |id, gateway| VolumeChange::OpenSession {
            session: SessionRecord {
                id: SessionId(id),
                gateway: NodeId(gateway),
            },
        };
        assert!(log.change(open(1, 0)) && log.change(open(2, 1)));
        assert!(!log.change(open(2, 1)), "it is open");
        let ids = |log: &Log| -> Vec<u64> {
            let sessions = log.record().sessions.iter();
            sessions.map(|session| session.id.0).collect()
        };
        assert_eq!(ids(&log), if shared { vec![1, 2] } else { vec![2] });
        assert!(log.change(open(3, 1)), "a gateway has one");
        assert_eq!(ids(&log), if shared { vec![1, 3] } else { vec![3] });
    }
}

#[test]
fn only_a_voter_has_a_log_that_counts() {
    let mut log = Log::serving();
    let enroll = |node, log| Command::Enroll {
        node: NodeId(node),
        log: LogId(log),
    };
    log.apply(&enroll(1, 7));
    assert!(log.state.roster.is_empty(), "nobody votes yet");
    let founders = [(NodeId(1), LogId(6))].into_iter().collect();
    log.apply(&Command::Found(founders));
    log.apply(&enroll(2, 8));
    log.apply(&enroll(1, 7));
    let roster: Vec<_> = log.state.roster.into_iter().collect();
    assert_eq!(roster, [(NodeId(1), (LogId(7), log.last))]);
}
