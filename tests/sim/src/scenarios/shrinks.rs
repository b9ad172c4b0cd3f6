//! What is in flight when a replica leaves, or comes back.

use steadfast::record::VolumeChange;
use steadfast::types::NodeId;

use super::{Stage, holds, is_in, is_out, others, witness};
use crate::options::Options;
use crate::queue::{MICRO, MILLI, SECOND};
use crate::script::NEVER;
use crate::world::node::Health;

/// P proposes shrink(S); S's acknowledgement arrives after all; P loses power; shrink commits.
pub(super) fn shrink_overtakes_power_loss(stage: Stage) -> Result<(), String> {
    let mut s = stage.set_with(Options {
        // Nothing is flushed but for the shrink.
        idle: SECOND,
        ..Options::quiet(0x5ce + stage.moment)
    })?;
    let (p, rest) = others(&s)?;
    let client = s.client(witness(&s))?;
    s.written(client, 7)?;
    s.world.net.hold(rest[0], p, true);
    let asked = s.write(client, 7);
    s.until("shrink is proposed", |world| {
        matches!(world.proposed, Some((_, _, VolumeChange::Shrink { .. })))
    })?;
    // The proposal is on its way while the acknowledgement arrives.
    let now = s.world.now();
    for node in 0..3 {
        if NodeId(node) != p {
            s.world.net.clog(p, NodeId(node), now + 12 * MILLI);
        }
    }
    s.world.net.hold(rest[0], p, false);
    s.wait(10 * MILLI + stage.after(300 * MICRO));
    let _ = s.is_answered(asked);
    s.world.power_off(p);
    s.wait(60 * MILLI);
    s.finish()
}

/// grow(S) is delayed; an older shrink(S) commits; then grow arrives.
pub(super) fn late_proposal(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let (client, reader) = (s.client(p)?, s.client(witness(&s))?);
    s.written(client, 7)?;
    s.world.crash(rest[0], true);
    s.until("it is out", |world| is_out(world, rest[0]))?;
    s.world.plan_start(rest[0], MILLI);
    s.until("grow is proposed", |world| {
        matches!(world.proposed, Some((_, _, VolumeChange::Grow { .. })))
    })?;
    let late = s
        .world
        .proposed
        .ok_or_else(|| format!("{NEVER}a proposal"))?;
    s.until("it is in", |world| is_in(world, rest[0]))?;
    s.world.crash(rest[0], true);
    s.until("it is out again", |world| is_out(world, rest[0]))?;
    s.written(client, 7)?;
    for node in 0..3 {
        s.world.propose(NodeId(node), late.1, late.2);
    }
    s.wait(30 * MILLI);
    s.world.crash(p, true);
    s.world.plan_start(rest[0], 0);
    s.read(reader, 7);
    s.wait(100 * MILLI);
    s.finish()
}

/// w on P and S2, not on S1, unacknowledged; S1 is shrunk out; P dies.
pub(super) fn bitmap_gap_at_shrink(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(3)?;
    let (p, rest) = others(&s)?;
    let client = s.client(witness(&s))?;
    s.world.net.hold(p, rest[0], true);
    s.write(client, 7);
    s.until("the second has it", |world| holds(world, rest[1], 7))?;
    s.until("the first is out", |world| is_out(world, rest[0]))?;
    s.wait(stage.after(150 * MICRO));
    s.world.crash(p, true);
    s.world.net.hold(p, rest[0], false);
    s.until("a new primary", |world| {
        world.primary().is_some_and(|n| n != p)
    })?;
    s.until("the first is in", |world| is_in(world, rest[0]))?;
    s.world.crash(rest[1], true);
    s.wait(100 * MILLI);
    s.finish()
}

/// S1 leaves, S2 grows after that; P dies; S1 returns to S2.
pub(super) fn bitmap_gap_at_grow(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(3)?;
    let (p, rest) = others(&s)?;
    let client = s.client(p)?;
    for block in [7, 300] {
        s.written(client, block)?;
    }
    // No intent of the first tells instead.
    s.wait(200 * MILLI);
    s.world.crash(rest[1], true);
    s.until("the second is out", |world| is_out(world, rest[1]))?;
    s.world.crash(rest[0], true);
    // Three of four are needed.
    s.world.plan_start(rest[1], 0);
    s.world.net.hold(p, rest[1], true);
    s.until("the first is out", |world| is_out(world, rest[0]))?;
    s.written(client, 7)?;
    let flush = s.flush(client);
    s.answer(flush)?;
    // Intents are cleared when nothing happens.
    s.wait(200 * MILLI);
    s.world.net.hold(p, rest[1], false);
    s.until("the second is in", |world| is_in(world, rest[1]))?;
    // From now on the second marks what the first misses.
    s.written(client, 300)?;
    s.wait(200 * MILLI);
    s.world.plan_start(rest[0], 100 * MILLI);
    s.world.crash(p, true);
    s.until("the first is in", |world| is_in(world, rest[0]))?;
    let reader = s.client(rest[0])?;
    let read = s.read(reader, 7);
    s.answer(read)?;
    s.world.check_stores();
    s.finish()
}

/// w on P and S, answered and not flushed. P hears S no more, flushes and proposes shrink(S); S, which
/// still hears P, loses its power before that is decided.
pub(super) fn who_leaves_hears_no_watermark(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let client = s.client(p)?;
    let w = witness(&s);
    s.written(client, 7)?;
    s.world.cut(rest[0], p);
    s.world.cut(rest[0], w);
    // Something is owed.
    s.write(client, 600);
    s.until("shrink is proposed", |world| {
        matches!(world.proposed, Some((_, _, VolumeChange::Shrink { .. })))
    })?;
    s.world.cut(p, w);
    s.wait(stage.after(20 * MILLI));
    s.world.power_off(rest[0]);
    s.world.mend(p, w);
    s.until("it is out", |world| is_out(world, rest[0]))?;
    s.world.check_stores();
    s.finish()
}

/// S returns; a change that it was sent while it did not count waits for its intent when S has
/// everything else. S loses its power after a client's flush.
pub(super) fn grown_with_changes_owed(stage: Stage) -> Result<(), String> {
    let mut s = stage.set_with(Options {
        idle: 2 * MILLI,
        ..Options::quiet(0x5ce + stage.moment)
    })?;
    let (p, rest) = others(&s)?;
    let client = s.client(p)?;
    for block in [7, 600] {
        s.written(client, block)?;
    }
    // The intents are cleared.
    s.wait(30 * MILLI);
    s.world.crash(rest[0], true);
    s.until("it is out", |world| is_out(world, rest[0]))?;
    s.written(client, 7)?;
    s.world.plan_start(rest[0], 0);
    let begun = s.world.marks.of("partial resyncs begun");
    s.until("resync begins", |world| {
        world.marks.of("partial resyncs begun") > begun
    })?;
    s.world.nodes[usize::from(rest[0].0)].health = Health::SlowPages(300);
    s.written(client, 600)?;
    s.wait(3 * MILLI + stage.after(MILLI));
    let flush = s.flush(client);
    s.wait(10 * MILLI);
    let _ = s.is_answered(flush);
    s.world.power_off(rest[0]);
    s.world.check_stores();
    s.finish()
}
