//! A daemon for one machine home: everything put together, from the database to the listener.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ccm_agents::TmuxRuntime;
use ccm_core::api::ShutdownReport;
use ccm_core::engine::Engine;
use ccm_core::project::Profiles;
use ccm_core::system::System;
use ccm_core::time::{Clock, SystemClock};
use ccm_core::{Error, Result, Store};
use ccm_store::SqliteStore;
use tokio::sync::watch;

use crate::access::AgentTokens;
use crate::app::{App, AppParts, Facts};
use crate::factories;
use crate::http::{self, Listeners};
use crate::machine::config::{Config, RuntimeName};
use crate::machine::running::Migrated;
use crate::machine::{DaemonInfo, DaemonLock, Home, WebUi};
use crate::retention;
use crate::settings::Settings;
use crate::sharing::{self, Sharing};

/// How long the end of a failed engine may take.
const FAILED_PATIENCE: Duration = Duration::from_secs(5);

/// A daemon that is up: runs that went on were adopted, and its port is open.
#[derive(Debug)]
pub struct Daemon {
    app: Arc<App>,
    store: Arc<SqliteStore>,
    listeners: Listeners,
    windows: Option<Arc<TmuxRuntime>>,
    info: DaemonInfo,
    config: watch::Receiver<Arc<Config>>,
    // Held to the end: whoever has it is the home's daemon.
    _lock: DaemonLock,
}

/// Why a daemon ended.
#[derive(Debug)]
pub enum Ended {
    /// It was asked to.
    Stopped(ShutdownReport),
    /// It must not go on.
    Failed(Error),
}

impl Daemon {
    /// Starts a daemon. The home exists, and `lock` is its lock.
    ///
    /// In this order, so that nothing is dispatched twice and nobody is told of a daemon that isn't there: port, store,
    /// epoch, adoption, `daemon.json`. Nothing is answered before [`serve`](Self::serve).
    ///
    /// # Errors
    /// With a sentence for a person: the port, the database or the runtime can't be had.
    pub async fn start(home: Home, settings: Settings, mut lock: DaemonLock) -> Result<Self> {
        let config = settings.current();
        let changes = settings.watch();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let started_at = clock.now();
        home.create_token()?;
        let token = home.token()?;
        let listeners = Listeners::open(&home, &config.web_ui).await?;
        let address = listeners.address();

        let store = Arc::new(factories::store(&config).await?);
        let system = system(&home, &config)?;
        settings.wrote("system.id", system.id.to_string().into());
        let epoch = store.begin(&system, started_at).await?;
        let runtime = factories::runtime(&home, &config, epoch, AgentTokens::of(&token))?;
        let profiles: Arc<dyn Profiles> = factories::profiles(&home, &settings);
        let limits = factories::limits(&config);
        if let Some(windows) = &runtime.windows
            && let Err(error) = windows.check().await
        {
            // Agents wait and say so; everything else can be used.
            tracing::warn!("{}", ccm_core::chain(&error));
        }
        let sharing = Arc::new(Sharing::default());
        let (line, settled) = (Arc::clone(&sharing), Arc::clone(&config));
        tokio::task::spawn_blocking(move || line.apply(&settled))
            .await
            .map_err(|error| Error::internal("the sign-in was not looked at").with_source(error))?;
        let engine = Engine::builder(Arc::clone(&store) as Arc<dyn Store>, runtime.agents, system)
            .profiles(Arc::clone(&profiles))
            .scheduler(factories::scheduler())
            .sync(sharing.backend())
            .sync_limits(factories::sync_limits(&config))
            .clock(Arc::clone(&clock))
            .limits(limits)
            .start()
            .await?;
        sharing::forget_if_disconnected(&engine, &config).await;

        let web_ui = WebUi::of(&config);
        if let Some(problem) = web_ui.problem() {
            tracing::warn!("{problem}");
        }
        let info = DaemonInfo {
            address,
            tls: listeners.is_tls(),
            socket: listeners.socket().map(Path::to_owned),
            web_ui: web_ui == WebUi::Served,
            pid: std::process::id(),
            epoch,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            tmux_socket: config.agents.tmux_socket.clone(),
            started_at,
            migrated: store.migrated().map(|done| Migrated {
                from: done.from,
                to: done.to,
                backup: done.backup.clone(),
            }),
        };
        lock.announce(&info)?;
        let app = App::new(AppParts {
            engine,
            profiles,
            clock,
            settings,
            home,
            token,
            windows: runtime.windows.clone(),
            sharing,
            database: Some(config.database.sqlite_path.clone()),
            capacity: http::Capacity::of_process(),
            facts: Facts {
                address,
                tls: info.tls,
                web_ui,
                web_ui_url: info.web_ui_url(),
                profile: config.profile.as_str().to_owned(),
                runtime: runtime_name(config.agents.runtime).to_owned(),
                epoch,
                started_at,
            },
        });
        store.observe_commits(app.metrics().on_commit());
        Ok(Self {
            app: Arc::new(app),
            store,
            listeners,
            windows: runtime.windows,
            info,
            config: changes,
            _lock: lock,
        })
    }

    /// What it is asked for.
    pub fn app(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }

    /// Where it is.
    pub fn info(&self) -> &DaemonInfo {
        &self.info
    }

    /// Tells the log and the service manager that it is up.
    pub(crate) fn tell_up(&self) {
        tracing::info!(
            version = self.info.version,
            pid = self.info.pid,
            epoch = %self.info.epoch,
            "up, at {}",
            self.info.url()
        );
        let status = format!("at {}", self.info.url());
        let told = [
            sd_notify::NotifyState::Ready,
            sd_notify::NotifyState::Status(&status),
        ];
        if let Err(error) = sd_notify::notify(&told) {
            tracing::warn!(%error, "the service manager can't be told that the daemon is up");
        }
    }

    /// Answers requests until the daemon was asked to stop, or must not go on.
    pub async fn serve(self) -> Ended {
        let app = self.app;
        let stopping = app.stopping().clone();
        let router = http::router(Arc::clone(&app));
        let failing = async {
            tokio::select! {
                error = app.engine().failed() => Some(error),
                () = stopping.cancelled() => None,
            }
        };
        let watched = async {
            let failed = failing.await;
            if failed.is_some() {
                // Ends the server, too. What the engine had in hand is the next one's.
                let ending = app.shutdown(false);
                let _ = tokio::time::timeout(FAILED_PATIENCE, ending).await;
                stopping.cancel();
            }
            // A service manager that is not there, or gone, needs no word of it.
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
            failed
        };
        let windows = async {
            if let Some(windows) = &self.windows {
                windows.keep_windows(stopping.clone()).await;
            }
        };
        let server = http::serve(self.listeners, router, stopping.clone());
        let retention = retention::keep(app.engine(), self.config, stopping.clone());
        let (failed, (), (), (), (), ()) = tokio::join!(
            watched,
            server,
            windows,
            app.keep_health(),
            app.keep_told(),
            retention
        );
        let ended = match failed {
            Some(error) => Ended::Failed(error),
            None => Ended::Stopped(app.shutdown(false).await),
        };
        app.terminals_closed().await;
        self.store.close().await;
        ended
    }
}

fn system(home: &Home, config: &Config) -> Result<System> {
    Ok(System {
        id: crate::machine::setup::system_id(home, config)?,
        hostname: config.system.hostname.clone(),
        kind: config.system.kind,
        tags: config.system.tags.clone(),
    })
}

const fn runtime_name(name: RuntimeName) -> &'static str {
    match name {
        RuntimeName::Tmux => "tmux",
        RuntimeName::Process => "process",
    }
}
