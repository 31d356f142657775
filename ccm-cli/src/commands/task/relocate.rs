use ccm_core::api::{MoveEnd, MoveTask};
use clap::Args;

use super::super::{Outcome, select};
use crate::context::Context;
use crate::exit::Code;

/// Give a waiting task another place in the queue of its project
///
/// It gets the priority of its place.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm task move 8e7416c160c5 --first
  ccm task move 8e7416c160c5 --after 04a981a6648f
  ccm task list --queue")]
pub(crate) struct Move {
    /// The task's id, or at least its last 4 characters
    id: String,
    #[command(flatten)]
    to: To,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct To {
    /// Start it just before this task
    #[arg(long, value_name = "TASK")]
    before: Option<String>,
    /// Start it just after this task
    #[arg(long, value_name = "TASK")]
    after: Option<String>,
    /// Start it next
    #[arg(long)]
    first: bool,
    /// Start it after all that wait now
    #[arg(long)]
    last: bool,
}

pub(super) fn run(args: &Move, context: &Context) -> Outcome {
    let client = context.client()?;
    let task = context.block_on(async {
        let id = select::task_id(&client, &args.id).await?;
        let to = match (&args.to.before, &args.to.after) {
            (Some(other), _) => MoveTask::Before(select::task_id(&client, other).await?),
            (_, Some(other)) => MoveTask::After(select::task_id(&client, other).await?),
            _ if args.to.first => MoveTask::To(MoveEnd::First),
            _ => MoveTask::To(MoveEnd::Last),
        };
        Ok(client.move_task(id, to).await?)
    })?;
    if context.printer.json {
        context.printer.object(&task)?;
    } else {
        context.printer.note(format!(
            "{} has its new place, with priority {}; `ccm task list --queue` shows the order.",
            task.id, task.priority
        ));
    }
    Ok(Code::Done)
}
