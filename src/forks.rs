//! For tests: keeps those that start processes apart from those that let go of locks and sockets.
//!
//! A child has every descriptor of this process from its first moment until it has become another
//! program. A lock that a test lets go of in between stays held, and a socket stays open.

use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static FORKS: RwLock<()> = RwLock::new(());

/// While it lives, this test alone starts processes, and no test has what `forbidden` gives.
pub(crate) fn allowed() -> RwLockWriteGuard<'static, ()> {
    FORKS.write().unwrap_or_else(PoisonError::into_inner)
}

/// While it lives, no test starts a process. One for each test: a second one might wait for ever.
pub(crate) fn forbidden() -> RwLockReadGuard<'static, ()> {
    FORKS.read().unwrap_or_else(PoisonError::into_inner)
}

/// A new directory; while it is there, no test starts a process.
pub(crate) fn directory() -> Directory {
    Directory {
        temp: tempfile::tempdir().expect("a directory"),
        _forbidden: forbidden(),
    }
}

/// Removed when it is dropped.
pub(crate) struct Directory {
    temp: tempfile::TempDir,
    _forbidden: RwLockReadGuard<'static, ()>,
}

impl Directory {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.temp.path()
    }
}
