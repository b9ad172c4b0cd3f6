//! Waking a thread that sleeps in `poll`: an eventfd, and an inbox that rings it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::types::Time;

/// Wakes one thread; cheap to clone.
#[derive(Clone)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// A new one.
    ///
    /// # Errors
    ///
    /// No file descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(
            0,
            EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK,
        )?)))
    }

    /// Wakes the thread, now or as soon as it sleeps.
    pub fn wake(&self) {
        // The only failure is a full counter, which means that it is awake anyway.
        let _full = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    /// Forgets what has rung so far; called by the thread that was woken.
    pub fn clear(&self) {
        let mut count = [0_u8; 8];
        // Nothing to read means that nothing has rung.
        let _empty = rustix::io::read(&*self.0, &mut count);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends to a thread's inbox and wakes it.
pub struct Post<T> {
    sender: Sender<T>,
    waker: Waker,
}

impl<T> Clone for Post<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            waker: self.waker.clone(),
        }
    }
}

impl<T> Post<T> {
    /// Delivers `message`; false if the thread has ended.
    pub fn send(&self, message: T) -> bool {
        let delivered = self.sender.send(message).is_ok();
        self.waker.wake();
        delivered
    }
}

/// The receiving end.
pub struct Inbox<T> {
    receiver: Receiver<T>,
    waker: Waker,
}

impl<T> Inbox<T> {
    /// An inbox and the way to post to it.
    ///
    /// # Errors
    ///
    /// No file descriptor is left.
    pub fn new() -> io::Result<(Post<T>, Self)> {
        let (sender, receiver) = channel();
        let waker = Waker::new()?;
        Ok((
            Post {
                sender,
                waker: waker.clone(),
            },
            Self { receiver, waker },
        ))
    }

    /// The next message, if there is one. `Err` when nobody can send any more.
    ///
    /// # Errors
    ///
    /// All senders are gone.
    pub fn next(&self) -> Result<Option<T>, TryRecvError> {
        match self.receiver.try_recv() {
            Ok(message) => Ok(Some(message)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(gone @ TryRecvError::Disconnected) => Err(gone),
        }
    }

    /// What rings when something is posted.
    #[must_use]
    pub fn waker(&self) -> &Waker {
        &self.waker
    }
}

/// Sleeps until one of two descriptors is readable, or until `deadline`. Returns whether the first
/// is.
///
/// # Errors
///
/// `poll` failed in another way than by a signal.
pub fn sleep_until(first: BorrowedFd<'_>, waker: &Waker, deadline: Time) -> io::Result<bool> {
    let left = deadline.since(super::clock::now());
    let timeout = Timespec {
        tv_sec: left.as_secs().min(3600) as i64,
        tv_nsec: i64::from(left.subsec_nanos()),
    };
    let mut fds = [
        PollFd::from_borrowed_fd(first, PollFlags::IN),
        PollFd::new(waker, PollFlags::IN),
    ];
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    if !fds[1].revents().is_empty() {
        waker.clear();
    }
    Ok(!fds[0].revents().is_empty())
}
