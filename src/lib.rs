//! Steadfast: synchronously mirrored block devices with automatic failover.
//!
//! The layout is the architecture; see ARCHITECTURE.md.

pub mod api;
pub mod cli;
pub mod daemon;
pub mod engine;
#[cfg(test)]
mod forks;
pub mod member;
pub mod meta;
pub mod node;
pub mod record;
pub mod seldom;
pub mod status;
pub mod types;
pub mod uring;
pub mod wire;
