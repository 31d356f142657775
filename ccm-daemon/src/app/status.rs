use ccm_core::api::{Check, LogPlace, QueueStatus, Status, System};
use ccm_core::{Error, Result, chain};

use super::App;
use crate::health;

impl App {
    pub(crate) async fn status(&self) -> Result<Status> {
        let store = self.engine().store();
        let counts = store.counts().await?;
        let log = store.log().await?;
        let projects = store.projects().await?.len() as u64;
        let runs = store.open_runs().await?;
        let open_asks = runs.iter().map(|run| u64::from(run.waits.open_asks)).sum();
        let mut problems = self.engine().problems();
        problems.extend(self.web_ui().problem().map(str::to_owned));
        let checks = self.health.checks().await;
        problems.extend(health::problems(&checks).map(str::to_owned));
        // Whether there is a tmux at all is known at any moment, and not only at the last check.
        if let Some(windows) = &self.parts.windows
            && let Err(error) = windows.check().await
        {
            let problem = chain(&error);
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        let agents = match self.engine().runtime().agents().await {
            Ok(agents) => agents.len() as u64,
            // The status is for people who wonder what is wrong, so it must not fail with it.
            Err(error) => {
                problems.push(format!("agents can't be listed: {error}"));
                0
            }
        };
        let limits = self.engine().limits();
        let now = self.parts.clock.now();
        let facts = &self.parts.facts;
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: facts.started_at,
            uptime_s: now.since(facts.started_at).as_secs(),
            profile: facts.profile.clone(),
            address: facts.address.to_string(),
            web_ui: facts.web_ui_url.clone(),
            epoch: facts.epoch,
            system: self.this_system(),
            runtime: facts.runtime.clone(),
            agents,
            projects,
            open_asks,
            queue: QueueStatus {
                queued: counts.queued,
                running: counts.running,
                max_queued: limits.max_queued,
                max_running: limits.max_running,
            },
            log: LogPlace {
                log_id: log.log,
                seq: log.head,
            },
            checks,
            problems,
        })
    }

    /// Whether work can be accepted now, and what that was looked up in.
    pub(crate) async fn ready(&self) -> Result<Vec<Check>> {
        if self.stopping.is_cancelled() || self.report.initialized() {
            return Err(Error::unavailable("the daemon is stopping"));
        }
        let checks = self.health.checks().await;
        match health::unready(&checks) {
            Some(error) => Err(error),
            None => Ok(checks),
        }
    }

    pub(super) fn this_system(&self) -> System {
        let system = self.engine().system();
        System {
            id: system.id,
            hostname: system.hostname.clone(),
            kind: system.kind,
            tags: system.tags.clone(),
            this: true,
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            last_seen: None,
            revoked_at: None,
        }
    }
}
