//! The suites that every implementation of a contract runs.
//!
//! Each case is a plain async function that panics when the implementation breaks the sentence it names. The macros
//! [`store_conformance!`](crate::store_conformance), [`runtime_conformance!`](crate::runtime_conformance) and
//! [`sync_conformance!`](crate::sync_conformance) make one test of each case; the first argument is an async function
//! that makes a fresh place.
#![allow(
    clippy::unwrap_used,
    reason = "the suites are tests that are published"
)]

pub mod store;

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
