//! What happened over a time, in equal parts of it.

use std::time::Duration;

use crate::id::ProjectId;
use crate::run::Usage;
use crate::time::Timestamp;
use crate::{Error, Result};

/// The most parts of a time.
pub const MAX_BUCKETS: u32 = 1000;
/// The longest time: ten years.
pub const MAX_SPAN: Duration = Duration::from_secs(3653 * 24 * 60 * 60);

/// A time in equal parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    from: Timestamp,
    to: Timestamp,
    buckets: u32,
}

impl Span {
    /// The time from `from` until before `to`.
    ///
    /// # Errors
    /// `Invalid` for a time that ends before it begins, is longer than [`MAX_SPAN`] or has less than a millisecond for
    /// each part, and for none or more than [`MAX_BUCKETS`] parts.
    pub fn new(from: Timestamp, to: Timestamp, buckets: u32) -> Result<Self> {
        if !(1..=MAX_BUCKETS).contains(&buckets) {
            return Err(Error::invalid(format!(
                "buckets must be 1 to {MAX_BUCKETS}, found {buckets}"
            )));
        }
        let length = to.since(from);
        if length > MAX_SPAN {
            return Err(Error::invalid("from and to are more than ten years apart"));
        }
        if length < Duration::from_millis(1) * buckets {
            return Err(Error::invalid(format!(
                "to must be after from, by a millisecond for each of the {buckets} buckets"
            )));
        }
        Ok(Self { from, to, buckets })
    }

    /// Where it begins.
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// Before where it ends.
    pub fn to(&self) -> Timestamp {
        self.to
    }

    /// How many parts it has.
    pub fn buckets(&self) -> u32 {
        self.buckets
    }

    /// Its length in microseconds.
    pub fn micros(&self) -> i64 {
        self.to.as_micros() - self.from.as_micros()
    }

    /// The part that a moment is in: `(time - from) * buckets / (to - from)` in whole microseconds.
    pub fn bucket(&self, time: Timestamp) -> Option<usize> {
        let inside = time >= self.from && time < self.to;
        inside.then(|| {
            let place = (time.as_micros() - self.from.as_micros()) * i64::from(self.buckets);
            usize::try_from(place / self.micros()).unwrap_or_default()
        })
    }

    /// The first moment of a part.
    pub fn start(&self, bucket: u32) -> Timestamp {
        let place = self.micros() * i64::from(bucket);
        let buckets = i64::from(self.buckets);
        let start = place / buckets + i64::from(place % buckets > 0);
        Timestamp::from_micros(self.from.as_micros() + start)
    }
}

/// Which figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatsQuery {
    /// Of which time.
    pub span: Span,
    /// Only of this project.
    pub project: Option<ProjectId>,
}

/// What happened in a part of a time. Tasks count as what they are now: one that failed and was queued again did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bucket {
    /// Tasks that were accepted.
    pub created: u64,
    /// Tasks that ended then and succeeded.
    pub succeeded: u64,
    /// Tasks that were given up then.
    pub failed: u64,
    /// Tasks that were called off then.
    pub cancelled: u64,
    /// Tasks of which a program was started for the first time.
    pub started: u64,
    /// How long those waited all together: since they were accepted, or since their `not_before` if that was later.
    pub waited: Duration,
    /// How long the one of them waited that waited longest.
    pub waited_most: Duration,
    /// Runs that ended.
    pub runs: u64,
    /// What those cost, as far as that is known.
    pub cost_usd: f64,
    /// What those used.
    pub usage: Usage,
}
