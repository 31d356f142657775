//! Runs coding agents: the agent host that owns a program, the runtimes that start hosts and find them again, and the
//! drivers that know the programs.
//!
//! A program that uses [`ProcessRuntime`] or its sibling with terminals must be able to become an agent host: it calls
//! [`hidden_command`] before anything else.

mod cgroup;
mod clock;
mod deadline;
pub mod descriptors;
mod driver;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod host;
pub mod hosts;
mod process;
mod record;
mod scope;
mod sit;
mod stopset;
mod sys;
pub mod terminal;
pub mod tmux;
mod trace;
pub mod view;
mod wire;

use std::ffi::OsString;
use std::process::ExitCode;

pub use hosts::{HostCommand, Hosts, RunEnvironment, RuntimeConfig};
pub use process::ProcessRuntime;
pub use scope::Scopes;
pub use tmux::{TmuxConfig, TmuxHealth, TmuxRuntime, TmuxSocket};
pub use trace::one_line;

/// The argument after which a program is to be an agent's host: `PROGRAM __host AGENT_DIR [OPEN_FILES]`.
pub const HOST_ARGUMENT: &str = "__host";
/// The argument after which a program is to be an agent's viewer: `PROGRAM __view AGENT_DIR`.
pub const VIEW_ARGUMENT: &str = "__view";
/// The argument after which a program is to let a person sit in an agent's place: `PROGRAM __sit AGENT_DIR`.
pub const SIT_ARGUMENT: &str = "__sit";

/// Becomes a host, a viewer or a person's session if `args` (with the program's name first) ask for it.
///
/// To be called first in `main`, before a thread, a runtime or a log exists: a host forks itself.
pub fn hidden_command(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    match args.next()?.to_str()? {
        HOST_ARGUMENT => Some(host::main(args)),
        VIEW_ARGUMENT => Some(view::main(args)),
        SIT_ARGUMENT => Some(sit::main(args)),
        _ => None,
    }
}
