use std::ffi::OsString;

use ccm_core::api::{Agent, InputState};
use clap::Args;

use super::super::text::text;
use super::super::{Outcome, inputs, select};
use crate::client::Client;
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Tell a running agent something
///
/// The run that it has in hand gets the text as a further message; prints the message's id and what became of it so
/// far.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm agent send demo 'Leave the tests as they are'
  ccm agent send demo < notes.txt
  ccm agent send 'Stop after the first file'        # in a project's folder")]
pub(crate) struct Send {
    /// The agent or its project [default: the one of the current folder's project], then the text; read from standard
    /// input if left out
    #[arg(value_name = "NAME] [TEXT")]
    words: Vec<OsString>,
}

pub(super) fn run(args: Send, context: &Context) -> Outcome {
    let client = context.client()?;
    let (agent, words) = context.block_on(addressee(context, &client, args.words))?;
    let Some(run) = agent.run_id else {
        return Err(Failure::new(
            Code::Refused,
            format!("the agent {} has no run to tell that", agent.name),
        )
        .hint(NEW_TASK));
    };
    let text = text(words, "message", context)?;
    let input = context.block_on(async {
        let run = client.run(run).await?;
        let input = client.send_message(run.task_id, &text).await?;
        Ok(inputs::watched(&client, input).await)
    })?;
    if context.printer.json {
        context.printer.object(&input)?;
    } else {
        let state = input.state.as_str();
        context.printer.line(format!("{} {state}", input.id))?;
    }
    if input.state == InputState::TooLate {
        return Err(Failure::new(
            Code::Refused,
            format!("the agent {} takes no more in this run", agent.name),
        )
        .hint(NEW_TASK));
    }
    Ok(Code::Done)
}

const NEW_TASK: &str =
    "`ccm task create --session continue` gives it a task in its last conversation";

/// The agent that is meant, and the words that are for it. A single word that names no agent is for the agent of the
/// current folder's project.
pub(super) async fn addressee(
    context: &Context,
    client: &Client,
    mut words: Vec<OsString>,
) -> Result<(Agent, Vec<OsString>), Failure> {
    if words.is_empty() {
        return Ok((select::agent(context, client, None).await?, words));
    }
    let text = words.split_off(1);
    let name = words[0].to_str().unwrap_or_default();
    match select::agent(context, client, Some(name)).await {
        Ok(agent) => Ok((agent, text)),
        Err(failure) if failure.code == Code::NotFound && text.is_empty() => {
            match select::agent(context, client, None).await {
                Ok(agent) => Ok((agent, words)),
                Err(_) => Err(failure),
            }
        }
        Err(failure) => Err(failure),
    }
}
