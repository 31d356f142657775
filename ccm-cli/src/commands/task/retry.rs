use clap::Args;

use super::super::{Outcome, select};
use crate::context::Context;
use crate::exit::Code;

/// Put ended tasks back in the queue
#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// The tasks' ids, or at least their last 4 characters
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

pub(super) fn run(args: &Retry, context: &Context) -> Outcome {
    let client = context.client()?;
    context.block_on(async {
        for id in &args.ids {
            let id = select::task_id(&client, id).await?;
            let task = client.retry_task(id).await?;
            if context.printer.json {
                context.printer.object(&task)?;
            } else {
                context.printer.note(format!("{id} is queued again."));
            }
        }
        Ok(Code::Done)
    })
}
