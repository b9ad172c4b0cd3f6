//! Volumes against each other, on instant disks and links that keep order.

mod failover;
mod io;
mod resync;
mod world;
