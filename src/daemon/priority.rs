//! Real-time priority where the system allows it: said once where it does not, never required.

use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// The pulse: above everything of ours.
pub const PULSE: u8 = 40;
/// The core and its log writer: below the pulse, above applications.
pub const CORE: u8 = 20;

/// Runs the calling thread under SCHED_FIFO with this priority, 1 to 99, if allowed.
pub fn raise(name: &str, priority: u8) {
    let value = ThreadPriorityValue::try_from(priority).expect("a priority of 1 to 99");
    let result = set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Crossplatform(value),
        ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo),
    );
    if let Err(error) = result {
        tracing::warn!(
            thread = name,
            ?error,
            "no real-time priority: a busy machine can make this thread late"
        );
    }
}
