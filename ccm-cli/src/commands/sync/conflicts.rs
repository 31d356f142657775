use ccm_core::api::{Conflict, ConflictStateName};
use clap::Args;
use serde_json::Value;

use super::super::{Outcome, time};
use super::{conflict, is_off};
use crate::context::Context;
use crate::exit::Code;

/// List what two machines changed differently, newest first
///
/// With an id: one of them, with everything in which the two edits differ.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator sync conflicts
  ccm-orchestrator sync conflicts 3f2a9c1b7d4e
  ccm-orchestrator sync conflicts --all --json")]
pub(in super::super) struct Conflicts {
    /// The conflict, by its id or the end of it
    id: Option<String>,
    /// Also those that nobody has to decide (any more)
    #[arg(long, conflicts_with = "id")]
    all: bool,
}

pub(super) fn run(args: &Conflicts, context: &Context) -> Outcome {
    let printer = context.printer;
    if args.id.is_none() && is_off(context)? {
        if printer.json {
            printer.object(&Vec::<Value>::new())?;
        } else {
            printer.note("Sync is off, so there are no conflicts.");
        }
        return Ok(Code::Done);
    }
    let client = context.client()?;
    if let Some(id) = &args.id {
        let conflict = context.block_on(conflict::find(&client, id))?;
        if printer.json {
            printer.object(&conflict)?;
            return Ok(Code::Done);
        }
        let lines = conflict::details(&conflict);
        lines.iter().try_for_each(|line| printer.line(line))?;
        if conflict.state == ConflictStateName::Open {
            printer.hint(how(&conflict));
        }
        return Ok(Code::Done);
    }
    let state = (!args.all).then_some(ConflictStateName::Open);
    let conflicts = context.block_on(async { Ok(client.conflicts(state).all().await?) })?;
    if printer.json {
        printer.object(&conflicts)?;
        return Ok(Code::Done);
    }
    if conflicts.is_empty() {
        printer.note("No conflict waits for a decision.");
        return Ok(Code::Done);
    }
    let rows = conflicts.iter().map(|one| {
        vec![
            printer.id(one.id),
            one.state.as_str().to_owned(),
            time::age(one.found_at),
            conflict::name(&one.local),
            conflict::name(&one.remote),
            fields(one),
            one.title.clone(),
        ]
    });
    let headings = ["ID", "STATE", "AGE", "LOCAL", "REMOTE", "DIFFERS", "TASK"];
    printer.table(&headings, Some(6), rows.collect())?;
    let open = |one: &&Conflict| one.state == ConflictStateName::Open;
    if let Some(first) = conflicts.iter().find(open) {
        printer.hint(how(first));
    }
    Ok(Code::Done)
}

fn how(conflict: &Conflict) -> String {
    let id = conflict.id.to_string();
    let end = id.rsplit('-').next().unwrap_or(&id);
    format!("decide with `ccm sync resolve {end} --keep local|remote|merge`")
}

fn fields(conflict: &Conflict) -> String {
    let names: Vec<_> = conflict.fields.iter().map(|field| &*field.name).collect();
    names.join(",")
}
