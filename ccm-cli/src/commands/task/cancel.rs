use clap::Args;

use super::super::Outcome;
use super::each;
use crate::context::Context;

/// Call tasks off
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// The tasks' ids, or at least their last 4 characters
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

pub(super) fn run(args: &Cancel, context: &Context) -> Outcome {
    let client = context.client()?;
    context.block_on(each(context, &client, &args.ids, async |id| {
        let answer = client.cancel_task(id).await?;
        if context.printer.json {
            context.printer.object(&answer)?;
        } else if answer.stopping {
            context.printer.note(format!(
                "{id} is being stopped; `ccm task wait {id}` waits for it."
            ));
        } else {
            context.printer.note(format!("{id} is cancelled."));
        }
        Ok(())
    }))
}
