//! The io_uring: one submission for all that a pass of the loop has to do.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, squeue};

use super::token::Token;

/// Entries of the submission queue; more in one pass are submitted in several calls.
const SUBMISSIONS: u32 = 512;
/// Entries of the completion queue. The kernel keeps what does not fit.
const COMPLETIONS: u32 = 4096;

/// Operations that are given to the kernel at once, while a pass goes on. If all of a pass were
/// submitted at its end, a deep queue would go round as one lump, and disk, peer and client would
/// each idle while another works (measured at depth 32, two cores: a third more mirrored writes).
const SUBMIT_EVERY: usize = 4;

/// One completion.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) token: Token,
    /// As the kernel gives it: a count, or a negative `errno`.
    pub(super) result: i32,
    /// More completions of the same submission follow.
    pub(super) more: bool,
}

impl Completion {
    /// The count, or the positive `errno`.
    pub(super) fn count(self) -> Result<u32, u16> {
        u32::try_from(self.result).map_err(|_| self.result.unsigned_abs() as u16)
    }
}

/// The ring of one thread.
pub(super) struct Ring {
    ring: IoUring,
    /// What the submission queue had no room for.
    backlog: VecDeque<squeue::Entry>,
    in_flight: usize,
    /// Operations since the last submission.
    queued: usize,
}

impl Ring {
    /// # Errors
    /// The kernel has no io_uring, or does not let this process use it.
    pub(super) fn new() -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_clamp().setup_cqsize(COMPLETIONS);
        // Linux 6.1 and later: completions are handled when this thread asks for them, not by
        // interrupting it (measured: 15 % less CPU). Before that: without.
        let ring = builder
            .clone()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(SUBMISSIONS)
            .or_else(|_| builder.build(SUBMISSIONS))?;
        if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "io_uring of this kernel is too old: Linux 5.11 is needed",
            ));
        }
        Ok(Self {
            ring,
            backlog: VecDeque::new(),
            in_flight: 0,
            queued: 0,
        })
    }

    /// Queues an operation; `token` comes back with its completion.
    ///
    /// # Safety
    /// Every file and all memory that `entry` names stay valid, and the memory is not used in a way
    /// that conflicts with the kernel's use of it, until its (last) completion has been reaped.
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry, token: Token) {
        self.in_flight += 1;
        self.backlog.push_back(entry.user_data(token.pack()));
        self.fill();
        self.queued += 1;
        if self.queued == SUBMIT_EVERY {
            self.queued = 0;
            // An error is not lost: it lasts, and `wait` meets it.
            let _ = self.ring.submit();
        }
    }

    /// Moves the backlog to the submission queue, as far as the kernel takes it now.
    fn fill(&mut self) {
        while let Some(entry) = self.backlog.front() {
            // SAFETY: every entry has come through `push`, whose caller promises what is asked for.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                self.backlog.pop_front();
            } else if self.ring.submit().is_err() {
                // Completions have to be reaped first, or the error lasts: `wait` will say.
                return;
            }
        }
    }

    /// Submits what is queued and waits for a completion, at most for `timeout`.
    ///
    /// # Errors
    /// The kernel refuses the ring; interrupts and time-outs are none.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.fill();
        self.queued = 0;
        let entered = match timeout {
            Some(timeout) => {
                let timespec = Timespec::from(timeout);
                let args = SubmitArgs::new().timespec(&timespec);
                self.ring.submitter().submit_with_args(1, &args)
            }
            None => self.ring.submit_and_wait(1),
        };
        match entered {
            Ok(_) => Ok(()),
            Err(error) => match error
                .raw_os_error()
                .map(rustix::io::Errno::from_raw_os_error)
            {
                // BUSY and AGAIN: completions have to be reaped first.
                Some(
                    rustix::io::Errno::TIME
                    | rustix::io::Errno::INTR
                    | rustix::io::Errno::BUSY
                    | rustix::io::Errno::AGAIN,
                ) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Moves completions that are there to `into`, `limit` of them at most. Whether more are left.
    pub(super) fn reap(&mut self, into: &mut Vec<Completion>, limit: usize) -> bool {
        let mut queue = self.ring.completion();
        for entry in queue.by_ref().take(limit) {
            let more = io_uring::cqueue::more(entry.flags());
            if !more {
                self.in_flight -= 1;
            }
            into.push(Completion {
                token: Token::unpack(entry.user_data()),
                result: entry.result(),
                more,
            });
        }
        !queue.is_empty()
    }

    /// Operations whose last completion has not been reaped.
    pub(super) const fn in_flight(&self) -> usize {
        self.in_flight
    }
    /// Makes `memory` known to the kernel as buffer 0 of the `*Fixed` operations; its pages stay in
    /// memory from then on.
    ///
    /// # Errors
    /// The kernel does not let this process keep so much memory.
    ///
    /// # Safety
    /// The `len` bytes at `base` outlive the ring.
    pub(super) unsafe fn register(&self, base: *const u8, len: usize) -> io::Result<()> {
        let vector = Vector { base, len };
        // SAFETY: `Vector` has the layout of `iovec`; the caller promises that the memory outlives
        // the ring.
        unsafe {
            let vectors = std::slice::from_raw_parts((&raw const vector).cast(), 1);
            self.ring.submitter().register_buffers(vectors)
        }
    }
}

/// An `iovec`, as the kernel reads it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Vector {
    pub(super) base: *const u8,
    pub(super) len: usize,
}
