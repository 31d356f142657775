//! Whether the daemon can do its work: real looks at what it needs, at an interval and when somebody asks.
//!
//! | check | what is done | what fails it |
//! | --- | --- | --- |
//! | `database` | a read, and a write that is synced and leaves nothing behind | no room, no answer, another daemon |
//! | `tmux` | the program says its version, its server lists windows (without windows: not there) | missing, too old, hung |
//! | `disk` | free room where home and database are | under 50 MiB |
//! | `clock` | the time of day against one that nobody sets | nothing; a jump is a warning |
//! | `spool` | output of running agents that is there and was not taken in | nothing; what lags is a warning |
//! | `sync` | how sharing with other machines goes (without: not there) | nothing; what a person has to do is a warning |
//!
//! Nothing runs between two checks, and a result that is older than the interval is never shown.

mod clock;
mod disk;
mod spool;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ccm_agents::TmuxRuntime;
use ccm_core::api::{Check, CheckStatus};
use ccm_core::engine::Engine;
use ccm_core::time::Clock;
use ccm_core::{Error, ErrorKind, chain};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::machine::config::Config;
use crate::settings::Settings;
use crate::sharing::{self, Sharing};
use clock::ClockWatch;
use spool::SpoolWatch;

/// How long one check may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A write that takes longer is worth telling.
const SLOW: Duration = Duration::from_secs(1);
/// Who asks again while something is wrong wants to know whether it still is.
const AGAIN: Duration = Duration::from_secs(2);

/// The checks that work can't be accepted without.
const NEEDED: &[&str] = &[DATABASE, DISK];
const DATABASE: &str = "database";
const DISK: &str = "disk";

/// What one look came to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    status: CheckStatus,
    detail: String,
}

impl Finding {
    fn ok(detail: impl Into<String>) -> Self {
        Self::new(CheckStatus::Ok, detail)
    }

    fn warning(detail: impl Into<String>) -> Self {
        Self::new(CheckStatus::Warning, detail)
    }

    fn failed(detail: impl Into<String>) -> Self {
        Self::new(CheckStatus::Failed, detail)
    }

    fn new(status: CheckStatus, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
        }
    }
}

/// The health of one daemon.
#[derive(Debug)]
pub(crate) struct Health {
    engine: Engine,
    clock: Arc<dyn Clock>,
    windows: Option<Arc<TmuxRuntime>>,
    /// Where there must be room.
    folders: Vec<PathBuf>,
    /// How old a result may get is in them.
    settings: Settings,
    sharing: Arc<Sharing>,
    /// Held over a whole round, so that who asks meanwhile gets what it comes to.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<(Instant, Vec<Check>)>,
    clock: ClockWatch,
    spool: SpoolWatch,
}

impl Health {
    pub(crate) fn new(
        engine: Engine,
        clock: Arc<dyn Clock>,
        windows: Option<Arc<TmuxRuntime>>,
        folders: Vec<PathBuf>,
        settings: Settings,
        sharing: Arc<Sharing>,
    ) -> Self {
        Self {
            engine,
            clock,
            windows,
            folders,
            settings,
            sharing,
            state: Mutex::default(),
        }
    }

    /// Looks at the interval, until `cancel`.
    pub(crate) async fn keep(&self, cancel: CancellationToken) {
        let mut changed = self.settings.watch();
        loop {
            let round = async {
                self.round(&mut *self.state.lock().await).await;
                tokio::select! {
                    () = tokio::time::sleep(self.interval()) => {}
                    Ok(()) = changed.changed() => {}
                }
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                () = round => {}
            }
        }
    }

    fn interval(&self) -> Duration {
        self.settings.current().daemon.health_check_interval
    }

    /// What the last look found, or a new one if that is too old.
    pub(crate) async fn checks(&self) -> Vec<Check> {
        let mut state = self.state.lock().await;
        if let Some((at, checks)) = &state.last {
            let all_well = checks.iter().all(|check| check.status == CheckStatus::Ok);
            let fresh_for = match all_well {
                true => self.interval(),
                false => self.interval().min(AGAIN),
            };
            if at.elapsed() < fresh_for {
                return checks.clone();
            }
        }
        self.round(&mut state).await
    }

    async fn round(&self, state: &mut State) -> Vec<Check> {
        let (clock, spool) = (&mut state.clock, &mut state.spool);
        let disk = disk::look(self.folders.clone());
        let config = self.settings.current();
        let (database, tmux, disk, spool, sync) = tokio::join!(
            bounded(self.database()),
            bounded(self.tmux()),
            bounded(disk),
            bounded(spool.look(&self.engine)),
            bounded(self.sync(&config)),
        );
        let clock = clock.look(self.clock.now(), clock::up());
        let found = [
            (DATABASE, Some(database)),
            ("tmux", self.windows.is_some().then_some(tmux)),
            (DISK, Some(disk)),
            ("clock", Some(clock)),
            ("spool", Some(spool)),
            ("sync", config.supabase.enabled.then_some(sync)),
        ];
        let checked_at = self.clock.now();
        let checks: Vec<Check> = found
            .into_iter()
            .filter_map(|(name, finding)| {
                let Finding { status, detail } = finding?;
                Some(Check {
                    name: name.to_owned(),
                    status,
                    detail,
                    checked_at,
                })
            })
            .collect();
        tell_news(state.last.as_ref().map(|(_, checks)| checks), &checks);
        state.last = Some((Instant::now(), checks.clone()));
        checks
    }

    async fn database(&self) -> Finding {
        let store = self.engine.store();
        if let Err(error) = store.counts().await {
            return Finding::failed(format!("the database can't be read: {}", chain(&error)));
        }
        let began = Instant::now();
        match store.check().await {
            Ok(()) => {
                let took = began.elapsed();
                let words = format!("a write took {:.1} ms", took.as_secs_f64() * 1000.0);
                match took > SLOW {
                    true => Finding::warning(format!(
                        "{words}: the disk of the database is slow or busy"
                    )),
                    false => Finding::ok(words),
                }
            }
            Err(error) if error.kind() == ErrorKind::DiskFull => Finding::failed(format!(
                "the database can't be written: {}; free some room on its disk",
                chain(&error)
            )),
            Err(error) => {
                Finding::failed(format!("the database can't be written: {}", chain(&error)))
            }
        }
    }

    async fn sync(&self, config: &Config) -> Finding {
        if !config.supabase.enabled {
            return Finding::ok("nothing is shared");
        }
        match sharing::state(&self.engine, &self.sharing, config).await {
            Ok(state) => match sharing::trouble(&state) {
                Some(trouble) => Finding::warning(trouble),
                None => Finding::ok(state.detail),
            },
            Err(error) => Finding::warning(format!(
                "how sharing with other machines goes can't be read: {}",
                chain(&error)
            )),
        }
    }

    async fn tmux(&self) -> Finding {
        let Some(windows) = &self.windows else {
            return Finding::ok("agents have no windows");
        };
        let health = match windows.health().await {
            Ok(health) => health,
            Err(error) => return Finding::failed(chain(&error)),
        };
        let windows = match health.windows {
            0 => "no windows".to_owned(),
            1 => "1 window".to_owned(),
            windows => format!("{windows} windows"),
        };
        if health.waiting.is_empty() {
            return Finding::ok(format!("{}, {windows}", health.version));
        }
        Finding::warning(format!(
            "{} for a window, because there are as many as resources.max_tmux_windows allows; raise that with `ccm \
             config set`, or remove a project",
            match health.waiting.len() {
                1 => "1 agent waits".to_owned(),
                agents => format!("{agents} agents wait"),
            }
        ))
    }
}

/// What is wrong with what work can't be accepted without.
pub(crate) fn unready(checks: &[Check]) -> Option<Error> {
    let failed: Vec<&str> = checks
        .iter()
        .filter(|check| check.status == CheckStatus::Failed)
        .filter(|check| NEEDED.contains(&check.name.as_str()))
        .map(|check| check.detail.as_str())
        .collect();
    (!failed.is_empty()).then(|| Error::unavailable(failed.join("; ")))
}

/// What is to be told among the checks, a sentence each.
pub(crate) fn problems(checks: &[Check]) -> impl Iterator<Item = &str> {
    let told = checks
        .iter()
        .filter(|check| check.status != CheckStatus::Ok);
    told.map(|check| check.detail.as_str())
}

async fn bounded(look: impl Future<Output = Finding>) -> Finding {
    let looked = tokio::time::timeout(PATIENCE, look).await;
    looked.unwrap_or_else(|_| {
        Finding::failed(format!("there was no answer in {} s", PATIENCE.as_secs()))
    })
}

/// Logs what became otherwise.
fn tell_news(before: Option<&Vec<Check>>, now: &[Check]) {
    let before: HashMap<&str, CheckStatus> = before
        .into_iter()
        .flatten()
        .map(|check| (check.name.as_str(), check.status))
        .collect();
    for check in now {
        let was = before.get(check.name.as_str()).copied();
        if was.unwrap_or(CheckStatus::Ok) == check.status {
            continue;
        }
        match check.status {
            CheckStatus::Ok => tracing::info!(check = check.name, "well again: {}", check.detail),
            _ => tracing::warn!(check = check.name, "{}", check.detail),
        }
    }
}
