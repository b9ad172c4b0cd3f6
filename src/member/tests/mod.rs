//! Pulse and core of several nodes together, in virtual time.

mod canaries;
mod cluster;
mod failover;
mod faults;
pub(super) mod network;
mod nonsense;
mod power;
mod rosters;
mod schedules;
mod telling;
