//! The agent host and the runtime around it, with real processes.

#[allow(dead_code, reason = "used by the cases to come")]
mod bench;
mod launch;
