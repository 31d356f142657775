use std::path::PathBuf;
use std::time::{Duration, Instant};

use ccm_agents::terminal;
use ccm_core::time::Timestamp;
use ccm_daemon::machine::backup::{self, Candidate, Parts, Present, Restored};
use ccm_daemon::machine::{DaemonLock, Home, setup};
use clap::Args;
use serde::Serialize;

use super::backup::told;
use super::{Outcome, ask, daemon, time};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Put a backup in the place of what is here, after checking it
#[derive(Debug, Args)]
#[command(after_help = "\
What is here is backed up first. A daemon that runs is stopped with its agents, and started again.
Tasks that came after the backup are gone, and those that waited in it are done again.

Examples:
  ccm restore ~/ccm.tar                      asks first
  ccm restore ~/ccm.tar --yes --paused       look at the queue before anything runs
  ccm restore ccm.db.schema-1.backup         a copy from before a change of schema")]
pub(super) struct Restore {
    /// The backup
    file: PathBuf,
    /// The database alone: config, token and trust stay as they are
    #[arg(long)]
    database_only: bool,
    /// Pause every project, so that nothing runs until `ccm project resume`
    #[arg(long)]
    paused: bool,
    /// Leave the daemon stopped
    #[arg(long)]
    no_start: bool,
    /// Don't ask, also if what is here is newer
    #[arg(short, long)]
    yes: bool,
}

/// What `restore` did, for programs.
#[derive(Serialize)]
struct Report<'a> {
    file: &'a std::path::Path,
    #[serde(flatten)]
    restored: &'a Restored,
    running: bool,
}

/// How long a daemon that is on its way may hold the home's lock.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn run(args: &Restore, context: &Context) -> Outcome {
    context.not_for_agents("put another database in the place of this one")?;
    let home = context.home()?;
    backup::finish_interrupted(home)?;
    let parts = if args.database_only {
        Parts::Database
    } else {
        Parts::All
    };
    let shown = context.printer.progress("Checking the backup");
    let (candidate, present) = context.block_on(async {
        let show = |progress| shown.say(told(progress));
        let candidate = backup::open(home, &args.file, parts, &show).await?;
        Ok((candidate, backup::present(home).await))
    })?;
    drop(shown);
    if !is_wanted(args, context, &candidate, &present)? {
        context.printer.note("Nothing was restored.");
        return Ok(Code::Failed);
    }
    let running = context.daemon()?;
    // What runs belongs to the queue that is to be replaced.
    daemon::stop_all(context)?;
    let restored = replace(args, context, home, candidate);
    // Whatever became of it: who had a daemon has one again.
    let start = running.is_some() && !args.no_start;
    let started = if start {
        Some(daemon::start(context))
    } else {
        None
    };
    let restored = restored?;
    tell(
        args,
        context,
        &restored,
        started.as_ref().is_some_and(Result::is_ok),
    )?;
    started.transpose().map(|_| Code::Done)
}

/// Says what would be lost, and asks unless that was answered before.
fn is_wanted(
    args: &Restore,
    context: &Context,
    candidate: &Candidate,
    present: &Present,
) -> Result<bool, Failure> {
    let printer = context.printer;
    let at =
        |at: Option<Timestamp>| at.map_or_else(String::new, |at| format!(" ({})", time::clock(at)));
    if let Some(manifest) = &candidate.manifest {
        let here = setup::hostname();
        if manifest.hostname != here && !matches!(present, Present::Sound(_)) {
            printer.warning(format!(
                "this backup is of the machine {}; with it this one takes its id and its token, so don't run both",
                terminal::line(&manifest.hostname)
            ));
        }
    }
    let question = match present {
        Present::None => return Ok(true),
        Present::Unreadable(error) => {
            printer.warning(terminal::line(&ccm_core::chain(error)));
            "Put the backup in its place? What is here is kept beside it.".to_owned()
        }
        Present::Sound(facts) => match present.is_newer_than(&candidate.facts) {
            Some(changes) => {
                let changes = match changes {
                    Some(1) => "1 change".to_owned(),
                    Some(n) => format!("{n} changes"),
                    None => "changes".to_owned(),
                };
                let last = at(candidate.facts.last_change);
                printer.warning(format!(
                    "what is here is newer{}: it has {changes} since the backup{last}, which would be undone",
                    at(facts.last_change)
                ));
                "Go back to the backup all the same?".to_owned()
            }
            None => "Put the backup in the place of what is here?".to_owned(),
        },
    };
    if args.yes {
        return Ok(true);
    }
    if !printer.can_ask() {
        return Err(
            Failure::usage("there is no terminal to ask whether to replace what is here")
                .hint("--yes replaces it; it is backed up first"),
        );
    }
    ask::yes(context, &question, false)
}

fn replace(
    args: &Restore,
    context: &Context,
    home: &Home,
    candidate: Candidate,
) -> Result<Restored, Failure> {
    home.create()?;
    let lock = lock(home)?;
    let shown = context.printer.progress("Restoring");
    context.block_on(async {
        // The daemon may have gone on until it was stopped.
        let present = backup::present(home).await;
        let show = |progress| shown.say(told(progress));
        let restored = candidate.restore(home, &lock, &present, args.paused, &show);
        Ok(restored.await?)
    })
}

/// The right to start a daemon, which nobody else has from now on: a service manager may be about to.
fn lock(home: &Home) -> Result<DaemonLock, Failure> {
    let begun = Instant::now();
    loop {
        match home.lock_daemon() {
            Ok(lock) => return Ok(lock),
            Err(error) if begun.elapsed() > PATIENCE => {
                return Err(
                    Failure::from(error).hint("stop the service that starts it, and restore again")
                );
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn tell(
    args: &Restore,
    context: &Context,
    restored: &Restored,
    running: bool,
) -> Result<(), Failure> {
    let printer = context.printer;
    if printer.json {
        return printer.object(&Report {
            file: &args.file,
            restored,
            running,
        });
    }
    let shown = |path: &std::path::Path| terminal::line(&path.to_string_lossy());
    let tasks = |n: u64| format!("{n} task{}", if n == 1 { "" } else { "s" });
    printer.note(format!(
        "Restored {}: {}, of which {} wait{}.",
        shown(&args.file),
        tasks(restored.tasks),
        restored.queued,
        if restored.queued == 1 { "s" } else { "" }
    ));
    if restored.rests {
        printer.note(
            "Its queue is shared with other machines, and they may know more of its tasks than it does: its projects rest. Look at \
             the queue, cancel what is done, and go on with `ccm project resume`.",
        );
    }
    if let Some(before) = &restored.before {
        printer.note(format!("What was here before is in {}.", shown(before)));
    }
    for path in &restored.replaced {
        printer.note(format!("What was here before is {}.", shown(path)));
    }
    if !running {
        printer.hint("start the daemon with `ccm-orchestrator daemon start`");
    }
    Ok(())
}
