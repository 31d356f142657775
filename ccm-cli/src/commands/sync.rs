use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Outcome;
use super::supabase::not_yet;
use crate::context::Context;
use crate::exit::Code;

const OFF: &str =
    "Sync is off: this machine is not connected to Supabase, and everything is kept on it.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Now(Now),
    Status(Status),
    Conflicts(Conflicts),
    Resolve(Resolve),
}

/// Exchange changes with your other machines now (not available yet)
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator sync now")]
pub(super) struct Now {}

/// Show whether and how this machine shares its queue
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator sync status
  ccm-orchestrator sync status --json | jq .enabled")]
pub(super) struct Status {}

/// List what two machines changed differently
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator sync conflicts
  ccm-orchestrator sync conflicts --json")]
pub(super) struct Conflicts {}

/// Decide a conflict (not available yet)
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator sync resolve ID")]
pub(super) struct Resolve {
    /// What the conflict is about
    id: String,
}

pub(super) fn run(command: &Command, context: &Context) -> Outcome {
    let printer = context.printer;
    match command {
        Command::Now(_) => {
            Err(not_yet("syncing").hint("`ccm-orchestrator sync status` says how it is"))
        }
        Command::Resolve(Resolve { id: _ }) => {
            Err(not_yet("resolving conflicts").hint("sync is off, so there are none"))
        }
        Command::Status(_) => {
            if printer.json {
                printer.object(&json!({
                    "enabled": false,
                    "available": false,
                    "conflicts": 0,
                }))?;
            } else {
                printer.line("Off")?;
                printer.note(OFF);
            }
            Ok(Code::Done)
        }
        Command::Conflicts(_) => {
            if printer.json {
                printer.object(&Vec::<Value>::new())?;
            } else {
                printer.note("Sync is off, so there are no conflicts.");
            }
            Ok(Code::Done)
        }
    }
}
