//! The agent host and the runtime around it, with real processes.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

#[cfg(feature = "barriers")]
mod barriers;
mod bench;
mod conformance;
mod deadline;
mod ends;
mod groups;
mod hosts;
mod inputs;
mod launch;
mod memory;
mod races;
mod tmux;
mod view;
