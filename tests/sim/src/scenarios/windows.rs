//! A change that is sent again when others have written there.

use super::{Stage, is_in, is_out, others, witness};
use crate::queue::MILLI;

/// A write's answer is lost; the gateway sends it again after others wrote there.
pub(super) fn window_pruned_at_stable(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let (a, b) = (s.client(witness(&s))?, s.client(rest[0])?);
    s.written(a, 7)?;
    s.written(b, 7)?;
    // The answer does not get through.
    s.world.net.hold(p, witness(&s), true);
    s.write(a, 7);
    s.wait(3 * MILLI);
    s.written(b, 7)?;
    s.wait(stage.after(5 * MILLI));
    s.world.crash(p, true);
    s.world.net.hold(p, witness(&s), false);
    s.until("all is answered", |world| world.clients[a].is_idle())?;
    let read = s.read(b, 7);
    s.answer(read)?;
    s.finish()
}

/// As before, and the standby has restarted in between, so its window is gone.
pub(super) fn window_lost_in_a_restart(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let (a, b) = (s.client(witness(&s))?, s.client(p)?);
    s.written(a, 7)?;
    s.world.net.hold(p, witness(&s), true);
    s.write(a, 7);
    s.wait(3 * MILLI);
    s.written(b, 7)?;
    s.world.crash(rest[0], true);
    s.world.plan_start(rest[0], MILLI);
    s.wait(stage.after(10 * MILLI));
    s.until("it is in", |world| is_in(world, rest[0]))?;
    s.world.crash(p, true);
    s.world.net.hold(p, witness(&s), false);
    s.wait(150 * MILLI);
    let reader = s.client(rest[0])?;
    let read = s.read(reader, 7);
    s.answer(read)?;
    s.finish()
}

/// As before, and the replica that takes over has joined in between.
pub(super) fn window_not_handed_over_in_grow(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let (a, b) = (s.client(witness(&s))?, s.client(p)?);
    s.written(a, 7)?;
    s.world.crash(rest[0], true);
    s.until("it is out", |world| is_out(world, rest[0]))?;
    s.world.net.hold(p, witness(&s), true);
    s.write(a, 7);
    s.wait(3 * MILLI);
    s.written(b, 7)?;
    s.world.plan_start(rest[0], MILLI);
    s.until("it is in", |world| is_in(world, rest[0]))?;
    s.wait(stage.after(5 * MILLI));
    s.world.crash(p, true);
    s.world.net.hold(p, witness(&s), false);
    s.wait(150 * MILLI);
    let reader = s.client(rest[0])?;
    let read = s.read(reader, 7);
    s.answer(read)?;
    s.finish()
}
