//! CPU time of a process and all below it, kernel threads that work for it included.

use std::collections::BTreeMap;
use std::fs;

use crate::Fault;

/// CPU time that each process of a tree has used so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Clock ticks, user and system, by process.
    ticks: BTreeMap<u32, u64>,
}

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    ticks: u64,
}

impl Usage {
    /// Of the processes `roots` and all their descendants.
    pub fn of_trees(roots: &[u32]) -> Result<Self, Fault> {
        let processes = fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
        let stats: BTreeMap<u32, Stat> = processes
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(|pid: u32| {
                // It may have ended since.
                let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
                Some((pid, parse(&text)?))
            })
            .collect();
        let mut ticks = BTreeMap::new();
        for (&pid, stat) in &stats {
            let mut above = pid;
            while !roots.contains(&above) && above != 0 {
                above = stats.get(&above).map_or(0, |stat| stat.parent);
            }
            if roots.contains(&above) {
                ticks.insert(pid, stat.ticks);
            }
        }
        if !roots.iter().all(|root| ticks.contains_key(root)) {
            return Err("a server has ended".to_owned());
        }
        Ok(Self { ticks })
    }

    /// Seconds used since `before`. Every process must have lived all the time, else the run
    /// measured a restart.
    pub fn since(&self, before: &Self) -> Result<f64, Fault> {
        if !self.ticks.keys().eq(before.ticks.keys()) {
            return Err("a serving process ended or was started during the run".to_owned());
        }
        let total = |usage: &Self| usage.ticks.values().sum::<u64>();
        let used = total(self).saturating_sub(total(before));
        Ok(used as f64 / rustix::param::clock_ticks_per_second() as f64)
    }
}

/// Fields 4, 14 and 15; the name (field 2) may hold blanks and parentheses.
fn parse(stat: &str) -> Option<Stat> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let parent = u32::try_from(number(4)?).ok()?;
    Some(Stat {
        parent,
        ticks: number(14)? + number(15)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc() {
        let line = "42 (a (b) c) S 7 42 42 0 -1 4194560 1 2 3 4 100 23 5 6 20 0 1 0 1 2 3\n";
        assert_eq!(
            parse(line),
            Some(Stat {
                parent: 7,
                ticks: 123
            })
        );
        assert_eq!(parse("42 (a) S 7"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn this_process_is_its_own_tree() {
        let pid = std::process::id();
        let usage = Usage::of_trees(&[pid]).map(|usage| usage.ticks.contains_key(&pid));
        assert_eq!(usage, Ok(true));
    }

    #[test]
    fn a_restart_is_no_measurement() {
        let before = Usage {
            ticks: BTreeMap::from([(1, 10)]),
        };
        let after = Usage {
            ticks: BTreeMap::from([(2, 10)]),
        };
        assert!(after.since(&before).is_err());
        let after = Usage {
            ticks: BTreeMap::from([(1, 30)]),
        };
        assert!(after.since(&before).is_ok_and(|seconds| seconds > 0.0));
    }
}
