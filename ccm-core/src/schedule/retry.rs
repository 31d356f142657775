//! When a task is tried again.
//!
//! Two waits, which grow apart:
//!
//! | what happened | first | then | at most |
//! | --- | --- | --- | --- |
//! | a false start: no program was started, or its provider refused to work | 1 s | doubled by each in a row | 60 s |
//! | an attempt that failed or was cut | 10 s | doubled by each attempt | 10 min |
//!
//! A provider that names the time until which it refuses is asked again then, a few seconds later.
//!
//! A false start is no attempt and is repeated for as long as the task stands, because what hinders it (a program that
//! is not installed, a host that is down) is mended outside. An attempt is repeated only while the task has retries
//! left, and only if its end leaves hope: see [`is_retried`].
//!
//! Each wait is shortened by up to a quarter, so that many tasks that fail together don't come back together. By how
//! much follows from the run's id: the same run always waits the same.

use std::time::Duration;

use crate::id::RunId;
use crate::reason::Reason;
use crate::run::{Run, Verdict};
use crate::task::Task;
use crate::time::Timestamp;

const FALSE_START: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
const ATTEMPT: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// When another attempt at `task` may be made after `run` ended with `verdict`; `None` if there is to be none.
///
/// `task` is the task while the run still has it. A stop that forbids a requeue is not looked at here: whoever commits
/// the outcome keeps to it, whatever this says.
pub fn next_attempt(
    task: &Task,
    run: &Run,
    verdict: &Verdict,
    now: Timestamp,
) -> Option<Timestamp> {
    if !is_retried(verdict) {
        return None;
    }
    let wait = match verdict {
        Verdict::Refused {
            until: Some(until), ..
        } if *until > now => return Some(until.after(spread(run.id))),
        Verdict::NotStarted { .. } | Verdict::Refused { .. } => {
            after_false_starts(task.false_starts.saturating_add(1), run.id)
        }
        _ if task.attempts > task.spec.max_retries => return None,
        _ => after_attempts(run.attempt, run.id),
    };
    Some(now.after(wait))
}

/// Whether another attempt makes sense after `verdict`, as far as retries are left.
///
/// Never after a success, a cancel or an outcome that does not count. Of failures never those that say that someone
/// must act first: the project is gone or may not run, the money is spent, something of the run still lives, or a person
/// interrupted it.
pub const fn is_retried(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Succeeded | Verdict::Cancelled | Verdict::Superseded => false,
        Verdict::NotStarted { .. } | Verdict::Refused { .. } => true,
        Verdict::Failed { cause } | Verdict::Lost { cause } => match cause.reason {
            Reason::ExitCode
            | Reason::AgentError
            | Reason::NoResult
            | Reason::Lost
            | Reason::LostOutput
            | Reason::Timeout
            | Reason::MemoryLimit
            | Reason::OutputLimit
            | Reason::NotStarted
            | Reason::RateLimited => true,
            Reason::Unstoppable
            | Reason::Budget
            | Reason::ConfigUntrusted
            | Reason::ProjectMissing
            | Reason::AgentStopped
            | Reason::AgentTaken
            | Reason::ProjectRemoved
            | Reason::Interrupted
            | Reason::RemoteUnapproved
            | Reason::RemoteDenied
            | Reason::LeaseLost
            | Reason::Cancelled => false,
        },
    }
}

/// How long a task waits after `count` false starts in a row, of which `run` is the last.
pub fn after_false_starts(count: u32, run: RunId) -> Duration {
    backoff(FALSE_START, count, run)
}

/// How long a task waits after its `count`th attempt, which was `run`.
pub fn after_attempts(count: u32, run: RunId) -> Duration {
    backoff(ATTEMPT, count, run)
}

/// Up to 10 s after a date that many tasks wait for.
fn spread(run: RunId) -> Duration {
    Duration::from_secs(10) * random(run) / (u32::from(u16::MAX) + 1)
}

fn random(run: RunId) -> u32 {
    // The last bytes of a UUIDv7 are random.
    let bytes = run.as_uuid().as_bytes();
    u32::from(u16::from_be_bytes([bytes[14], bytes[15]]))
}

fn backoff((first, most): (Duration, Duration), count: u32, run: RunId) -> Duration {
    let doubled = 1_u32
        .checked_shl(count.saturating_sub(1))
        .unwrap_or(u32::MAX);
    let wait = first.saturating_mul(doubled).min(most);
    wait - wait * random(run) / (4 * (u32::from(u16::MAX) + 1))
}
