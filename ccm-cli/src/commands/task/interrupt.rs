use std::ffi::OsString;

use clap::Args;

use super::super::{Outcome, inputs, select, text};
use crate::context::Context;

/// Stop what the agent of a running task does, without ending the task
///
/// The conversation stays open: the agent goes on with the text, or waits for a message if there is none. Prints the ids
/// of the interrupt and of the message, and what became of them so far.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm task interrupt 3f2a9c1b7d4e
  ccm task interrupt 3f2a9c1b7d4e 'Not the tests: only the parser'")]
pub(crate) struct Interrupt {
    /// The task's id, or at least its last 4 characters
    id: String,
    /// What the agent is to do instead
    #[arg(value_name = "TEXT")]
    words: Vec<OsString>,
}

pub(super) fn run(args: Interrupt, context: &Context) -> Outcome {
    let text = match args.words.is_empty() {
        true => None,
        false => Some(text::text(args.words, "message", context)?),
    };
    let client = context.client()?;
    let task = context.block_on(select::task_id(&client, &args.id))?;
    inputs::interrupt(context, &client, task, text.as_deref())
}
