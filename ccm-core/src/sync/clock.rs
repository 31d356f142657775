//! The hybrid logical clock: wall time that never goes back, with a counter for what happens at once.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;
use crate::{Error, Result};

/// How far a machine's clock may be ahead of the server's. What is later is taken as this late, so that a wrong clock
/// can't win for ever.
pub const MAX_SKEW: Duration = Duration::from_secs(60);

/// A moment of the hybrid logical clock. Later is greater.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Hlc {
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub time: i64,
    /// Tells what happened in the same microsecond apart, and goes on while the wall clock stands or goes back.
    pub count: u32,
}

impl Hlc {
    /// The moment of a change that is made now, after everything that was seen until `self`.
    #[must_use]
    pub fn tick(self, now: Timestamp) -> Self {
        let now = now.as_micros();
        if now > self.time {
            return Self {
                time: now,
                count: 0,
            };
        }
        match self.count.checked_add(1) {
            Some(count) => Self { count, ..self },
            None => Self {
                time: self.time.saturating_add(1),
                count: 0,
            },
        }
    }

    /// The later of two: what a clock is after it has seen the other.
    #[must_use]
    pub fn seen(self, other: Self) -> Self {
        self.max(other)
    }

    /// The same moment, but no later than `now` allows.
    #[must_use]
    pub fn clamped(self, now: Timestamp) -> Self {
        let latest = now.after(MAX_SKEW).as_micros();
        if self.time <= latest {
            return self;
        }
        Self {
            time: latest,
            count: 0,
        }
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.time, self.count)
    }
}

impl FromStr for Hlc {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once('.');
        let parsed =
            parts.and_then(|(time, count)| Some((time.parse().ok()?, count.parse().ok()?)));
        let (time, count) = parsed.ok_or_else(|| {
            Error::invalid(format!("{text:?} is not a moment (MICROSECONDS.COUNT)"))
        })?;
        Ok(Self { time, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000_000;

    fn at(time: i64, count: u32) -> Hlc {
        Hlc { time, count }
    }

    #[test]
    fn it_follows_the_wall_clock_and_never_goes_back() {
        let now = Timestamp::from_micros(NOW);
        assert_eq!(at(0, 7).tick(now), at(NOW, 0));
        assert_eq!(at(NOW, 0).tick(now), at(NOW, 1));
        assert_eq!(at(NOW + 5, 3).tick(now), at(NOW + 5, 4));
        assert_eq!(at(NOW, u32::MAX).tick(now), at(NOW + 1, 0));
    }

    #[test]
    fn what_is_too_far_ahead_is_clamped() {
        let now = Timestamp::from_micros(NOW);
        let edge = NOW + 60_000_000;
        assert_eq!(at(edge, 9).clamped(now), at(edge, 9));
        assert_eq!(at(edge + 1, 9).clamped(now), at(edge, 0));
    }

    #[test]
    fn it_is_written_and_read() {
        let moment = at(NOW, 12);
        assert_eq!(moment.to_string().parse::<Hlc>().ok(), Some(moment));
        assert!("12".parse::<Hlc>().is_err());
        assert!("x.1".parse::<Hlc>().is_err());
    }
}
