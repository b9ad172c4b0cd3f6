//! What a new primary finds that nobody had acknowledged.

use steadfast::types::NodeId;

use super::{Stage, holds, is_in, others, witness};
use crate::queue::{MICRO, MILLI};
use crate::script::Script;

/// A world with so many replicas and a write that all of them get except this one of `others`, who
/// cannot acknowledge it: with the primary and the others.
fn half_written(
    stage: Stage,
    storage: usize,
    except: usize,
) -> Result<(Script, NodeId, Vec<NodeId>), String> {
    let mut s = stage.set(storage)?;
    let (p, rest) = others(&s)?;
    let client = s.client(p)?;
    s.written(client, 7)?;
    s.world.net.hold(p, rest[except], true);
    s.write(client, 7);
    s.wait(MILLI + stage.after(MILLI));
    Ok((s, p, rest))
}

/// w only on P, unacknowledged; P restarts and is promoted, a client reads; S takes over.
pub(super) fn unacknowledged_write_read_in_a_pair(stage: Stage) -> Result<(), String> {
    let (mut s, p, rest) = half_written(stage, 2, 0)?;
    s.world.crash(p, true);
    s.world.net.hold(p, rest[0], false);
    s.world.crash(rest[0], true);
    s.world.plan_start(rest[0], MILLI);
    s.world.plan_start(p, MILLI / 2 + stage.after(300 * MICRO));
    s.until("a primary", |world| world.primary().is_some())?;
    let reader = s.client(witness(&s))?;
    let read = s.read(reader, 7);
    s.answer(read)?;
    s.until("both are in", |world| {
        is_in(world, p) && is_in(world, rest[0])
    })?;
    let (p, _) = others(&s)?;
    s.world.crash(p, true);
    s.until("another primary", |world| {
        world.primary().is_some_and(|n| n != p)
    })?;
    let read = s.read(reader, 7);
    s.answer(read)?;
    s.finish()
}

/// w on P and S2; P dies, S2 takes over, a client reads; S2 dies, S1 takes over.
pub(super) fn new_primary_leaves_its_own_window_out(stage: Stage) -> Result<(), String> {
    let (mut s, p, rest) = half_written(stage, 3, 1)?;
    s.world.crash(p, true);
    s.world.net.hold(p, rest[1], false);
    s.until("a new primary", |world| {
        world.primary().is_some_and(|n| n != p)
    })?;
    let second = s.primary()?;
    let reader = s.client(witness(&s))?;
    let read = s.read(reader, 7);
    s.answer(read)?;
    s.world.plan_start(p, 0);
    s.wait(stage.after(10 * MILLI));
    s.world.crash(second, true);
    s.until("a third primary", |world| {
        world.primary().is_some_and(|n| n != second)
    })?;
    let read = s.read(reader, 7);
    s.answer(read)?;
    s.finish()
}

/// As before, and a survivor's daemon has restarted, so its window is empty.
pub(super) fn survivor_restarted(stage: Stage) -> Result<(), String> {
    let (mut s, p, rest) = half_written(stage, 3, 0)?;
    s.world.crash(rest[1], true);
    s.world.plan_start(rest[1], 0);
    s.world.crash(p, true);
    s.world.net.hold(p, rest[0], false);
    s.wait(40 * MILLI);
    s.world.plan_start(p, 100 * MILLI);
    s.until("a new primary", |world| world.primary().is_some())?;
    let reader = s.client(witness(&s))?;
    let read = s.read(reader, 7);
    s.answer(read)?;
    let second = s.primary()?;
    s.wait(150 * MILLI);
    s.world.crash(second, true);
    s.until("a third primary", |world| {
        world.primary().is_some_and(|n| n != second)
    })?;
    let read = s.read(reader, 7);
    s.answer(read)?;
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
