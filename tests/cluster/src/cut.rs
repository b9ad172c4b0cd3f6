//! Cuts the network between two loopback addresses with nftables; dropping the value heals it.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::tool;

static CUTS: AtomicU32 = AtomicU32::new(0);

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
        let number = CUTS.fetch_add(1, Ordering::Relaxed);
        let table = format!("steadfast_test_{}_{number}", std::process::id());
        let rules = format!(
            "add table inet {table}\n\
             add chain inet {table} cut {{ type filter hook output priority 0; }}\n\
             add rule inet {table} cut ip saddr {one} ip daddr {other} drop\n\
             add rule inet {table} cut ip saddr {other} ip daddr {one} drop\n"
        );
        let file = std::env::temp_dir().join(format!("{table}.nft"));
        std::fs::write(&file, rules).expect("rules");
        tool::run("nft", &["-f", file.to_str().expect("path")]);
        std::fs::remove_file(&file).expect("rules");
        Self { table }
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        tool::run("nft", &["delete", "table", "inet", &self.table]);
    }
}
