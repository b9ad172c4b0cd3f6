//! One core, and what the others say to it: whose votes count, and whose word on how the cluster began.

use std::collections::BTreeMap;

use super::cluster::CLUSTER;
use crate::member::Canaries;
use crate::member::core::{Core, CoreConfig};
use crate::member::entry::{Command, Entry};
use crate::member::io::{CoreEffect, CoreEvent, Member, PulseSignal, Timing};
use crate::member::liveness::Liveness;
use crate::member::log::{self, Birth, Geometry, Log};
use crate::member::message::{Arrival, Envelope, LogEnd, Message, Outlook};
use crate::member::state::State;
use crate::types::{BootId, Incarnation, Index, LogId, NodeId, NodeSet, Time};

const ME: NodeId = NodeId(0);
const OTHER: NodeId = NodeId(1);
const NOW: Time = Time(1_000_000_000);
/// The run of the other one that is heard.
const RUN: Incarnation = Incarnation(5);

fn founders() -> BTreeMap<NodeId, LogId> {
    (0..3).map(|node| (NodeId(node), log_id(node))).collect()
}

const fn log_id(node: u8) -> LogId {
    LogId(10 + node as u64)
}

/// A voter of three, in a cluster that has begun or not, that hears another one.
fn voter(founded: bool) -> Core {
    let mut disk = vec![0; Geometry::SMALL.pages() as usize * 4096];
    let birth = Birth {
        id: log_id(0),
        used: Incarnation(0),
    };
    let put = |disk: &mut Vec<u8>, page: &crate::member::io::Page| {
        let at = page.number as usize * 4096;
        disk[at..at + 4096].copy_from_slice(&page.bytes[..]);
    };
    for page in log::format(CLUSTER, ME, Geometry::SMALL, birth) {
        put(&mut disk, &page);
    }
    let recovered = log::recover(&disk, CLUSTER, ME).unwrap();
    if founded {
        let mut log = Log::new(recovered);
        let command = Command::Found(founders());
        assert!(log.put(Index(1), Entry { term: 0, command }));
        let (_, pages) = log.write().unwrap();
        pages.iter().for_each(|page| put(&mut disk, page));
    }
    let recovered = log::recover(&disk, CLUSTER, ME).unwrap();
    let config = CoreConfig {
        me: ME,
        names: ["n1", "n2", "n3"].map(String::from).to_vec(),
        voters: (0..3).map(NodeId).collect(),
        timing: Timing::every(std::time::Duration::from_millis(10)),
        boot: BootId(1),
        canaries: Canaries::default(),
    };
    let mut effects = Vec::new();
    let mut core = Core::new(config, recovered, NOW, &mut effects);
    perform(&mut core, effects);
    let heard = PulseSignal::Heard {
        node: OTHER,
        incarnation: RUN,
        boot: BootId(2),
    };
    step(&mut core, CoreEvent::Pulse(heard));
    core
}

/// The disk is fast.
fn perform(core: &mut Core, effects: Vec<CoreEffect>) {
    for effect in effects {
        if let CoreEffect::Persist { ticket, .. } = effect {
            step(core, CoreEvent::Persisted { ticket });
        }
    }
}

fn step(core: &mut Core, event: CoreEvent) {
    let mut effects = Vec::new();
    core.step(NOW, event, &mut effects);
    perform(core, effects);
}

fn says(core: &mut Core, message: &Message) {
    let body = message.encode().unwrap();
    let envelope = Envelope {
        from: OTHER,
        to: ME,
        relayed: false,
        body: &body,
    };
    let bytes = envelope.seal();
    step(core, CoreEvent::Message { from: OTHER, bytes });
}

/// What the other one says when it has no leader.
fn outlook(sequence: u64) -> Outlook {
    Outlook {
        incarnation: RUN,
        sequence,
        leaderless: true,
        end: LogEnd {
            term: 0,
            index: Index(1),
        },
        log: log_id(1),
        enrolled: true,
        founders: founders(),
        ..Outlook::default()
    }
}

#[test]
fn a_vote_for_an_earlier_run_or_of_another_log_does_not_count() {
    let mut core = voter(true);
    says(&mut core, &Message::Outlook(outlook(1)));
    let term = core.status(NOW).term;
    assert!(term > 0, "it stands, as two of three have no leader");
    let run = core.incarnation();
    let vote = |run, sequence, log| Message::Voted {
        term,
        run,
        outlook: Outlook {
            log,
            ..outlook(sequence)
        },
    };
    says(&mut core, &vote(Incarnation(run.0 - 1), 2, log_id(1)));
    assert_eq!(core.status(NOW).leader, None, "asked by the run before");
    says(&mut core, &vote(run, 3, LogId(99)));
    assert_eq!(
        core.status(NOW).leader,
        None,
        "of a log that does not count"
    );
    says(&mut core, &vote(run, 4, log_id(1)));
    assert_eq!(core.status(NOW).leader, Some(ME));
}

#[test]
fn heartbeats_without_answers_are_told_as_what_they_are() {
    let mut core = voter(true);
    let (node, heard) = (OTHER, true);
    step(
        &mut core,
        CoreEvent::Pulse(PulseSignal::Hearing { node, heard }),
    );
    let later = NOW.after(std::time::Duration::from_millis(330));
    let lately = NOW.after(std::time::Duration::from_millis(310));
    assert_eq!(core.status(lately).undecided, None, "it may yet be heard");
    let why = core.status(later).undecided.unwrap();
    assert!(why.contains("no leader is heard"), "{why}");

    says(&mut core, &Message::Outlook(outlook(1)));
    let (term, run) = (core.status(NOW).term, core.incarnation());
    let voted = Message::Voted {
        term,
        run,
        outlook: outlook(2),
    };
    says(&mut core, &voted);
    assert_eq!(core.status(NOW).leader, Some(ME));
    assert_eq!(core.status(lately).undecided, None);
    let why = core.status(later).undecided.unwrap();
    assert!(why.contains("too few voters answer"), "{why}");
    let status = core.status(later);
    assert!(status.quorum, "heartbeats come");
    assert_eq!(status.silent, [OTHER].into_iter().collect());
    assert_eq!(core.status(lately).silent, NodeSet::EMPTY);
}

#[test]
fn a_voter_whose_log_does_not_count_brings_no_election() {
    let mut core = voter(true);
    for (sequence, enrolled, log) in [(1, false, log_id(1)), (2, true, LogId(99))] {
        let told = Outlook {
            enrolled,
            log,
            ..outlook(sequence)
        };
        says(&mut core, &Message::Outlook(told));
        assert_eq!(core.status(NOW).term, 0);
    }
}

#[test]
fn only_who_hears_this_run_is_believed_how_the_cluster_began() {
    let me = |incarnation| Arrival {
        node: ME,
        incarnation,
        boot: BootId(1),
    };
    let mut core = voter(false);
    let mine = core.incarnation();
    let earlier = Outlook {
        arrivals: vec![me(Incarnation(mine.0 - 1))],
        ..outlook(1)
    };
    let other_run = Outlook {
        incarnation: Incarnation(RUN.0 - 1),
        arrivals: vec![me(mine)],
        ..outlook(1)
    };
    let others = (1..4).map(|node| (NodeId(node), log_id(node))).collect();
    let not_mine = Outlook {
        arrivals: vec![me(mine)],
        founders: others,
        ..outlook(2)
    };
    for told in [other_run, earlier, not_mine] {
        says(&mut core, &Message::Outlook(told));
        assert_eq!(core.status(NOW).last, Index(0), "its log is blank");
        assert!(!core.is_enrolled());
    }
    let told = Outlook {
        arrivals: vec![me(mine)],
        ..outlook(3)
    };
    says(&mut core, &Message::Outlook(told));
    assert_eq!(core.status(NOW).committed, Index(1));
    assert!(core.is_enrolled());
}

#[test]
fn a_voter_that_is_a_member_is_told_that_it_is_heard() {
    let member = |node, incarnation| Member {
        node: NodeId(node),
        incarnation,
        boot: BootId(1),
    };
    let mut state = State::default();
    let voters = (0..2).map(NodeId).collect();
    let interval = std::time::Duration::from_millis(10);
    let mut liveness = Liveness::new(member(0, RUN), voters, interval);
    for node in [1, 2] {
        let admit = Command::Admit(member(node, RUN));
        state.apply(Index(1), &admit, &Canaries::default());
        liveness.signal(PulseSignal::Heard {
            node: NodeId(node),
            incarnation: RUN,
            boot: BootId(1),
        });
    }
    let told = liveness.outlook(&state).arrivals;
    let told: Vec<_> = told.iter().map(|it| (it.node, it.incarnation)).collect();
    assert_eq!(told, [(NodeId(1), RUN)], "the learner is no news");
}
