//! The one place that chooses implementations, by name from the config.

use std::sync::Arc;

use ccm_agents::{
    HostCommand, ProcessRuntime, RunEnvironment, RuntimeConfig, Scopes, TmuxConfig, TmuxRuntime,
    TmuxSocket,
};
use ccm_core::engine::{EngineLimits, SyncLimits};
use ccm_core::id::Epoch;
use ccm_core::project::Profiles;
use ccm_core::schedule::FairScheduler;
use ccm_core::{AgentRuntime, Result, Scheduler, SyncBackend};
use ccm_store::{SqliteOptions, SqliteStore};
use ccm_sync::NullSync;
use ccm_sync::SwitchableSync;
use ccm_sync::supabase::{SupabaseOptions, SupabaseSync};

use crate::access::AgentTokens;
use crate::machine::config::{Config, RuntimeName};
use crate::machine::{Home, ProjectProfiles, programs, supabase};
use crate::settings::Settings;
use crate::sharing;

/// The program that becomes agents' hosts.
const HOST_PROGRAM: &str = "ccm";

/// The store of the config's database.
pub(crate) async fn store(config: &Config) -> Result<SqliteStore> {
    let options = SqliteOptions {
        pool_size: config.resources.connection_pool_size,
        ..SqliteOptions::default()
    };
    SqliteStore::open(&config.database.sqlite_path, options).await
}

/// What agents live in.
#[derive(Debug)]
pub(crate) struct Runtime {
    /// For the engine.
    pub(crate) agents: Arc<dyn AgentRuntime>,
    /// The same, if it has windows that somebody has to keep.
    pub(crate) windows: Option<Arc<TmuxRuntime>>,
}

/// What the config's agents live in.
pub(crate) fn runtime(
    home: &Home,
    config: &Config,
    epoch: Epoch,
    tokens: AgentTokens,
) -> Result<Runtime> {
    let host = HostCommand {
        argv: vec![programs::beside(HOST_PROGRAM).into_os_string()],
    };
    let hosts = RuntimeConfig {
        scopes: Scopes::of_this_service(),
        environment: RunEnvironment::new(move |order| tokens.environment(order)),
        #[cfg(feature = "otlp")]
        trace_context: Some(crate::telemetry::otlp::context),
        ..RuntimeConfig::new(home.dir(), epoch, host)
    };
    Ok(match config.agents.runtime {
        RuntimeName::Process => Runtime {
            agents: Arc::new(ProcessRuntime::new(hosts)?),
            windows: None,
        },
        RuntimeName::Tmux => {
            let tmux = TmuxConfig {
                socket: TmuxSocket::Name(config.agents.tmux_socket.clone()),
                session: config.agents.tmux_session_name.clone(),
                max_windows: Some(config.resources.max_tmux_windows),
                ..TmuxConfig::default()
            };
            let runtime = Arc::new(TmuxRuntime::new(hosts, tmux)?);
            Runtime {
                agents: Arc::clone(&runtime) as Arc<dyn AgentRuntime>,
                windows: Some(runtime),
            }
        }
    })
}

/// How the projects of this machine are run.
pub(crate) fn profiles(home: &Home, settings: &Settings) -> Arc<dyn Profiles> {
    Arc::new(ProjectProfiles::following(home, settings.watch()))
}

/// How tasks take turns.
pub(crate) fn scheduler() -> Arc<dyn Scheduler> {
    Arc::new(FairScheduler::default())
}

/// A line to other machines that can become another one.
pub(crate) type Line = SwitchableSync;

/// How the queue is shared with other machines: not at all, or through the config's Supabase project.
pub(crate) fn sync(config: &Config) -> Arc<dyn SyncBackend> {
    if !config.shares() {
        return Arc::new(NullSync);
    }
    match supabase::project(config) {
        Ok(project) => Arc::new(SupabaseSync::open(SupabaseOptions {
            connections: config.resources.max_supabase_connections,
            ..SupabaseOptions::new(project, &config.supabase.auth_file)
        })),
        Err(error) => {
            tracing::warn!("nothing is shared with other machines: {error}");
            Arc::new(NullSync)
        }
    }
}

/// How the engine shares its queue.
pub(crate) fn sync_limits(config: &Config) -> SyncLimits {
    SyncLimits {
        interval: config.sync.interval,
        max_retries: config.sync.max_retries,
        rule: sharing::rule(config.sync.conflict_resolution),
        ..SyncLimits::default()
    }
}

/// What bounds the engine.
pub(crate) fn limits(config: &Config) -> EngineLimits {
    EngineLimits {
        max_running: u32::try_from(config.max_concurrent()).unwrap_or(u32::MAX),
        max_queued: config.resources.max_queue_size,
        max_idle: Some(config.agents.max_idle_time).filter(|time| !time.is_zero()),
        ..EngineLimits::default()
    }
}
