//! When a task is tried again.

use std::time::Duration;

use crate::run::{Run, Verdict};
use crate::task::Task;
use crate::time::Timestamp;

/// When another attempt at `task` may be made after `run` ended with `verdict`; `None` if there is to be none.
pub fn next_attempt(
    task: &Task,
    _run: &Run,
    verdict: &Verdict,
    now: Timestamp,
) -> Option<Timestamp> {
    match verdict {
        Verdict::NotStarted { .. } => {
            let seconds = 1u64 << task.false_starts.min(6);
            Some(now.after(Duration::from_secs(seconds.min(60))))
        }
        Verdict::Failed { .. } | Verdict::Lost { .. } if task.attempts <= task.spec.max_retries => {
            Some(now.after(Duration::from_secs(10)))
        }
        _ => None,
    }
}
