use ccm_core::api::Project;
use clap::Args;

use super::super::{Outcome, ask, select};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Forget a project; its folder and its .ccm/ stay
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm project remove shop
  ccm project remove shop --yes")]
pub(crate) struct Remove {
    /// The project
    name: String,
    /// Don't ask; tasks that wait fail, and what runs is stopped
    #[arg(short, long)]
    yes: bool,
}

pub(super) fn run(args: &Remove, context: &Context) -> Outcome {
    let client = context.client()?;
    let project = context.block_on(select::project(context, &client, Some(&args.name)))?;
    let tasks = tasks(&project);
    if !args.yes {
        if context.printer.can_ask() {
            let what = tasks.as_ref().map_or_else(String::new, |tasks| {
                format!(" Its {tasks} will be given up.")
            });
            let question = format!(
                "Remove the project {} ({})?{what}",
                project.name, project.path
            );
            if !ask::yes(context, &question, false)? {
                context.printer.note("Nothing was removed.");
                return Ok(Code::Failed);
            }
        } else if let Some(tasks) = tasks {
            return Err(Failure::new(
                Code::Refused,
                format!("the project {} has {tasks}", project.name),
            )
            .hint("--yes removes it all the same: they are given up"));
        }
    }
    // What was asked about is what may be lost: without a yes, tasks that came meanwhile are not.
    let force = args.yes || (context.printer.can_ask() && tasks.is_some());
    context.block_on(async { Ok(client.remove_project(project.id, force).await?) })?;
    if context.printer.json {
        context.printer.object(&project)?;
    }
    context.printer.note(format!(
        "Removed {}. {} and its .ccm/ are as they were; `ccm init` there registers it again.",
        project.name, project.path
    ));
    Ok(Code::Done)
}

/// What would be given up with the project, in words.
fn tasks(project: &Project) -> Option<String> {
    match (project.queued, project.running) {
        (0, 0) => None,
        (0, running) => Some(format!("running tasks ({running})")),
        (queued, 0) => Some(format!("waiting tasks ({queued})")),
        (queued, running) => Some(format!("waiting ({queued}) and running ({running}) tasks")),
    }
}
