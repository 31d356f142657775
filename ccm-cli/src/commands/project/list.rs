use ccm_agents::terminal;
use ccm_core::api::{Project, ProjectState};
use clap::Args;

use super::super::Outcome;
use crate::context::Context;
use crate::exit::Code;

/// List projects
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm project list
  ccm project list --json | jq -r '.[].path'")]
pub(crate) struct List {}

pub(super) fn run(_args: &List, context: &Context) -> Outcome {
    let client = context.client()?;
    let projects = context.block_on(async { Ok(client.projects().all().await?) })?;
    if context.printer.json {
        context.printer.object(&projects)?;
    } else if projects.is_empty() {
        context
            .printer
            .note("No projects: `ccm init` in a folder makes it one.");
    } else {
        for project in &projects {
            let (name, path) = (terminal::line(&project.name), terminal::line(&project.path));
            context.printer.line(format!("- {name} ({path})"))?;
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
    Some(format!("{state}: {detail}"))
}
