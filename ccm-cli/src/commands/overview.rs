//! What the program shows when it is given no command: the project one stands in, elsewhere the machine.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use ccm_agents::terminal;
use ccm_core::api::{Agent, AgentStateName, Ask, Machines, Project, Status, Task};
use serde::Serialize;

use super::{Outcome, asks, project, time};
use crate::client::{AskFilter, Client, TaskFilter};
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::printer::Colour;

/// How many of a project's tasks are shown.
const TASKS: usize = 8;

/// What is there, as far as it can be known.
#[derive(Serialize)]
#[serde(tag = "scope", rename_all = "snake_case")]
enum Overview {
    /// The machine is not set up, or no daemon answers for it.
    Down {
        set_up: bool,
        home: String,
    },
    Machine(Machine),
    Project(Here),
}

#[derive(Serialize)]
struct Machine {
    status: Status,
    projects: Vec<Project>,
    agents: Vec<Agent>,
    asks: Vec<Ask>,
}

#[derive(Serialize)]
struct Here {
    project: Project,
    agents: Vec<Agent>,
    tasks: Vec<Task>,
    asks: Vec<Ask>,
    problems: Vec<String>,
}

pub(super) fn run(context: &Context) -> Outcome {
    let overview = match reachable(context)? {
        Some(client) => context.block_on(look(context, &client))?,
        None => {
            let home = context.home()?;
            Overview::Down {
                set_up: home.is_set_up(),
                home: home.dir().to_string_lossy().into_owned(),
            }
        }
    };
    if context.printer.json {
        context.printer.object(&overview)?;
    } else {
        match &overview {
            Overview::Down { set_up, .. } => down(context, *set_up)?,
            Overview::Machine(machine) => machine_at_a_glance(context, machine)?,
            Overview::Project(here) => project_at_a_glance(context, here)?,
        }
    }
    Ok(Code::Done)
}

/// The daemon's client, unless this machine's daemon is known not to run.
fn reachable(context: &Context) -> Result<Option<Client>, Failure> {
    if !context.is_elsewhere() && context.daemon()?.is_none() {
        return Ok(None);
    }
    context.client().map(Some)
}

async fn look(context: &Context, client: &Client) -> Result<Overview, Failure> {
    let projects = client.projects().all().await?;
    let here = current(context, &projects)?;
    let open = AskFilter {
        project_id: here.as_ref().map(|project| project.id),
        open: true,
        // A question of another machine's agent waits for the same person.
        machine: Some(Machines::All),
        ..AskFilter::default()
    };
    let status = client.status().await?;
    let agents = client
        .agents(here.as_ref().map(|project| project.id))
        .all()
        .await?;
    let mut asks = client.asks(&open).all().await?;
    asks.reverse();
    let Some(project) = here else {
        return Ok(Overview::Machine(Machine {
            status,
            projects,
            agents,
            asks,
        }));
    };
    let latest = TaskFilter {
        project_id: Some(project.id),
        page_size: Some(TASKS as u32),
        ..TaskFilter::default()
    };
    Ok(Overview::Project(Here {
        tasks: client.tasks(&latest).take(TASKS).await?,
        project,
        agents,
        asks,
        problems: status.problems,
    }))
}

/// The registered project that the current folder is in.
fn current(context: &Context, projects: &[Project]) -> Result<Option<Project>, Failure> {
    let Some(here) = std::env::current_dir()
        .ok()
        .filter(|_| !context.is_elsewhere())
    else {
        return Ok(None);
    };
    let Some(dir) = project::find(context, &here)? else {
        return Ok(None);
    };
    let mut projects = projects.iter();
    Ok(projects
        .find(|project| Path::new(&project.path) == dir.folder())
        .cloned())
}

fn down(context: &Context, set_up: bool) -> Result<(), Failure> {
    let printer = context.printer;
    if set_up {
        let stopped = printer.paint_out(Colour::Yellow, "stopped");
        printer.line(format!("The daemon is {stopped}."))?;
    } else {
        printer.line("This machine is not set up.")?;
    }
    if let Some(hint) = context.stopped().hint {
        printer.hint(hint);
    }
    printer.hint(format!("`{} --help` lists all commands", context.program));
    Ok(())
}

fn machine_at_a_glance(context: &Context, machine: &Machine) -> Result<(), Failure> {
    let printer = context.printer;
    let status = &machine.status;
    printer.line(format!(
        "{}: the daemon is {} at {}, up {}",
        terminal::line(&status.system.hostname),
        printer.paint_out(Colour::Green, "running"),
        terminal::line(&status.address),
        time::period(Duration::from_secs(status.uptime_s)),
    ))?;
    if machine.projects.is_empty() {
        printer.hint("`ccm init` in a folder makes it a project with an agent of its own");
        return Ok(());
    }
    let agents = by_project(&machine.agents);
    let rows = machine.projects.iter().map(|project| {
        let asks = machine.asks.iter();
        let asks = asks.filter(|ask| ask.project_id == project.id).count();
        vec![
            project.name.clone(),
            agents
                .get(&project.id)
                .map_or_else(|| "-".to_owned(), |agents| doing(agents)),
            project.queued.to_string(),
            project.running.to_string(),
            asks.to_string(),
            project.path.clone(),
        ]
    });
    let headings = ["PROJECT", "STATE", "QUEUED", "RUNNING", "ASKS", "FOLDER"];
    printer.line("")?;
    printer.table(&headings, Some(5), rows.collect())?;
    tell(context, &machine.projects, &machine.asks, &status.problems)
}

fn project_at_a_glance(context: &Context, here: &Here) -> Result<(), Failure> {
    let printer = context.printer;
    let project = &here.project;
    printer.line(format!(
        "{} ({})",
        terminal::line(&project.name),
        terminal::line(&project.path)
    ))?;
    for agent in &here.agents {
        printer.line(format!("agent: {}", at_a_glance(context, agent)))?;
    }
    printer.line(format!(
        "queue: {} waiting, {} running",
        project.queued, project.running
    ))?;
    if here.tasks.is_empty() {
        printer.hint(
            "`echo \"What is to be done\" | ccm task create` puts the first task in its queue",
        );
    } else {
        printer.line("")?;
        super::task::table(context, &here.tasks, false)?;
    }
    tell(
        context,
        std::slice::from_ref(project),
        &here.asks,
        &here.problems,
    )
}

/// An agent in one line.
fn at_a_glance(context: &Context, agent: &Agent) -> String {
    let state = agent.state.as_str();
    let mut text = format!(
        "{} {} for {}",
        terminal::line(&agent.name),
        context.printer.paint_state(state),
        time::age(agent.since)
    );
    if let Some(memory) = agent.memory_bytes {
        text.push_str(&format!(", {}", time::size(memory)));
    }
    if let Some(detail) = &agent.detail {
        text.push_str(&format!(" ({})", terminal::line(detail)));
    }
    text
}

/// What keeps people's work from being done, and how each is mended.
fn tell(
    context: &Context,
    projects: &[Project],
    open: &[Ask],
    problems: &[String],
) -> Result<(), Failure> {
    let printer = context.printer;
    let names: HashMap<_, _> = projects.iter().map(|p| (p.id, &*p.name)).collect();
    for ask in open {
        let there = ask.machine.as_ref();
        let there = there.map(|machine| format!("an agent on {}", machine.hostname));
        let name = names.get(&ask.project_id).map(|name| (*name).to_owned());
        let name = name.or(there).unwrap_or_else(|| "an agent".to_owned());
        printer.note(format!(
            "{} asks: {}",
            terminal::line(&name),
            terminal::line(&ask.title)
        ));
        printer.hint(asks::how(ask.id, ask.kind));
    }
    for project in projects {
        if let Some(hold) = project::hold(project) {
            printer.warning(format!("{}: {hold}", terminal::line(&project.name)));
        }
    }
    for problem in problems {
        printer.warning(terminal::line(problem));
    }
    Ok(())
}

/// What a project's agents do: the state that needs a person most.
fn doing(agents: &[&Agent]) -> String {
    let rank = |agent: &&&Agent| match agent.state {
        AgentStateName::Failed | AgentStateName::Unresponsive => 0,
        AgentStateName::Waiting => 1,
        AgentStateName::Parked => 2,
        AgentStateName::Working => 3,
        AgentStateName::Starting | AgentStateName::Stopping => 4,
        AgentStateName::Idle => 5,
        AgentStateName::Stopped => 6,
    };
    let first = agents.iter().min_by_key(rank);
    first.map_or("-", |agent| agent.state.as_str()).to_owned()
}

fn by_project(agents: &[Agent]) -> HashMap<ccm_core::id::ProjectId, Vec<&Agent>> {
    let mut map: HashMap<_, Vec<_>> = HashMap::new();
    for agent in agents {
        map.entry(agent.project_id).or_default().push(agent);
    }
    map
}
