//! The agent host and the runtime around it, with real processes.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

#[allow(dead_code, reason = "used by the cases to come")]
mod bench;
mod conformance;
mod launch;
