//! The service of this machine home: which it is, how it is installed, and what is told of it.

use std::path::PathBuf;

use ccm_daemon::machine::account::{self, Assumed};
use ccm_daemon::machine::service::{self, Active, Change, Kind, Plan, Service, State};
use ccm_daemon::machine::{Account, DaemonInfo, Home, HomeChoice};
use clap::Args;
use serde::Serialize;

use super::process;
use crate::context::Context;
use crate::exit::{Code, Failure};

/// A daemon runs that is not the service's.
pub(super) const BY_HAND: &str = "the daemon that runs was started by hand; `ccm-orchestrator daemon restart` hands it over to the service";

/// What set-up is told of the service.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Don't install a service
    #[arg(long)]
    no_service: bool,
    /// As root: the account that the service runs as, with that account's home [default: the one behind sudo]
    #[arg(long, value_name = "ACCOUNT", conflicts_with = "no_service")]
    user: Option<String>,
}

/// Set-up on its way to a service.
pub(super) struct SetUp {
    wanted: bool,
    account: Option<Account>,
    assumed: Option<Assumed>,
}

impl Options {
    /// To be called before anything is made: as root, everything is made as the account that the service is for.
    pub(super) fn begin(&self, context: &Context) -> Result<SetUp, Failure> {
        let account = self.account()?;
        let mut assumed = None;
        if let Some(account) = account.as_ref().filter(|account| !account.is_root()) {
            let choice = HomeChoice {
                user_home: Some(account.home.clone()),
                ..HomeChoice::of_process(context.config.as_deref())
            };
            context.set_home(Home::choose(&choice)?);
            assumed = Some(account.assume()?);
        }
        Ok(SetUp {
            wanted: !self.no_service,
            account,
            assumed,
        })
    }

    /// The account that the machine's service is to run as.
    fn account(&self) -> Result<Option<Account>, Failure> {
        if self.no_service {
            return Ok(None);
        }
        if !nix::unistd::geteuid().is_root() {
            return match &self.user {
                Some(name) if Account::own().map_or(true, |own| own.name != *name) => Err(
                    Failure::usage("only root can install a service for another account")
                        .hint("try it with sudo, or leave --user out for a service of your own"),
                ),
                _ => Ok(None),
            };
        }
        let account = match &self.user {
            Some(name) => Some(Account::named(name)?),
            // Without systemd there is no service to run as somebody, so root sets itself up.
            None => Account::behind_sudo()?.filter(|_| Kind::SystemdSystem.is_reachable()),
        };
        Ok(account)
    }
}

impl SetUp {
    /// Whether a person has to be asked: there can be a service, there is none, and no option said what is wanted.
    pub(super) fn is_open(&self, context: &Context) -> Result<bool, Failure> {
        let home = context.home()?;
        let can_be = || service::possible(home, self.account.as_ref()).is_ok();
        Ok(self.wanted && service::of(home).is_none() && can_be())
    }

    /// Installs the service, if it is wanted and there can be one; everything else can be used without.
    pub(super) fn install(
        mut self,
        wanted: bool,
        context: &Context,
    ) -> Result<Option<Report>, Failure> {
        // Root again: only root writes units of the machine.
        drop(self.assumed.take());
        if !self.wanted || !wanted {
            return Ok(None);
        }
        let (printer, home) = (context.printer, context.home()?);
        let daemon = home.running_daemon();
        if self.account.is_none()
            && let Some(there) = service::of(home).filter(|there| there.kind == Kind::SystemdSystem)
            && !nix::unistd::geteuid().is_root()
        {
            let file = there.file.display();
            printer.note(format!("The machine has a service for this home: {file}"));
            return Ok(Some(Report::of(&there, daemon.as_ref())));
        }
        let kind = match service::possible(home, self.account.as_ref()) {
            Ok(kind) => kind,
            Err(why) => {
                printer.note(format!("No service was installed: {why}."));
                return Ok(None);
            }
        };
        let program = process::absolute_program()?;
        let logs = home.logs_dir();
        let path = account::service_path(std::env::var_os("PATH"), self.account.as_ref());
        let plan = Plan {
            program: &program,
            config: home.config_file(),
            logs: &logs,
            path: &path,
            account: self.account.as_ref(),
        };
        let (service, change) = match service::install(home, kind, &plan) {
            Ok(installed) => installed,
            // For root the service is the point.
            Err(error) if self.account.is_none() => {
                let failure = Failure::from(error);
                printer.warning(format!("no service was installed: {}", failure.message));
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let file = service.file.display();
        match change {
            Change::Written => printer.note(format!("Wrote {file}")),
            Change::Rewritten => printer.note(format!(
                "Wrote {file} anew; it counts from the daemon's next start"
            )),
            Change::Unchanged => {}
        }
        if kind == Kind::SystemdUser && service::lingers() == Some(false) {
            let name = Account::own().map_or_else(|_| "$USER".to_owned(), |own| own.name);
            printer.hint(format!(
                "the daemon and its agents end when you log out; `sudo loginctl enable-linger {name}` keeps them"
            ));
        }
        let report = Report::of(&service, daemon.as_ref());
        if daemon.is_some() && !report.runs_the_daemon {
            printer.hint(BY_HAND);
        }
        Ok(Some(report))
    }

    /// Whether the daemon has to be left to an account that this process is not.
    pub(super) fn is_for_another(&self) -> bool {
        self.account
            .as_ref()
            .is_some_and(|account| !account.is_root())
    }
}

/// What is told of a service.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    kind: Kind,
    name: &'static str,
    file: PathBuf,
    /// `None` if the manager can't be asked.
    enabled: Option<bool>,
    active: Option<Active>,
    restarts: Option<u32>,
    /// Whether the daemon that runs is this service's.
    runs_the_daemon: bool,
    /// Why the daemon ended, in its own words.
    problem: Option<String>,
}

impl Report {
    pub(super) fn of(service: &Service, daemon: Option<&DaemonInfo>) -> Self {
        let state = service.state().ok();
        let state = state.as_ref();
        let pid = state.and_then(|state| state.pid);
        Self {
            kind: service.kind,
            name: service.kind.name(),
            file: service.file.clone(),
            enabled: state.map(|state| state.enabled),
            active: state.map(|state| state.active),
            restarts: state.map(|state| state.restarts),
            runs_the_daemon: pid.is_some() && pid == daemon.map(|daemon| daemon.pid),
            problem: state.and_then(problem),
        }
    }

    /// The service of this home, if there is one.
    pub(super) fn of_home(home: &Home, daemon: Option<&DaemonInfo>) -> Option<Self> {
        service::of(home).map(|service| Self::of(&service, daemon))
    }

    /// A line for people.
    pub(super) fn line(service: Option<&Self>, daemon_runs: bool) -> String {
        let Some(service) = service else {
            return if daemon_runs {
                "none; a background process".to_owned()
            } else {
                "none".to_owned()
            };
        };
        let enabled = match service.enabled {
            Some(true) => "enabled",
            Some(false) => "disabled",
            None => "can't be asked",
        };
        let active = service.active.map(|active| format!(", {active}"));
        let mut line = format!(
            "{} {} ({enabled}{})",
            service.kind.noun(),
            service.name,
            active.unwrap_or_default()
        );
        if daemon_runs && !service.runs_the_daemon {
            line.push_str("; this daemon was started by hand, `ccm-orchestrator daemon restart` hands it over");
        }
        line
    }

    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    pub(super) fn runs_the_daemon(&self) -> bool {
        self.runs_the_daemon
    }

    /// What the service is, in few words.
    pub(super) fn short(service: Option<&Self>) -> String {
        match service.filter(|service| service.runs_the_daemon) {
            Some(service) => format!("{} {}", service.kind.noun(), service.name),
            None => "background process".to_owned(),
        }
    }
}

/// Why a service's daemon is not there, if it said so.
pub(super) fn problem(state: &State) -> Option<String> {
    let down = matches!(state.active, Active::Failed | Active::Waiting);
    let said = state.said.as_deref().filter(|_| down)?;
    said.strip_prefix(ccm_daemon::notify::FAILED)
        .map(str::to_owned)
}

/// Starts the service's daemon, whose program must still be there.
pub(super) fn launch(
    service: &Service,
    start: impl FnOnce(&Service) -> ccm_core::Result<()>,
) -> Result<(), Failure> {
    if let Some(program) = service
        .program
        .as_deref()
        .filter(|program| !program.exists())
    {
        return Err(Failure::new(
            Code::Failed,
            format!(
                "{} runs {}, which is not there any more",
                service.file.display(),
                program.display()
            ),
        )
        .hint("`ccm-orchestrator daemon init` writes it anew with the program that is there now"));
    }
    Ok(start(service)?)
}
