mod answer;
mod cancel;
mod create;
mod ends;
mod entries;
mod list;
mod logs;
mod retry;
mod show;
mod template;
mod wait;

use ccm_core::id::TaskId;
use clap::Subcommand;

use super::{Outcome, select};
use crate::client::Client;
use crate::context::Context;
use crate::exit::{Code, Failure};

pub(super) use list::table;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Create(create::Create),
    List(list::List),
    Templates(template::List),
    Show(show::Show),
    Wait(wait::Wait),
    Logs(logs::Logs),
    Answer(answer::Answer),
    Cancel(cancel::Cancel),
    Retry(retry::Retry),
}

pub(super) fn run(command: Command, context: &Context) -> Outcome {
    match command {
        Command::Create(args) => create::run(args, context),
        Command::List(args) => list::run(&args, context),
        Command::Templates(args) => template::list(&args, context),
        Command::Show(args) => show::run(&args, context),
        Command::Wait(args) => wait::run(&args, context),
        Command::Logs(args) => logs::run(&args, context),
        Command::Answer(args) => answer::run(args, context),
        Command::Cancel(args) => cancel::run(&args, context),
        Command::Retry(args) => retry::run(&args, context),
    }
}

/// Does something with each of these tasks. One that can't be done is told, and the others are done all the same.
async fn each(
    context: &Context,
    client: &Client,
    ids: &[String],
    mut act: impl AsyncFnMut(TaskId) -> Result<(), Failure>,
) -> Outcome {
    let mut code = Code::Done;
    for id in ids {
        let done = match select::task_id(client, id).await {
            Ok(id) => act(id).await,
            Err(failure) => Err(failure),
        };
        match done {
            Ok(()) => {}
            Err(failure) if failure.silent || ids.len() == 1 => return Err(failure),
            Err(failure) => {
                code = failure.code;
                context.printer.failure(&failure.of_one(id));
                if code == Code::Unreachable {
                    break;
                }
            }
        }
    }
    Ok(code)
}
