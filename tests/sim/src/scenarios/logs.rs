//! Cluster logs that are lost.

use steadfast::types::NodeId;

use super::{Stage, join, others, part, status, witness};
use crate::options::Options;
use crate::queue::{MICRO, MILLI};
use crate::world::World;

fn follows(world: &World, node: NodeId) -> Option<NodeId> {
    status(world, node)?.leader
}

/// While the witness W is cut off, A is elected with the vote of B. B loses its log, and with W, which
/// still is in the term before, it elects a second leader of A's term.
pub(super) fn a_lost_log_votes_again(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let (standby, w) = (rest[0], witness(&s));
    let client = s.client(p)?;
    s.written(client, 7)?;
    part(&mut s.world, p, w);
    part(&mut s.world, standby, w);
    s.wait(100 * MILLI);
    s.world.crash(p, true);
    s.world.plan_start(p, MILLI);
    s.until("a primary, by a leader of the two", |world| {
        let leads = follows(world, p);
        let one_of_two = leads.is_some_and(|node| node != w);
        one_of_two && leads == follows(world, standby) && world.primary().is_some()
    })?;
    s.wait(stage.after(5 * MILLI));
    let a = follows(&s.world, p)
        .filter(|&node| node == p)
        .unwrap_or(standby);
    let b = if a == p { standby } else { p };
    s.world.lose_log(b);
    part(&mut s.world, a, b);
    join(&mut s.world, b, w);
    s.world.plan_start(b, MILLI);
    s.wait(200 * MILLI);
    join(&mut s.world, a, b);
    join(&mut s.world, a, w);
    s.wait(200 * MILLI);
    s.finish()
}

/// The primary P is cut off and excluded, by S and the witness W. W loses its log, and its promise with
/// it, and hears P before it hears from S.
pub(super) fn a_lost_log_keeps_an_old_lease(stage: Stage) -> Result<(), String> {
    let mut options = Options::quiet(0x5ce + stage.moment);
    options.weather.delay = 1500 * MICRO;
    let mut s = stage.set_with(options)?;
    let (p, rest) = others(&s)?;
    let w = witness(&s);
    part(&mut s.world, p, w);
    part(&mut s.world, p, rest[0]);
    s.until("the standby is primary", |world| {
        world.primary() == Some(rest[0])
    })?;
    s.wait(100 * MILLI + stage.after(700 * MICRO));
    s.world.lose_log(w);
    join(&mut s.world, p, w);
    s.world.plan_start(w, 0);
    s.wait(100 * MILLI);
    join(&mut s.world, p, rest[0]);
    s.wait(100 * MILLI);
    s.finish()
}
