use std::collections::HashMap;

use ccm_agents::terminal;
use ccm_core::api::{Machine, Machines as Whose, System};
use ccm_core::id::SystemId;
use clap::Args;

use super::{Outcome, time};
use crate::context::Context;
use crate::exit::Code;

/// List the machines that share this queue
///
/// LAST SEEN is when this machine heard of another one last: what is told of its tasks can be as old as that.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm machines
  ccm machines --json | jq -r '.[].hostname'
  ccm project list --all
  ccm task list --machine server")]
pub(super) struct Machines {}

pub(super) fn run(_args: &Machines, context: &Context) -> Outcome {
    let client = context.client()?;
    let (systems, projects) = context.block_on(async {
        let systems = client.systems().all().await?;
        let projects = match context.printer.json {
            true => Vec::new(),
            false => client.projects_of(Whose::All).all().await?,
        };
        Ok((systems, projects))
    })?;
    if context.printer.json {
        context.printer.object(&systems)?;
        return Ok(Code::Done);
    }
    let mut names: HashMap<SystemId, Vec<&str>> = HashMap::new();
    for project in &projects {
        names
            .entry(project.system_id)
            .or_default()
            .push(&project.name);
    }
    let rows = systems.iter().map(|system| {
        let projects = names.get(&system.id).map(|names| names.join(", "));
        vec![
            system.hostname.clone(),
            system.kind.as_str().to_owned(),
            or_dash(system.tags.join(", ")),
            seen(system),
            or_dash(system.version.clone().unwrap_or_default()),
            or_dash(projects.unwrap_or_default()),
        ]
    });
    let headings = ["NAME", "TYPE", "TAGS", "LAST SEEN", "VERSION", "PROJECTS"];
    context.printer.table(&headings, Some(5), rows.collect())?;
    if systems.len() == 1 {
        context
            .printer
            .hint("`ccm supabase connect` shares the queue with your other machines");
    }
    Ok(Code::Done)
}

fn seen(system: &System) -> String {
    match (system.this, system.revoked_at, system.last_seen) {
        (true, ..) => "this machine".to_owned(),
        (_, Some(at), _) => format!("shut out {} ago", time::age(at)),
        (_, None, Some(at)) => format!("{} ago", time::age(at)),
        (_, None, None) => "-".to_owned(),
    }
}

fn or_dash(text: String) -> String {
    match text.is_empty() {
        true => "-".to_owned(),
        false => text,
    }
}

/// A machine's name, and how fresh what is told of it is.
pub(super) fn with_age(machine: &Machine) -> String {
    let host = terminal::line(&machine.hostname);
    match (machine.this, machine.last_seen) {
        (true, _) => format!("{host} (this one)"),
        (false, Some(at)) => format!("{host} (heard of {} ago)", time::age(at)),
        (false, None) => format!("{host} (not heard of yet)"),
    }
}
