use clap::Args;

use ccm_core::api::SyncCondition;

use super::super::{Outcome, sync, time};
use crate::context::Context;

/// Show whether this machine is connected to Supabase, and how it goes
///
/// It exits with 0 when the connection works or there is none, 1 when the server can't be reached, 3 when the daemon
/// doesn't run, 5 when this machine was shut out, is too old or is taken for another, and 6 when somebody has to sign in
/// again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator supabase status
  ccm-orchestrator supabase status --json | jq .connected")]
pub(in super::super) struct Status {}

pub(super) fn run(context: &Context) -> Outcome {
    let (state, code) = sync::state(context)?;
    if context.printer.json {
        context.printer.object(&state)?;
        return Ok(code);
    }
    sync::head(context, &state)?;
    let mut fields = Vec::new();
    if let Some(account) = &state.account {
        fields.push(("account", account.clone()));
    }
    if let Some(server) = &state.server {
        fields.push(("server", server.clone()));
    }
    if let Some(machine) = machine(context) {
        fields.push(("machine", machine));
    }
    if let Some(at) = state.signed_in_at {
        fields.push(("signed in", format!("{} ago", time::age(at))));
    }
    if let Some(storage) = state.key_storage {
        fields.push(("sign-in", sync::protection(storage).to_owned()));
    }
    if state.condition != SyncCondition::Off {
        fields.extend(sync::waiting(&state));
    }
    sync::fields(context, &fields)?;
    sync::tell(context, &state);
    Ok(code)
}

/// What this machine is called, and its id.
fn machine(context: &Context) -> Option<String> {
    if context.is_elsewhere() {
        return None;
    }
    let home = context.home().ok()?;
    let system = ccm_daemon::machine::Config::load(home).ok()?.config.system;
    Some(match system.id {
        Some(id) => format!("{} ({id})", system.hostname),
        None => system.hostname,
    })
}
