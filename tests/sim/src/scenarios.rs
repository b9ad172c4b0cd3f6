//! The schedules that broke earlier wordings of the design, by name: each must hold.
//!
//! Some take a handful of moments for the decisive fault, because the exact one depends on how many
//! microseconds each message takes.

use steadfast::record::{ReplicaState, VolumeChange};
use steadfast::types::NodeId;

use crate::options::Options;
use crate::queue::{Instant, MICRO, MILLI};
use crate::script::Script;
use crate::world::{Planted, World};

/// A named schedule.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its row in the list of counter-examples.
    pub row: &'static str,
    /// Its name.
    pub name: &'static str,
    /// How many moments it tries.
    moments: u64,
    script: fn(Stage) -> Result<(), String>,
}

/// What a script is given.
#[derive(Clone, Copy)]
struct Stage {
    planted: Planted,
    tracing: bool,
    /// Which of the moments.
    moment: u64,
}

impl Stage {
    fn set(self, storage: usize) -> Result<Script, String> {
        self.set_with(Options {
            storage,
            ..Options::quiet(0x5ce + self.moment)
        })
    }

    fn set_with(self, options: Options) -> Result<Script, String> {
        Script::new(options, self.planted, self.tracing)
    }

    /// The decisive moment: this many times the step.
    const fn after(self, step: Instant) -> Instant {
        self.moment * step
    }
}

impl Scenario {
    /// Plays it with these planted bugs, printing what happens if asked to.
    ///
    /// # Errors
    /// The rule that did not hold, or what did not come about.
    pub fn play(&self, planted: Planted, tracing: bool) -> Result<(), String> {
        for moment in 0..self.moments {
            let stage = Stage {
                planted,
                tracing,
                moment,
            };
            (self.script)(stage).map_err(|e| format!("moment {moment}: {e}"))?;
        }
        Ok(())
    }
}

macro_rules! scenarios {
    ($($row:literal $name:ident $moments:literal)*) => {
        /// All of them.
        pub const ALL: &[Scenario] = &[
            $(Scenario {
                row: $row,
                name: stringify!($name),
                moments: $moments,
                script: $name,
            },)*
        ];

        #[cfg(test)]
        mod tests {
            $(#[test]
            fn $name() {
                let scenario = super::ALL.iter().find(|s| s.name == stringify!($name));
                let said = scenario.expect("it is in the list").play(Default::default(), false);
                assert_eq!(said, Ok(()));
            })*
        }
    };
}

scenarios! {
    "3" shrink_overtakes_power_loss 12
    "4" late_proposal 1
    "5" bitmap_gap_at_shrink 8
    "6" bitmap_gap_at_grow 1
    "7" resync_bit_cleared_before_the_flush 12
    "8" unheard_is_not_lost 1
    "9" different_losses 6
    "10" a_dead_daemon_writes 6
    "11" old_connection 6
    "12a" window_pruned_at_stable 6
    "12b" window_lost_in_a_restart 6
    "12c" window_not_handed_over_in_grow 4
    "13" unacknowledged_write_read_in_a_pair 12
    "14a" new_primary_leaves_its_own_window_out 6
    "14b" survivor_restarted 6
    "15" forgotten_promise 12
    "17" a_write_on_the_primary_only 1
}

/// What a world says at the end.
///
/// # Errors
/// The rule that did not hold.
pub fn verdict(world: &World) -> Result<(), String> {
    match &world.failed {
        None => Ok(()),
        Some(violation) => Err(format!("{}: {}", violation.oracle, violation.text)),
    }
}

/// The storage nodes that are not primary.
fn others(script: &Script) -> Result<(NodeId, Vec<NodeId>), String> {
    let primary = script.primary()?;
    let storage = 0..script.world.options.storage as u8;
    let others = storage.map(NodeId).filter(|node| *node != primary);
    Ok((primary, others.collect()))
}

/// The node without a store.
fn witness(script: &Script) -> NodeId {
    NodeId(script.world.options.storage as u8)
}

fn is_out(world: &World, node: NodeId) -> bool {
    let record = world.known.record();
    let replica = record.and_then(|record| record.replica(node));
    replica.is_some_and(|replica| matches!(replica.state, ReplicaState::Behind { .. }))
}

fn is_in(world: &World, node: NodeId) -> bool {
    let record = world.known.record();
    let replica = record.and_then(|record| record.replica(node));
    let boot = world.node(node).boot;
    replica.is_some_and(|replica| replica.state == ReplicaState::InSync { boot })
}

/// Whether the node's disk holds in this block what another one's does, and it is not zero.
fn holds(world: &World, node: NodeId, block: u64) -> bool {
    let first = world.layout.data / steadfast::types::BLOCK;
    let disk = world.node(node).disk.as_ref();
    disk.is_some_and(|disk| disk.page((first + block) as u32).iter().any(|b| *b != 0))
}

/// P proposes shrink(S); S's acknowledgement arrives after all; P loses power; shrink commits.
fn shrink_overtakes_power_loss(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
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
    s.wait(stage.after(MILLI));
    let _ = s.is_answered(asked);
    s.world.power_off(p);
    s.wait(60 * MILLI);
    s.finish()
}

/// grow(S) is delayed; an older shrink(S) commits; then grow arrives.
fn late_proposal(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let client = s.client(p)?;
    s.written(client, 7)?;
    s.world.crash(rest[0], true);
    s.until("it is out", |world| is_out(world, rest[0]))?;
    s.world.plan_start(rest[0], MILLI);
    s.until("grow is proposed", |world| {
        matches!(world.proposed, Some((_, _, VolumeChange::Grow { .. })))
    })?;
    let late = s.world.proposed.ok_or("just seen")?;
    s.until("it is in", |world| is_in(world, rest[0]))?;
    s.world.crash(rest[0], true);
    s.until("it is out again", |world| is_out(world, rest[0]))?;
    s.written(client, 7)?;
    for node in 0..3 {
        s.world.propose(NodeId(node), late.1, late.2);
    }
    s.wait(30 * MILLI);
    if !is_out(&s.world, rest[0]) {
        return Err("the late entry applied".to_owned());
    }
    s.world.plan_start(rest[0], 0);
    s.world.crash(p, true);
    s.wait(100 * MILLI);
    s.finish()
}

/// w on P and S2, not on S1, unacknowledged; S1 is shrunk out; P dies.
fn bitmap_gap_at_shrink(stage: Stage) -> Result<(), String> {
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
fn bitmap_gap_at_grow(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(3)?;
    let (p, rest) = others(&s)?;
    let client = s.client(p)?;
    for block in [7, 300] {
        s.written(client, block)?;
    }
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

/// The target loses power with the copy acknowledged and not flushed.
fn resync_bit_cleared_before_the_flush(stage: Stage) -> Result<(), String> {
    let mut options = Options::quiet(0x5ce + stage.moment);
    options.disk.flush = 3 * MILLI;
    let mut s = stage.set_with(options)?;
    let (p, rest) = others(&s)?;
    let client = s.client(p)?;
    s.written(client, 7)?;
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
fn unheard_is_not_lost(stage: Stage) -> Result<(), String> {
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
    if s.world.primary().is_some() {
        return Err("the one that lost power was promoted".to_owned());
    }
    s.finish()
}

/// Both lose power, and lose different writes.
fn different_losses(stage: Stage) -> Result<(), String> {
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
fn a_dead_daemon_writes(stage: Stage) -> Result<(), String> {
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
fn old_connection(stage: Stage) -> Result<(), String> {
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

/// A write's answer is lost; the gateway sends it again after others wrote there.
fn window_pruned_at_stable(stage: Stage) -> Result<(), String> {
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
fn window_lost_in_a_restart(stage: Stage) -> Result<(), String> {
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
fn window_not_handed_over_in_grow(stage: Stage) -> Result<(), String> {
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

/// w only on P, unacknowledged; P restarts and is promoted, a client reads; S takes over.
fn unacknowledged_write_read_in_a_pair(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let client = s.client(p)?;
    s.written(client, 7)?;
    s.world.net.hold(p, rest[0], true);
    s.write(client, 7);
    s.wait(MILLI + stage.after(MILLI));
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
fn new_primary_leaves_its_own_window_out(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(3)?;
    let (p, rest) = others(&s)?;
    let client = s.client(p)?;
    s.written(client, 7)?;
    s.world.net.hold(p, rest[1], true);
    s.write(client, 7);
    s.wait(MILLI + stage.after(MILLI));
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
fn survivor_restarted(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(3)?;
    let (p, rest) = others(&s)?;
    let client = s.client(p)?;
    s.written(client, 7)?;
    s.world.net.hold(p, rest[0], true);
    s.write(client, 7);
    s.wait(MILLI + stage.after(MILLI));
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
fn forgotten_promise(stage: Stage) -> Result<(), String> {
    let mut s = stage.set(2)?;
    let (p, rest) = others(&s)?;
    let client = s.client(p)?;
    s.written(client, 7)?;
    let w = witness(&s);
    s.world.cut(p, rest[0]);
    s.world.cut(p, w);
    s.wait(20 * MILLI + stage.after(2 * MILLI));
    s.world.crash(w, false);
    s.world.mend(p, w);
    s.world.plan_start(w, 0);
    for _ in 0..20 {
        let read = s.read(client, 7);
        s.wait(4 * MILLI);
        let _ = s.is_answered(read);
    }
    s.finish()
}

/// A write that only the primary has is told by its own intent.
fn a_write_on_the_primary_only(stage: Stage) -> Result<(), String> {
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
