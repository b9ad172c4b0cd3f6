//! The control interface: HTTP and JSON over a Unix socket, its server and its client.
//!
//! `GET /v1/health`, `GET /v1/status`, `GET /v1/volumes`, `GET /v1/events?since=N&follow=BOOL`
//! (JSON lines), `POST /v1/volumes/NAME/promote` (`{"node": NAME}`) and `.../demote`. The server
//! knows the rest of the daemon only through a `ControlHandle`.
//!
//! May not know: the pulse, the engine's or the core's state machines, terminals.

pub mod client;
pub mod event;
pub mod handle;
pub mod handover;
pub mod server;

#[cfg(test)]
mod tests;
