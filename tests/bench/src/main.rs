//! Speed side by side with named peers.
fn main() {}
