//! The default scheduler and the retry policy.

mod fair;
pub mod retry;

pub use fair::{COUNTED_PRIORITY, FairScheduler};
