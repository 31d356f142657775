//! The Supabase project that the user's machines share.

pub(super) mod account;
pub(super) mod connect;
mod devices;
mod disconnect;
mod migrations;
mod revoke;
mod status;

use clap::Subcommand;

use super::Outcome;
use crate::context::Context;
use crate::exit::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Connect(Box<connect::Connect>),
    Disconnect(disconnect::Disconnect),
    Status(status::Status),
    Devices(devices::Devices),
    Revoke(revoke::Revoke),
    Migrations(migrations::Migrations),
}

pub(super) fn run(command: &Command, context: &Context) -> Outcome {
    match command {
        Command::Connect(args) => connect::run(args, context),
        Command::Disconnect(args) => disconnect::run(args, context),
        Command::Status(_) => status::run(context),
        Command::Devices(_) => devices::run(context),
        Command::Revoke(args) => revoke::run(args, context),
        Command::Migrations(_) => migrations::run(context),
    }
}

/// Refuses what is about this machine's own files when another machine's daemon is meant.
fn only_here(context: &Context, what: &str) -> Result<(), Failure> {
    context.not_for_agents(what)?;
    if context.is_elsewhere() {
        return Err(Failure::usage(format!(
            "CCM_URL names another daemon, and only this machine's own home can be used to {what}"
        ))
        .hint("unset CCM_URL, or run it on that machine"));
    }
    if !context.home()?.is_set_up() {
        return Err(context.stopped());
    }
    Ok(())
}
