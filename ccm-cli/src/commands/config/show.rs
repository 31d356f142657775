use ccm_daemon::machine::show::{Effective, Origin, Shown};
use clap::Args;
use serde_json::{Value, json};

use super::super::Outcome;
use super::{Which, file, invalid, present};
use crate::context::Context;
use crate::exit::Code;

/// Show what counts: every key with its value or default, as YAML; secrets are hidden
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm config show
  ccm config show --origin               with the file and line that each value comes from
  ccm config show --project              the project that the current folder is in
  ccm config show --json | jq .agents")]
pub(crate) struct Show {
    #[command(flatten)]
    which: Which,
    /// Tell where each value comes from
    #[arg(long)]
    origin: bool,
}

pub(super) fn run(args: &Show, context: &Context) -> Outcome {
    let (file, _) = file(&args.which, context)?;
    present(&file)?;
    let machine = context.home()?;
    let effective = file
        .effective(Some(machine))
        .map_err(|errors| invalid(&errors))?;
    let printer = context.printer;
    match (printer.json, args.origin) {
        (true, false) => printer.object(&effective.values())?,
        (true, true) => printer.object(&with_origins(&effective))?,
        (false, origin) => printer.raw(effective.yaml(origin).as_bytes())?,
    }
    Ok(Code::Done)
}

fn with_origins(effective: &Effective) -> Vec<Value> {
    let keys = effective.keys.iter();
    keys.map(|Shown { key, value, origin }| {
        let (from, path, line) = match origin {
            Origin::File { path, line } => ("file", Some(path.to_string_lossy()), Some(line)),
            Origin::Default => ("default", None, None),
            Origin::Derived(_) => ("derived", None, None),
            Origin::Unset => ("unset", None, None),
        };
        let mut object = json!({"key": key, "value": value, "origin": from});
        if let (Some(path), Some(line)) = (path, line) {
            object["path"] = path.into();
            object["line"] = (*line).into();
        }
        if let Origin::Derived(words) = origin {
            object["from"] = words.as_str().into();
        }
        object
    })
    .collect()
}
