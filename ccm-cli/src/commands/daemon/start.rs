use std::fs::File;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use ccm_daemon::machine::DaemonInfo;

use super::super::{Outcome, config};
use super::process;
use crate::context::Context;
use crate::exit::{Code, Failure};

/// A daemon that is not ready by then has a problem that its log tells. Migrations of a large database take a while.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) fn run(context: &Context) -> Outcome {
    if let Some(info) = context.daemon()? {
        context.printer.note(format!(
            "The daemon is running already (pid {}, {}).",
            info.pid,
            info.url()
        ));
        return Ok(Code::Done);
    }
    let info = start(context)?;
    context.printer.note(format!(
        "The daemon is running (pid {}, {}).",
        info.pid,
        info.url()
    ));
    Ok(Code::Done)
}

/// Starts the daemon and waits until it is ready.
pub(crate) fn start(context: &Context) -> Result<DaemonInfo, Failure> {
    let home = context.home()?;
    if !home.is_set_up() {
        return Err(Failure::new(Code::NotFound, "this machine is not set up")
            .hint("set it up with `ccm-orchestrator init`"));
    }
    if let Err(errors) = ccm_daemon::machine::Config::load(home) {
        return Err(config::invalid(&errors));
    }
    home.create()?;
    let path = home.run_dir().join("start.log");
    let unwritable = |e| {
        Failure::new(
            Code::Failed,
            format!("{} can't be written: {e}", path.display()),
        )
    };
    let errors = File::create(&path).map_err(unwritable)?;
    let mut daemon = process::spawn(context, errors)?;
    let begun = Instant::now();
    let client = loop {
        if let Ok(Some(status)) = daemon.try_wait() {
            // Another one may have been quicker.
            if let Some(info) = home.running_daemon() {
                return Ok(info);
            }
            return Err(failed(&path, &status.to_string()));
        }
        if home.running_daemon().is_some() {
            break context.client()?;
        }
        wait(&begun, &daemon, &path)?;
    };
    loop {
        match context.block_on(async { Ok(client.ready().await) })? {
            Ok(_) => break,
            Err(error) if error.is_unreachable() || error.code().is_some() => {}
            Err(error) => return Err(error.into()),
        }
        if let Ok(Some(status)) = daemon.try_wait() {
            return Err(failed(&path, &status.to_string()));
        }
        wait(&begun, &daemon, &path)?;
    }
    home.running_daemon()
        .ok_or_else(|| failed(&path, "it is gone again"))
}

fn wait(begun: &Instant, daemon: &Child, log: &Path) -> Result<(), Failure> {
    if begun.elapsed() < PATIENCE {
        std::thread::sleep(LOOK_EVERY);
        return Ok(());
    }
    Err(Failure::new(
        Code::TimedOut,
        format!(
            "the daemon (pid {}) is not ready after {} s",
            daemon.id(),
            PATIENCE.as_secs()
        ),
    )
    .hint(format!("{} and `ccm daemon logs` say more", log.display())))
}

/// The daemon ended; what it said last is why.
fn failed(log: &Path, status: &str) -> Failure {
    let said = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let reason = lines
        .iter()
        .rposition(|line| line.starts_with("error: "))
        .map(|at| lines[at..].join("\n"));
    match (reason, lines.last()) {
        (Some(reason), _) => {
            let reason = reason.trim_start_matches("error: ");
            let (reason, hint) = match reason.split_once("\nhint: ") {
                Some((reason, hint)) => (reason, hint),
                None => (reason, "`ccm-orchestrator daemon logs` says more"),
            };
            Failure::new(Code::Failed, format!("the daemon did not start: {reason}")).hint(hint)
        }
        (None, Some(last)) => {
            Failure::new(Code::Failed, format!("the daemon did not start: {last}"))
                .hint("`ccm-orchestrator daemon logs` says more")
        }
        (None, None) => Failure::new(Code::Failed, format!("the daemon did not start ({status})"))
            .hint("`ccm-orchestrator daemon logs` says more"),
    }
}
