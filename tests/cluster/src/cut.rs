//! Cuts the network between two loopback addresses with nftables; dropping the value heals it.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::tool;

static CUTS: AtomicU32 = AtomicU32::new(0);
/// Every table's name begins with this and goes on with the process that made it.
const PREFIX: &str = "steadfast_test_";

/// A cut in both directions, for as long as it lives.
pub struct Cut {
    table: String,
}

impl Cut {
    /// Drops every packet between the two addresses.
    ///
    /// # Panics
    ///
    /// `nft` is missing or may not change rules (it needs root).
    #[must_use]
    pub fn between(one: &str, other: &str) -> Self {
        Self::by(&[
            format!("ip saddr {one} ip daddr {other}"),
            format!("ip saddr {other} ip daddr {one}"),
        ])
    }

    /// Drops every packet to a UDP port of these addresses.
    ///
    /// # Panics
    ///
    /// As `between`.
    #[must_use]
    pub fn of_port(addresses: &[String], port: u16) -> Self {
        let rule = |address| format!("ip daddr {address} udp dport {port}");
        Self::by(&addresses.iter().map(rule).collect::<Vec<_>>())
    }

    fn by(matches: &[String]) -> Self {
        let number = CUTS.fetch_add(1, Ordering::Relaxed);
        let table = format!("{PREFIX}{}_{number}", std::process::id());
        let mut rules = format!(
            "add table inet {table}\n\
             add chain inet {table} cut {{ type filter hook output priority 0; }}\n"
        );
        for matched in matches {
            rules += &format!("add rule inet {table} cut {matched} drop\n");
        }
        let file = std::env::temp_dir().join(format!("{table}.nft"));
        std::fs::write(&file, rules).expect("rules");
        tool::run("nft", &["-f", file.to_str().expect("path")]);
        std::fs::remove_file(&file).expect("rules");
        Self { table }
    }
}

/// Heals what tests left cut that were killed: a sandbox in the same directory gets the same
/// addresses, and would never be healthy.
pub fn heal_leftovers() {
    // Without `nft` nothing is cut.
    let Ok(listed) = Command::new("nft").args(["list", "tables"]).output() else {
        return;
    };
    let text = String::from_utf8_lossy(&listed.stdout);
    for table in text.lines().filter_map(|line| line.split(' ').nth(2)) {
        let maker = table
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('_').next());
        if maker.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another test may have done so just now.
            let _done = tool::output("nft", &["delete", "table", "inet", table]);
        }
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        tool::run("nft", &["delete", "table", "inet", &self.table]);
    }
}
