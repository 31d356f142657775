use clap::{Args, Subcommand};
use serde_json::json;

use super::Outcome;
use crate::context::Context;
use crate::exit::{Code, Failure};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Connect(Connect),
    Disconnect(Disconnect),
    Status(Status),
}

/// Sign in to Supabase and share projects and tasks with your other machines (not available yet)
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator supabase connect
  ccm config set supabase.url https://PROJECT.supabase.co    kept for when it is available")]
pub(super) struct Connect {}

/// Sign out of Supabase and keep everything on this machine (not available yet)
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator supabase disconnect")]
pub(super) struct Disconnect {}

/// Show whether this machine is connected to Supabase
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator supabase status
  ccm-orchestrator supabase status --json | jq .connected")]
pub(super) struct Status {}

pub(super) fn run(command: &Command, context: &Context) -> Outcome {
    match command {
        Command::Connect(_) => Err(not_yet("connecting to Supabase").hint(
            "everything works on this machine without it; `ccm config set supabase.url URL` keeps the address for later",
        )),
        Command::Disconnect(_) => Err(not_yet("disconnecting from Supabase")
            .hint("this machine is not connected, so there is nothing to disconnect")),
        Command::Status(_) => status(context),
    }
}

/// What a later version does.
pub(super) fn not_yet(what: &str) -> Failure {
    Failure::new(
        Code::Refused,
        format!("{what} is not available in this version yet"),
    )
}

fn status(context: &Context) -> Outcome {
    let url = address(context)?;
    if context.printer.json {
        context.printer.object(&json!({
            "connected": false,
            "available": false,
            "url": url,
        }))?;
        return Ok(Code::Done);
    }
    context
        .printer
        .line("Off: this machine is not connected to Supabase")?;
    if let Some(url) = url {
        context
            .printer
            .line(format!("url: {url} (kept for when it is available)"))?;
    }
    context
        .printer
        .note("Connecting to Supabase is not available in this version yet; everything is kept on this machine.");
    Ok(Code::Done)
}

/// The address in the config, if there is a config that can be used.
fn address(context: &Context) -> Result<Option<String>, Failure> {
    let loaded = ccm_daemon::machine::Config::load(context.home()?);
    Ok(loaded.ok().and_then(|loaded| loaded.config.supabase.url))
}
