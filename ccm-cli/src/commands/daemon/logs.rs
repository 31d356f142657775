use std::path::PathBuf;

use ccm_daemon::machine::Config;
use clap::Args;

use super::super::{Outcome, tail};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Show the daemon's log: follows it on a terminal, else prints its last lines
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator daemon logs              follows on a terminal
  ccm-orchestrator daemon logs -f | grep WARN
  ccm-orchestrator daemon logs -n 20 | cat  the last 20 lines")]
pub(crate) struct Logs {
    /// Follow it, also when this is no terminal
    #[arg(short, long)]
    follow: bool,
    /// How many lines to begin with
    #[arg(short = 'n', long, value_name = "N", default_value_t = 200)]
    lines: usize,
}

pub(super) fn run(args: &Logs, context: &Context) -> Outcome {
    let path = log_file(context)?;
    let follow = args.follow || context.printer.is_terminal();
    tail::show(context, &path, args.lines, follow)?.ok_or_else(|| {
        Failure::new(
            Code::NotFound,
            format!("there is no {} yet", path.display()),
        )
        .hint("the daemon writes it; start it with `ccm-orchestrator daemon start`")
    })
}

/// The log file that the config names; the usual one if the config can't be read.
fn log_file(context: &Context) -> Result<PathBuf, Failure> {
    let home = context.home()?;
    Ok(Config::load(home).map_or_else(
        |_| home.logs_dir().join("daemon.log"),
        |loaded| loaded.config.daemon.log_file,
    ))
}
