//! A configuration as a file.

use std::fmt::Write as _;
use std::path::Path;

use uuid::Uuid;

use crate::model::Config;
use crate::unit::{format_duration, format_size};

/// Text that `Config::parse` reads back as the same value.
pub(crate) fn render(config: &Config) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(config, &mut out);
    out
}

fn write(config: &Config, out: &mut String) -> std::fmt::Result {
    let cluster = &config.cluster;
    writeln!(out, "[cluster]")?;
    writeln!(out, "name = {}", quote(&cluster.name))?;
    writeln!(out, "id = {}", id(cluster.id))?;
    write!(out, "key = \"")?;
    for byte in cluster.key.0 {
        write!(out, "{byte:02x}")?;
    }
    writeln!(out, "\"")?;
    writeln!(out, "profile = {}", quote(cluster.profile.name()))?;
    if cluster.interval != cluster.profile.interval() {
        let interval = format_duration(cluster.interval);
        writeln!(out, "interval = {}", quote(&interval))?;
    }
    if cluster.missed != cluster.profile.missed() {
        writeln!(out, "missed = {}", cluster.missed)?;
    }
    writeln!(out, "\n[node]")?;
    writeln!(out, "name = {}", quote(&config.node.name))?;
    writeln!(out, "dir = {}", path(&config.node.dir))?;
    for node in &config.nodes {
        writeln!(out, "\n[[nodes]]")?;
        writeln!(out, "name = {}", quote(&node.name))?;
        writeln!(out, "address = {}", quote(&node.address.to_string()))?;
        writeln!(out, "role = {}", quote(node.role.name()))?;
        if !node.voter {
            writeln!(out, "voter = false")?;
        }
        let ports = node.ports;
        writeln!(
            out,
            "ports = {{ nbd = {}, data = {}, pulse = {}, core = {} }}",
            ports.nbd, ports.data, ports.pulse, ports.core
        )?;
    }
    for volume in &config.volumes {
        writeln!(out, "\n[[volumes]]")?;
        writeln!(out, "name = {}", quote(&volume.name))?;
        writeln!(out, "id = {}", id(volume.id))?;
        writeln!(out, "size = {}", quote(&format_size(volume.size)))?;
        writeln!(out, "shared = {}", volume.shared)?;
        for store in &volume.stores {
            writeln!(out, "\n[[volumes.stores]]")?;
            writeln!(out, "node = {}", quote(&config.nodes[store.node].name))?;
            writeln!(out, "path = {}", path(&store.path))?;
            writeln!(out, "id = {}", id(store.id))?;
        }
    }
    Ok(())
}

fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn path(path: &Path) -> String {
    // Paths came from UTF-8 text, or from a caller that checked.
    quote(&path.to_string_lossy())
}

fn id(id: u128) -> String {
    quote(&Uuid::from_u128(id).to_string())
}
