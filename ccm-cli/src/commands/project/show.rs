use ccm_agents::terminal;
use clap::Args;

use super::super::{Outcome, machines, select, time};
use super::list::hold;
use crate::context::Context;
use crate::exit::Code;

/// Show a project
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm project show
  ccm project show shop@server
  ccm project show shop --json")]
pub(crate) struct Show {
    /// The project [default: the one the current folder is in]
    name: Option<String>,
}

pub(super) fn run(args: &Show, context: &Context) -> Outcome {
    let client = context.client()?;
    let (project, agents) = context.block_on(async {
        let project = select::project(context, &client, args.name.as_deref()).await?;
        let agents = match &project.machine {
            // What an agent of another machine does is told there.
            Some(_) => Vec::new(),
            None => client.agents(Some(project.id)).all().await?,
        };
        Ok((project, agents))
    })?;
    if context.printer.json {
        context.printer.object(&project)?;
        return Ok(Code::Done);
    }
    let field = |name: &str, value: &str| {
        let name = format!("{name}:");
        context
            .printer
            .line(format!("{name:<10} {}", terminal::line(value)))
    };
    field("name", &project.name)?;
    if let Some(machine) = &project.machine {
        field("machine", &machines::with_age(machine))?;
    }
    field("path", &project.path)?;
    field("id", &project.id.to_string())?;
    field("state", hold(&project).as_deref().unwrap_or("active"))?;
    field(
        "queue",
        &format!("{} waiting, {} running", project.queued, project.running),
    )?;
    for agent in &agents {
        let state = agent.state.as_str();
        field(
            "agent",
            &format!("{}, {state} for {}", agent.name, time::age(agent.since)),
        )?;
    }
    let created = project.created_at;
    field("created", &format!("{created}, {} ago", time::age(created)))?;
    Ok(Code::Done)
}
