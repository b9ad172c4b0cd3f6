//! Time, and how late this machine wakes a sleeping thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_BOOTTIME` in nanoseconds: the clock of the daemons' events.
#[must_use]
pub fn boot_nanos() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The value below which `share` (0 to 1) of the sorted values lie.
///
/// # Panics
///
/// There are none.
#[must_use]
pub fn quantile(sorted: &[Duration], share: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

/// Sleeps 10 ms at a time beside a measurement and notes how late it wakes.
pub struct Lateness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Lateness {
    /// Begins.
    #[must_use]
    pub fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut late = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let start = boot_nanos();
                std::thread::sleep(Duration::from_millis(10));
                late.push(Duration::from_nanos(
                    (boot_nanos() - start).saturating_sub(10_000_000),
                ));
            }
            late.sort();
            late
        });
        Self { stop, thread }
    }

    /// Ends; how late each wake-up was, sorted.
    ///
    /// # Panics
    ///
    /// The thread panicked.
    #[must_use]
    pub fn stop(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the timer")
    }
}
