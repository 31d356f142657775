use ccm_core::api::SetAsideAction;
use clap::Args;

use super::super::{Outcome, time};
use super::is_off;
use crate::context::Context;
use crate::exit::Code;

/// List changes of this machine that can never be taken, and dismiss them or try them again
///
/// They hold nothing up: each was taken out of the way, with the reason.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator sync set-aside
  ccm-orchestrator sync set-aside 41 --again      send what the object is now
  ccm-orchestrator sync set-aside 41 --dismiss    forget it; the object stays on this machine as it is")]
pub(in super::super) struct SetAside {
    /// The number of a change
    number: Option<u64>,
    /// Send it again, as what it is about is now
    #[arg(long, requires = "number", conflicts_with = "dismiss")]
    again: bool,
    /// Forget it
    #[arg(long, requires = "number")]
    dismiss: bool,
}

pub(super) fn run(args: &SetAside, context: &Context) -> Outcome {
    let printer = context.printer;
    if args.number.is_none() && is_off(context)? {
        if printer.json {
            printer.object(&Vec::<serde_json::Value>::new())?;
        } else {
            printer.note("Sync is off, so nothing was set aside.");
        }
        return Ok(Code::Done);
    }
    let client = context.client()?;
    let action = match (args.again, args.dismiss) {
        (true, _) => Some(SetAsideAction::Again),
        (_, true) => Some(SetAsideAction::Dismiss),
        _ => None,
    };
    if let (Some(number), Some(action)) = (args.number, action) {
        context.block_on(async { Ok(client.decide_set_aside(number, action).await?) })?;
        printer.note(match action {
            SetAsideAction::Again => format!("Change {number} goes out again."),
            SetAsideAction::Dismiss => format!("Change {number} is forgotten."),
        });
        return Ok(Code::Done);
    }
    let mut aside = context.block_on(async { Ok(client.set_aside().all().await?) })?;
    aside.retain(|one| args.number.is_none_or(|number| one.number == number));
    if printer.json {
        printer.object(&aside)?;
        return Ok(Code::Done);
    }
    if aside.is_empty() {
        printer.note("Nothing was set aside.");
        return Ok(Code::Done);
    }
    let rows = aside.iter().map(|one| {
        vec![
            one.number.to_string(),
            time::age(one.at),
            one.kind.clone(),
            one.title.clone().unwrap_or_else(|| printer.id(one.id)),
            one.why.clone(),
        ]
    });
    let headings = ["NUMBER", "AGE", "KIND", "OF", "WHY"];
    printer.table(&headings, Some(4), rows.collect())?;
    printer.hint("`ccm sync set-aside NUMBER --again` sends one again, --dismiss forgets it");
    Ok(Code::Done)
}
