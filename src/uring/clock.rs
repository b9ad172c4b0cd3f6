//! The clock that leases are measured with.

use rustix::time::{ClockId, clock_gettime};

use crate::types::Time;

/// `CLOCK_BOOTTIME`, now.
pub(super) fn now() -> Time {
    let time = clock_gettime(ClockId::Boottime);
    Time(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
