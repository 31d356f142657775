use std::time::{Duration, Instant};

use ccm_core::api::{Shutdown, ShutdownReport};
use ccm_daemon::machine::DaemonInfo;
use ccm_daemon::machine::service::{self, Active, Kind, Service};
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::Outcome;
use super::start::{Running, start, start_service, startable};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Agents that are stopped get 5 seconds each to end by themselves, side by side.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Stop the daemon; runs go on unless --agents is given
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator daemon stop              runs go on, and the next daemon takes them over
  ccm-orchestrator daemon stop --agents     runs end, too")]
pub(crate) struct Stop {
    /// Stop the agents too; their runs are lost
    #[arg(long)]
    agents: bool,
}

pub(super) fn run(args: &Stop, context: &Context) -> Outcome {
    context.not_for_agents("stop the daemon that runs it")?;
    let daemon = context.daemon()?;
    let service = managed(context, daemon.as_ref())?;
    let report = match (&daemon, &service) {
        (None, None) => {
            if context.printer.json {
                context.printer.object(&ShutdownReport {
                    running: 0,
                    stopped: 0,
                })?;
            }
            context.printer.note("The daemon is not running.");
            return Ok(Code::Done);
        }
        (Some(info), None) => stop(context, info, args.agents)?,
        (daemon, Some(service)) => stop_service(context, service, daemon.as_ref(), args.agents)?,
    };
    if let Some(service) = &service {
        context.printer.note(format!(
            "The {} {} is stopped; it starts again with {} or by `ccm-orchestrator daemon start`.",
            service.kind.noun(),
            service.kind.name(),
            match service.kind {
                Kind::SystemdSystem => "the machine",
                Kind::SystemdUser | Kind::Launchd => "the next login",
            }
        ));
    }
    let Some(report) = report else {
        if daemon.is_some() {
            context
                .printer
                .note("The daemon is stopped; it did not take this machine's token, so it was ended by a signal.");
        }
        return Ok(Code::Done);
    };
    if context.printer.json {
        context.printer.object(&report)?;
    }
    let told = match (report.running, report.stopped) {
        (0, 0) => "The daemon is stopped.".to_owned(),
        (0, n) => format!("The daemon and {} are stopped.", runs(n)),
        (n, _) => format!(
            "The daemon is stopped; {} on without it, and the next daemon takes {} over.",
            if n == 1 {
                "1 run goes".to_owned()
            } else {
                format!("{n} runs go")
            },
            if n == 1 { "it" } else { "them" },
        ),
    };
    context.printer.note(told);
    Ok(Code::Done)
}

/// Stops the daemon and its agents, however it runs. Returns how many runs that cut.
pub(crate) fn stop_all(context: &Context) -> Result<u64, Failure> {
    context.not_for_agents("stop the daemon that runs it")?;
    let daemon = context.daemon()?;
    let report = match (managed(context, daemon.as_ref())?, &daemon) {
        (Some(service), daemon) => stop_service(context, &service, daemon.as_ref(), true)?,
        (None, Some(info)) => stop(context, info, true)?,
        (None, None) => None,
    };
    Ok(report.map_or(0, |report| report.stopped))
}

/// The service whose daemon this is, or that is about to start one.
fn managed(context: &Context, daemon: Option<&DaemonInfo>) -> Result<Option<Service>, Failure> {
    let Some(service) = service::of(context.home()?) else {
        return Ok(None);
    };
    let state = service.state()?;
    let idle = matches!(state.active, Active::Stopped | Active::Failed);
    // Another daemon may have this home, and then the service's can't be up.
    let other = daemon.is_some_and(|daemon| state.pid.is_some_and(|pid| pid != daemon.pid));
    Ok((!idle && !other).then_some(service))
}

/// Has the manager stop the daemon, or it would start it again. Returns what is left behind, as far as that is known.
fn stop_service(
    context: &Context,
    service: &Service,
    daemon: Option<&DaemonInfo>,
    agents: bool,
) -> Result<Option<ShutdownReport>, Failure> {
    if agents && service.kind == Kind::SystemdSystem && !nix::unistd::geteuid().is_root() {
        return Err(Failure::new(
            Code::Refused,
            "the service is the machine's, so stopping it needs root",
        )
        .hint("`sudo ccm-orchestrator daemon stop --agents` stops it and the agents"));
    }
    let mut report = None;
    if daemon.is_some() {
        let client = context.client()?;
        report = context.block_on(async {
            if agents {
                return Ok(Some(client.shutdown(&Shutdown { agents }).await?));
            }
            // How much goes on is worth a word, and no reason not to stop.
            let status = client.status().await.ok();
            Ok(status.map(|status| ShutdownReport {
                running: status.queue.running,
                stopped: 0,
            }))
        })?;
    }
    service.stop()?;
    Ok(report)
}

pub(super) fn restart(context: &Context) -> Outcome {
    context.not_for_agents("stop the daemon that runs it")?;
    let running = context.daemon()?;
    if running.is_some() {
        // What runs is not given up for something that can't start.
        startable(context)?;
    }
    let info = match managed(context, running.as_ref())? {
        Some(service) => {
            startable(context)?;
            start_service(context, &service, Service::restart)?
        }
        None => {
            if let Some(info) = running {
                stop(context, &info, false)?;
            }
            start(context)?
        }
    };
    Running::of(info, context)?.tell(false, context)
}

/// Asks the daemon's process to end, as service managers do.
fn terminate(info: &DaemonInfo) -> bool {
    let pid = i32::try_from(info.pid).ok().filter(|pid| *pid > 1);
    pid.is_some_and(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM).is_ok())
}

fn runs(n: u64) -> String {
    if n == 1 {
        "1 run".to_owned()
    } else {
        format!("{n} runs")
    }
}

/// Stops the daemon and waits until it is gone.
///
/// Returns what it leaves behind, unless it could not be asked.
fn stop(
    context: &Context,
    info: &DaemonInfo,
    agents: bool,
) -> Result<Option<ShutdownReport>, Failure> {
    let _progress = context.printer.progress("Stopping the daemon");
    let asked = context.client().and_then(|client| {
        context.block_on(async { Ok(client.shutdown(&Shutdown { agents }).await?) })
    });
    let report = match asked {
        Ok(report) => Some(report),
        // Its token file was replaced or is broken. Whoever may end the process need not show a token.
        Err(_) if !agents && !context.is_elsewhere() && terminate(info) => None,
        Err(failure) => return Err(failure),
    };
    let begun = Instant::now();
    // The lock on its file says that it is gone, whatever took its process id meanwhile.
    while context.daemon()?.is_some_and(|now| now.epoch == info.epoch) {
        if begun.elapsed() > PATIENCE {
            return Err(Failure::new(
                Code::TimedOut,
                format!("the daemon (pid {}) is still stopping", info.pid),
            )
            .hint("`ccm-orchestrator daemon logs` says what it waits for"));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(report)
}
