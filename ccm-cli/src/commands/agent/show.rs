use ccm_agents::terminal;
use ccm_core::api::{Agent, AgentStateName, Project, Run, Task, Wanted};
use clap::Args;

use super::super::project::hold;
use super::super::{Outcome, asks, select, time};
use super::{colour, state};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Show an agent: what it does and how that is known, what it uses, what is wrong
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm agent show                    # in a project's folder
  ccm agent show shop --json")]
pub(crate) struct Show {
    /// The agent or its project [default: the one of the current folder's project]
    name: Option<String>,
}

/// Everything that is shown.
struct Whole {
    agent: Agent,
    project: Project,
    /// Its latest runs, newest first.
    runs: Vec<Run>,
    task: Option<Task>,
}

pub(super) fn run(args: &Show, context: &Context) -> Outcome {
    let client = context.client()?;
    let whole = context.block_on(async {
        let agent = select::agent(context, &client, args.name.as_deref()).await?;
        if context.printer.json {
            return Ok(Err(agent));
        }
        let project = client.project(agent.project_id).await?;
        let runs = client.agent_runs(agent.id).take(2).await?;
        let in_hand = runs.first().filter(|run| run.finished_at.is_none());
        let task = match in_hand {
            Some(run) => Some(client.task(run.task_id).await?),
            None => None,
        };
        Ok(Ok(Whole {
            agent,
            project,
            runs,
            task,
        }))
    })?;
    match whole {
        Ok(whole) => print(context, &whole)?,
        Err(agent) => context.printer.object(&agent)?,
    }
    Ok(Code::Done)
}

fn print(context: &Context, whole: &Whole) -> Result<(), Failure> {
    let printer = context.printer;
    let field = |name: &str, value: &str| {
        if value.is_empty() {
            return Ok(());
        }
        let colon = if name.is_empty() { "" } else { ":" };
        let name = format!("{:<10}", format!("{name}{colon}"));
        printer.line(format!("{name}{}", terminal::line(value)))
    };
    let Whole {
        agent,
        project,
        runs,
        task,
    } = whole;
    field("name", &agent.name)?;
    field("id", &agent.id.to_string())?;
    field("project", &project.name)?;
    field("folder", &project.path)?;
    let driver = match (&agent.driver, agent.mode) {
        (Some(driver), Some(ccm_core::project::AgentMode::Interactive)) => {
            format!("{driver}, interactive")
        }
        (Some(driver), _) => driver.clone(),
        (None, _) => String::new(),
    };
    field("driver", &driver)?;
    printer.line(format!(
        "{:<10}{} for {}",
        "state:",
        printer.paint_out(colour(agent.state), &state(agent)),
        time::age(agent.since)
    ))?;
    let evidence = &agent.evidence;
    field(
        "known by",
        &format!("{}, {} ago", evidence.source, time::age(evidence.seen_at)),
    )?;
    field("wanted", &wanted(agent))?;
    field("window", agent.window.as_deref().unwrap_or_default())?;
    field(
        "pid",
        &agent.pid.map_or_else(String::new, |pid| pid.to_string()),
    )?;
    let memory = agent.memory_bytes.map(time::size).unwrap_or_default();
    field("memory", &memory)?;
    let cpu = agent.cpu_percent.map(|percent| format!("{percent:.1} %"));
    field("cpu", &cpu.unwrap_or_default())?;
    let (in_hand, last) = match runs.first() {
        Some(run) if run.finished_at.is_none() => (Some(run), runs.get(1)),
        last => (None, last),
    };
    if let Some(task) = task {
        field("task", &format!("{} {}", task.id, task.title))?;
    }
    if let Some(run) = in_hand {
        let since = match run.started_at {
            Some(at) => format!(", for {}", time::age(at)),
            None => ", being started".to_owned(),
        };
        field("run", &format!("{}{since}", run.id))?;
    }
    for ask in &agent.open_asks {
        field("asks", &ask.title)?;
        field("", &asks::how(ask.id, ask.kind))?;
    }
    if let Some(run) = last {
        field("last run", &outcome(run))?;
        field("", &format!("{} of task {}", run.id, run.task_id))?;
    }
    let session = runs.iter().find_map(|run| run.session_id.as_deref());
    field("session", session.unwrap_or_default())?;
    for problem in problems(agent, project) {
        field("problem", &problem)?;
    }
    Ok(())
}

/// What it is to be, and who decided that.
fn wanted(agent: &Agent) -> String {
    let wanted = agent.wanted.as_str();
    match (&agent.wanted_by, agent.wanted_since) {
        // What nobody decided is no news.
        (Some(by), Some(since)) if agent.wanted != Wanted::Up || by != "engine" => {
            format!("{wanted}, by {by}, {} ago", time::age(since))
        }
        _ => wanted.to_owned(),
    }
}

/// What came of a run.
fn outcome(run: &Run) -> String {
    let state = run.state.as_str();
    let reason = match (run.reason, &run.detail) {
        (_, Some(detail)) => format!(" ({detail})"),
        (Some(reason), None) => format!(" ({reason})"),
        (None, None) => String::new(),
    };
    let age = run.finished_at.map(|at| format!(", {} ago", time::age(at)));
    format!("{state}{reason}{}", age.unwrap_or_default())
}

/// What is wrong, each with what mends it.
fn problems(agent: &Agent, project: &Project) -> Vec<String> {
    let mut problems = Vec::new();
    let name = &agent.name;
    match agent.state {
        AgentStateName::Unresponsive => problems.push(format!(
            "it does not answer; `ccm agent restart {name}` ends it and starts another"
        )),
        AgentStateName::Failed | AgentStateName::Parked => problems.extend(agent.detail.clone()),
        _ => {}
    }
    problems.extend(hold(project));
    problems
}
