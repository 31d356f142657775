use std::time::{Duration, Instant};

use ccm_core::api::{Shutdown, ShutdownReport};
use ccm_daemon::machine::DaemonInfo;
use clap::Args;

use super::super::Outcome;
use super::start::start;
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
        context.printer.note("The daemon is not running.");
        return Ok(Code::Done);
    };
    let report = stop(context, &info, args.agents)?;
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
        stop(context, &info, false)?;
    }
    let info = start(context)?;
    context.printer.note(format!(
        "The daemon is running (pid {}, {}).",
        info.pid,
        info.url()
    ));
    Ok(Code::Done)
}

fn runs(n: u64) -> String {
    if n == 1 {
        "1 run".to_owned()
    } else {
        format!("{n} runs")
    }
}

/// Stops the daemon and waits until it is gone.
fn stop(context: &Context, info: &DaemonInfo, agents: bool) -> Result<ShutdownReport, Failure> {
    let client = context.client()?;
    let report = context.block_on(async { Ok(client.shutdown(&Shutdown { agents }).await?) })?;
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
