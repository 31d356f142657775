use std::io::{BufRead, BufReader};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ccm_daemon::machine::{Config, DaemonInfo, Home};

use super::super::{Outcome, config};
use super::process;
use crate::context::Context;
use crate::exit::{Code, Failure};

/// A daemon that is not ready by then has a problem that its log tells. Migrations of a large database take a while.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(10);
const LOGS: &str = "`ccm-orchestrator daemon logs` says more";
/// The exit code of a daemon that found another one.
const ANOTHER: i32 = 5;

pub(super) fn run(context: &Context) -> Outcome {
    let (info, already) = match context.daemon()? {
        Some(info) => (info, " already"),
        None => (start(context)?, ""),
    };
    if context.printer.json {
        context.printer.object(&info)?;
    }
    context.printer.note(format!(
        "The daemon is running{already} (pid {}, {}).",
        info.pid,
        info.url()
    ));
    Ok(Code::Done)
}

/// The home of a machine that is set up and has a config that can be used.
pub(super) fn startable(context: &Context) -> Result<&Home, Failure> {
    let home = context.home()?;
    if !home.is_set_up() {
        return Err(Failure::new(Code::NotFound, "this machine is not set up")
            .hint("set it up with `ccm-orchestrator init`"));
    }
    Config::load(home).map_err(|errors| config::invalid(&errors))?;
    Ok(home)
}

/// Starts the daemon and waits until it is ready.
pub(crate) fn start(context: &Context) -> Result<DaemonInfo, Failure> {
    let home = startable(context)?;
    let _progress = context.printer.progress("Starting the daemon");
    let mut starting = Starting::new(process::spawn(context)?);
    while home.running_daemon().is_none() {
        starting.wait()?;
    }
    let client = context.client()?;
    loop {
        match context.block_on(async { Ok(client.ready().await) })? {
            Ok(_) => break,
            // Not ready yet, or gone again.
            Err(error) if error.is_unreachable() || error.code().is_some() => starting.wait()?,
            Err(error) => return Err(error.into()),
        }
    }
    let info = home.running_daemon().ok_or_else(|| {
        Failure::new(Code::Failed, "the daemon ended right after its start").hint(LOGS)
    })?;
    if let Some(migrated) = &info.migrated {
        context.printer.note(format!(
            "The database was brought from schema {} to {}; as it was before it is in {}.",
            migrated.from,
            migrated.to,
            migrated.backup.display()
        ));
    }
    // It is up, but whoever started it should not have to find out why nothing is done.
    if let Ok(status) = context.block_on(async { Ok(client.status().await?) }) {
        super::status::tell_problems(context.printer, &status);
    }
    Ok(info)
}

/// A daemon on its way.
struct Starting {
    daemon: Child,
    begun: Instant,
    said: Receiver<String>,
}

impl Starting {
    fn new(mut daemon: Child) -> Self {
        let (sender, said) = channel();
        if let Some(errors) = daemon.stderr.take() {
            // Ends with this program; the daemon's own log has what it says from then on.
            std::thread::spawn(move || {
                for line in BufReader::new(errors).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Self {
            daemon,
            begun: Instant::now(),
            said,
        }
    }

    /// Lets a moment pass, unless the daemon has ended or takes too long.
    fn wait(&mut self) -> Result<(), Failure> {
        if let Ok(Some(status)) = self.daemon.try_wait() {
            return Err(self.failure(status));
        }
        if self.begun.elapsed() < PATIENCE {
            std::thread::sleep(LOOK_EVERY);
            return Ok(());
        }
        let (pid, seconds) = (self.daemon.id(), PATIENCE.as_secs());
        Err(Failure::new(
            Code::TimedOut,
            format!("the daemon (pid {pid}) is not ready after {seconds} s"),
        )
        .hint(LOGS))
    }

    /// The daemon has ended; what it said is why.
    fn failure(&self, status: ExitStatus) -> Failure {
        let mut lines = Vec::new();
        // Something that it started may still hold its standard error open, so its end is not waited for long.
        while let Ok(line) = self.said.recv_timeout(Duration::from_millis(200)) {
            lines.push(line);
        }
        let code = if status.code() == Some(ANOTHER) {
            Code::Refused
        } else {
            Code::Failed
        };
        let reason = reason(&lines).unwrap_or_else(|| format!("it ended with {status}"));
        Failure::new(code, format!("the daemon did not start: {reason}")).hint(LOGS)
    }
}

/// How the daemon begins what it tells people, beside its log.
const WORD: &str = "error: ";

/// The reason among the lines of a daemon that ended: its last word to people, or its log's last error.
fn reason(lines: &[String]) -> Option<String> {
    let word = lines.iter().rposition(|line| line.starts_with(WORD));
    if let Some(at) = word {
        let text = lines[at..].join("\n");
        return text.strip_prefix(WORD).map(str::to_owned);
    }
    let error = lines
        .iter()
        .rev()
        .find_map(|line| line.split_once(" ERROR "));
    match error {
        Some((_, said)) => Some(
            said.split_once(": ")
                .map_or(said, |(_, what)| what)
                .to_owned(),
        ),
        None => lines.last().cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_last_word_of_the_daemon() {
        let of = |text: &str| reason(&text.lines().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(of("error: a: b\nc").as_deref(), Some("a: b\nc"));
        let log = "2026-01-01T00:00:00Z  INFO x: begin\n2026-01-01T00:00:00Z ERROR ccm_daemon::run: port taken: y\n\
                   2026-01-01T00:00:00Z  INFO x: end";
        assert_eq!(of(log).as_deref(), Some("port taken: y"));
        assert_eq!(of("odd").as_deref(), Some("odd"));
        assert_eq!(of(""), None);
    }
}
