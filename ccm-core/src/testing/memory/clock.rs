//! A clock that stands still until a test moves it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::time::{Clock, Timestamp};

/// A [`Clock`] that a test moves by hand. Clones tell the same time.
///
/// How far it was advanced and what it shows are kept apart: [`set`](Self::set) is somebody setting the machine's clock,
/// which wakes nobody before their time.
#[derive(Debug, Clone)]
pub struct FakeClock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// How long the clock has run, and how many sleep.
    ticks: watch::Sender<(Duration, usize)>,
}

#[derive(Debug)]
struct State {
    now: Timestamp,
}

impl FakeClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State { now }),
                ticks: watch::Sender::new((Duration::ZERO, 0)),
            }),
        }
    }

    /// Lets `period` pass and wakes whoever slept long enough.
    pub fn advance(&self, period: Duration) {
        let mut state = self.lock();
        state.now = state.now.after(period);
        drop(state);
        self.shared
            .ticks
            .send_modify(|(passed, _)| *passed += period);
    }

    /// Shows another time, in either direction, without time passing.
    pub fn set(&self, now: Timestamp) {
        self.lock().now = now;
    }

    /// How many sleep now.
    pub fn sleepers(&self) -> usize {
        self.shared.ticks.borrow().1
    }

    /// Returns once at least `count` sleep, so that a test advances neither too early nor by waiting.
    pub async fn until_sleeping(&self, count: usize) {
        let mut ticks = self.shared.ticks.subscribe();
        // The sender lives as long as the clock does, so this can't end in any other way.
        let _ = ticks.wait_for(|(_, sleepers)| *sleepers >= count).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for FakeClock {
    /// A clock that shows an arbitrary moment that is the same in every test.
    fn default() -> Self {
        Self::new(Timestamp::from_micros(1_790_000_000_000_000))
    }
}

/// Counts a sleeper, also if its future is dropped.
struct Sleeper<'a>(&'a watch::Sender<(Duration, usize)>);

impl<'a> Sleeper<'a> {
    fn new(ticks: &'a watch::Sender<(Duration, usize)>) -> Self {
        ticks.send_modify(|(_, sleepers)| *sleepers += 1);
        Self(ticks)
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|(_, sleepers)| *sleepers -= 1);
    }
}

#[async_trait]
impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    async fn sleep(&self, period: Duration) {
        let mut ticks = self.shared.ticks.subscribe();
        let until = ticks.borrow().0.saturating_add(period);
        let _sleeper = Sleeper::new(&self.shared.ticks);
        let _ = ticks.wait_for(|(passed, _)| *passed >= until).await;
    }

    fn uptime(&self) -> Duration {
        self.shared.ticks.borrow().0
    }

    async fn wait(&self, period: Duration) {
        self.sleep(period).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_when_their_time_has_come() {
        let clock = FakeClock::default();
        let start = clock.now();
        let sleep = |seconds| {
            let clock = clock.clone();
            tokio::spawn(async move { clock.sleep(Duration::from_secs(seconds)).await })
        };
        let (short, long) = (sleep(10), sleep(20));
        clock.until_sleeping(2).await;
        clock.set(start.after(Duration::from_secs(1_000)));
        clock.advance(Duration::from_secs(9));
        tokio::task::yield_now().await;
        assert!(!short.is_finished(), "setting the clock lets no time pass");
        clock.advance(Duration::from_secs(1));
        short.await.unwrap();
        assert!(!long.is_finished());
        clock.advance(Duration::from_secs(10));
        long.await.unwrap();
        assert_eq!(clock.now().since(start), Duration::from_secs(1_020));
        assert_eq!(clock.sleepers(), 0);
    }

    #[tokio::test]
    async fn a_dropped_sleeper_is_not_counted() {
        let clock = FakeClock::default();
        let sleeper = clock.clone();
        let task = tokio::spawn(async move { sleeper.sleep(Duration::from_secs(1)).await });
        clock.until_sleeping(1).await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(clock.sleepers(), 0);
    }

    #[tokio::test]
    async fn no_time_needs_no_sleep() {
        FakeClock::default().sleep(Duration::ZERO).await;
    }
}
