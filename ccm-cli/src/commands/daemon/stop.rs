use std::time::{Duration, Instant};

use ccm_core::api::{Shutdown, ShutdownReport};
use ccm_daemon::machine::DaemonInfo;
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::Outcome;
use super::start::{start, startable};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Agents that are stopped get 5 seconds each to end by themselves, side by side.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Stop the daemon; runs go on unless --agents is given
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Stop the agents too; their runs are lost
    #[arg(long)]
    agents: bool,
}

pub(super) fn run(args: &Stop, context: &Context) -> Outcome {
    let Some(info) = context.daemon()? else {
        if context.printer.json {
            context.printer.object(&ShutdownReport {
                running: 0,
                stopped: 0,
            })?;
        }
        context.printer.note("The daemon is not running.");
        return Ok(Code::Done);
    };
    let Some(report) = stop(context, &info, args.agents)? else {
        context
            .printer
            .note("The daemon is stopped; it did not take this machine's token, so it was ended by a signal.");
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

pub(super) fn restart(context: &Context) -> Outcome {
    if let Some(info) = context.daemon()? {
        // What runs is not given up for something that can't start.
        startable(context)?;
        stop(context, &info, false)?;
    }
    let info = start(context)?;
    if context.printer.json {
        context.printer.object(&info)?;
    }
    context.printer.note(format!(
        "The daemon is running (pid {}, {}).",
        info.pid,
        info.url()
    ));
    Ok(Code::Done)
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
pub(crate) fn stop(
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
