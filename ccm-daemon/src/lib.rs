//! The reference daemon of CCM, as a library: composition, configuration and the HTTP API.

mod access;
pub mod app;
mod daemon;
mod factories;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod health;
pub mod http;
pub mod machine;
pub mod metrics;
pub mod notify;
mod retention;
mod rotated;
mod run;
pub mod settings;
mod sharing;
mod telemetry;

pub use daemon::{Daemon, Ended};
pub use run::{Exit, run, run_with};
pub use sharing::Sharing;
