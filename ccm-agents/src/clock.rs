//! The time, for records.

use std::time::Duration;

use ccm_core::time::{Clock, SystemClock, Timestamp};
use nix::time::{ClockId, clock_gettime};

/// The current moment.
pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

/// For how long the machine has been up: nobody sets this, and it is the same for every process.
pub(crate) fn up() -> Duration {
    // Where it matters, with the time that the machine was suspended.
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;
    // Both are there on every system that this is built for.
    clock_gettime(CLOCK).map_or(Duration::ZERO, Duration::from)
}

/// A moment for people, to the second.
pub(crate) fn to_second(time: Timestamp) -> String {
    let text = time.to_string();
    match text.split_once('.') {
        Some((second, _)) => format!("{second}Z"),
        None => text,
    }
}
