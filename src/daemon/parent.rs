//! The daemon's side of the pipe to its parent.
//!
//! The parent sends death notices for the newest incarnation that it knows, so it must know one
//! before it is used: `tell` comes after the incarnation is durable and before its first heartbeat.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::process::{Pid, Signal};

use crate::types::Incarnation;

/// Where incarnations are told: 8 bytes each, little-endian, on the standard output.
#[derive(Debug)]
pub struct Parent {
    pipe: Option<File>,
}

impl Parent {
    /// Nobody listens: a daemon in a test.
    #[must_use]
    pub const fn none() -> Self {
        Self { pipe: None }
    }

    /// The parent that started this process. When it dies, so does this process: a parent that is
    /// started anew must find log and stores free.
    ///
    /// # Errors
    /// The parent is gone already, or the system refuses.
    pub fn attach(pid: i32) -> io::Result<Self> {
        stop_with(pid, Signal::KILL)?;
        // A copy: whatever else writes to the standard output has no business there.
        let pipe = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self { pipe: Some(pipe) })
    }

    /// Tells this incarnation.
    ///
    /// # Errors
    /// The parent does not listen any more.
    pub fn tell(&mut self, incarnation: Incarnation) -> io::Result<()> {
        match &mut self.pipe {
            Some(pipe) => pipe.write_all(&incarnation.0.to_le_bytes()),
            None => Ok(()),
        }
    }
}

/// Has the system send `signal` to this process when its parent, the process `pid`, ends.
///
/// # Errors
/// The parent is gone already, or the system refuses.
pub fn stop_with(pid: i32, signal: Signal) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(signal))?;
    // It may have ended just before.
    if rustix::process::getppid() == Pid::from_raw(pid) {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "the parent process {pid} has ended"
        )))
    }
}
