use clap::Args;

use super::super::Outcome;
use super::each;
use crate::context::Context;

/// Put ended tasks back in the queue
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm task retry 8e7416c160c5")]
pub(crate) struct Retry {
    /// The tasks' ids, or at least their last 4 characters
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

pub(super) fn run(args: &Retry, context: &Context) -> Outcome {
    let client = context.client()?;
    context.block_on(each(context, &client, &args.ids, async |id| {
        let task = client.retry_task(id).await?;
        if context.printer.json {
            context.printer.object(&task)?;
        } else {
            context.printer.note(format!("{id} is queued again."));
        }
        Ok(())
    }))
}
