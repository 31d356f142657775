use ccm_core::api::SyncState;
use ccm_daemon::machine::supabase;
use clap::Args;

use super::super::{Outcome, ask, sync};
use super::only_here;
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Sign out of Supabase and keep everything on this machine
///
/// This machine's projects and tasks stay and go on. What it shared until now stays with the other machines.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator supabase disconnect
  ccm-orchestrator supabase disconnect --yes")]
pub(in super::super) struct Disconnect {
    /// Don't ask
    #[arg(short, long)]
    yes: bool,
}

pub(super) fn run(args: &Disconnect, context: &Context) -> Outcome {
    only_here(context, "disconnect this machine")?;
    let printer = context.printer;
    let home = context.home()?;
    if !supabase::is_connected(home)? {
        printer.note("This machine is not connected to Supabase; nothing was changed.");
        return Ok(Code::Done);
    }
    let (state, _) = sync::state(context)?;
    warn(&state, context);
    if !args.yes {
        if !printer.can_ask() {
            return Err(
                Failure::usage("there is no terminal to ask whether that is wanted")
                    .hint("give --yes"),
            );
        }
        if !ask::yes(context, "Disconnect this machine?", false)? {
            return Err(Failure::new(Code::Failed, "nothing was changed"));
        }
    }
    let progress = printer.progress("Signing out");
    let signed_out = context.block_on(async { Ok(supabase::disconnect(home).await?) })?;
    if home.running_daemon().is_some() {
        let client = context.client()?;
        context.block_on(async { Ok(client.reload().await?) })?;
    }
    drop(progress);
    if let Some(problem) = signed_out {
        printer.warning(format!(
            "Supabase could not be told, so the sign-in ends there only by itself ({problem}); `ccm supabase revoke` on \
             another machine ends it at once"
        ));
    }
    if printer.json {
        let (state, _) = sync::state(context)?;
        printer.object(&state)?;
        return Ok(Code::Done);
    }
    printer.line("Disconnected")?;
    printer.note("This machine's projects and tasks stay here and go on; those of other machines are no longer shown.");
    printer.note("Your other machines still see what this one shared until now.");
    Ok(Code::Done)
}

/// What is lost by it.
fn warn(state: &SyncState, context: &Context) {
    if state.pending > 0 {
        let waits = match state.pending {
            1 => "1 change was".to_owned(),
            several => format!("{several} changes were"),
        };
        context.printer.warning(format!(
            "{waits} not sent yet, and the other machines never get what is not sent; `ccm sync now` sends it first"
        ));
    }
}
