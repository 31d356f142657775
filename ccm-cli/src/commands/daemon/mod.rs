pub(super) mod init;
mod logs;
mod process;
mod start;
mod status;
mod stop;

use clap::Subcommand;

use super::Outcome;
use crate::context::Context;

pub(super) use start::start;
pub(super) use stop::stop;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Init(init::Machine),
    /// Start the daemon and wait until it is ready
    Start,
    Stop(stop::Stop),
    /// Stop the daemon and start it again; runs go on
    Restart,
    /// Show whether the daemon runs: exits 0 if so, 3 if not
    Status,
    Logs(logs::Logs),
}

pub(super) fn run(command: Command, context: &Context) -> Outcome {
    match command {
        Command::Init(args) => init::run(&args, context),
        Command::Start => start::run(context),
        Command::Stop(args) => stop::run(&args, context),
        Command::Restart => stop::restart(context),
        Command::Status => status::run(context),
        Command::Logs(args) => logs::run(&args, context),
    }
}
