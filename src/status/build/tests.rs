use std::path::Path;
use std::time::Duration;

use super::*;
use crate::member::io::{Member, StoreFault, View};
use crate::record::{Grant, SessionRecord};
use crate::types::{BootId, Incarnation, Index, NodeSet, SessionId, StoreId, Term, VolumeId};

const BOOT: BootId = BootId(7);
const IN_SYNC: ReplicaState = ReplicaState::InSync { boot: BOOT };
const BEHIND: ReplicaState = ReplicaState::Behind { since: Index(3) };

fn configuration() -> Config {
    Config::parse(Path::new("/e.toml"), config::EXAMPLE).unwrap()
}

fn set(nodes: &[u8]) -> NodeSet {
    nodes.iter().copied().map(NodeId).collect()
}

fn member(node: u8) -> Member {
    Member {
        node: NodeId(node),
        incarnation: Incarnation(10 + u64::from(node)),
        boot: BOOT,
    }
}

/// n1 primary, in sync with n2; w1 votes.
fn healthy() -> CoreStatus {
    let replica = |node, state| ReplicaRecord {
        node: NodeId(node),
        store: StoreId(u128::from(node) + 1),
        state,
    };
    let record = VolumeRecord {
        id: VolumeId(5),
        name: "data".into(),
        size: 8 << 30,
        shared: false,
        last_entry: Index(9),
        term: Term(4),
        primary: Some(Grant {
            node: NodeId(0),
            incarnation: Incarnation(10),
            boot: BOOT,
        }),
        replicas: vec![replica(0, IN_SYNC), replica(1, IN_SYNC)],
        sessions: vec![SessionRecord {
            id: SessionId(1),
            gateway: NodeId(1),
        }],
        openings: 0,
        losses: 0,
    };
    let progress = VolumeProgress {
        volume: VolumeId(5),
        term: Term(4),
        serving: true,
        resyncs: Vec::new(),
    };
    CoreStatus {
        leader: Some(NodeId(2)),
        term: 2,
        committed: Index(9),
        last: Index(10),
        view: View {
            number: 6,
            members: vec![member(0), member(1), member(2)],
        },
        quorum: true,
        no_quorum: None,
        undecided: None,
        silent: NodeSet::EMPTY,
        alive: set(&[0, 1, 2]),
        voters: set(&[0, 1, 2]),
        incarnations: vec![(NodeId(0), Incarnation(10)), (NodeId(1), Incarnation(11))],
        volumes: vec![(record, Some(progress))],
        waiting: Vec::new(),
        store_faults: Vec::new(),
        at: Time(5),
    }
}

fn status(core: &CoreStatus) -> Status {
    build(&configuration(), core, Lease::default(), Time(0))
}

fn down(core: &mut CoreStatus, node: u8) {
    core.view.members.retain(|member| member.node.0 != node);
    core.alive.remove(NodeId(node));
}

fn resync(core: &mut CoreStatus, node: u8, running: bool, left: u64, total: u64, rate: u64) {
    let (_, progress) = &mut core.volumes[0];
    progress.as_mut().unwrap().resyncs.push(ResyncProgress {
        replica: NodeId(node),
        running,
        blocks_left: left,
        blocks_total: total,
        rate,
    });
}

/// Health, failures and sentence after `change`.
#[track_caller]
fn judged(change: impl FnOnce(&mut CoreStatus), health: Health, failures: u32, sentence: &str) {
    let mut core = healthy();
    change(&mut core);
    let status = status(&core);
    let volume = &status.volumes[0];
    assert_eq!(volume.redundancy, sentence);
    assert_eq!(
        (status.health, volume.failures_survivable),
        (health, failures)
    );
}

#[test]
fn everything_as_configured() {
    judged(|_| {}, Health::Healthy, 1, "1 failure can be survived");
    let now = Time(1_000_000_000);
    let lease = Lease {
        incarnation: Incarnation(10),
        until: now.after(Duration::from_micros(17_900)),
    };
    let status = build(&configuration(), &healthy(), lease, now);
    assert_eq!(status.lease_ms_left, 17);
    assert_eq!(status.members, ["n1", "n2", "w1"]);
    assert_eq!(status.leader.as_deref(), Some("w1"));
    assert_eq!(status.nodes[0].incarnation, Some(10));
    assert_eq!(status.nodes[2].incarnation, None);
    let volume = &status.volumes[0];
    assert_eq!(volume.primary.as_deref(), Some("n1"));
    assert!(volume.serving && volume.waiting.is_none());
    assert_eq!(volume.gateways, ["n2"]);
    assert_eq!(volume.replicas[1].percent, Some(100.0));
}

#[test]
fn the_json_has_the_promised_fields() {
    let json = serde_json::to_value(status(&healthy())).unwrap();
    for field in ["nodes", "volumes", "view", "quorum", "lease_ms_left"] {
        assert!(json.get(field).is_some(), "{field}");
    }
    assert_eq!(json["health"], "healthy");
    let volume = &json["volumes"][0];
    for field in [
        "name",
        "size",
        "primary",
        "term",
        "replicas",
        "failures_survivable",
        "redundancy",
    ] {
        assert!(volume.get(field).is_some(), "{field}");
    }
    let replica = &volume["replicas"][0];
    assert_eq!(replica["state"], "in-sync");
    assert!(replica.get("percent").is_some() && replica.get("seconds_left").is_some());
    for field in ["name", "role", "alive", "incarnation"] {
        assert!(json["nodes"][0].get(field).is_some(), "{field}");
    }
}

#[test]
fn a_copy_is_down() {
    judged(
        |core| {
            down(core, 1);
            core.volumes[0].0.replicas[1].state = BEHIND;
        },
        Health::Degraded,
        0,
        "no failure can be survived: n2 is down",
    );
}

#[test]
fn the_witness_is_down() {
    judged(
        |core| down(core, 2),
        Health::Degraded,
        0,
        "no failure can be survived: w1 is down",
    );
}

#[test]
fn a_copy_is_resynced() {
    judged(
        |core| {
            core.volumes[0].0.replicas[1].state = BEHIND;
            resync(core, 1, true, 590, 1000, 50);
        },
        Health::Degraded,
        0,
        "no failure can be survived: n2 is behind, 41 %, 12 s left",
    );
    judged(
        |core| {
            core.volumes[0].0.replicas[1].state = ReplicaState::New;
            resync(core, 1, true, 600_000, 1_000_000, 1000);
        },
        Health::Degraded,
        0,
        "no failure can be survived: n2 is new, 40 %, 10 min left",
    );
    judged(
        |core| {
            core.volumes[0].0.replicas[1].state = BEHIND;
            resync(core, 1, true, 1, 100_000, 0);
        },
        Health::Degraded,
        0,
        "no failure can be survived: n2 is behind, 99 %, stalled",
    );
}

#[test]
fn a_copy_waits_for_resync() {
    judged(
        |core| {
            core.volumes[0].0.replicas[1].state = BEHIND;
            resync(core, 1, false, 590, 1000, 0);
        },
        Health::Degraded,
        0,
        "no failure can be survived: n2 is behind and waits to be resynced",
    );
    judged(
        |core| core.volumes[0].0.replicas[1].state = ReplicaState::New,
        Health::Degraded,
        0,
        "no failure can be survived: n2 is new and waits to be filled",
    );
}

#[test]
fn a_copy_whose_machine_rebooted_does_not_count() {
    judged(
        |core| core.view.members[1].boot = BootId(8),
        Health::Degraded,
        0,
        "no failure can be survived: n2 is behind and waits to be resynced",
    );
}

#[test]
fn a_copy_whose_store_cannot_be_used_does_not_count() {
    let judged = |fault, state, sentence: &str| {
        let mut core = healthy();
        core.store_faults = vec![(VolumeId(5), NodeId(1), fault)];
        let status = status(&core);
        let volume = &status.volumes[0];
        let replica = &volume.replicas[1];
        assert_eq!(
            (replica.state, replica.recorded),
            (state, ReplicaShown::InSync)
        );
        assert_eq!(replica.store_failed, fault == StoreFault::Failed);
        assert_eq!(
            (status.health, volume.failures_survivable),
            (Health::Degraded, 0)
        );
        assert_eq!(volume.redundancy, sentence);
    };
    judged(
        StoreFault::Failed,
        ReplicaShown::Offline,
        "no failure can be survived: the store of n2 has failed",
    );
    judged(
        StoreFault::Another,
        ReplicaShown::New,
        "no failure can be survived: n2 is new and waits to be filled",
    );
    // The last copy is read as long as that goes well.
    let mut core = healthy();
    core.volumes[0].0.replicas.pop();
    core.store_faults = vec![(VolumeId(5), NodeId(0), StoreFault::Failed)];
    let status = status(&core);
    let volume = &status.volumes[0];
    assert_eq!(volume.replicas[0].state, ReplicaShown::InSync);
    assert!(volume.replicas[0].store_failed && status.health == Health::Degraded);
    assert!(volume.redundancy.contains("the store of n1 has failed"));
}

#[test]
fn progress_of_an_older_term_does_not_count() {
    judged(
        |core| {
            core.volumes[0].0.replicas[1].state = BEHIND;
            resync(core, 1, true, 590, 1000, 50);
            core.volumes[0].1.as_mut().unwrap().term = Term(3);
        },
        Health::Degraded,
        0,
        "no failure can be survived: n2 is behind and waits to be resynced",
    );
}

#[test]
fn three_copies() {
    let third = |core: &mut CoreStatus, state| {
        core.volumes[0].0.replicas.push(ReplicaRecord {
            node: NodeId(2),
            store: StoreId(3),
            state,
        });
    };
    // Votes are the limit.
    judged(
        |core| third(core, IN_SYNC),
        Health::Healthy,
        1,
        "1 failure can be survived",
    );
    judged(
        |core| {
            third(core, BEHIND);
            resync(core, 2, true, 75, 100, 1);
        },
        Health::Degraded,
        1,
        "1 failure can be survived; w1 is behind, 25 %, 75 s left",
    );
    judged(
        |core| {
            third(core, IN_SYNC);
            for node in 3..5 {
                core.voters.insert(NodeId(node));
                core.view.members.push(member(node));
            }
        },
        Health::Healthy,
        2,
        "2 failures can be survived",
    );
}

#[test]
fn what_the_configuration_lacks() {
    judged(
        |core| {
            core.voters = set(&[0, 1]);
        },
        Health::Healthy,
        0,
        "no failure can be survived: n1 and n2 must both vote (a witness would help)",
    );
    judged(
        |core| {
            core.volumes[0].0.replicas.pop();
        },
        Health::Healthy,
        0,
        "no failure can be survived: there is only one copy",
    );
}

#[test]
fn nobody_serves_it() {
    judged(
        |core| {
            core.waiting = vec![(
                VolumeId(5),
                "n1 holds the only in-sync copy and is down".into(),
            )];
            down(core, 0);
        },
        Health::Unavailable,
        0,
        "no failure can be survived: not served now, n1 holds the only in-sync copy and is down",
    );
    judged(
        |core| {
            core.volumes[0].0.primary = None;
        },
        Health::Unavailable,
        0,
        "no failure can be survived: not served now, a new primary is being chosen",
    );
    // The primary has restarted: its grant is void.
    judged(
        |core| core.view.members[0].incarnation = Incarnation(20),
        Health::Unavailable,
        0,
        "no failure can be survived: not served now, a new primary is being chosen",
    );
}

#[test]
fn without_quorum_nothing_recorded_is_told_as_fact() {
    judged(
        |core| {
            core.quorum = false;
            core.no_quorum = Some("no quorum: 1 of 3 voters heard; waiting for n2 or n3".into());
            core.alive = set(&[0]);
        },
        Health::Unavailable,
        0,
        "no failure can be survived: not served now, no quorum: 1 of 3 voters heard; waiting for n2 or n3",
    );
    let mut core = healthy();
    core.quorum = false;
    core.alive = set(&[0]);
    let status = status(&core);
    assert_eq!(status.volumes[0].primary, None);
    assert!(!status.nodes[1].alive && status.nodes[0].alive);
    assert_eq!(status.volumes[0].replicas[1].state, ReplicaShown::Offline);
    assert_eq!(status.volumes[0].replicas[1].recorded, ReplicaShown::InSync);
}

#[test]
fn where_nothing_can_be_agreed_on_no_failure_can_be_survived() {
    judged(
        |core| core.undecided = Some("nobody answers".into()),
        Health::Degraded,
        0,
        "no failure can be survived: nobody answers",
    );
}

#[test]
fn a_voter_that_does_not_answer_has_no_vote_to_count_on() {
    judged(
        |core| core.silent = set(&[2]),
        Health::Degraded,
        0,
        "no failure can be survived: w1 does not answer the leader, though its heartbeats come (is a \
         packet filter in the way of the port `core`?)",
    );
}

#[test]
fn a_link_that_is_cut_here_kills_nobody() {
    let mut core = healthy();
    core.alive = set(&[1, 2]);
    let status = status(&core);
    assert!(status.nodes[0].alive && !status.nodes[0].heard);
    assert_eq!(status.volumes[0].primary.as_deref(), Some("n1"));
}

#[test]
fn a_primary_that_does_not_serve_yet_is_degraded() {
    judged(
        |core| core.volumes[0].1.as_mut().unwrap().serving = false,
        Health::Degraded,
        1,
        "1 failure can be survived",
    );
}

#[test]
fn a_configured_volume_that_does_not_exist_yet_is_unavailable() {
    let mut core = healthy();
    core.volumes.clear();
    assert_eq!(status(&core).health, Health::Unavailable);
}
