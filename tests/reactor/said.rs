//! What the reactors of this process log.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Mutex, Once, PoisonError};

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// From now on everything is kept.
pub fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(|| Log)
            .init();
    });
}

/// The lines that name any of these addresses, in order. Each test has its own ports, so that
/// other tests say nothing of them.
pub fn of(addresses: &[SocketAddr]) -> Vec<String> {
    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&log);
    let named = |line: &&str| {
        let words: Vec<_> = line.split_whitespace().collect();
        addresses
            .iter()
            .any(|address| words.contains(&address.to_string().as_str()))
    };
    text.lines().filter(named).map(str::to_owned).collect()
}
