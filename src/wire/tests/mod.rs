//! The bytes between peers: golden bytes, everything there and back, and any bytes at all.

mod codec;
mod handshake;
mod pulse;

/// Bytes as hexadecimal digits, for golden values.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
