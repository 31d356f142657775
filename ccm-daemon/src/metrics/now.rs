//! What is looked up when somebody scrapes.

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;

use ccm_core::Result;
use ccm_core::api::{AgentStateName, CheckStatus};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::process::Process;
use super::sync::Sync;
use super::table::{Kind, Table};
use crate::app::App;

/// How many ready tasks of each project are looked at for the one that waits longest.
const CANDIDATES: u32 = 100;

type Seconds = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
    profile: String,
    runtime: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Check {
    check: String,
}

#[derive(Debug)]
pub(super) struct Now {
    build: Family<Build, Gauge>,
    uptime: Seconds,
    epoch: Gauge,
    tasks: Family<State, Gauge>,
    queue_limit: Gauge,
    runs_limit: Gauge,
    oldest_ready: Seconds,
    agents: Family<State, Gauge>,
    asks: Gauge,
    oldest_ask: Seconds,
    head: Gauge,
    readers: Gauge,
    readers_limit: Gauge,
    checks: Family<Check, Gauge>,
    sync: Sync,
    process: Process,
}

impl Now {
    pub(super) fn new(table: &mut Table) -> Self {
        Self {
            build: table.add(
                "ccm_build_info",
                Kind::Gauge,
                &["version", "profile", "runtime"],
                "Always 1; what the daemon is, is in the labels",
                Family::default(),
            ),
            uptime: table.add("ccm_uptime_seconds", Kind::Gauge, &[], "Since the daemon was started", Seconds::default()),
            epoch: table.add("ccm_epoch", Kind::Gauge, &[], "Which start of a daemon on this database it is", Gauge::default()),
            tasks: table.add("ccm_tasks", Kind::Gauge, &["state"], "Tasks that wait or run", Family::default()),
            queue_limit: table.add("ccm_queue_limit", Kind::Gauge, &[], "How many tasks may wait", Gauge::default()),
            runs_limit: table.add("ccm_runs_limit", Kind::Gauge, &[], "How many tasks may run at once", Gauge::default()),
            oldest_ready: table.add(
                "ccm_queue_oldest_ready_seconds",
                Kind::Gauge,
                &[],
                "The age of the oldest task that could run now, among the next 100 of each project; 0 without one",
                Seconds::default(),
            ),
            agents: table.add("ccm_agents", Kind::Gauge, &["state"], "Agents by what they do", Family::default()),
            asks: table.add("ccm_asks_open", Kind::Gauge, &[], "Questions that wait for an answer", Gauge::default()),
            oldest_ask: table.add(
                "ccm_asks_oldest_open_seconds",
                Kind::Gauge,
                &[],
                "How long the run that waits longest for a person has waited; 0 without one",
                Seconds::default(),
            ),
            head: table.add("ccm_events_head", Kind::Gauge, &[], "The number of the log's last event", Gauge::default()),
            readers: table.add("ccm_event_readers", Kind::Gauge, &[], "Open event streams", Gauge::default()),
            readers_limit: table.add(
                "ccm_event_readers_limit",
                Kind::Gauge,
                &[],
                "How many event streams may be open",
                Gauge::default(),
            ),
            checks: table.add(
                "ccm_health_check",
                Kind::Gauge,
                &["check"],
                "Checks of the daemon's health: 0 as it should be, 1 a warning, 2 failed",
                Family::default(),
            ),
            sync: Sync::new(table),
            process: Process::new(table),
        }
    }

    pub(super) async fn look(&self, app: &App) -> Result<()> {
        let (facts, now) = (app.facts(), app.now());
        let store = app.engine().store();
        let build = Build {
            version: env!("CARGO_PKG_VERSION"),
            profile: facts.profile.clone(),
            runtime: facts.runtime.clone(),
        };
        self.build.get_or_create(&build).set(1);
        self.uptime.set(now.since(facts.started_at).as_secs_f64());
        self.epoch.set(number(facts.epoch.0));
        let counts = store.counts().await?;
        for (state, count) in [("queued", counts.queued), ("running", counts.running)] {
            self.tasks
                .get_or_create(&State { state })
                .set(number(count));
        }
        let limits = app.engine().limits();
        self.queue_limit.set(number(limits.max_queued));
        self.runs_limit.set(i64::from(limits.max_running));
        let ready = store.ready(now, CANDIDATES).await?;
        let waiting = ready
            .projects
            .iter()
            .flat_map(|project| &project.candidates);
        // One that was not to run before a date has been ready since then.
        let oldest = waiting.map(|task| {
            let since = task.rank.moment();
            task.due_at.map_or(since, |due| due.max(since))
        });
        let age = oldest
            .min()
            .map_or(0.0, |since| now.since(since).as_secs_f64());
        self.oldest_ready.set(age);
        self.people(app).await?;
        self.head.set(number(store.log().await?.head.0));
        let streams = app.streams();
        self.readers.set(number(streams.open() as u64));
        self.readers_limit.set(number(streams.limit() as u64));
        for check in app.checks().await {
            let status = match check.status {
                CheckStatus::Ok => 0,
                CheckStatus::Warning => 1,
                CheckStatus::Failed => 2,
            };
            self.checks
                .get_or_create(&Check { check: check.name })
                .set(status);
        }
        self.sync.look(app).await?;
        self.process.look();
        Ok(())
    }

    /// Agents, and what they want to know from people.
    async fn people(&self, app: &App) -> Result<()> {
        let store = app.engine().store();
        let runs = store.open_runs().await?;
        let asking = || runs.iter().filter(|run| run.waits.open_asks > 0);
        let open: u64 = asking().map(|run| u64::from(run.waits.open_asks)).sum();
        self.asks.set(number(open));
        let since = asking().filter_map(|run| run.waits.since).min();
        let age = since.map_or(0.0, |since| app.now().since(since).as_secs_f64());
        self.oldest_ask.set(age);
        let waiting: HashSet<_> = asking().map(|run| run.agent_id).collect();
        for state in AgentStateName::ALL {
            self.agents
                .get_or_create(&State {
                    state: state.as_str(),
                })
                .set(0);
        }
        for agent in store.agents().await? {
            let mut state = AgentStateName::from(&agent.state);
            // As everywhere: an agent with an open ask waits.
            if state == AgentStateName::Working && waiting.contains(&agent.id) {
                state = AgentStateName::Waiting;
            }
            self.agents
                .get_or_create(&State {
                    state: state.as_str(),
                })
                .inc();
        }
        Ok(())
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
