//! Whether what clients saw could have come from one disk that does one thing at a time.
//!
//! Checked by sector. Every write has a value of its own, so zones decide (Gibbons and Korach):
//! the write of a value and the reads that saw it make a cluster with `m`, its earliest return, and
//! `M`, its latest call. Two clusters with `m < M` must not overlap, and one with `M < m` must not
//! lie inside such a one. Zeroes have no value of their own and get a weaker check.
//!
//! At a total loss of power the content that is left becomes the start of a new history; a write
//! that was covered by a flush, or was FUA, must not have been lost in favour of an older one.

use std::collections::BTreeMap;

/// "Never", of an operation that got no answer.
pub const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, Debug)]
pub struct Op {
    pub write: bool,
    /// 0 for zeroes.
    pub value: u64,
    pub call: u64,
    /// `NEVER` if it got no answer.
    pub ret: u64,
    pub fua: bool,
}

#[derive(Clone, Default)]
pub struct History {
    sectors: BTreeMap<u64, Vec<Op>>,
    /// Answered flushes: call and return.
    flushes: Vec<(u64, u64)>,
}

#[derive(Clone, Copy)]
struct Cluster {
    value: u64,
    m: u64,
    max: u64,
    /// Its write was durable at this time, if ever.
    durable: u64,
}

impl History {
    pub fn add(&mut self, sector: u64, op: Op) {
        assert!(op.call < op.ret);
        self.sectors.entry(sector).or_default().push(op);
    }

    pub fn flushed(&mut self, call: u64, ret: u64) {
        self.flushes.push((call, ret));
    }

    pub fn check(&self) -> Result<(), String> {
        for (sector, ops) in &self.sectors {
            check(ops).map_err(|why| explain(*sector, &why, ops))?;
        }
        Ok(())
    }

    /// All copies lost power at `now`; `left` is what each sector holds since. Checks and begins
    /// anew. `open` are the operations that may still take effect.
    pub fn lose_power(
        &mut self,
        now: u64,
        left: impl Fn(u64) -> u64,
        open: &[(u64, Op)],
    ) -> Result<(), String> {
        for (sector, ops) in &mut self.sectors {
            let value = left(*sector);
            ops.extend(open.iter().filter(|o| o.0 == *sector).map(|o| o.1));
            ops.push(Op {
                write: false,
                value,
                call: 0,
                ret: now,
                fua: false,
            });
            check(ops).map_err(|why| explain(*sector, &why, ops))?;
            let clusters = clusters(ops, &self.flushes, now)?;
            survived(value, clusters).map_err(|why| explain(*sector, &why, ops))?;
            ops.clear();
            let pending = open.iter().any(|o| o.0 == *sector && o.1.value == value);
            if !pending {
                ops.push(Op {
                    write: true,
                    value,
                    call: now,
                    ret: now + 1,
                    fua: true,
                });
            }
        }
        self.flushes.clear();
        Ok(())
    }
}

fn explain(sector: u64, why: &str, ops: &[Op]) -> String {
    let mut text = format!("sector {sector}: {why}");
    for op in ops {
        text += &format!("\n  {op:?}");
    }
    text
}

fn check(ops: &[Op]) -> Result<(), String> {
    zeroes(ops)?;
    let clusters = clusters(ops, &[], NEVER)?;
    for (at, one) in clusters.iter().enumerate() {
        for other in &clusters[..at] {
            let (a, b) = if one.m < one.max {
                (one, other)
            } else {
                (other, one)
            };
            // Both forward and overlapping, or the other one backward and inside.
            if a.m < a.max && a.m < b.max && b.m < a.max {
                return Err(format!(
                    "{} and {} cannot be put in order",
                    a.value, b.value
                ));
            }
        }
    }
    Ok(())
}

fn clusters(ops: &[Op], flushes: &[(u64, u64)], now: u64) -> Result<Vec<Cluster>, String> {
    let mut found: BTreeMap<u64, (Option<Op>, Cluster)> = BTreeMap::new();
    for op in ops.iter().filter(|op| op.value != 0) {
        let (write, cluster) = found.entry(op.value).or_insert((
            None,
            Cluster {
                value: op.value,
                m: NEVER,
                max: 0,
                durable: NEVER,
            },
        ));
        cluster.m = cluster.m.min(op.ret);
        cluster.max = cluster.max.max(op.call);
        if op.write {
            if write.is_some() {
                return Err(format!("{} was written twice", op.value));
            }
            *write = Some(*op);
            let covered = flushes.iter().any(|f| op.ret < f.0 && f.1 < now);
            if covered || (op.fua && op.ret < now) {
                cluster.durable = op.ret;
            }
        }
    }
    let mut clusters = Vec::new();
    for (value, (write, cluster)) in found {
        let Some(write) = write else {
            return Err(format!("{value} was read and never written"));
        };
        if cluster.m < write.call {
            return Err(format!("{value} was read before it was written"));
        }
        if cluster.m != NEVER {
            clusters.push(cluster);
        }
    }
    Ok(clusters)
}

/// No durable write may be lost in favour of an older one.
fn survived(value: u64, mut clusters: Vec<Cluster>) -> Result<(), String> {
    let mut t = match clusters.iter().find(|c| c.value == value) {
        Some(cluster) => cluster.m,
        None => 1,
    };
    clusters.sort_by_key(|c| std::cmp::Reverse(c.max));
    for cluster in clusters.iter().filter(|c| c.value != value) {
        if cluster.max <= t {
            break;
        }
        if cluster.durable != NEVER {
            return Err(format!("{} was durable and {value} is left", cluster.value));
        }
        t = t.min(cluster.m);
    }
    Ok(())
}

/// A read must not see what a later write has certainly replaced, where zeroes are involved.
fn zeroes(ops: &[Op]) -> Result<(), String> {
    let start = Op {
        write: true,
        value: 0,
        call: 0,
        ret: 1,
        fua: true,
    };
    // A history that goes on after a loss of power begins with what was left.
    let begun = ops
        .first()
        .is_some_and(|op| op.write && op.fua && op.ret == op.call + 1);
    let writes: Vec<Op> = ops
        .iter()
        .filter(|op| op.write)
        .copied()
        .chain((!begun).then_some(start))
        .collect();
    for read in ops.iter().filter(|op| !op.write && op.ret != NEVER) {
        let replaced = |w: &Op| {
            writes
                .iter()
                .any(|x| w.ret < x.call && x.ret < read.call && (x.value == 0 || w.value == 0))
        };
        let mut sources = writes
            .iter()
            .filter(|w| w.value == read.value && w.call < read.ret);
        if !sources.any(|w| !replaced(w)) {
            return Err(format!(
                "a read saw {}, which had been replaced",
                read.value
            ));
        }
    }
    Ok(())
}

#[test]
fn the_checker_tells_right_from_wrong() {
    let op = |write, value, call, ret| Op {
        write,
        value,
        call,
        ret,
        fua: false,
    };
    let w = |value, call, ret| op(true, value, call, ret);
    let r = |value, call, ret| op(false, value, call, ret);
    let fine: [&[Op]; 4] = [
        &[w(1, 1, 2), r(1, 3, 4), w(2, 5, 9), r(1, 6, 7), r(2, 7, 8)],
        &[w(1, 1, NEVER), r(0, 5, 6), r(1, 7, 8)],
        &[w(1, 1, 10), w(2, 2, 9), r(2, 11, 12)],
        &[w(1, 1, 2), w(0, 3, 4), r(0, 5, 6)],
    ];
    for ops in fine {
        assert_eq!(check(ops), Ok(()));
    }
    let wrong: [&[Op]; 6] = [
        &[w(1, 1, 2), w(2, 3, 4), r(1, 5, 6)],
        &[w(1, 1, 2), w(2, 3, 9), r(2, 4, 5), r(1, 6, 7)],
        &[r(1, 1, 2), w(1, 3, 4)],
        &[w(1, 1, 2), w(0, 3, 4), r(1, 5, 6)],
        &[w(1, 2, 3), r(0, 5, 6)],
        &[r(7, 1, 2)],
    ];
    for ops in wrong {
        assert!(check(ops).is_err(), "{ops:?}");
    }
    let mut history = History::default();
    history.add(0, w(1, 1, 2));
    history.add(0, w(2, 3, 4));
    let mut flushed = history.clone();
    assert!(history.lose_power(10, |_| 1, &[]).is_ok());
    flushed.flushed(5, 6);
    assert!(flushed.lose_power(10, |_| 1, &[]).is_err());
}
