//! The agent host: one small single-threaded program per agent that owns the agent's runs.

use std::ffi::OsString;
use std::process::ExitCode;

/// Is an agent's host until it is told to quit. `args` are those after [`HOST_ARGUMENT`](crate::HOST_ARGUMENT).
///
/// The calling process returns as soon as the host listens, which lives on detached from it.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let _ = args.into_iter();
    ExitCode::FAILURE
}
