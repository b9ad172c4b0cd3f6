//! Rules of the design that no row of the list is about.

use steadfast::types::NodeId;

use super::{Stage, is_in, is_out, join, leader, others, status, witness};
use crate::options::Options;
use crate::queue::{MICRO, MILLI};
use crate::script::Script;
use crate::world::World;
use crate::world::event::Part;

fn cut_off(world: &mut World, node: NodeId) {
    for other in (0..world.nodes.len() as u8).map(NodeId) {
        world.cut(node, other);
        world.cut(other, node);
    }
}

fn suspects(world: &World, node: NodeId, other: NodeId) -> bool {
    status(world, node).is_some_and(|status| !status.alive.contains(other))
}

/// Waits until this one is primary.
fn serves(s: &mut Script, node: NodeId) -> Result<(), String> {
    s.until(&format!("n{} serves", node.0), |world| {
        world.primary() == Some(node)
    })
}

/// P is cut off with a client of its own; S takes over, and a client of S writes. What P says to its
/// client then is old.
pub(super) fn answers_without_a_lease(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let alone = s.client(p)?;
    s.written(alone, 7)?;
    s.wait(stage.after(3 * MILLI));
    cut_off(&mut s.world, p);
    serves(&mut s, rest[0])?;
    let other = s.client(rest[0])?;
    s.written(other, 7)?;
    let asked = s.read(alone, 7);
    s.wait(30 * MILLI);
    let _ = s.is_answered(asked);
    s.finish()
}

/// P is cut off until it is suspected, and heard again by one voter while the entry that excludes it
/// is on its way to that one.
pub(super) fn a_voter_that_promised_hears_it_again(stage: Stage) -> Result<(), String> {
    let mut options = Options::quiet(0x5ce + stage.moment);
    options.weather.delay = 3 * MILLI;
    let mut s = stage.set_with(options)?;
    let leader = leader(&s)?;
    let (old, rest) = others(&s)?;
    let p = if old == leader {
        // An election would be in the way.
        s.world.demote(old, Some(rest[0]));
        serves(&mut s, rest[0])?;
        rest[0]
    } else {
        old
    };
    let mut voters = (0..3).map(NodeId);
    let voter = voters.find(|&node| node != p && node != leader);
    let voter = voter.unwrap_or(leader);
    cut_off(&mut s.world, p);
    s.until("it is suspected", |world| suspects(world, leader, p))?;
    s.until("the other one suspects it", |world| {
        suspects(world, voter, p)
    })?;
    join(&mut s.world, p, voter);
    s.wait(60 * MILLI);
    join(&mut s.world, p, leader);
    s.finish()
}

/// S was out while P wrote, and has not been brought up to date when P dies.
pub(super) fn a_replica_behind_is_not_promoted(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let client = s.client(witness(&s))?;
    s.written(client, 7)?;
    s.world.crash(rest[0], true);
    s.until("it is out", |world| is_out(world, rest[0]))?;
    s.written(client, 7)?;
    s.world.net.hold(p, rest[0], true);
    s.world.plan_start(rest[0], 0);
    s.wait(60 * MILLI);
    s.world.crash(p, true);
    s.read(client, 7);
    s.wait(100 * MILLI);
    s.finish()
}

/// w is on P only; a client asks P for it; P dies.
pub(super) fn a_read_of_what_only_the_primary_has(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let (client, reader) = (s.client(p)?, s.client(witness(&s))?);
    s.written(client, 7)?;
    // Everyone is told that this is stable.
    s.wait(20 * MILLI);
    s.delay_links(p, rest[0]);
    s.write(client, 7);
    s.wait(MILLI + stage.after(300 * MICRO));
    s.read(reader, 7);
    s.wait(3 * MILLI);
    s.world.crash(p, true);
    serves(&mut s, rest[0])?;
    s.is_read(reader, 7)?;
    s.finish()
}

/// A client's flush is answered; then S loses its power.
pub(super) fn flushed_on_one_only(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let client = s.client(p)?;
    for block in 7..11 {
        s.written(client, block)?;
    }
    let flush = s.flush(client);
    s.answer(flush)?;
    // Intents are cleared when nothing happens.
    s.wait(200 * MILLI);
    s.world.power_off(rest[0]);
    s.world.check_stores();
    s.finish()
}

/// S's disk is replaced, P writes, and S's first disk comes back: for the log it holds nothing of use,
/// so that all of it is compared with P's.
pub(super) fn a_copy_that_is_needed(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let client = s.client(p)?;
    s.written(client, 7)?;
    s.world.replace_disk(rest[0]);
    s.until("it is out", |world| is_out(world, rest[0]))?;
    s.world.plan_start(rest[0], 0);
    s.until("the new disk is in", |world| is_in(world, rest[0]))?;
    s.written(client, 7)?;
    s.world.put_disk_back(rest[0]);
    s.until("it is out again", |world| is_out(world, rest[0]))?;
    s.world.plan_start(rest[0], 0);
    s.until("the old disk is in", |world| is_in(world, rest[0]))?;
    s.finish()
}

/// A write waits for its flush, and another one of the same place would overtake it. P dies before
/// the first is answered, and is primary again, having forgotten what it has done; it is sent again.
pub(super) fn overlapping_writes_are_held(stage: Stage) -> Result<(), String> {
    let mut options = Options::quiet(0x5ce + stage.moment);
    options.shared = false;
    options.witness = false;
    options.disk.flush = 20 * MILLI;
    let mut s = stage.set_with(options)?;
    let (p, rest) = others(&s)?;
    let client = s.client(rest[0])?;
    s.written(client, 7)?;
    let first = s.write_through(client, 7);
    s.wait(MILLI);
    let read = s.read(client, 7);
    s.wait(MILLI);
    let second = s.write(client, 7);
    s.wait(MILLI + stage.after(200 * MICRO));
    s.world.crash(p, true);
    s.world.plan_start(p, MILLI);
    for asked in [first, read, second] {
        s.answer(asked)?;
    }
    s.is_read(client, 7)?;
    s.finish()
}

/// P's link to S breaks, and what it says on the next one is late: it is excluded, and S serves.
pub(super) fn an_attach_of_an_older_term(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let standby = rest[0];
    let client = s.client(witness(&s))?;
    s.written(client, 7)?;
    s.world.net.hold(p, standby, true);
    for (link, _) in s.world.links_between(p, standby) {
        s.world.half_reset_link(link);
    }
    // It connects again, and is stopped as soon as it has.
    s.wait(stage.after(2 * MILLI));
    s.world.stop(p, &Part::ALL, 80 * MILLI);
    serves(&mut s, standby)?;
    s.world.net.hold(p, standby, false);
    s.wait(5 * MILLI);
    s.write(client, 7);
    s.wait(30 * MILLI);
    s.finish()
}

/// P's daemon is killed and starts again at once, before anybody has decided anything.
pub(super) fn a_restarted_primary(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, _) = others(&s)?;
    let client = s.client(witness(&s))?;
    s.written(client, 7)?;
    s.write(client, 7);
    s.wait(stage.after(50 * MICRO));
    s.world.crash(p, false);
    s.world.plan_start(p, 0);
    s.wait(100 * MILLI);
    s.finish()
}

/// A request is on its way when P dies: the client is answered all the same.
pub(super) fn a_gateway_loses_its_primary(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let client = s.client(witness(&s))?;
    s.written(client, 7)?;
    s.delay_links(p, witness(&s));
    s.write(client, 7);
    s.wait(MILLI);
    s.world.crash(p, true);
    serves(&mut s, rest[0])?;
    s.finish()
}
