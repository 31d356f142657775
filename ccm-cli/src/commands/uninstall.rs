use std::path::PathBuf;
use std::time::Duration;

use ccm_agents::{HostCommand, Hosts, RuntimeConfig};
use ccm_core::id::Epoch;
use ccm_daemon::machine::service::{self, Service};
use ccm_daemon::machine::uninstall::{Data, Programs};
use ccm_daemon::machine::{Account, DaemonInfo, Home};
use clap::Args;
use serde::Serialize;

use super::{Outcome, ask, daemon};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Take CCM off this machine: the daemon, the service, the programs, and with --data its data
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator uninstall               asks first, and about the data too
  ccm-orchestrator uninstall --yes         keeps the data: queue, config, logs
  ccm-orchestrator uninstall --data --yes  leaves nothing but the .ccm/ folders of projects")]
pub(super) struct Uninstall {
    /// Remove the data too: config, queue, logs
    #[arg(long)]
    data: bool,
    /// Don't ask
    #[arg(short, long)]
    yes: bool,
}

/// How long a run that is stopped may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// What became of everything.
#[derive(Serialize, Default)]
struct Report {
    stopped_runs: u64,
    removed: Vec<PathBuf>,
    left: Vec<Left>,
}

/// Something that stays.
#[derive(Serialize)]
struct Left {
    what: String,
    /// The command that removes it.
    command: Option<String>,
}

pub(super) fn run(args: &Uninstall, context: &Context) -> Outcome {
    context.mean_the_service()?;
    let home = context.home()?;
    // What can't be done is told before anything is.
    let programs = Programs::here()?;
    let there = match Data::of(home) {
        Err(error) if args.data => return Err(error.into()),
        there => there,
    };
    let services: Vec<_> = service::all(home)
        .into_iter()
        .filter(|service| service.is_of(home))
        .collect();
    let daemon = context.daemon()?;
    if !consent(args, context, &services, daemon.as_ref())? {
        context.printer.note("Nothing was changed.");
        return Ok(Code::Failed);
    }
    let with_data = args.data || (!args.yes && there.is_ok() && asks_for_data(context, home)?);

    let mut report = Report::default();
    let folders = match daemon {
        Some(_) => folders(context),
        None => Vec::new(),
    };
    report.stopped_runs = daemon::stop_all(context)?;
    {
        // What root makes in somebody's home meanwhile, such as a lock, would be root's.
        let _assumed = owner(home)?.map(|owner| owner.assume()).transpose()?;
        report.stopped_runs += context.block_on(stop_hosts(home))?;
    }
    for service in services {
        remove_service(context, home, &service, &mut report)?;
    }
    remove_data(home, with_data, &programs, &mut report)?;
    remove_programs(&programs, &mut report)?;
    for folder in folders {
        report.left.push(Left {
            what: format!("{}/.ccm", folder.display()),
            command: None,
        });
    }
    tell(context, &report)?;
    Ok(Code::Done)
}

/// How many runs are under way, as far as that can be told without touching them.
fn runs_under_way(context: &Context) -> Option<u64> {
    let client = context.client().ok()?;
    let status = context.block_on(async { Ok(client.status().await?) });
    status.ok().map(|status| status.queue.running)
}

/// Whether everybody agrees to it.
fn consent(
    args: &Uninstall,
    context: &Context,
    services: &[Service],
    daemon: Option<&DaemonInfo>,
) -> Result<bool, Failure> {
    let printer = context.printer;
    if args.yes {
        return Ok(true);
    }
    if !printer.can_ask() {
        return Err(
            Failure::usage("there is no terminal to ask whether CCM is to be uninstalled")
                .hint("give --yes, and --data to remove its data too"),
        );
    }
    if let Some(daemon) = daemon {
        printer.note(format!("The daemon (pid {}) will be stopped.", daemon.pid));
    }
    match daemon.and_then(|_| runs_under_way(context)) {
        Some(0) | None => printer.note("Agents that still run will be stopped."),
        Some(1) => printer.warning("1 run is under way and will be stopped"),
        Some(n) => printer.warning(format!("{n} runs are under way and will be stopped")),
    }
    for service in services {
        printer.note(format!("{} will be removed.", service.file.display()));
    }
    ask::yes(context, "Uninstall CCM?", false)
}

fn asks_for_data(context: &Context, home: &Home) -> Result<bool, Failure> {
    if !home.dir().exists() {
        return Ok(false);
    }
    let question = format!("Remove the data in {} too?", home.dir().display());
    ask::yes(context, &question, false)
}

/// The folders of projects, as far as the daemon tells.
fn folders(context: &Context) -> Vec<PathBuf> {
    let asked = context
        .client()
        .and_then(|client| context.block_on(async { Ok(client.projects().all().await?) }));
    let projects = asked.unwrap_or_default();
    let paths = projects.into_iter().map(|project| project.path.into());
    paths.collect()
}

/// Whose home it is, for root.
fn owner(home: &Home) -> Result<Option<Account>, Failure> {
    let is_there = nix::unistd::geteuid().is_root() && home.dir().exists();
    Ok(is_there.then(|| Account::owning(home.dir())).transpose()?)
}

/// Ends the agents' hosts, which live on where no daemon could be asked to end them.
async fn stop_hosts(home: &Home) -> Result<u64, Failure> {
    if !home.dir().join("agents").is_dir() {
        return Ok(0);
    }
    // No daemon may begin meanwhile, and none comes after this one.
    home.create()?;
    let _lock = home.lock_daemon()?;
    let argv = vec!["ccm".into()];
    let config = RuntimeConfig::new(home.dir(), Epoch(u64::MAX), HostCommand { argv });
    let hosts = Hosts::new(config)?;
    let mut stopped = 0;
    for agent in hosts.agents().await? {
        if let Some(run) = agent.run {
            hosts.stop(run, GRACE).await?;
            stopped += 1;
        }
        hosts.stop_agent(agent.id).await?;
    }
    Ok(stopped)
}

fn remove_service(
    context: &Context,
    home: &Home,
    service: &Service,
    report: &mut Report,
) -> Result<(), Failure> {
    if !service.ours {
        context.printer.warning(format!(
            "{} was not written by ccm-orchestrator and stays",
            service.file.display()
        ));
        report.left.push(Left {
            what: service.file.display().to_string(),
            command: None,
        });
        return Ok(());
    }
    service.remove(home)?;
    report.removed.push(service.file.clone());
    Ok(())
}

fn remove_data(
    home: &Home,
    wanted: bool,
    programs: &Programs,
    report: &mut Report,
) -> Result<(), Failure> {
    if !wanted {
        if home.dir().exists() {
            report.left.push(Left {
                what: home.dir().display().to_string(),
                command: remover(home, programs),
            });
        }
        return Ok(());
    }
    // Once more, because what was stopped wrote its last words.
    let there = home.dir().exists();
    let data = Data::of(home)?;
    data.remove(home)?;
    report.removed.extend(data.own.iter().cloned());
    if there && !home.dir().exists() {
        report.removed.push(home.dir().to_owned());
    }
    report.left.extend(data.left.iter().map(|path| Left {
        what: path.display().to_string(),
        command: None,
    }));
    Ok(())
}

/// The command that removes the data later, if one can and takes nothing else with it.
fn remover(home: &Home, programs: &Programs) -> Option<String> {
    if !matches!(programs, Programs::Files(_)) {
        return Some("ccm-orchestrator uninstall --data".to_owned());
    }
    // In a moment these programs are gone.
    let only_ours = Data::of(home).is_ok_and(|data| data.left.is_empty());
    only_ours.then(|| format!("rm -r '{}'", home.dir().display()))
}

fn remove_programs(programs: &Programs, report: &mut Report) -> Result<(), Failure> {
    match programs {
        Programs::Managed { command } => report.left.push(Left {
            what: "the programs".to_owned(),
            command: Some(command.clone()),
        }),
        Programs::Built(folder) => report.left.push(Left {
            what: format!(
                "the programs, in the folder that they were built in ({})",
                folder.display()
            ),
            command: None,
        }),
        Programs::Files(_) => report.removed.extend(programs.remove()?),
    }
    Ok(())
}

fn tell(context: &Context, report: &Report) -> Result<(), Failure> {
    let printer = context.printer;
    match report.stopped_runs {
        0 => {}
        1 => printer.note("Stopped 1 run."),
        n => printer.note(format!("Stopped {n} runs.")),
    }
    if printer.json {
        return printer.object(report);
    }
    for path in &report.removed {
        printer.line(format!("Removed {}", path.display()))?;
    }
    if report.removed.is_empty() {
        printer.note("There was nothing to remove.");
    }
    for left in &report.left {
        match &left.command {
            Some(command) => printer.note(format!("Left {}; `{command}` removes it", left.what)),
            None => printer.note(format!("Left {}", left.what)),
        }
    }
    Ok(())
}
