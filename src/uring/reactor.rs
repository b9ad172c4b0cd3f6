//! A reactor as the daemon sees it: made, then run on a thread of its own.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::config::ReactorConfig;
use super::message::{Handle, Inbox};
use super::pass::Pass;
use super::socket;

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// NBD clients.
    Client,
    /// Data links of peers.
    Link,
}

/// A socket that connections come to.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: OwnedFd,
    pub(super) purpose: Purpose,
}

/// One reactor: its listeners, and all that its thread will need.
pub struct Reactor {
    config: ReactorConfig,
    inbox: Arc<Inbox>,
    listeners: Vec<Listener>,
}

impl Reactor {
    /// Binds the listeners. Nothing is accepted before `run`.
    ///
    /// # Errors
    /// An address that cannot be bound; the message names it.
    ///
    /// # Panics
    /// There is no volume.
    pub fn new(config: ReactorConfig) -> io::Result<(Self, Handle)> {
        assert!(!config.volumes.is_empty(), "a reactor serves a volume");
        let (handle, inbox) = Handle::new()?;
        let mut listeners = Vec::new();
        for address in &config.nbd {
            listeners.push(Listener {
                socket: socket::listen_nbd(address)?,
                purpose: Purpose::Client,
            });
        }
        listeners.push(Listener {
            socket: socket::listen_tcp(config.data)?,
            purpose: Purpose::Link,
        });
        let reactor = Self {
            config,
            inbox,
            listeners,
        };
        Ok((reactor, handle))
    }

    /// Runs until `Input::Stop`; the caller gives it a thread of its own. Ring and buffers are made
    /// here, since a ring belongs to the thread that made it.
    ///
    /// # Errors
    /// The kernel refuses the ring or the memory: nothing that a client, peer or disk does.
    pub fn run(self) -> io::Result<()> {
        Pass::new(self.config, self.inbox, self.listeners)?.run()
    }
}
