//! The viewer: what an agent's terminal shows.

use std::ffi::OsString;
use std::process::ExitCode;

/// Shows an agent's readable log for as long as there is a terminal. `args` are those after
/// [`VIEW_ARGUMENT`](crate::VIEW_ARGUMENT).
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let _ = args.into_iter();
    ExitCode::FAILURE
}
