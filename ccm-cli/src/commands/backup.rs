use std::path::PathBuf;

use ccm_agents::terminal;
use ccm_daemon::machine::backup::{self, Target};
use clap::Args;

use super::progress::Line;
use super::{Outcome, time};
use crate::context::Context;
use crate::exit::Code;

/// Put all that this machine needs to go on into one file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm backup                       into the machine home's folder `backups`
  ccm backup /mnt/usb              under the usual name in that folder
  ccm backup ~/ccm.tar --force     over an older one
  ccm restore ~/ccm.tar            and back")]
pub(super) struct Backup {
    /// The file, or a folder for it [default: backups/ccm-TIME.tar in the machine home]
    file: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(short, long, requires = "file")]
    force: bool,
}

pub(super) fn run(args: &Backup, context: &Context) -> Outcome {
    let home = context.home()?;
    let target = match &args.file {
        None => Target::Usual(None),
        Some(path) => Target::At {
            path: path.clone(),
            replace: args.force,
        },
    };
    let line = Line::new(context.printer);
    let made = context.block_on(async {
        Ok(backup::make(home, &target, &|progress| line.show(progress)).await?)
    });
    drop(line);
    let made = made.map_err(|failure: crate::exit::Failure| match failure.code {
        Code::Refused if args.file.is_some() && !args.force => failure.hint("--force replaces it"),
        _ => failure,
    })?;
    if context.printer.json {
        context.printer.object(&made)?;
        return Ok(Code::Done);
    }
    context
        .printer
        .line(terminal::line(&made.path.to_string_lossy()))?;
    let counted = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    context.printer.note(format!(
        "Backed up {} of {} ({}).",
        counted(made.manifest.tasks, "task"),
        counted(made.manifest.projects, "project"),
        time::size(made.size)
    ));
    context
        .printer
        .hint("it holds this machine's API token, so keep it to yourself; `ccm restore FILE` puts it back");
    Ok(Code::Done)
}
