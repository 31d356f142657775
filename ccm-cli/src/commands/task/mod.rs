mod answer;
mod approve;
mod cancel;
mod create;
mod edit;
mod ends;
mod entries;
mod file;
mod interrupt;
mod list;
mod logs;
mod relocate;
mod retry;
mod show;
mod template;
mod wait;

use ccm_core::api::{BulkResult, MAX_BULK, Task};
use ccm_core::id::TaskId;
use clap::Subcommand;

use super::{Outcome, select};
use crate::client::{self, Client};
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
    Interrupt(interrupt::Interrupt),
    Edit(edit::Edit),
    Move(relocate::Move),
    Approve(approve::Approve),
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
        Command::Interrupt(args) => interrupt::run(args, context),
        Command::Edit(args) => edit::run(args, context),
        Command::Move(args) => relocate::run(&args, context),
        Command::Approve(args) => approve::run(&args, context),
        Command::Cancel(args) => cancel::run(&args, context),
        Command::Retry(args) => retry::run(&args, context),
    }
}

/// What is done with tasks: with one, and with several by one request.
#[derive(Debug, Clone, Copy)]
enum Act {
    Cancel,
    Retry,
}

impl Act {
    async fn one(self, client: &Client, id: TaskId) -> Result<Task, Failure> {
        Ok(match self {
            Self::Cancel => client.cancel_task(id).await?.task,
            Self::Retry => client.retry_task(id).await?,
        })
    }

    async fn several(self, client: &Client, ids: &[TaskId]) -> Result<Vec<BulkResult>, Failure> {
        let mut results = Vec::with_capacity(ids.len());
        for ids in ids.chunks(MAX_BULK) {
            results.extend(match self {
                Self::Cancel => client.cancel_tasks(ids).await?,
                Self::Retry => client.retry_tasks(ids).await?,
            });
        }
        Ok(results)
    }
}

/// Does `act` with these tasks and tells of each, in their order. One that can't be done is told, and the others are done
/// all the same.
async fn each(
    context: &Context,
    client: &Client,
    ids: &[String],
    act: Act,
    mut tell: impl FnMut(Task) -> Result<(), Failure>,
) -> Outcome {
    if let [id] = ids {
        let id = select::task_id(client, id).await?;
        tell(act.one(client, id).await?)?;
        return Ok(Code::Done);
    }
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        found.push(match select::task_id(client, id).await {
            Err(failure) if failure.code == Code::Unreachable => return Err(failure),
            found => found,
        });
    }
    let known: Vec<TaskId> = found
        .iter()
        .filter_map(|id| id.as_ref().ok().copied())
        .collect();
    let mut results = act.several(client, &known).await?.into_iter();
    let mut code = Code::Done;
    for (id, found) in ids.iter().zip(found) {
        let done = match found {
            Ok(_) => done(results.next()),
            Err(failure) => Err(failure),
        };
        let told = match done {
            Ok(task) => tell(task),
            Err(failure) => Err(failure.of_one(id)),
        };
        match told {
            Ok(()) => {}
            Err(failure) if failure.silent => return Err(failure),
            Err(failure) => {
                code = failure.code;
                context.printer.failure(&failure);
            }
        }
    }
    Ok(code)
}

fn done(result: Option<BulkResult>) -> Result<Task, Failure> {
    match result {
        Some(BulkResult {
            task: Some(task), ..
        }) => Ok(task),
        Some(BulkResult {
            problem: Some(problem),
            ..
        }) => Err(client::Error::Problem(Box::new(problem)).into()),
        _ => Err(Failure::new(
            Code::Failed,
            "the daemon did not say what came of it",
        )),
    }
}
