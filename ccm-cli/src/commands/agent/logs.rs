use std::path::{Path, PathBuf};

use ccm_daemon::machine::{ProjectConfig, ProjectDir};
use clap::Args;

use super::super::{Outcome, project, select, tail};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Show what an agent said and did in all its runs
///
/// The log is the file .ccm/agent.log of its project, which can be read without the daemon in the project's folder.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm agent logs                    # in a project's folder
  ccm agent logs demo -f
  ccm agent logs demo -n 20")]
pub(crate) struct Logs {
    /// The agent, its project or its folder [default: the one of the current folder's project]
    name: Option<String>,
    /// Go on until Ctrl-C, also when the log is rotated
    #[arg(short, long)]
    follow: bool,
    /// How many lines to begin with
    #[arg(short = 'n', long, value_name = "N", default_value_t = 200)]
    lines: usize,
}

pub(super) fn run(args: &Logs, context: &Context) -> Outcome {
    if context.is_elsewhere() {
        return Err(Failure::new(
            Code::Refused,
            "the agent's log is on the machine of its daemon",
        )
        .hint("run this there; `ccm task logs ID` shows a run's output from anywhere"));
    }
    let path = match &args.name {
        None => project::dir_of(context, Path::new("."))?.agent_log(),
        Some(name) => log_of(name, context)?,
    };
    tail::show(context, &path, args.lines, args.follow)?.ok_or_else(|| {
        Failure::new(
            Code::NotFound,
            format!("there is no {} yet", path.display()),
        )
        .hint("the agent writes it when it works; `ccm task create` gives it something to do")
    })
}

/// The log of the agent called `name`: the daemon knows where it is, and without the daemon the folder that is meant or
/// stood in may be it.
fn log_of(name: &str, context: &Context) -> Result<PathBuf, Failure> {
    let client = match context.client() {
        Ok(client) => client,
        Err(failure) => {
            let found = here(name, context)?;
            return found.map(|dir| dir.agent_log()).ok_or(failure);
        }
    };
    let folder = context.block_on(async {
        let agent = select::agent(context, &client, Some(name)).await?;
        Ok(client.project(agent.project_id).await?.path)
    })?;
    Ok(ProjectDir::open(Path::new(&folder))?.agent_log())
}

/// The project whose folder `name` is, or the one of that name that the current folder is in.
fn here(name: &str, context: &Context) -> Result<Option<ProjectDir>, Failure> {
    if Path::new(name).is_dir()
        && let Some(dir) = project::find(context, Path::new(name))?
    {
        return Ok(Some(dir));
    }
    let Some(dir) = project::find(context, Path::new("."))? else {
        return Ok(None);
    };
    let named = ProjectConfig::load(dir.folder()).ok();
    let is_called = named.and_then(|loaded| loaded.config.name);
    let folder = dir.folder().file_name().unwrap_or_default();
    let is_it = is_called.as_deref() == Some(name) || folder == name;
    Ok(is_it.then_some(dir))
}
