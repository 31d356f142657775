use std::path::PathBuf;

use ccm_agents::terminal;
use ccm_daemon::machine::backup::{self, Progress, Target};
use clap::Args;

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
    let shown = context.printer.progress("Backing up");
    let made = context.block_on(async {
        let show = |progress| shown.say(told(progress));
        Ok(backup::make(home, &target, &show).await?)
    });
    drop(shown);
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

/// How far it is, on one line.
pub(super) fn told(progress: Progress) -> String {
    match progress.of.filter(|of| *of > 0) {
        Some(of) => {
            // A database that shrinks in the copy is done before its size is reached, never after.
            let percent = progress.done.min(of) * 100 / of;
            format!("{} {percent} % of {}", progress.doing, time::size(of))
        }
        None => format!("{} {}", progress.doing, time::size(progress.done)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_never_says_more_than_all() {
        let doing = "copying";
        let at = |done, of| told(Progress { doing, done, of });
        assert_eq!(at(1024, Some(4096)), "copying 25 % of 4 KiB");
        assert_eq!(at(5000, Some(4096)), "copying 100 % of 4 KiB");
        assert_eq!(at(2048, None), "copying 2 KiB");
        assert_eq!(at(0, Some(0)), "copying 0 B");
    }
}
