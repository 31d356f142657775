use std::io::{BufRead, BufReader};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ccm_daemon::machine::service::{self, Active, Service, State};
use ccm_daemon::machine::{Config, DaemonInfo, Home};
use serde::Serialize;

use super::super::{Outcome, config};
use super::process;
use super::service::{BY_HAND, Report, launch, problem};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// A daemon that is not ready by then has a problem that its log tells. Migrations of a large database take a while.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(10);
const ASK_EVERY: Duration = Duration::from_millis(150);
const LOGS: &str = "`ccm-orchestrator daemon logs` says more";
/// The exit code of a daemon that found another one.
const ANOTHER: i32 = 5;

/// A daemon that runs, and what runs it.
#[derive(Serialize)]
pub(super) struct Running {
    #[serde(flatten)]
    info: DaemonInfo,
    service: Option<Report>,
}

impl Running {
    pub(super) fn of(info: DaemonInfo, context: &Context) -> Result<Self, Failure> {
        let service = Report::of_home(context.home()?, Some(&info));
        Ok(Self { info, service })
    }

    /// Tells that the daemon is running.
    pub(super) fn tell(&self, already: bool, context: &Context) -> Outcome {
        if context.printer.json {
            context.printer.object(self)?;
        }
        let service = self.service.as_ref();
        context.printer.note(format!(
            "The daemon is running{} (pid {}, {}; {}).",
            if already { " already" } else { "" },
            self.info.pid,
            self.info.url(),
            Report::short(service)
        ));
        if service.is_some_and(|service| !service.runs_the_daemon()) {
            context.printer.hint(BY_HAND);
        }
        Ok(Code::Done)
    }
}

pub(super) fn run(context: &Context) -> Outcome {
    let (info, already) = match context.daemon()? {
        Some(info) => (info, true),
        None => (start(context)?, false),
    };
    Running::of(info, context)?.tell(already, context)
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

/// Starts the daemon and waits until it is ready: as the service if there is one for this home.
pub(crate) fn start(context: &Context) -> Result<DaemonInfo, Failure> {
    let home = startable(context)?;
    let _progress = context.printer.progress("Starting the daemon");
    match service::of(home) {
        Some(service) => start_service(context, &service, Service::start),
        None => until_ready(context, &mut Starting::new(process::spawn(context)?)),
    }
}

/// Has the service's manager start the daemon by `how`, and waits until it is ready.
pub(super) fn start_service(
    context: &Context,
    service: &Service,
    how: impl FnOnce(&Service) -> ccm_core::Result<()>,
) -> Result<DaemonInfo, Failure> {
    launch(service, how)?;
    until_ready(context, &mut Managed::new(service))
}

/// A daemon on its way.
trait Way {
    /// Lets a moment pass, unless the daemon has ended or takes too long.
    fn wait(&mut self) -> Result<(), Failure>;
}

fn until_ready(context: &Context, way: &mut dyn Way) -> Result<DaemonInfo, Failure> {
    let home = context.home()?;
    while home.running_daemon().is_none() {
        way.wait()?;
    }
    let client = context.client()?;
    loop {
        match context.block_on(async { Ok(client.status().await) })? {
            Ok(_) => break,
            // Not ready yet, or gone again.
            Err(error) if error.is_unreachable() || error.code().is_some() => way.wait()?,
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

/// A daemon on its way in the hands of a service's manager.
struct Managed<'a> {
    service: &'a Service,
    begun: Instant,
    asked: Instant,
}

impl<'a> Managed<'a> {
    fn new(service: &'a Service) -> Self {
        let now = Instant::now();
        Self {
            service,
            begun: now,
            asked: now,
        }
    }

    fn failure(&self, state: &State) -> Failure {
        let code = match state.exit_code {
            Some(code) if i32::try_from(code) == Ok(ANOTHER) => Code::Refused,
            _ => Code::Failed,
        };
        let reason = problem(state).unwrap_or_else(|| {
            let code = state.exit_code.unwrap_or_default();
            format!("it ended with exit code {code} ({})", state.result)
        });
        let journal = self.service.kind.journal();
        let more = journal.map_or(LOGS.to_owned(), |journal| {
            format!("{LOGS}, and `{journal}`")
        });
        let again = match state.active {
            Active::Waiting => {
                "; it is tried again until it can start or `ccm-orchestrator daemon stop`"
            }
            _ => "",
        };
        Failure::new(code, format!("the daemon did not start: {reason}"))
            .hint(format!("{more}{again}"))
    }
}

impl Way for Managed<'_> {
    fn wait(&mut self) -> Result<(), Failure> {
        // Asking costs a process each time.
        if self.asked.elapsed() > ASK_EVERY {
            self.asked = Instant::now();
            let state = self.service.state()?;
            if matches!(
                state.active,
                Active::Failed | Active::Waiting | Active::Stopped
            ) {
                return Err(self.failure(&state));
            }
            if self.begun.elapsed() > PATIENCE {
                return Err(late(state.pid.unwrap_or_default()));
            }
        }
        std::thread::sleep(LOOK_EVERY);
        Ok(())
    }
}

/// A daemon on its way that is a child of this program.
struct Starting {
    daemon: Child,
    begun: Instant,
    said: Receiver<String>,
}

fn late(pid: u32) -> Failure {
    let seconds = PATIENCE.as_secs();
    Failure::new(
        Code::TimedOut,
        format!("the daemon (pid {pid}) is not ready after {seconds} s"),
    )
    .hint(LOGS)
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

impl Way for Starting {
    fn wait(&mut self) -> Result<(), Failure> {
        if let Ok(Some(status)) = self.daemon.try_wait() {
            return Err(self.failure(status));
        }
        if self.begun.elapsed() > PATIENCE {
            return Err(late(self.daemon.id()));
        }
        std::thread::sleep(LOOK_EVERY);
        Ok(())
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
