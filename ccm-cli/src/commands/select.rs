//! Which project, task or agent is meant.

use std::path::Path;

use ccm_agents::terminal;
use ccm_core::api::{Agent, Ask, Machines, ProblemCode, Project, System, Task};
use ccm_core::id::{AskId, TaskId};

use super::asks::short;
use crate::client::{AskFilter, Client, TaskFilter};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// The fewest characters of an id's end that stand for it.
const SHORTEST: usize = 4;

/// The project called `name`, or with this id or folder; without a name the one that the current folder is in. `NAME@HOST`
/// is one of another machine, and so is a name that is nowhere but on one of those.
pub(super) async fn project(
    context: &Context,
    client: &Client,
    name: Option<&str>,
) -> Result<Project, Failure> {
    let Some(name) = name else {
        return current_project(context, client).await;
    };
    if let Some(project) = client.project_named(name).await? {
        return Ok(project);
    }
    if let Ok(id) = name.parse() {
        return Ok(client.project(id).await?);
    }
    let folder = std::fs::canonicalize(name).ok();
    let projects = client.projects().all().await?;
    if let Some(folder) = folder.filter(|_| !context.is_elsewhere())
        && let Some(project) = projects
            .iter()
            .find(|project| Path::new(&project.path) == folder)
    {
        return Ok(project.clone());
    }
    let everywhere = client.projects_of(Machines::All).all().await?;
    if let Some(project) = of_machines(context, client, name, &everywhere).await? {
        return Ok(project);
    }
    let failure = Failure::new(Code::NotFound, format!("there is no project {name:?}"));
    let names: Vec<String> = everywhere.iter().map(full_name).collect();
    Err(match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => failure.hint(format!("there is a project {near:?}")),
        None if everywhere.len() > projects.len() => {
            failure.hint("`ccm project list --all` shows those of all machines")
        }
        None => failure.hint("`ccm project list` shows all; `ccm init` sets one up"),
    })
}

/// A project's name, with its machine if that is another one.
pub(super) fn full_name(project: &Project) -> String {
    match &project.machine {
        Some(machine) => format!("{}@{}", project.name, machine.hostname),
        None => project.name.clone(),
    }
}

/// The machine called `host`, or with this id.
pub(super) async fn system(client: &Client, host: &str) -> Result<System, Failure> {
    let systems = client.systems().all().await?;
    let mut meant = meant(&systems, host)?;
    match (meant.pop(), meant.is_empty()) {
        (Some(system), true) => Ok(system.clone()),
        _ => Err(
            Failure::usage(format!("several machines are called {host:?}"))
                .hint("give the id: `ccm machines --json` shows it"),
        ),
    }
}

/// The machines called `host`, at least one.
fn meant<'a>(systems: &'a [System], host: &str) -> Result<Vec<&'a System>, Failure> {
    let meant = |system: &&System| {
        system.hostname.eq_ignore_ascii_case(host) || system.id.to_string() == host
    };
    let found: Vec<_> = systems.iter().filter(meant).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let failure = Failure::new(
        Code::NotFound,
        format!("there is no machine {host:?} that shares this queue"),
    );
    let near = nearest(host, systems.iter().map(|system| &*system.hostname));
    Err(match near {
        Some(near) => failure.hint(format!("there is a machine {near:?}")),
        None => failure.hint("`ccm machines` shows all"),
    })
}

/// The one project among those of all machines that `name` stands for.
async fn of_machines(
    context: &Context,
    client: &Client,
    name: &str,
    projects: &[Project],
) -> Result<Option<Project>, Failure> {
    let found: Vec<&Project> = match name.rsplit_once('@') {
        Some((name, host)) => {
            let systems = client.systems().all().await?;
            let meant = meant(&systems, host)?;
            let machines: Vec<_> = meant.iter().map(|system| system.id).collect();
            let named =
                |project: &&Project| project.name == name && machines.contains(&project.system_id);
            projects.iter().filter(named).collect()
        }
        None => {
            let named = |project: &&Project| project.name == name && project.machine.is_some();
            projects.iter().filter(named).collect()
        }
    };
    match &found[..] {
        [] => Ok(None),
        [project] => {
            let told = !context.printer.json && !name.contains('@');
            if told && let Some(machine) = &project.machine {
                let host = terminal::line(&machine.hostname);
                context.printer.note(format!("{name} is on {host}."));
            }
            Ok(Some((*project).clone()))
        }
        several => {
            // Two machines may be called the same, too.
            let mut names: Vec<String> = several.iter().map(|one| full_name(one)).collect();
            names.sort();
            names.dedup();
            let names = match names.len() == several.len() {
                true => names,
                false => several.iter().map(|one| one.id.to_string()).collect(),
            };
            Err(Failure::usage(format!(
                "more than one project is meant: {}",
                names.join(", ")
            ))
            .hint("give one of these"))
        }
    }
}

async fn current_project(context: &Context, client: &Client) -> Result<Project, Failure> {
    let here = std::env::current_dir()
        .map_err(|e| Failure::usage(format!("the current folder can't be read: {e}")))?;
    let nowhere = || {
        Failure::new(
            Code::NotFound,
            format!("{} is in no project", here.display()),
        )
        .hint("name one with --project, or set this folder up with `ccm init`")
    };
    if context.is_elsewhere() {
        return Err(
            Failure::usage("which project is meant is not known").hint("name one with --project")
        );
    }
    let dir = super::project::find(context, &here)?.ok_or_else(nowhere)?;
    let folder = dir.folder();
    let projects = client.projects().all().await?;
    projects
        .into_iter()
        .find(|project| Path::new(&project.path) == folder)
        .ok_or_else(|| {
            Failure::new(
                Code::NotFound,
                format!("the project in {} is not registered", folder.display()),
            )
            .hint("`ccm init` there registers it")
        })
}

/// The candidate that `name` was most likely meant to be.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.is_empty() {
        return None;
    }
    let most = (name.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The id that `text` is, or is the end of.
pub(super) async fn task_id(client: &Client, text: &str) -> Result<TaskId, Failure> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    Ok(task_by_end(client, text).await?.id)
}

/// The task that `text` is the id of, or the end of its id.
pub(super) async fn task(client: &Client, text: &str) -> Result<Task, Failure> {
    match text.parse() {
        Ok(id) => Ok(client.task(id).await?),
        // A list has the texts cut.
        Err(_) => Ok(client.task(task_by_end(client, text).await?.id).await?),
    }
}

async fn task_by_end(client: &Client, text: &str) -> Result<Task, Failure> {
    let end = end_of_id(text, "a task id", "ccm task list")?;
    let filter = TaskFilter {
        machine: Some(Machines::All),
        text_limit: Some(0),
        page_size: Some(200),
        ..TaskFilter::default()
    };
    let mut pages = client.tasks(&filter);
    let mut found: Option<Task> = None;
    while let Some(tasks) = pages.next_page().await? {
        for task in tasks {
            if !task.id.to_string().ends_with(&end) {
                continue;
            }
            if let Some(first) = &found {
                return Err(Failure::usage(format!(
                    "{text:?} is the end of several ids, among them {} and {}",
                    first.id, task.id
                ))
                .hint("give more characters"));
            }
            found = Some(task);
        }
    }
    found.ok_or_else(|| Failure::new(Code::NotFound, format!("there is no task {text}")))
}

/// What ends like an id, in lower case. `list` is the command that shows such ids.
pub(super) fn end_of_id(text: &str, what: &str, list: &str) -> Result<String, Failure> {
    let end = text.to_ascii_lowercase();
    if !end.chars().all(|c| c.is_ascii_hexdigit() || c == '-') || end.len() > 36 {
        return Err(
            Failure::usage(format!("{text:?} is not {what}")).hint(format!(
                "`{list}` shows the ids; the last characters of one are enough"
            )),
        );
    }
    if end.len() < SHORTEST {
        return Err(Failure::usage(format!(
            "{text:?} is too short: give the id's last {SHORTEST} characters or more"
        )));
    }
    Ok(end)
}

/// The ask that `text` is the id of, or the end of its id; or the one that the task of this id asks.
pub(super) async fn ask(client: &Client, text: &str) -> Result<Ask, Failure> {
    if let Ok(id) = text.parse::<AskId>() {
        match client.ask(id).await {
            Err(error) if error.code() == Some(ProblemCode::AskNotFound) => {}
            found => return Ok(found?),
        }
        let task = client.task(TaskId::from_uuid(*id.as_uuid())).await;
        let task = task.map_err(|error| match error.code() {
            Some(ProblemCode::TaskNotFound) => no_ask(text),
            _ => error.into(),
        })?;
        let filter = AskFilter {
            task_id: Some(task.id),
            open: true,
            machine: Some(Machines::All),
            ..AskFilter::default()
        };
        return only(client.asks(&filter).all().await?);
    }
    let end = end_of_id(text, "the id of an ask or a task", "ccm asks")?;
    let open = AskFilter {
        open: true,
        machine: Some(Machines::All),
        page_size: Some(200),
        ..AskFilter::default()
    };
    let asks = client.asks(&open).all().await?;
    let (named, rest): (Vec<_>, Vec<_>) = asks
        .into_iter()
        .partition(|ask| ask.id.to_string().ends_with(&end));
    if !named.is_empty() {
        return only(named);
    }
    let ends = |ask: &Ask| ask.task_id.to_string().ends_with(&end);
    let of_task: Vec<_> = rest.into_iter().filter(ends).collect();
    if !of_task.is_empty() {
        return only(of_task);
    }
    // Whoever answers what was answered before gets to know whose answer counts.
    let all = AskFilter {
        open: false,
        ..open
    };
    let mut pages = client.asks(&all);
    while let Some(asks) = pages.next_page().await? {
        let named = |ask: &Ask| ask.id.to_string().ends_with(&end);
        if let Some(ask) = asks.into_iter().find(named) {
            return Ok(ask);
        }
    }
    match task_by_end(client, text).await {
        Ok(_) => only(Vec::new()),
        Err(failure) if failure.code == Code::NotFound => Err(no_ask(text)),
        Err(failure) => Err(failure),
    }
}

fn no_ask(text: &str) -> Failure {
    Failure::new(
        Code::NotFound,
        format!("there is no ask and no task {text}"),
    )
    .hint("`ccm asks` shows what is asked")
}

/// The single one of these asks.
fn only(mut asks: Vec<Ask>) -> Result<Ask, Failure> {
    match (asks.pop(), &asks[..]) {
        (Some(only), []) => Ok(only),
        (None, _) => Err(Failure::new(Code::Refused, "the task asks nothing now")
            .hint("`ccm asks` shows what is asked")),
        (Some(oldest), others) => {
            let all = std::iter::once(&oldest).chain(others.iter().rev());
            let all: Vec<_> = all
                .map(|ask| format!("{} ({})", short(ask.id), ask.title))
                .collect();
            Err(
                Failure::usage(format!("more than one ask is meant: {}", all.join(", ")))
                    .hint("give the id of one of them"),
            )
        }
    }
}

/// The agent called `name`, or of the project called so; without a name the current project's.
pub(super) async fn agent(
    context: &Context,
    client: &Client,
    name: Option<&str>,
) -> Result<Agent, Failure> {
    let agents = client.agents(None).all().await?;
    if let Some(agent) = agents
        .iter()
        .find(|agent| name.is_some_and(|name| agent.name == name || agent.id.to_string() == name))
    {
        return Ok(agent.clone());
    }
    let project = match (project(context, client, name).await, name) {
        (Ok(project), _) => project,
        (Err(failure), Some(name)) if failure.code == Code::NotFound => {
            let failure = Failure::new(Code::NotFound, format!("there is no agent {name:?}"));
            let names = agents.iter().map(|agent| &*agent.name);
            return Err(match nearest(name, names) {
                Some(near) => failure.hint(format!("there is an agent {near:?}")),
                None => failure.hint("`ccm agent list` shows all"),
            });
        }
        (Err(failure), _) => return Err(failure),
    };
    if let Some(machine) = &project.machine {
        return Err(Failure::new(
            Code::Refused,
            format!(
                "the agent of {} is on {}, and is looked after there",
                project.name, machine.hostname
            ),
        )
        .hint("run this command on that machine"));
    }
    agents
        .into_iter()
        .find(|agent| agent.project_id == project.id)
        .ok_or_else(|| {
            Failure::new(
                Code::NotFound,
                format!("the project {} has no agent", project.name),
            )
        })
}
