use std::collections::BTreeSet;
use std::time::Duration;

use ccm_agents::terminal;
use ccm_core::api::{CancelAnswer, Task, TaskStateName};
use ccm_core::id::TaskId;
use clap::Args;

use super::super::Outcome;
use super::ends::until_ended;
use super::list::elsewhere;
use super::{Act, each};
use crate::client::Client;
use crate::context::Context;
use crate::exit::Failure;

/// How long a run that is being stopped is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Call tasks off
///
/// Waits a while for a run that has to be stopped first, and tells what came of it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm task cancel 8e7416c160c5
  ccm task cancel --no-wait 8e7416c160c5 04a981a6648f
  ccm task list --state queued --json | jq -r '.[].id' | xargs ccm task cancel")]
pub(crate) struct Cancel {
    /// The tasks' ids, or at least their last 4 characters
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Don't wait for the end of what runs
    #[arg(long)]
    no_wait: bool,
}

pub(super) fn run(args: &Cancel, context: &Context) -> Outcome {
    let client = context.client()?;
    context.block_on(async {
        let mut stopping = BTreeSet::new();
        let outcome = each(context, &client, &args.ids, Act::Cancel, |task| {
            if !task.state.is_final() && !args.no_wait {
                stopping.insert(task.id);
                return Ok(());
            }
            tell(context, task)
        })
        .await;
        see_off(context, &client, stopping).await?;
        outcome
    })
}

/// Waits for the end of tasks that are being stopped, and tells of each what came of it.
async fn see_off(
    context: &Context,
    client: &Client,
    mut stopping: BTreeSet<TaskId>,
) -> Result<(), Failure> {
    let _progress = (!stopping.is_empty()).then(|| context.printer.progress("Stopping"));
    let ended = until_ended(context, client, &mut stopping, |task| {
        if task.state.is_final() {
            tell(context, task.clone())
        } else {
            Ok(())
        }
    });
    if let Ok(ended) = tokio::time::timeout(PATIENCE, ended).await {
        return ended;
    }
    for id in stopping {
        tell(context, client.task(id).await?)?;
    }
    Ok(())
}

fn tell(context: &Context, task: Task) -> Result<(), Failure> {
    let (id, state) = (task.id, task.state);
    if context.printer.json {
        return context.printer.object(&CancelAnswer {
            stopping: !state.is_final(),
            task,
        });
    }
    let there = elsewhere(&task).map(|machine| terminal::line(&machine.hostname));
    context.printer.note(match state {
        TaskStateName::Cancelled => format!("{id} is cancelled."),
        TaskStateName::Succeeded | TaskStateName::Failed => {
            format!("{id} had {state} before it could be stopped.")
        }
        _ => match there {
            Some(host) => format!(
                "{host} is asked to call {id} off, and has not said yet that it did; `ccm task wait {id}` waits for it."
            ),
            None => format!("{id} is being stopped; `ccm task wait {id}` waits for it."),
        },
    });
    Ok(())
}
