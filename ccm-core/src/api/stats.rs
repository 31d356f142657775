use serde::{Deserialize, Serialize};

use crate::stats::{Bucket, StatsQuery};
use crate::time::Timestamp;

/// What happened over a time, in equal parts of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Stats {
    /// Where the time begins.
    pub from: Timestamp,
    /// Before where it ends.
    pub to: Timestamp,
    /// Its parts in their order.
    #[cfg_attr(feature = "openapi", schema(min_items = 1, max_items = 1000))]
    pub buckets: Vec<StatsBucket>,
}

/// What happened in a part of a time. Tasks count as what they are now: one that failed and was queued again did not fail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StatsBucket {
    /// Its first moment. It ends before the next one's.
    pub start: Timestamp,
    /// Tasks that were accepted.
    pub created: u64,
    /// Tasks that succeeded.
    pub succeeded: u64,
    /// Tasks that were given up.
    pub failed: u64,
    /// Tasks that were called off.
    pub cancelled: u64,
    /// Tasks that were started for the first time.
    pub started: u64,
    /// How long those waited on average, in seconds, since they were accepted or since their `not_before` if that was
    /// later; waiting for other tasks counts. Null if there were none.
    pub wait_mean_s: Option<f64>,
    /// How long the one of them waited that waited longest, in seconds. Null if there were none.
    pub wait_max_s: Option<f64>,
    /// Runs that ended. What follows is of those.
    pub runs: u64,
    /// What they cost, as far as that is known, in US dollars.
    pub cost_usd: f64,
    /// Tokens that the model read anew.
    pub input_tokens: u64,
    /// Tokens that the model wrote.
    pub output_tokens: u64,
    /// Tokens that were read from the provider's cache.
    pub cache_read_tokens: u64,
    /// Tokens that were written to the provider's cache.
    pub cache_write_tokens: u64,
}

impl Stats {
    /// The wire form of what a store answers to `query`.
    pub fn new(query: &StatsQuery, buckets: &[Bucket]) -> Self {
        let span = query.span;
        let buckets = (0..).zip(buckets).map(|(at, bucket)| {
            let any = bucket.started > 0;
            let mean = bucket.waited.as_secs_f64() / bucket.started as f64;
            StatsBucket {
                start: span.start(at),
                created: bucket.created,
                succeeded: bucket.succeeded,
                failed: bucket.failed,
                cancelled: bucket.cancelled,
                started: bucket.started,
                wait_mean_s: any.then_some(mean),
                wait_max_s: any.then_some(bucket.waited_most.as_secs_f64()),
                runs: bucket.runs,
                cost_usd: bucket.cost_usd,
                input_tokens: bucket.usage.input_tokens,
                output_tokens: bucket.usage.output_tokens,
                cache_read_tokens: bucket.usage.cache_read_tokens,
                cache_write_tokens: bucket.usage.cache_write_tokens,
            }
        });
        Self {
            from: span.from(),
            to: span.to(),
            buckets: buckets.collect(),
        }
    }
}
