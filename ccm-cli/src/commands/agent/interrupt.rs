use std::ffi::OsString;

use clap::Args;

use super::super::{Outcome, inputs, text};
use super::send::addressee;
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Stop what a running agent does, without ending its task
///
/// The conversation stays open: the agent goes on with the text, or waits for `ccm agent send` if there is none. Prints
/// the ids of the interrupt and of the message, and what became of them so far.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm agent interrupt demo
  ccm agent interrupt demo 'Not the tests: only the parser'
  ccm agent interrupt               # in a project's folder")]
pub(crate) struct Interrupt {
    /// The agent or its project [default: the one of the current folder's project], then what it is to do instead
    #[arg(value_name = "NAME] [TEXT")]
    words: Vec<OsString>,
}

pub(super) fn run(args: Interrupt, context: &Context) -> Outcome {
    let client = context.client()?;
    let (agent, words) = context.block_on(addressee(context, &client, args.words))?;
    let Some(run) = agent.run_id else {
        return Err(Failure::new(
            Code::Refused,
            format!("the agent {} has no run to interrupt", agent.name),
        ));
    };
    let text = match words.is_empty() {
        true => None,
        false => Some(text::text(words, "message", context)?),
    };
    let task = context.block_on(async { Ok(client.run(run).await?.task_id) })?;
    inputs::interrupt(context, &client, task, text.as_deref())
}
