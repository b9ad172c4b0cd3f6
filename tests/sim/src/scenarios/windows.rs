//! A change that is sent again when others have written there.

use steadfast::types::NodeId;

use super::{Stage, is_in, is_out, others, same, witness};
use crate::queue::{MICRO, MILLI};
use crate::script::Script;
use crate::world::event::Part;
use crate::world::node::Health;

/// A write takes effect, its answer does not get through, and another gateway reads it and writes
/// there: taking effect again, it would undo the later one. Gives the first one's client.
fn overwritten(s: &mut Script, p: NodeId, other: usize) -> Result<usize, String> {
    let first = s.client(witness(s))?;
    s.written(first, 7)?;
    s.delay_links(p, witness(s));
    s.write(first, 7);
    s.wait(3 * MILLI);
    s.is_read(other, 7)?;
    s.written(other, 7)?;
    Ok(first)
}

/// Waits until the write has been sent again, or its client was sent away, and reads.
fn read_after(s: &mut Script, first: usize) -> Result<(), String> {
    s.until("the write is answered", |world| {
        world.clients[first].is_idle()
    })?;
    let reader = s.client(witness(s))?;
    s.is_read(reader, 7)
}

/// A write's answer is lost; the gateway sends it again after others wrote there.
pub(super) fn window_pruned_at_stable(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let other = s.client(rest[0])?;
    let first = overwritten(&mut s, p, other)?;
    s.wait(stage.after(5 * MILLI));
    s.world.crash(p, true);
    read_after(&mut s, first)?;
    s.finish()
}

/// As before, and both daemons restart in between, so that the windows are gone everywhere.
pub(super) fn window_lost_in_a_restart(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let other = s.client(rest[0])?;
    let first = overwritten(&mut s, p, other)?;
    s.world.crash(p, true);
    s.world.crash(rest[0], true);
    s.world.plan_start(p, MILLI);
    s.world.plan_start(rest[0], stage.after(MILLI / 2));
    read_after(&mut s, first)?;
    s.finish()
}

/// As before, and the replica that takes over has joined in between.
pub(super) fn window_not_handed_over_in_grow(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let other = s.client(p)?;
    s.written(other, 300)?;
    s.world.crash(rest[0], true);
    s.until("it is out", |world| is_out(world, rest[0]))?;
    let first = overwritten(&mut s, p, other)?;
    s.world.plan_start(rest[0], MILLI);
    s.until("it is in", |world| is_in(world, rest[0]))?;
    s.wait(stage.after(5 * MILLI));
    s.world.crash(p, true);
    read_after(&mut s, first)?;
    s.finish()
}

/// w on P and S2; P dies, S1 takes over and overwrites it on S2, but dies before it can say that all
/// is reconciled. S2 takes over, and S1's restarted daemon follows. Then w is sent again.
pub(super) fn overwritten_counts_as_applied(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(3)?;
    let (p, rest) = others(&s)?;
    let gateway = witness(&s);
    let client = s.client(gateway)?;
    s.written(client, 7)?;
    s.wait(20 * MILLI);
    s.delay_links(p, rest[0]);
    // The gateway does not get through to S1.
    s.world.net.hold(gateway, rest[0], true);
    s.world.net.hold(rest[0], gateway, true);
    let write = s.write(client, 7);
    s.until("S2 has it", |world| !same(world, rest[0], rest[1], 7))?;
    s.world.crash(p, true);
    s.until("S2 has it no more", |world| {
        same(world, rest[0], rest[1], 7)
    })?;
    s.world.crash(rest[0], true);
    for node in [p, rest[0]] {
        s.world.plan_start(node, 0);
    }
    // P votes; S1 is heard, and says too late what it has.
    s.wait(100 * MICRO);
    s.world
        .stop(rest[0], &[Part::Core], 20 * MILLI + stage.after(8 * MILLI));
    s.until("S2 serves", |world| world.primary() == Some(rest[1]))?;
    s.answer(write)?;
    s.is_read(client, 7)?;
    s.finish()
}

/// O2 is on P and S1, not on S2, where an older change O1 of the same place is held as well. S1 takes
/// over and dies as soon as its first piece of that place is on S2; S2 takes over, a client sees O2 and
/// overwrites it, and O2 is sent again.
pub(super) fn a_piece_brings_a_newer_change(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(3)?;
    let (p, rest) = others(&s)?;
    let gateway = witness(&s);
    let first = s.client(gateway)?;
    let other = s.client(rest[1])?;
    s.written(first, 9)?;
    s.written(other, 8)?;
    // A write is slow on P's disk: nothing after it is stable.
    s.world.nodes[usize::from(p.0)].health = Health::Stuck;
    s.write(other, 8);
    s.wait(MILLI);
    s.world.nodes[usize::from(p.0)].health = Health::Well;
    s.written(other, 7)?;
    s.world.net.hold(p, rest[1], true);
    let again = s.write(first, 7);
    s.until("S1 has it", |world| !same(world, rest[0], rest[1], 7))?;
    for node in [rest[0], rest[1]] {
        s.world.net.hold(gateway, node, true);
        s.world.net.hold(node, gateway, true);
    }
    s.wait(stage.after(MILLI));
    s.world.crash(p, true);
    s.until("S2 has it", |world| same(world, rest[0], rest[1], 7))?;
    s.world.crash(rest[0], true);
    // P votes, and says nothing of what it has.
    s.world.plan_start(p, 0);
    s.world.net.hold(p, rest[1], true);
    s.until("S2 serves", |world| world.primary() == Some(rest[1]))?;
    s.is_read(other, 7)?;
    s.written(other, 7)?;
    for node in [rest[0], rest[1]] {
        s.world.net.hold(gateway, node, false);
        s.world.net.hold(node, gateway, false);
    }
    s.answer(again)?;
    s.is_read(other, 7)?;
    s.finish()
}
