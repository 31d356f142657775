use ccm_core::api::{Machine, Machines, Task, TaskStateName};
use ccm_core::task::Words;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::super::{Outcome, select, time};
use crate::client::TaskFilter;
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::printer::Colour;

/// List tasks, newest first, or in the order of a queue
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm task list
  ccm task list --project shop --state failed
  ccm task list --search 'login timeout'
  ccm task list --queue
  ccm task list --all
  ccm task list --machine server
  ccm task list --json | jq -r '.[].id'")]
pub(crate) struct List {
    /// Only those of this project
    #[arg(short, long, value_name = "NAME")]
    project: Option<String>,
    /// Only those in this state
    #[arg(short, long, value_parser = state())]
    state: Option<TaskStateName>,
    /// Only those with each of these words in title or text, in letters of either case
    #[arg(long, value_name = "WORDS")]
    search: Option<Words>,
    /// Only those that ask for this tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// What waits in a project, in the order of its queue [default project: the one the current folder is in]
    #[arg(long, conflicts_with_all = ["state", "search", "tag"])]
    queue: bool,
    /// Also those that your other machines run and that were not created here
    #[arg(short, long, conflicts_with = "queue")]
    all: bool,
    /// Only those that this machine of yours runs, by its name or id
    #[arg(long, value_name = "HOST", conflicts_with_all = ["queue", "all"])]
    machine: Option<String>,
    /// At most so many
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value_t = 50,
        allow_negative_numbers = true
    )]
    limit: usize,
}

fn state() -> impl TypedValueParser<Value = TaskStateName> {
    PossibleValuesParser::new(TaskStateName::ALL.iter().map(|state| state.as_str()))
        .try_map(|name| name.parse::<TaskStateName>())
}

pub(super) fn run(args: &List, context: &Context) -> Outcome {
    let client = context.client()?;
    if args.queue {
        let waiting = context.block_on(async {
            let project = select::project(context, &client, args.project.as_deref()).await?;
            Ok(client.queue(project.id).take(args.limit).await?)
        })?;
        return show_queue(context, &waiting);
    }
    let tasks = context.block_on(async {
        let project = match &args.project {
            Some(name) => Some(select::project(context, &client, Some(name)).await?),
            None => None,
        };
        let machine = match &args.machine {
            Some(host) => Machines::One(select::system(&client, host).await?.id),
            None if args.all => Machines::All,
            // Whoever names a project of another machine wants to see its tasks.
            None if project.as_ref().is_some_and(|p| p.machine.is_some()) => Machines::All,
            None => Machines::Mine,
        };
        let project_id = project.map(|project| project.id);
        let filter = TaskFilter {
            project_id,
            state: args.state,
            words: args.search.clone(),
            tag: args.tag.clone(),
            machine: Some(machine),
            page_size: Some(args.limit.clamp(1, 200) as u32),
            ..TaskFilter::default()
        };
        Ok(client.tasks(&filter).take(args.limit).await?)
    })?;
    if context.printer.json {
        context.printer.object(&tasks)?;
    } else if tasks.is_empty() {
        context.printer.note("No tasks.");
    } else {
        table(context, &tasks, true)?;
        match tasks.iter().filter(|task| asks(task)).count() {
            0 => {}
            1 => context
                .printer
                .hint("a task waits for an answer; `ccm asks` shows its question"),
            n => context.printer.hint(format!(
                "{n} tasks wait for answers; `ccm asks` shows their questions"
            )),
        }
    }
    Ok(Code::Done)
}

/// Prints what waits in one project.
fn show_queue(context: &Context, tasks: &[Task]) -> Outcome {
    if context.printer.json {
        context.printer.object(&tasks)?;
    } else if tasks.is_empty() {
        context.printer.note("No task waits.");
    } else {
        let rows = tasks.iter().map(|task| {
            let mut row = row(context, task);
            row.drain(1..=2);
            row.insert(1, task.priority.to_string());
            row
        });
        let headings = ["ID", "PRIORITY", "AGE", "TITLE", "REASON"];
        context.printer.table(&headings, Some(3), rows.collect())?;
    }
    Ok(Code::Done)
}

/// Prints tasks, with their projects' names where that is not clear.
pub(in crate::commands) fn table(
    context: &Context,
    tasks: &[Task],
    projects: bool,
) -> Result<(), Failure> {
    let mut headings = vec!["ID", "PROJECT", "STATE", "AGE", "TITLE", "REASON"];
    if !projects {
        headings.remove(1);
    }
    let rows = tasks.iter().map(|task| {
        let mut row = row(context, task);
        if !projects {
            row.remove(1);
        }
        row
    });
    let wide = headings.iter().position(|heading| *heading == "TITLE");
    context.printer.table(&headings, wide, rows.collect())
}

fn row(context: &Context, task: &Task) -> Vec<String> {
    let project = match elsewhere(task) {
        Some(machine) => format!("{}@{}", task.project, machine.hostname),
        None => task.project.clone(),
    };
    vec![
        context.printer.id(task.id),
        project,
        task.state.to_string(),
        time::age(task.created_at),
        task.title.clone(),
        match (task.reason, &task.detail) {
            (None, _) if asks(task) => "asks".to_owned(),
            (Some(reason), _) => reason.to_string(),
            (None, detail) => detail.clone().unwrap_or_default(),
        },
    ]
}

/// The machine that runs it, if that is another one.
pub(super) fn elsewhere(task: &Task) -> Option<&Machine> {
    let machine = task.sharing.as_ref()?.runs_on.as_ref()?;
    Some(machine).filter(|machine| !machine.this)
}

/// Whether its run waits for a person.
fn asks(task: &Task) -> bool {
    !task.open_asks.is_empty()
}

/// A state's colour.
pub(super) const fn colour(state: TaskStateName) -> Colour {
    match state {
        TaskStateName::Queued => Colour::Dim,
        TaskStateName::Running => Colour::Cyan,
        TaskStateName::Succeeded => Colour::Green,
        TaskStateName::Failed => Colour::Red,
        TaskStateName::Cancelled => Colour::Yellow,
    }
}
