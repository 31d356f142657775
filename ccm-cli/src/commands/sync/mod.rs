//! Sharing the queue with the user's other machines.

mod conflict;
mod conflicts;
mod diff;
mod now;
mod resolve;
mod set_aside;
mod status;

use ccm_daemon::machine::Config;
use clap::Subcommand;

use super::Outcome;
use crate::context::Context;
use crate::exit::Failure;

pub(super) use status::{fields, head, protection, state, tell, waiting};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Now(now::Now),
    Status(status::Status),
    Conflicts(conflicts::Conflicts),
    Resolve(resolve::Resolve),
    SetAside(set_aside::SetAside),
}

pub(super) fn run(command: &Command, context: &Context) -> Outcome {
    match command {
        Command::Now(_) => now::run(context),
        Command::Status(_) => status::run(context),
        Command::Conflicts(args) => conflicts::run(args, context),
        Command::Resolve(args) => resolve::run(args, context),
        Command::SetAside(args) => set_aside::run(args, context),
    }
}

/// Whether this machine's config says that it shares nothing. Where no daemon runs, that is an answer in itself.
pub(super) fn is_off(context: &Context) -> Result<bool, Failure> {
    if context.is_elsewhere() || context.daemon()?.is_some() {
        return Ok(false);
    }
    let loaded = Config::load(context.home()?);
    Ok(loaded.is_ok_and(|loaded| !loaded.config.shares()))
}
