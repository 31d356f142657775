//! Wall-clock times and the clock that tells them.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment in UTC with microseconds, written as RFC 3339.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(
    value_type = String, format = DateTime, max_length = 64, example = "2026-01-31T12:00:00Z",
))]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: Self = Self(jiff::Timestamp::UNIX_EPOCH);

    /// The moment `micros` microseconds after 1970-01-01T00:00:00Z; the nearest representable one if there is none.
    pub fn from_micros(micros: i64) -> Self {
        let clamped = micros.clamp(
            jiff::Timestamp::MIN.as_microsecond(),
            jiff::Timestamp::MAX.as_microsecond(),
        );
        let (seconds, micros) = (clamped.div_euclid(1_000_000), clamped.rem_euclid(1_000_000));
        // Whole seconds and a rest reach the last microsecond; jiff's own constructor for microseconds does not.
        let time = jiff::Timestamp::new(seconds, micros as i32 * 1_000);
        Self(time.unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub fn as_micros(self) -> i64 {
        self.0.as_microsecond()
    }

    /// This moment moved by `by`, staying at the last representable one rather than overflowing.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.as_micros().saturating_add(micros))
    }

    /// How long ago `earlier` was; zero if it is still to come.
    pub fn since(self, earlier: Self) -> Duration {
        let micros = self.as_micros().saturating_sub(earlier.as_micros());
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// No text of a time is longer, in bytes.
const MAX_TEXT: usize = 64;

/// A text that is no RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an RFC 3339 time such as 2026-01-31T12:00:00Z")]
pub struct InvalidTimestamp {
    text: String,
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        Some(text)
            .filter(|text| text.len() <= MAX_TEXT)
            .and_then(|text| text.parse::<jiff::Timestamp>().ok())
            .map(|time| Self::from_micros(time.as_microsecond()))
            .ok_or_else(|| InvalidTimestamp {
                text: text.to_owned(),
            })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// What time it is, and how to wait.
///
/// The engine asks for nothing else, so a test that brings its own clock decides when time passes.
#[async_trait]
pub trait Clock: Send + Sync + fmt::Debug {
    /// The current moment. May jump in either direction when the machine's clock is set.
    fn now(&self) -> Timestamp;

    /// Returns once `period` has passed, and soon after the machine's clock was set or the machine was suspended: what
    /// waits for a date looks at it again. Dropping the future has no effect.
    async fn sleep(&self, period: Duration);

    /// How long this clock has run, whatever the machine's clock was set to meanwhile.
    fn uptime(&self) -> Duration;

    /// How long the machine has been up, with the time that it was suspended. Nobody sets it, and it is the same for every
    /// process. By default `uptime`.
    fn since_boot(&self) -> Duration {
        self.uptime()
    }

    /// Returns once `uptime` has grown by `period`. Dropping the future has no effect.
    async fn wait(&self, period: Duration);
}

/// How long a sleeper may take to notice that the clock was set. Only who waits for something wakes up for it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// By how much the clock may differ from the time that passed without having been set.
const DRIFT: Duration = Duration::from_millis(200);

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
    }

    async fn sleep(&self, period: Duration) {
        let mut left = period;
        while !left.is_zero() {
            let (begun, shown) = (tokio::time::Instant::now(), self.now());
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
            // Neither stands still with the process, only the first with the machine.
            let passed = begun.elapsed();
            if was_set(shown.after(passed), self.now()) {
                return;
            }
            left = left.saturating_sub(passed);
        }
    }

    fn uptime(&self) -> Duration {
        static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
        BEGAN.elapsed()
    }

    fn since_boot(&self) -> Duration {
        #[cfg(target_os = "linux")]
        const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
        // It goes on while the machine sleeps, other than the one of the same name on Linux.
        #[cfg(not(target_os = "linux"))]
        const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;
        // Both are there on every system that this is built for.
        clock_gettime(CLOCK).map_or_else(|_| self.uptime(), Duration::from)
    }

    async fn wait(&self, period: Duration) {
        tokio::time::sleep(period).await;
    }
}

fn was_set(expected: Timestamp, found: Timestamp) -> bool {
    found.since(expected).max(expected.since(found)) > DRIFT
}
