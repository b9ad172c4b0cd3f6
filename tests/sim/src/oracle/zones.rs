//! Linearizability of one register whose written values are all different, in n log n
//! (Gibbons and Korach 1997), with writes that may or may not have happened, and the rule for what
//! may be lost when every copy loses power.
//!
//! A cluster is a write and the reads of its value; `m` is the earliest end and `M` the latest
//! beginning of any of them. Where m < M the register held the value during all of it (a forward
//! zone), so two forward zones may not overlap, and no other cluster may lie inside one.

/// An operation on the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// What it wrote or read.
    pub value: u64,
    /// It is a write.
    pub write: bool,
    /// When it was asked.
    pub call: u64,
    /// When it was answered; `u64::MAX` if never: such a write may have happened or not.
    pub ret: u64,
    /// Of a write: it must survive the loss of power that ends the history.
    pub covered: bool,
}

#[derive(Clone, Copy, Debug)]
struct Cluster {
    value: u64,
    /// Call of the write.
    call: u64,
    /// Earliest end.
    m: u64,
    /// Latest beginning.
    big_m: u64,
    covered: bool,
    wanted: bool,
}

/// Memory for checks, reused.
#[derive(Debug, Default)]
pub struct Checker {
    clusters: Vec<Cluster>,
    forward: Vec<(u64, u64)>,
}

impl Checker {
    /// Whether the register may have behaved so. `lost_to` is what was found after every copy lost
    /// power at the end of the history (at `end`), where that happened and it is known.
    ///
    /// # Errors
    /// What is impossible, in words.
    pub fn check(&mut self, ops: &[Op], lost_to: Option<(u64, u64)>) -> Result<(), String> {
        self.gather(ops)?;
        if let Some((value, end)) = lost_to {
            let Some(at) = self.clusters.iter().position(|c| c.value == value) else {
                return Err(format!("{value:#x} was found, which nobody wrote"));
            };
            // Somebody reads it, at some time before the end.
            let cluster = &mut self.clusters[at];
            cluster.wanted = true;
            cluster.m = cluster.m.min(end);
        }
        self.clusters.retain(|c| c.wanted);
        self.zones()?;
        if let Some((value, _)) = lost_to {
            self.losses(value)?;
        }
        Ok(())
    }

    fn gather(&mut self, ops: &[Op]) -> Result<(), String> {
        self.clusters.clear();
        for op in ops.iter().filter(|op| op.write) {
            self.clusters.push(Cluster {
                value: op.value,
                call: op.call,
                m: op.ret,
                big_m: op.call,
                covered: op.covered,
                wanted: op.ret != u64::MAX,
            });
        }
        self.clusters.sort_unstable_by_key(|c| c.value);
        if let Some(pair) = self
            .clusters
            .windows(2)
            .find(|pair| pair[0].value == pair[1].value)
        {
            return Err(format!("{:#x} was written twice", pair[0].value));
        }
        for op in ops.iter().filter(|op| !op.write) {
            let Ok(at) = self.clusters.binary_search_by_key(&op.value, |c| c.value) else {
                return Err(format!("{:#x} was read, which nobody wrote", op.value));
            };
            let cluster = &mut self.clusters[at];
            if op.ret < cluster.call {
                return Err(format!("{:#x} was read before it was written", op.value));
            }
            cluster.m = cluster.m.min(op.ret);
            cluster.big_m = cluster.big_m.max(op.call);
            cluster.wanted = true;
        }
        Ok(())
    }

    fn zones(&mut self) -> Result<(), String> {
        self.forward.clear();
        let is_forward = |c: &&Cluster| c.m < c.big_m;
        self.forward.extend(
            self.clusters
                .iter()
                .filter(is_forward)
                .map(|c| (c.m, c.big_m)),
        );
        self.forward.sort_unstable();
        if let Some(pair) = self.forward.windows(2).find(|pair| pair[1].0 < pair[0].1) {
            return Err(self.conflict(pair[0], pair[1]));
        }
        for cluster in self.clusters.iter().filter(|c| c.m >= c.big_m) {
            let before = self.forward.partition_point(|zone| zone.0 < cluster.big_m);
            if let Some(zone) = before.checked_sub(1).map(|at| self.forward[at])
                && cluster.m < zone.1
            {
                return Err(self.conflict(zone, (cluster.m, cluster.big_m)));
            }
        }
        Ok(())
    }

    fn conflict(&self, a: (u64, u64), b: (u64, u64)) -> String {
        let name = |zone: (u64, u64)| {
            self.clusters
                .iter()
                .find(|c| (c.m, c.big_m) == zone)
                .map_or(0, |c| c.value)
        };
        format!(
            "{:#x} held from {} to {} and {:#x} from {} to {}",
            name(a),
            a.0,
            a.1,
            name(b),
            b.0.min(b.1),
            b.0.max(b.1),
        )
    }

    fn losses(&mut self, value: u64) -> Result<(), String> {
        let kept = self.clusters.iter().find(|c| c.value == value);
        let mut t = kept.map_or(u64::MAX, |c| c.m);
        self.clusters
            .sort_unstable_by_key(|c| std::cmp::Reverse(c.big_m));
        for cluster in &self.clusters {
            if cluster.big_m <= t {
                break;
            }
            if cluster.value == value {
                continue;
            }
            if cluster.covered {
                return Err(format!(
                    "{:#x} was flushed and {value:#x}, which is older, is there after the loss",
                    cluster.value
                ));
            }
            t = t.min(cluster.m);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Tries every order: `done` are placed, `value` is what the register holds, `kept` says that
    /// the value found after the loss has been written and nothing covered came later.
    fn search(ops: &[Op], done: u32, value: u64, lost_to: Option<u64>, kept: bool) -> bool {
        let missing = |i: usize| done >> i & 1 == 0;
        let must = |op: &Op| op.ret != u64::MAX;
        if (0..ops.len()).all(|i| !missing(i) || !must(&ops[i])) && (lost_to.is_none() || kept) {
            return true;
        }
        for i in (0..ops.len()).filter(|i| missing(*i)) {
            let op = ops[i];
            let blocked = (0..ops.len()).any(|j| j != i && missing(j) && ops[j].ret < op.call);
            if blocked || (!op.write && op.value != value) {
                continue;
            }
            let now = if op.write { op.value } else { value };
            let kept = if op.write {
                lost_to == Some(op.value) || (kept && !op.covered)
            } else {
                kept
            };
            if search(ops, done | 1 << i, now, lost_to, kept) {
                return true;
            }
        }
        false
    }

    fn history(random: &mut Random, end: u64) -> Vec<Op> {
        let writes = random.within(1, 4);
        let reads = random.within(0, 3);
        let mut ops = vec![Op {
            value: 0,
            write: true,
            call: 0,
            ret: 0,
            covered: true,
        }];
        for value in 1..=writes {
            let call = random.within(1, end - 2);
            let ret = if random.below(4) == 0 {
                u64::MAX
            } else {
                random.within(call + 1, end - 1)
            };
            ops.push(Op {
                value,
                write: true,
                call,
                ret,
                covered: false,
            });
        }
        for _ in 0..reads {
            let call = random.within(1, end - 2);
            ops.push(Op {
                value: random.within(0, writes),
                write: false,
                call,
                ret: random.within(call + 1, end - 1),
                covered: false,
            });
        }
        let flushed = random.below(end);
        for op in &mut ops {
            op.covered = op.write && op.ret < flushed;
        }
        ops
    }

    #[test]
    fn agrees_with_brute_force() {
        let mut random = Random::new(11);
        let mut checker = Checker::default();
        let (mut good, mut bad) = (0, 0);
        for _ in 0..60_000 {
            let ops = history(&mut random, 14);
            let quick = checker.check(&ops, None);
            assert_eq!(
                quick.is_ok(),
                search(&ops, 0, 0, None, false),
                "{ops:?} {quick:?}"
            );
            if quick.is_ok() {
                good += 1;
            } else {
                bad += 1;
            }
        }
        assert!(good > 10_000 && bad > 10_000, "{good} {bad}");
    }

    #[test]
    fn the_rule_for_losses_agrees_with_brute_force() {
        let mut random = Random::new(12);
        let mut checker = Checker::default();
        let (mut good, mut bad) = (0, 0);
        for _ in 0..60_000 {
            let ops = history(&mut random, 14);
            let value = random.below(5);
            let quick = checker.check(&ops, Some((value, 14)));
            // The value found was written before the end, or it would not have been found.
            let slow = ops.iter().any(|op| op.write && op.value == value)
                && search(&ops, 0, 0, Some(value), value == 0);
            assert_eq!(quick.is_ok(), slow, "{value} {ops:?} {quick:?}");
            if quick.is_ok() {
                good += 1;
            } else {
                bad += 1;
            }
        }
        assert!(good > 5_000 && bad > 5_000, "{good} {bad}");
    }
}
