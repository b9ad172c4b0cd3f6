//! Votes that count for less, or are remembered for less long, than whoever gave them believes.

use steadfast::member::io::CoreStatus;
use steadfast::types::NodeId;

use super::{Stage, others, witness};
use crate::options::Options;
use crate::queue::{MICRO, MILLI};
use crate::script::Script;
use crate::world::World;
use crate::world::event::Part;

fn status(world: &World, node: NodeId) -> Option<CoreStatus> {
    let now = world.now();
    let node = world.node(node);
    let run = node.run.as_ref()?;
    Some(run.core.status(node.now(now)))
}

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
    s.world.cut(p, standby);
    s.world.cut(standby, p);
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
    s.world.cut(p, w);
    s.world.cut(w, p);
    s.world.mend(standby, w);
    s.wait(60 * MILLI);
    s.world.mend(p, w);
    s.world.mend(w, p);
    s.wait(30 * MILLI);
    s.world.mend(p, standby);
    s.world.mend(standby, p);
    s.finish()
}

/// A asks V for its vote with an entry that is on V and on the leader, where it is agreed, but not
/// durable on A. A restarts without it, and asks in the same term again; V's vote for A's run before
/// is late. Did it count, A would lead without the entry.
pub(super) fn a_vote_for_the_run_before(stage: Stage) -> Result<(), String> {
    let mut s = slow_logs(stage)?;
    let leads = |world: &World, node: NodeId| {
        status(world, node).is_some_and(|status| status.leader == Some(node))
    };
    let voters = (0..3).map(NodeId);
    let leader = voters.clone().find(|&node| leads(&s.world, node));
    let leader = leader.ok_or("nobody leads")?;
    let mut rest = voters.filter(|&node| node != leader);
    let (Some(a), Some(v)) = (rest.next(), rest.next()) else {
        return Err("three voters".to_owned());
    };
    let (end, old) = {
        let status = status(&s.world, leader).ok_or("it runs")?;
        (status.last, status.term)
    };
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
