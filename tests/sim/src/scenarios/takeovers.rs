//! What a new primary finds that nobody had acknowledged.

use steadfast::types::NodeId;

use super::{Stage, holds, is_in, others, witness};
use crate::queue::{MICRO, MILLI};
use crate::script::Script;
use crate::world::event::Part;

/// A write that all replicas get except this one, who cannot acknowledge it and never gets it by the
/// link that is there.
fn half_write(s: &mut Script, p: NodeId, except: NodeId) -> Result<(), String> {
    let client = s.client(p)?;
    s.written(client, 7)?;
    // Everyone is told that this is stable.
    s.wait(20 * MILLI);
    s.delay_links(p, except);
    s.write(client, 7);
    Ok(())
}

/// Cuts two nodes apart, or mends that.
fn cut_off(s: &mut Script, a: NodeId, b: NodeId, cut: bool) {
    for (from, to) in [(a, b), (b, a)] {
        if cut {
            s.world.cut(from, to);
        } else {
            s.world.mend(from, to);
        }
    }
}

/// Reads through the witness.
fn read_by_anyone(s: &mut Script) -> Result<(), String> {
    let reader = s.client(witness(s))?;
    s.is_read(reader, 7)
}

/// Waits until this one is primary.
fn serves(s: &mut Script, node: NodeId) -> Result<(), String> {
    s.until(&format!("n{} serves", node.0), |world| {
        world.primary() == Some(node)
    })
}

/// w only on P, unacknowledged; P restarts and is promoted, for S is slow to say what it has, and the
/// witness does not hear it; a client reads; S takes over.
pub(super) fn unacknowledged_write_read_in_a_pair(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    // It leads no more, if it did: a leader that is busy holds everything up.
    s.world.crash(rest[0], true);
    s.world.plan_start(rest[0], 0);
    s.wait(50 * MILLI);
    s.until("it is in", |world| is_in(world, rest[0]))?;
    half_write(&mut s, p, rest[0])?;
    s.wait(MILLI + stage.after(MILLI));
    let w = witness(&s);
    cut_off(&mut s, rest[0], w, true);
    s.wait(40 * MILLI);
    s.world.stop(rest[0], &[Part::Core], 80 * MILLI);
    s.world.crash(p, true);
    s.world.plan_start(p, 0);
    // It hears S before anything is decided.
    cut_off(&mut s, p, w, true);
    s.wait(25 * MILLI);
    cut_off(&mut s, p, w, false);
    serves(&mut s, p)?;
    cut_off(&mut s, rest[0], w, false);
    read_by_anyone(&mut s)?;
    s.wait(50 * MILLI);
    s.world.crash(p, true);
    serves(&mut s, rest[0])?;
    read_by_anyone(&mut s)?;
    s.finish()
}

/// w on P and S2; P dies, S2 takes over, a client reads; S2 dies, S1 takes over.
pub(super) fn new_primary_leaves_its_own_window_out(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(3)?;
    let (p, rest) = others(&s)?;
    half_write(&mut s, p, rest[1])?;
    s.wait(MILLI + stage.after(MILLI));
    s.world.crash(p, true);
    serves(&mut s, rest[0])?;
    read_by_anyone(&mut s)?;
    // P votes again, but takes part in nothing else.
    s.world.net.hold(rest[0], p, true);
    s.world.plan_start(p, 0);
    s.wait(50 * MILLI);
    s.world.crash(rest[0], true);
    serves(&mut s, rest[1])?;
    read_by_anyone(&mut s)?;
    s.finish()
}

/// w on P and S2, whose daemon restarts, so that its window is empty. P dies, S1 is promoted, and a
/// client reads. The volume is handed to S2 and back, and each time a client reads.
pub(super) fn survivor_restarted(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(3)?;
    let (p, rest) = others(&s)?;
    half_write(&mut s, p, rest[0])?;
    s.wait(MILLI);
    s.world.crash(rest[1], true);
    s.world.plan_start(rest[1], 0);
    s.wait(15 * MILLI + stage.after(3 * MILLI));
    s.world.crash(p, true);
    serves(&mut s, rest[0])?;
    read_by_anyone(&mut s)?;
    for turn in [0, 1] {
        s.world.demote(rest[turn], Some(rest[1 - turn]));
        serves(&mut s, rest[1 - turn])?;
        read_by_anyone(&mut s)?;
    }
    s.finish()
}

/// A voter suspects N, says so, restarts and hears N again; then another suspects N.
pub(super) fn forgotten_promise(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let client = s.client(p)?;
    s.written(client, 7)?;
    let w = witness(&s);
    s.world.cut(p, rest[0]);
    s.world.cut(rest[0], p);
    s.world.cut(p, w);
    s.until("it is excluded", |world| {
        let newest = world.known.views.last_key_value();
        newest.is_some_and(|(_, view)| view.members.iter().all(|member| member.node != p))
    })?;
    s.world.crash(w, false);
    s.world.mend(p, w);
    s.world.plan_start(w, stage.after(900 * MICRO));
    for _ in 0..20 {
        let read = s.read(client, 7);
        s.wait(4 * MILLI);
        let _ = s.is_answered(read);
    }
    s.finish()
}

/// A write that only the primary has is told by its own intent.
pub(super) fn a_write_on_the_primary_only(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let client = s.client(p)?;
    s.world.net.hold(p, rest[0], true);
    s.write(client, 7);
    s.until("the primary has it", |world| holds(world, p, 7))?;
    s.world.crash(p, true);
    s.world.check_stores();
    s.until("the other serves", |world| world.primary() == Some(rest[0]))?;
    s.world.check_stores();
    s.world.plan_start(p, 0);
    s.until("it is in again", |world| is_in(world, p))?;
    s.finish()
}
