use ccm_agents::terminal;
use clap::Args;

use super::super::{Outcome, select};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Let a task that came from another of your machines run here
///
/// A project with `remote_tasks: ask`, the usual setting, has such a task wait until somebody on its machine lets it run.
/// Whoever does not want it calls it off with `ccm task cancel`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm task approve 8e7416c160c5
  ccm config set --project remote_tasks allow")]
pub(crate) struct Approve {
    /// The tasks' ids, or at least their last 4 characters
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

pub(super) fn run(args: &Approve, context: &Context) -> Outcome {
    let client = context.client()?;
    context.block_on(async {
        let mut code = Code::Done;
        for id in &args.ids {
            let approved = async {
                let id = select::task_id(&client, id).await?;
                Ok::<_, Failure>(client.approve_task(id).await?)
            };
            match approved.await {
                Ok(task) if context.printer.json => context.printer.object(&task)?,
                Ok(task) => {
                    let title = terminal::line(&task.title);
                    context
                        .printer
                        .note(format!("{} may run: {title}", task.id));
                }
                Err(failure) if args.ids.len() == 1 => return Err(failure),
                Err(failure) => {
                    code = failure.code;
                    context.printer.failure(&failure.of_one(id));
                }
            }
        }
        Ok(code)
    })
}
