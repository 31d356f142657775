//! What the daemon does when it is asked, apart from how it is asked: the HTTP handlers are thin shells around this.

mod access;
mod agents;
mod asks;
mod config;
mod elsewhere;
mod inputs;
mod load;
mod projects;
mod reload;
mod runs;
mod status;
mod sync;
mod tasks;
mod templates;
mod terminal;
mod told;
mod transcripts;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use ccm_agents::TmuxRuntime;
use ccm_core::api::{Check, ShutdownReport};
use ccm_core::engine::Engine;
use ccm_core::id::Epoch;
use ccm_core::project::Profiles;
use ccm_core::time::{Clock, Timestamp};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::health::Health;
use crate::http::{AllowedHosts, Capacity, Streams};
use crate::machine::{Home, Token, WebUi};
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::sharing::Sharing;

use elsewhere::LastSeen;
use load::Load;
pub(crate) use projects::Refusal;
pub(crate) use sync::SyncRefusal;
pub(crate) use templates::NotRendered;
use terminal::Seats;
pub(crate) use terminal::{MOST_VIEWERS, Seat};

/// Everything that answers are made of.
#[derive(Clone)]
pub struct AppParts {
    /// The engine.
    pub engine: Engine,
    /// How projects' agents are run; the same that the engine has.
    pub profiles: Arc<dyn Profiles>,
    /// The clock; the same that the engine has.
    pub clock: Arc<dyn Clock>,
    /// The config in force.
    pub settings: Settings,
    /// The machine home.
    pub home: Home,
    /// What a request must show.
    pub token: Token,
    /// The windows of agents, if they have some; what is wrong with them is told in the status.
    pub windows: Option<Arc<TmuxRuntime>>,
    /// The line to other machines; the same that the engine has.
    pub sharing: Arc<Sharing>,
    /// Where the database is, if it is in a file.
    pub database: Option<PathBuf>,
    /// How many clients can be served at once.
    pub capacity: Capacity,
    /// What is told about this daemon.
    pub facts: Facts,
}

/// What is told about a daemon.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it speaks TLS there.
    pub tls: bool,
    /// Whether the web UI is served.
    pub web_ui: WebUi,
    /// What a browser opens for it.
    pub web_ui_url: Option<String>,
    /// `full` or `minimal`.
    pub profile: String,
    /// `tmux` or `process`.
    pub runtime: String,
    /// Which start this is.
    pub epoch: Epoch,
    /// When it started.
    pub started_at: Timestamp,
}

/// The daemon, as far as it can be asked for things.
pub struct App {
    parts: AppParts,
    access: Access,
    health: Health,
    load: Load,
    seen: LastSeen,
    streams: Streams,
    seats: Seats,
    metrics: Metrics,
    hosts: RwLock<Arc<AllowedHosts>>,
    report: OnceCell<ShutdownReport>,
    stopping: CancellationToken,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("facts", &self.parts.facts)
            .finish_non_exhaustive()
    }
}

impl App {
    /// A daemon made of `parts`.
    pub fn new(parts: AppParts) -> Self {
        let hosts = AllowedHosts::new(
            parts.facts.address,
            &parts.settings.current().web_ui.allowed_hosts,
        );
        let database = parts.database.as_deref().and_then(Path::parent);
        let mut folders = vec![parts.home.dir().to_owned()];
        folders.extend(
            database
                .filter(|dir| *dir != parts.home.dir())
                .map(Path::to_owned),
        );
        let health = Health::new(
            parts.engine.clone(),
            Arc::clone(&parts.clock),
            parts.windows.clone(),
            folders,
            parts.settings.clone(),
            Arc::clone(&parts.sharing),
        );
        let access = Access::new(&parts.home, parts.token.clone());
        // What came before this daemon is not its to count.
        let metrics = Metrics::new(*parts.engine.store().watch().borrow());
        let streams = Streams::new(parts.capacity);
        Self {
            parts,
            access,
            health,
            load: Load::default(),
            seen: LastSeen::default(),
            streams,
            seats: Seats::default(),
            metrics,
            hosts: RwLock::new(Arc::new(hosts)),
            report: OnceCell::new(),
            stopping: CancellationToken::new(),
        }
    }

    /// The engine behind it.
    pub fn engine(&self) -> &Engine {
        &self.parts.engine
    }

    /// Ends the engine, and the stopping of whatever serves this daemon begins. A second call has the answer of the
    /// first.
    pub async fn shutdown(&self, stop_agents: bool) -> ShutdownReport {
        let report = *self
            .report
            .get_or_init(|| self.engine().shutdown(stop_agents))
            .await;
        self.stopping.cancel();
        report
    }

    /// Looks after the daemon's health at its interval, until it stops.
    pub async fn keep_health(&self) {
        self.health.keep(self.stopping.clone()).await;
    }

    /// Cancelled once the daemon is to stop.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    pub(crate) fn token(&self) -> &str {
        self.parts.token.reveal()
    }

    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.parts.facts.address
    }

    /// Whether what is asked of it comes over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.parts.facts.tls
    }

    /// What a browser opens for the web UI.
    pub(crate) fn web_ui_url(&self) -> Option<&str> {
        self.parts.facts.web_ui_url.as_deref()
    }

    /// The event streams.
    pub(crate) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// The line to other machines.
    pub(crate) fn sharing(&self) -> &Arc<Sharing> {
        &self.parts.sharing
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What is told about this daemon.
    pub(crate) fn facts(&self) -> &Facts {
        &self.parts.facts
    }

    /// What the daemon's health was last, or is now if that is too old.
    pub(crate) async fn checks(&self) -> Vec<Check> {
        self.health.checks().await
    }

    pub(crate) fn web_ui(&self) -> WebUi {
        self.parts.facts.web_ui
    }

    /// What a request's `Host` may be.
    pub(crate) fn allowed_hosts(&self) -> Arc<AllowedHosts> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&hosts)
    }
}
