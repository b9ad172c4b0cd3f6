//! The NBD protocol as pure code: no socket, file, thread or clock.
