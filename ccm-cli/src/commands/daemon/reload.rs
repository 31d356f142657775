use ccm_core::api::{ConfigChange, ProblemCode};
use ccm_daemon::machine::yaml_of;
use clap::Args;

use super::super::Outcome;
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Have the daemon read its config again: what can change at once does, what needs a restart is named
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm config edit && ccm daemon reload
  ccm config set agents.max_concurrent 5 && ccm daemon reload
  kill -HUP \"$(ccm daemon status --json | jq .pid)\"    the same; the daemon's log tells what changed

A config with errors is refused, and the daemon goes on with the one that it has.")]
pub(crate) struct Reload {}

pub(super) fn run(context: &Context) -> Outcome {
    let client = context.client()?;
    let report = context.block_on(async {
        client.reload().await.map_err(|error| {
            let broken = error.code() == Some(ProblemCode::Invalid);
            let failure = Failure::from(error);
            if broken {
                Failure {
                    code: Code::Failed,
                    ..failure
                }
                .hint("the daemon goes on with the config that it has; `ccm config edit` mends the file")
            } else {
                failure
            }
        })
    })?;
    let printer = context.printer;
    for warning in &report.warnings {
        printer.warning(warning);
    }
    if printer.json {
        printer.object(&report)?;
    } else {
        for change in &report.applied {
            printer.line(line(change))?;
        }
    }
    for change in &report.restart {
        printer.warning(format!("{} needs a restart to count", line(change)));
    }
    match (report.applied.len(), report.restart.is_empty()) {
        (0, true) => printer.note("Nothing changed: the daemon has this config already."),
        (0, false) => {}
        (1, _) => printer.note("The daemon uses the new value."),
        (_, _) => printer.note("The daemon uses the new values."),
    }
    if !report.restart.is_empty() {
        printer.hint("`ccm daemon restart` makes everything count; runs go on meanwhile");
    }
    Ok(Code::Done)
}

fn line(change: &ConfigChange) -> String {
    let ConfigChange { key, from, to } = change;
    if from.is_null() && to.is_null() {
        return format!("{key} (hidden)");
    }
    format!("{key}: {} -> {}", shown(from), shown(to))
}

fn shown(value: &serde_json::Value) -> String {
    if value.is_null() {
        "not set".to_owned()
    } else {
        yaml_of(value)
    }
}
