//! The reference daemon of CCM, as a library: composition, configuration and the HTTP API.

pub mod app;
mod daemon;
mod factories;
pub mod http;
pub mod machine;
mod retention;
mod run;
mod telemetry;

pub use daemon::{Daemon, Ended};
pub use run::{Exit, run, run_with};
