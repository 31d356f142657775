//! The suites that every implementation of a contract runs.
//!
//! Each case is a plain async function that panics when the implementation breaks the sentence it names. The macros
//! [`store_conformance!`](crate::store_conformance), [`replica_conformance!`](crate::replica_conformance),
//! [`runtime_conformance!`](crate::runtime_conformance),
//! [`sync_conformance!`](crate::sync_conformance) and [`scheduler_conformance!`](crate::scheduler_conformance) make one
//! test of each case; the first argument makes a fresh place for it.
#![allow(
    clippy::unwrap_used,
    reason = "the suites are tests that are published"
)]

mod random;
pub mod replica;
pub mod runtime;
pub mod scheduler;
pub mod store;
pub mod sync;

use std::time::Duration;

use crate::{ErrorKind, Result};

/// Makes a test of one case.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_case {
    ($suite:ident $factory:tt [$($flavor:tt)*] $case:ident) => {
        #[tokio::test($($flavor)*)]
        async fn $case() {
            let place = $factory().await;
            $crate::testing::conformance::$suite::$case(&place).await;
        }
    };
}

/// The kind of an error that must have come.
#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T>) -> ErrorKind {
    match answer {
        Ok(done) => panic!("this was to be refused, and was done: {done:?}"),
        Err(error) => error.kind(),
    }
}

/// Waits for something that must come soon.
async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), work).await {
        Ok(answer) => answer,
        Err(_) => panic!("{what} did not come within a minute"),
    }
}
