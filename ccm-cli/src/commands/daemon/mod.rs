pub(super) mod init;
mod logs;
mod process;
mod reload;
mod service;
mod start;
mod status;
mod stop;

use clap::Subcommand;

use super::Outcome;
use crate::context::Context;

pub(super) use start::start;
pub(super) use stop::stop_all;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Init(init::Machine),
    /// Start the daemon, as the service if one is installed, and wait until it is ready
    #[command(after_help = "\
Examples:
  ccm-orchestrator daemon start             by the service of this machine home, else as a background process
  ccm-orchestrator daemon start --json      prints where it is, its pid, and its service")]
    Start,
    Stop(stop::Stop),
    /// Stop the daemon and start it again; runs go on
    #[command(after_help = "\
Examples:
  ccm-orchestrator daemon restart           after an upgrade, or for a changed config
  ccm-orchestrator daemon restart           hands a daemon that was started by hand over to the service")]
    Restart,
    Reload(reload::Reload),
    /// Show whether the daemon runs: exits 0 if so, 3 if not
    #[command(after_help = "\
Examples:
  ccm-orchestrator daemon status
  ccm-orchestrator daemon status --json     the same for programs, with the service that keeps it running")]
    Status,
    Logs(logs::Logs),
}

pub(super) fn run(command: Command, context: &Context) -> Outcome {
    if !matches!(command, Command::Init(_)) {
        context.mean_the_service()?;
    }
    match command {
        Command::Init(args) => init::run(&args, context),
        Command::Start => start::run(context),
        Command::Stop(args) => stop::run(&args, context),
        Command::Restart => stop::restart(context),
        Command::Reload(_) => reload::run(context),
        Command::Status => status::run(context),
        Command::Logs(args) => logs::run(&args, context),
    }
}
