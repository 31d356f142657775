use ccm_agents::terminal;
use ccm_core::api::Device;
use clap::Args;

use super::super::{Outcome, ask, select};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Shut a machine out that is lost, stolen or no longer yours
///
/// Nothing that it sends is taken from then on, it gets nothing more, and its sign-in is no longer good. What it has on
/// its own disk stays there: change the account's password, too, if somebody else has it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator supabase revoke old-laptop
  ccm-orchestrator supabase revoke 3f2a9c1b7d4e --yes")]
pub(in super::super) struct Revoke {
    /// The machine, by its name, its id or the end of its id
    machine: String,
    /// Don't ask
    #[arg(short, long)]
    yes: bool,
}

pub(super) fn run(args: &Revoke, context: &Context) -> Outcome {
    context.not_for_agents("shut a machine out")?;
    let printer = context.printer;
    let client = context.client()?;
    let devices = context.block_on(async { Ok(client.devices().all().await?) })?;
    let device = find(&devices, &args.machine)?;
    let name = terminal::line(&device.hostname);
    if device.this {
        return Err(
            Failure::new(Code::Refused, format!("{name} is this machine"))
                .hint("`ccm supabase disconnect` signs it out"),
        );
    }
    if device.revoked_at.is_some() {
        printer.note(format!("{name} is shut out already."));
    } else if !args.yes {
        if !printer.can_ask() {
            return Err(
                Failure::usage("there is no terminal to ask whether that is wanted")
                    .hint("give --yes"),
            );
        }
        let question = format!("Nothing that {name} sends is taken any more. Shut {name} out?");
        if !ask::yes(context, &question, false)? {
            return Err(Failure::new(Code::Failed, "nothing was changed"));
        }
    }
    let id = device.id;
    let done = context.block_on(async { Ok(client.revoke_device(id).await?) })?;
    if printer.json {
        printer.object(&done)?;
    } else {
        printer.line(format!("Shut out: {name}"))?;
    }
    Ok(Code::Done)
}

/// The one machine that is meant.
fn find<'a>(devices: &'a [Device], text: &str) -> Result<&'a Device, Failure> {
    let is_named = |device: &&Device| device.hostname == text || device.id.to_string() == text;
    let mut found: Vec<_> = devices.iter().filter(is_named).collect();
    if found.is_empty()
        && let Ok(end) = select::end_of_id(text, "a machine", "ccm supabase devices")
    {
        let ends = |device: &&Device| device.id.to_string().ends_with(&end);
        found = devices.iter().filter(ends).collect();
    }
    // Of machines with one name those that are shut out are rarely meant.
    if found.len() > 1 {
        let there: Vec<_> = found
            .iter()
            .filter(|one| one.revoked_at.is_none())
            .collect();
        if let [one] = there[..] {
            return Ok(one);
        }
    }
    match found[..] {
        [one] => Ok(one),
        [] => Err(
            Failure::new(Code::NotFound, format!("there is no machine {text:?}"))
                .hint("`ccm supabase devices` lists them"),
        ),
        _ => Err(
            Failure::usage(format!("more than one machine is called {text:?}"))
                .hint("name it by its id, as `ccm supabase devices` shows it"),
        ),
    }
}
