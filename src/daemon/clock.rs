//! The daemon's clocks.

use rustix::time::{ClockId, clock_gettime};

use crate::types::{BootId, Time};

/// `CLOCK_BOOTTIME`: goes on while the machine sleeps, so a lease ends there too.
#[must_use]
pub fn now() -> Time {
    let now = clock_gettime(ClockId::Boottime);
    Time(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

/// Wall clock, nanoseconds since 1970: for people only, nothing is decided by it.
#[must_use]
pub fn wall() -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// This boot of the machine.
///
/// # Errors
///
/// `/proc` is not mounted, or says something else.
pub fn boot_id() -> std::io::Result<BootId> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16)
        .map(BootId)
        .map_err(|error| {
            std::io::Error::new(std::io::ErrorKind::InvalidData, format!("boot_id: {error}"))
        })
}
