mod cancel;
mod create;
mod list;
mod logs;
mod retry;
mod show;
mod wait;

use clap::Subcommand;

use super::Outcome;
use crate::context::Context;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Create(create::Create),
    List(list::List),
    Show(show::Show),
    Wait(wait::Wait),
    Logs(logs::Logs),
    Cancel(cancel::Cancel),
    Retry(retry::Retry),
}

pub(super) fn run(command: Command, context: &Context) -> Outcome {
    match command {
        Command::Create(args) => create::run(args, context),
        Command::List(args) => list::run(&args, context),
        Command::Show(args) => show::run(&args, context),
        Command::Wait(args) => wait::run(&args, context),
        Command::Logs(args) => logs::run(&args, context),
        Command::Cancel(args) => cancel::run(&args, context),
        Command::Retry(args) => retry::run(&args, context),
    }
}
