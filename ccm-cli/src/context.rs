//! What commands share, made when it is first needed.

use std::cell::OnceCell;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use ccm_daemon::machine::{DaemonInfo, Home, service};

use crate::client::{Client, Endpoint};
use crate::exit::{Code, Failure, START};
use crate::printer::Printer;

pub(crate) struct Context {
    pub(crate) printer: Printer,
    /// The program's name as people type it.
    pub(crate) program: &'static str,
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    home: OnceCell<Home>,
}

impl Context {
    pub(crate) fn new(program: &'static str, json: bool, config: Option<PathBuf>) -> Self {
        Self {
            printer: Printer::new(json),
            program,
            config,
            home: OnceCell::new(),
        }
    }

    /// The machine home.
    pub(crate) fn home(&self) -> Result<&Home, Failure> {
        if let Some(home) = self.home.get() {
            return Ok(home);
        }
        let home = Home::find(self.config.as_deref())?;
        Ok(self.home.get_or_init(|| home))
    }

    /// Has the home of the machine's service be the one if root, who names none, has none of its own. For commands that
    /// write no file of a home: root would make it its own.
    pub(crate) fn mean_the_service(&self) -> Result<(), Failure> {
        let named = self.config.is_some()
            || ["CCM_CONFIG", "CCM_HOME"]
                .into_iter()
                .any(|name| variable(name).is_some());
        if !named
            && nix::unistd::geteuid().is_root()
            && !Home::find(None)?.is_set_up()
            && let Some(config) = service::of_the_machine()
        {
            self.set_home(Home::find(Some(&config))?);
        }
        Ok(())
    }

    /// Has this home be the one, unless one was found already.
    pub(crate) fn set_home(&self, home: Home) {
        let _ = self.home.set(home);
    }

    /// The daemon of this machine's home, if it runs.
    pub(crate) fn daemon(&self) -> Result<Option<DaemonInfo>, Failure> {
        Ok(self.home()?.running_daemon())
    }

    /// Whether the daemon is another machine's, or one that this machine's home says nothing about.
    pub(crate) fn is_elsewhere(&self) -> bool {
        variable("CCM_URL").is_some()
    }

    /// Refuses an agent `what` takes no token, such as ending a process or writing a file. One that is led to it by what it
    /// reads is stopped here; one that means it has the rights of its user, and nothing but a sandbox stops it.
    pub(crate) fn not_for_agents(&self, what: &str) -> Result<(), Failure> {
        let is_agent = variable("CCM_TOKEN").is_some_and(|token| token.starts_with("ccm-run_"));
        if !is_agent {
            return Ok(());
        }
        Err(
            Failure::new(Code::Unauthorized, format!("an agent may not {what}"))
                .hint("leave that to a person"),
        )
    }

    /// The client of the daemon that runs for this home, or of the one that `CCM_URL` names.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let token = variable("CCM_TOKEN");
        if let Some(url) = variable("CCM_URL") {
            let at_socket = url.starts_with("unix:");
            let Some(token) = token.or_else(|| at_socket.then(String::new)) else {
                return Err(Failure::new(
                    Code::Unauthorized,
                    "CCM_URL is set but CCM_TOKEN is not",
                )
                .hint("set CCM_TOKEN to what is in the file `token` of that daemon's home"));
            };
            return Ok(Client::with(&Endpoint::new(url, token), "cli", None)?);
        }
        let home = self.home()?;
        let Some(info) = home.running_daemon() else {
            return Err(self.stopped());
        };
        let token = match token {
            Some(token) => token,
            None => home.token()?.reveal().to_owned(),
        };
        let again = {
            let (home, token) = (home.clone(), token.clone());
            Arc::new(move || {
                let info = home.running_daemon()?;
                Some(Endpoint::new(info.local_url(), token.clone()))
            })
        };
        Ok(Client::with(
            &Endpoint::new(info.local_url(), token),
            "cli",
            Some(again),
        )?)
    }

    /// There is no daemon to talk to.
    pub(crate) fn stopped(&self) -> Failure {
        let failure = Failure::new(Code::Unreachable, "the daemon is not running");
        match self.home() {
            Ok(home) if !home.is_set_up() => {
                failure.hint("set this machine up with `ccm-orchestrator init`")
            }
            _ => failure.hint(START),
        }
    }

    /// Runs `work` to its end on this thread.
    pub(crate) fn block_on<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|e| Failure::new(Code::Failed, format!("no runtime can be made: {e}")))?
            .block_on(work)
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
