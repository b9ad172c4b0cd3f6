//! Votes that count for less, or are remembered for less long, than whoever gave them believes.

use steadfast::types::{Index, NodeId};

use super::{Stage, join, leader, others, part, status, witness};
use crate::options::Options;
use crate::queue::{MICRO, MILLI};
use crate::script::Script;
use crate::world::World;
use crate::world::event::Part;

fn term(world: &World, node: NodeId) -> u64 {
    status(world, node).map_or(0, |status| status.term)
}

/// A pair and a witness whose logs are slow to be durable.
fn slow_logs(stage: Stage) -> Result<Script, String> {
    let mut options = Options::quiet(0x5ce + stage.moment);
    options.disk.page = 4 * MILLI;
    stage.set_with(options)
}

/// P and S do not hear each other, and both ask the witness W for its vote in the same term. W votes
/// for P, loses its power, has forgotten it and votes for S: two leaders of one term.
pub(super) fn a_vote_is_forgotten(stage: Stage) -> Result<(), String> {
    let mut s = slow_logs(stage)?;
    let (p, rest) = others(&s)?;
    let (standby, w) = (rest[0], witness(&s));
    let before = term(&s.world, w);
    part(&mut s.world, p, standby);
    let all = [p, standby, w];
    for node in all {
        s.world.power_off(node);
    }
    // It hears W, so that it asks; W does not hear it yet.
    s.world.cut(standby, w);
    for node in all {
        s.world.plan_start(node, 0);
    }
    s.until("W votes", |world| term(world, w) > before)?;
    s.wait(100 * MICRO + stage.after(50 * MICRO));
    s.world.power_off(w);
    s.world.plan_start(w, 0);
    part(&mut s.world, p, w);
    s.world.mend(standby, w);
    s.wait(60 * MILLI);
    join(&mut s.world, p, w);
    s.wait(30 * MILLI);
    join(&mut s.world, p, standby);
    s.finish()
}

/// A asks V for its vote with an entry that is on V and on the leader, where it is agreed, but not
/// durable on A. A restarts without it, and asks in the same term again; V's vote for A's run before
/// is late. Did it count, A would lead without the entry.
pub(super) fn a_vote_for_the_run_before(stage: Stage) -> Result<(), String> {
    let mut s = slow_logs(stage)?;
    let leader = leader(&s)?;
    // The lower number stands first.
    let (a, v) = match leader.0 {
        0 => (NodeId(1), NodeId(2)),
        1 => (NodeId(0), NodeId(2)),
        _ => (NodeId(0), NodeId(1)),
    };
    let end = status(&s.world, leader).map_or(Index(0), |status| status.last);
    let old = term(&s.world, leader);
    let began = s.world.now();
    let wake = 40 * MILLI;
    s.world.stop(a, &[Part::Core], wake);
    // Its gateway opens a session: an entry.
    s.world.add_client(leader);
    s.until("V has the entry", |world| {
        status(world, v).is_some_and(|status| status.last > end)
    })?;
    // That it is agreed V does not hear.
    s.world.cut(leader, v);
    s.until("the entry is agreed", |world| {
        status(world, leader).is_some_and(|status| status.committed > end)
    })?;
    s.world.mend(leader, v);
    s.world.crash(leader, true);
    // What V says from here on, that it has no leader, comes when A has restarted.
    let until = began + 25 * MILLI;
    s.wait(until.saturating_sub(s.world.now()));
    let again = began + wake + 12 * MILLI;
    s.world.net.clog(v, a, again);
    s.until("A asks", |world| term(world, a) > old)?;
    let counted = again + 10 * MILLI + stage.after(MILLI / 2);
    s.world.net.clog(v, a, counted);
    s.until("V votes", |world| term(world, v) > old)?;
    s.world.cut(a, v);
    s.world.crash(a, false);
    s.world.plan_start(a, 0);
    s.wait(counted.saturating_sub(s.world.now()));
    s.world.mend(a, v);
    s.wait(30 * MILLI);
    s.world.plan_start(leader, 0);
    s.wait(100 * MILLI);
    s.finish()
}

/// P and S do not hear each other, and W votes for one of them only, though both ask in the same term.
pub(super) fn one_voter_two_candidates(stage: Stage) -> Result<(), String> {
    let mut s = slow_logs(stage)?;
    let (p, rest) = others(&s)?;
    let standby = rest[0];
    part(&mut s.world, p, standby);
    let all = [p, standby, witness(&s)];
    for node in all {
        s.world.power_off(node);
    }
    for node in all {
        s.world.plan_start(node, 0);
    }
    s.wait(80 * MILLI);
    join(&mut s.world, p, standby);
    s.finish()
}

/// All lose their power right when an entry has been agreed, and the leader comes back last.
pub(super) fn agreed_and_not_durable(stage: Stage) -> Result<(), String> {
    let mut s = slow_logs(stage)?;
    let leader = leader(&s)?;
    let end = status(&s.world, leader).map_or(Index(0), |status| status.last);
    let voters = (0..3).map(NodeId);
    // They get it when the leader has it.
    let late = s.world.now() + 12 * MILLI;
    for node in voters.clone() {
        s.world.net.clog(leader, node, late);
    }
    s.world.add_client(leader);
    s.until("the entry is agreed", |world| {
        status(world, leader).is_some_and(|status| status.committed > end)
    })?;
    voters.clone().for_each(|node| s.world.power_off(node));
    for node in voters.filter(|node| *node != leader) {
        s.world.plan_start(node, 0);
    }
    s.wait(200 * MILLI);
    s.world.plan_start(leader, 0);
    s.wait(100 * MILLI);
    s.finish()
}
