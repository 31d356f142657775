use ccm_agents::terminal;
use ccm_core::api::{Machines, Project, ProjectState};
use clap::Args;

use super::super::Outcome;
use crate::context::Context;
use crate::exit::Code;

/// List projects
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm project list
  ccm project list --all
  ccm project list --json | jq -r '.[].path'")]
pub(crate) struct List {
    /// Those of your other machines as well
    #[arg(short, long)]
    all: bool,
}

pub(super) fn run(args: &List, context: &Context) -> Outcome {
    let client = context.client()?;
    let machines = match args.all {
        true => Machines::All,
        false => Machines::Local,
    };
    let projects = context.block_on(async { Ok(client.projects_of(machines).all().await?) })?;
    if context.printer.json {
        context.printer.object(&projects)?;
    } else if projects.is_empty() {
        context
            .printer
            .note("No projects: `ccm init` in a folder makes it one.");
    } else {
        for project in &projects {
            let (name, path) = (terminal::line(&project.name), terminal::line(&project.path));
            let host = project.machine.as_ref().map(|machine| &*machine.hostname);
            let host = host.map(|host| format!("{}:", terminal::line(host)));
            let host = host.unwrap_or_default();
            context.printer.line(format!("- {name} ({host}{path})"))?;
            if let Some(hold) = hold(project) {
                context.printer.line(format!("  {hold}"))?;
            }
        }
    }
    Ok(Code::Done)
}

/// Why a project's queue does not move, and what to do.
pub(crate) fn hold(project: &Project) -> Option<String> {
    let state = project.state.as_str();
    let name = &project.name;
    let usual = match project.state {
        ProjectState::Active => return None,
        ProjectState::Paused => format!("its queue rests - `ccm project resume {name}`"),
        ProjectState::Missing => {
            "the folder is not there - put it back, or run `ccm init` where it is now".to_owned()
        }
        ProjectState::ConfigUntrusted => {
            format!("its settings changed - `ccm project trust {name}` shows and trusts them")
        }
        ProjectState::AgentStopped => {
            format!("its agent was stopped - `ccm agent start {name}`")
        }
        ProjectState::AgentTaken => {
            format!("somebody has taken its agent over - `ccm agent hand-back {name}`")
        }
    };
    let detail = project.detail.as_deref().map_or(usual, terminal::line);
    let there = match &project.machine {
        Some(machine) => format!(" (on {})", terminal::line(&machine.hostname)),
        None => String::new(),
    };
    Some(format!("{state}: {detail}{there}"))
}
