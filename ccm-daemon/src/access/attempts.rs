//! How often somebody tried to get in with something wrong.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many wrong tokens or cookies are refused one by one ...
const MOST: usize = 100;
/// ... in so much time; then whoever has a wrong one is told to wait, which costs neither a comparison nor a log line.
const WINDOW: Duration = Duration::from_secs(60);

/// Failed attempts of the last minute. Who has the right token is never held up by others' wrong ones.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<VecDeque<Instant>>);

/// What to make of one more failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// One of a few.
    Counted,
    /// There were too many; this is the first one that is told so.
    JustTooMany { wait: Duration },
    /// There still are too many.
    TooMany { wait: Duration },
}

impl Attempts {
    /// Counts a failure.
    pub(crate) fn failed(&self) -> Failure {
        let now = Instant::now();
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while failures.front().is_some_and(|at| now - *at >= WINDOW) {
            failures.pop_front();
        }
        let wait = failures
            .front()
            .map_or(WINDOW, |first| WINDOW.saturating_sub(now - *first));
        match failures.len() {
            // One more than is needed is kept, so that the first one too many is known.
            count if count < MOST => {
                failures.push_back(now);
                Failure::Counted
            }
            MOST => {
                failures.push_back(now);
                Failure::JustTooMany { wait }
            }
            _ => Failure::TooMany { wait },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_told_to_wait_and_forgotten_after_a_minute() {
        let attempts = Attempts::default();
        for _ in 0..MOST {
            assert_eq!(attempts.failed(), Failure::Counted);
        }
        tokio::time::advance(Duration::from_secs(20)).await;
        let wait = Duration::from_secs(40);
        assert_eq!(attempts.failed(), Failure::JustTooMany { wait });
        assert_eq!(attempts.failed(), Failure::TooMany { wait });
        tokio::time::advance(wait).await;
        assert_eq!(attempts.failed(), Failure::Counted);
    }
}
