//! The time, for records.

use ccm_core::time::{Clock, SystemClock, Timestamp};

/// The current moment.
pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

/// A moment for people, to the second.
pub(crate) fn to_second(time: Timestamp) -> String {
    let text = time.to_string();
    match text.split_once('.') {
        Some((second, _)) => format!("{second}Z"),
        None => text,
    }
}
