//! The cluster configuration: schema, validation and shipped examples.
//!
//! One TOML file describes the whole cluster and says which of its nodes this machine is. It is
//! checked whole before anything starts: `Config::load` either gives a `Config` on which the rest
//! may rely, or every problem of the file with its line and what would be right.
//!
//! May not know: the engine, the core, sockets. It reads the file (and a key file), nothing else.

mod check;
mod model;
mod problem;
mod raw;
mod read;
mod render;
pub mod unit;

pub use check::{SOCKET_PATH_MAX, is_name};
pub use model::{
    Cluster, Config, Key, NODES_MAX, Node, Ports, Profile, REPLICAS_MAX, Role, Store, ThisNode,
    VOLUME_SIZE_MAX, VOTERS_MAX, Volume,
};
pub use problem::{ConfigError, Problem};

/// The shipped example: three machines, two with a mirrored disk, one witness.
pub const EXAMPLE: &str = include_str!("../examples/three-nodes.toml");
