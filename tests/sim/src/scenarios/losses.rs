//! Loss of power, and writes of daemons and connections that are gone.

use steadfast::types::NodeId;

use super::{Stage, holds, is_out, others, witness};
use crate::options::Options;
use crate::queue::{MICRO, MILLI, SECOND};
use crate::world::event::Part;
use crate::world::node::Health;

/// The target loses power with the copy acknowledged and not flushed.
pub(super) fn resync_bit_cleared_before_the_flush(stage: Stage) -> Result<(), String> {
    let mut options = Options::quiet(0x5ce + stage.moment);
    options.disk.flush = 3 * MILLI;
    let mut s = stage.set_with(options)?;
    let (p, rest) = others(&s)?;
    let client = s.client(p)?;
    s.written(client, 7)?;
    // No intent of the target tells instead.
    s.wait(200 * MILLI);
    s.world.crash(rest[0], true);
    s.until("it is out", |world| is_out(world, rest[0]))?;
    for block in 7..12 {
        s.written(client, block)?;
    }
    let flush = s.flush(client);
    s.answer(flush)?;
    s.wait(200 * MILLI);
    s.world.plan_start(rest[0], MILLI);
    s.until("the copy is there", |world| holds(world, rest[0], 11))?;
    s.wait(stage.after(400 * MICRO));
    s.world.power_off(rest[0]);
    s.wait(20 * MILLI);
    s.world.plan_start(rest[0], 0);
    s.wait(100 * MILLI);
    s.world.check_stores();
    s.finish()
}

/// One loses power, the other is merely not heard.
pub(super) fn unheard_is_not_lost(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let client = s.client(witness(&s))?;
    s.written(client, 7)?;
    // The standby has kept its data; nobody hears it.
    for node in 0..3 {
        s.world.cut(rest[0], NodeId(node));
        s.world.cut(NodeId(node), rest[0]);
    }
    s.world.power_off(p);
    s.wait(30 * MILLI);
    s.world.plan_start(p, 0);
    s.wait(400 * MILLI);
    s.finish()
}

/// Both lose power, and lose different writes.
pub(super) fn different_losses(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let client = s.client(witness(&s))?;
    for block in 0..16 {
        s.written(client, block)?;
    }
    let asked = s.write(client, 3);
    s.wait(stage.after(100 * MICRO));
    let _ = s.is_answered(asked);
    s.world.power_off(p);
    s.world.power_off(rest[0]);
    s.wait(50 * MILLI);
    s.world.plan_start(p, 0);
    s.world.plan_start(rest[0], 3 * MILLI);
    s.wait(100 * MILLI);
    s.world.check_stores();
    s.finish()
}

/// P's daemon is killed with writes in flight and starts again at once.
pub(super) fn a_dead_daemon_writes(stage: Stage) -> Result<(), String> {
    let mut options = Options::quiet(0x5ce + stage.moment);
    options.disk.late = 100 * MILLI;
    let mut s = stage.set_with(options)?;
    let (p, _) = others(&s)?;
    let client = s.client(witness(&s))?;
    s.written(client, 7)?;
    for block in 7..15 {
        s.write(client, block);
    }
    s.wait(50 * MICRO + stage.after(30 * MICRO));
    s.world.crash(p, true);
    s.world.plan_start(p, MILLI);
    s.until("all is answered", |world| world.clients[client].is_idle())?;
    for block in 7..15 {
        s.written(client, block)?;
    }
    s.finish()
}

/// Frames of the same term from the older connection arrive after the newer one has answered.
pub(super) fn old_connection(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let client = s.client(p)?;
    s.written(client, 7)?;
    let asked = s.write(client, 7);
    s.wait(30 * MICRO + stage.after(20 * MICRO));
    for (link, _) in s.world.links_between(p, rest[0]) {
        s.world.net.slow_down(link, 0, 20 * MILLI);
        s.world.half_reset_link(link);
    }
    s.answer(asked)?;
    s.written(client, 7)?;
    s.wait(50 * MILLI);
    s.world.check_equal();
    s.finish()
}

/// w on P, S1 and S2, flushed by none. P dies, S1 loses its power and w with it, S2 is promoted. Were P taken out alone, and S2 lost its power before S1 is out too, then S1 would be as good as S2
/// by the log: w would be lost, although S2 flushed it before P left.
pub(super) fn one_that_lost_power_stays(stage: Stage) -> Result<(), String> {
    let mut s = stage.set_with(Options {
        storage: 3,
        witness: false,
        ..Options::quiet(0x5ce + stage.moment)
    })?;
    let (p, rest) = others(&s)?;
    let client = s.client(p)?;
    for block in 0..16 {
        s.written(client, block)?;
    }
    s.world.stop(p, &Part::ALL, SECOND);
    s.world.power_off(rest[0]);
    s.world.crash(rest[1], false);
    s.world.plan_start(rest[0], 0);
    s.world.plan_start(rest[1], 0);
    s.wait(15 * MILLI);
    s.world.crash(p, true);
    s.until("P is out", |world| is_out(world, p))?;
    s.wait(10 * MICRO + stage.after(20 * MICRO));
    for node in rest {
        s.world.power_off(node);
        s.world.plan_start(node, MILLI);
    }
    s.wait(100 * MILLI);
    s.finish()
}

/// A flush fails on S, and both daemons are killed before anybody hears of it. Were S promoted, its
/// next flush would succeed without what the first one dropped, and that goes with its power.
pub(super) fn flush_failed_unheard(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let standby = rest[0];
    let client = s.client(p)?;
    for block in 0..16 {
        s.written(client, block)?;
    }
    s.world.nodes[usize::from(standby.0)].health = Health::NoFlush;
    let flush = s.flush(client);
    s.until("the flush fails", |world| world.has_failed(standby))?;
    s.world.crash(p, true);
    s.world.crash(standby, true);
    let _ = s.is_answered(flush);
    s.world.disk_heals(standby);
    s.world.plan_start(standby, MILLI);
    s.world.plan_start(p, 20 * MILLI + stage.after(MILLI));
    s.until("a new primary", |world| world.primary().is_some())?;
    let client = s.client(witness(&s))?;
    let flush = s.flush(client);
    s.answer(flush)?;
    // Intents are cleared when nothing happens.
    s.wait(200 * MILLI);
    s.world.power_off(standby);
    s.wait(20 * MILLI);
    s.world.plan_start(standby, 0);
    s.wait(100 * MILLI);
    s.world.check_stores();
    s.finish()
}
