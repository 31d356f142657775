use ccm_agents::terminal;
use clap::Args;

use super::super::Outcome;
use super::list::elsewhere;
use super::{Act, each};
use crate::context::Context;

/// Put ended tasks back in the queue
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm task retry 8e7416c160c5
  ccm task list --state failed --json | jq -r '.[].id' | xargs ccm task retry")]
pub(crate) struct Retry {
    /// The tasks' ids, or at least their last 4 characters
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

pub(super) fn run(args: &Retry, context: &Context) -> Outcome {
    let client = context.client()?;
    context.block_on(each(context, &client, &args.ids, Act::Retry, |task| {
        if context.printer.json {
            context.printer.object(&task)?;
        } else {
            let id = task.id;
            context.printer.note(match elsewhere(&task) {
                Some(machine) => {
                    let host = terminal::line(&machine.hostname);
                    format!("{host} is asked to do {id} again.")
                }
                None => format!("{id} is queued again."),
            });
        }
        Ok(())
    }))
}
