use std::sync::{Arc, PoisonError};

use ccm_core::api::Reload;
use ccm_core::{Error, Result};

use super::App;
use crate::http::AllowedHosts;
use crate::machine::ConfigErrors;
use crate::machine::config::Config;
use crate::{factories, sharing, telemetry};

impl App {
    /// Reads the config file again, applies what can be applied, and names what needs a restart. The inner error is the
    /// file's; then nothing changed.
    ///
    /// # Errors
    /// `Internal` when the work itself went wrong.
    pub async fn reload(self: &Arc<Self>) -> Result<Result<Reload, ConfigErrors>> {
        let app = Arc::clone(self);
        let work = move || app.parts.settings.reload(|config| app.apply(config));
        let reloaded = tokio::task::spawn_blocking(work).await.map_err(|error| {
            Error::internal("the config could not be read again").with_source(error)
        })?;
        match &reloaded {
            Ok(report) => {
                tell(report);
                // After what is to be told, which may be less than the new level lets through.
                let config = self.parts.settings.current();
                telemetry::set_level(config.daemon.log_level.as_filter());
                sharing::forget_if_disconnected(self.engine(), &config).await;
            }
            Err(errors) => {
                for problem in &errors.problems {
                    tracing::error!("the changed config is not used: {problem}");
                }
            }
        }
        Ok(reloaded)
    }

    /// Makes `config` count in everything that keeps a part of it.
    fn apply(&self, config: &Config) {
        self.engine().set_limits(factories::limits(config));
        self.engine()
            .set_sync_limits(factories::sync_limits(config));
        if self.sharing().apply(config) {
            self.engine().wake_sync();
        }
        if let Some(windows) = &self.parts.windows {
            windows.set_max_windows(Some(config.resources.max_tmux_windows));
        }
        let hosts = AllowedHosts::new(self.parts.facts.address, &config.web_ui.allowed_hosts);
        *self.hosts.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(hosts);
    }
}

fn tell(report: &Reload) {
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    for change in &report.applied {
        tracing::info!("{}: {} -> {}", change.key, change.from, change.to);
    }
    for change in &report.restart {
        tracing::warn!(
            "{}: {} -> {} counts after `ccm daemon restart`",
            change.key,
            change.from,
            change.to
        );
    }
    if report.applied.is_empty() && report.restart.is_empty() {
        tracing::info!("the config was read again and says what it said");
    }
}
