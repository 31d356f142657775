//! Many tasks from a file, one a line.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use ccm_core::api::{CreateTask, MAX_BULK};
use ccm_core::id::ProjectId;
use serde_json::{Map, Value};

use super::super::{Outcome, select};
use crate::client::{self, Client};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// More than the daemon takes at once.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A line that is a task, with its number in the file.
struct Line {
    number: usize,
    task: Map<String, Value>,
}

pub(super) fn run(
    path: &Path,
    project: Option<&str>,
    key: Option<&str>,
    context: &Context,
) -> Outcome {
    let name = if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let lines = lines(&read(path, &name)?, &name)?;
    let client = context.client()?;
    let tasks = context.block_on(async {
        let numbers: Vec<usize> = lines.iter().map(|line| line.number).collect();
        let mut projects = Projects::of(context, &client, project);
        let mut tasks = Vec::with_capacity(lines.len());
        for Line { number, task } in lines {
            let task = wish(task, &mut projects).await;
            tasks.push(task.map_err(|failure| failure.of_one(&format!("{name}:{number}")))?);
        }
        let created = client.create_tasks(tasks, key).await;
        created.map_err(|error| {
            let place = place(&error, &numbers);
            let failure = Failure::from(error);
            match place {
                Some(number) => failure.of_one(&format!("{name}:{number}")),
                None => failure,
            }
        })
    })?;
    if context.printer.json {
        context.printer.object(&tasks)?;
    } else {
        for task in &tasks {
            context.printer.line(task.id)?;
        }
    }
    Ok(Code::Done)
}

fn read(path: &Path, name: &str) -> Result<String, Failure> {
    let bad = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::new(Code::NotFound, format!("there is no file {name}"))
        }
        _ => Failure::usage(format!("{name} can't be read: {e}")),
    };
    let mut reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(bad)?)
    };
    let mut bytes = Vec::new();
    reader
        .by_ref()
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(bad)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(too_much(format!("{name} has more than 16 MiB")));
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Failure::usage(format!(
            "{name} is not UTF-8: byte {at} begins no character"
        ))
    })
}

/// The tasks of the lines that are not blank.
fn lines(text: &str, name: &str) -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let task = serde_json::from_str(line).map_err(|e| {
            // The line of the message would be that within the line.
            let what = e.to_string();
            let what = what.split(" at line ").next().unwrap_or_default();
            Failure::usage(format!("{name}:{number}: {what} (column {})", e.column())).hint(
                "a line is a task as a JSON object, such as {\"text\": \"Fix the login test\"}",
            )
        })?;
        lines.push(Line { number, task });
    }
    match lines.len() {
        0 => Err(Failure::usage(format!("there is no task in {name}"))),
        count if count > MAX_BULK => Err(too_much(format!("{name} has {count} tasks"))),
        _ => Ok(lines),
    }
}

fn too_much(what: String) -> Failure {
    Failure::usage(format!(
        "{what}, and at most {MAX_BULK} tasks are created at once"
    ))
    .hint(format!("`split -l {MAX_BULK}` makes several files of it"))
}

/// The projects that lines name, each looked for once.
struct Projects<'a> {
    context: &'a Context,
    client: &'a Client,
    usual: Option<&'a str>,
    found: BTreeMap<Option<String>, ProjectId>,
}

impl<'a> Projects<'a> {
    fn of(context: &'a Context, client: &'a Client, usual: Option<&'a str>) -> Self {
        Self {
            context,
            client,
            usual,
            found: BTreeMap::new(),
        }
    }

    async fn id(&mut self, name: Option<String>) -> Result<ProjectId, Failure> {
        if let Some(id) = self.found.get(&name) {
            return Ok(*id);
        }
        let wanted = name.as_deref().or(self.usual);
        let id = select::project(self.context, self.client, wanted).await?.id;
        self.found.insert(name, id);
        Ok(id)
    }
}

async fn wish(
    mut task: Map<String, Value>,
    projects: &mut Projects<'_>,
) -> Result<CreateTask, Failure> {
    let name = match task.remove("project") {
        None => None,
        Some(Value::String(name)) => Some(name),
        Some(_) => return Err(Failure::usage("project must be a project's name")),
    };
    if name.is_some() && task.contains_key("project_id") {
        return Err(Failure::usage("give project or project_id, not both"));
    }
    if !task.contains_key("project_id") {
        let id = projects.id(name).await?;
        task.insert("project_id".to_owned(), Value::String(id.to_string()));
    }
    serde_path_to_error::deserialize(Value::Object(task)).map_err(|error| {
        let path = error.path().to_string();
        let what = error.into_inner().to_string();
        Failure::usage(match path.as_str() {
            "." | "?" => what,
            path => format!("{path}: {what}"),
        })
    })
}

/// The line that a refusal is about.
fn place(error: &client::Error, numbers: &[usize]) -> Option<usize> {
    let client::Error::Problem(problem) = error else {
        return None;
    };
    let part = problem.errors.first()?.pointer.strip_prefix("/tasks/")?;
    let index: usize = part.split('/').next()?.parse().ok()?;
    numbers.get(index).copied()
}
