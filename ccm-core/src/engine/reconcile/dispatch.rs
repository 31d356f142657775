//! Hands ready tasks to runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Shared, runs};
use crate::agent::{Agent, Wanted};
use crate::id::{AgentId, ProjectId, RunId};
use crate::project::Profile;
use crate::scheduler::{Machine, Plan, ProjectLoad, Snapshot, Start};
use crate::store::{Claim, Ready};
use crate::time::Timestamp;
use crate::{ErrorKind, Result, chain};

/// How many tasks of a project a snapshot holds by each order.
const CANDIDATES: u32 = 16;
/// How often the settings of a held project with waiting tasks are looked at again.
const HELD_RECHECK: Duration = Duration::from_secs(5);
/// How often a date is looked at again: a clock that is set just before the wait for it begins is not noticed in it.
const DATE_RECHECK: Duration = Duration::from_secs(5);
/// How long to wait after the store could not answer.
const RETRY: Duration = Duration::from_secs(1);

pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        let round = tokio::select! {
            () = shared.stop_dispatch.cancelled() => return,
            round = reconcile(&shared) => round,
        };
        let wait = match round {
            Ok(wait) => {
                shared.problems.clear("dispatch");
                wait
            }
            Err(error) if shared.superseded(&error) => return,
            Err(error) => {
                tracing::error!(error = chain(&error), "dispatching failed");
                shared
                    .problems
                    .set("dispatch", format!("tasks can't be started: {error}"));
                Some(RETRY)
            }
        };
        let timer = async {
            match wait {
                Some(period) => shared.parts.clock.sleep(period).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.stop_dispatch.cancelled() => return,
            () = shared.dispatch.notified() => {}
            () = timer => {}
        }
    }
}

/// Starts what may start now. Returns how long nothing can become ready by time alone; `None` for ever.
#[tracing::instrument(name = "dispatch", level = "debug", skip_all)]
async fn reconcile(shared: &Arc<Shared>) -> Result<Option<Duration>> {
    let parts = &shared.parts;
    let now = parts.clock.now();
    let ready = parts.store.ready(now, CANDIDATES).await?;
    let next_due = ready.next_due;
    let counts = parts.store.counts().await?;
    let running = u32::try_from(counts.running).unwrap_or(u32::MAX);
    let mut startable = Startable::check(shared, ready).await?;
    let snapshot = Snapshot {
        now,
        slots: shared.limits().max_running.saturating_sub(running),
        machine: Machine::from(&parts.system),
        projects: std::mem::take(&mut startable.loads),
    };
    let Plan { start, wake_at } = parts.scheduler.plan(&snapshot);
    for Start { task, project } in start {
        let Some((agent, profile)) = startable.profiles.get(&project) else {
            continue;
        };
        // A shared task is another machine's for as long as its lease is not this one's.
        let Ok(lease_until) = shared.sync.lease_of(task) else {
            continue;
        };
        let claim = Claim {
            task,
            run: RunId::new(),
            agent: *agent,
            system: parts.system.id,
            lease_until,
            now,
        };
        match parts.store.claim(claim).await {
            Ok(claimed) => {
                crate::barrier!("launch.1.claimed");
                runs::launch(shared, claimed, profile.clone());
            }
            // Cancelled or edited since the snapshot; its change wakes another round.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WrongState(_) | ErrorKind::NotFound(_)
                ) => {}
            Err(error) => return Err(error),
        }
    }
    let due = [wake_at, next_due].into_iter().flatten().min();
    let by_date = due.map(|at| wait_for(at, now));
    let by_hold = startable.held.then_some(HELD_RECHECK);
    let by_parking = startable.parked.map(|until| wait_for(until, now));
    Ok([by_date, by_hold, by_parking].into_iter().flatten().min())
}

/// How long to wait for a date before looking again, if nothing wakes this before.
fn wait_for(date: Timestamp, now: Timestamp) -> Duration {
    date.since(now)
        .clamp(Duration::from_millis(1), DATE_RECHECK)
}

/// The projects of a snapshot that may start a task.
struct Startable {
    loads: Vec<ProjectLoad>,
    profiles: BTreeMap<ProjectId, (AgentId, Profile)>,
    held: bool,
    /// When the first agent that is parked may work again.
    parked: Option<Timestamp>,
}

impl Startable {
    async fn check(shared: &Shared, ready: Ready) -> Result<Self> {
        let parts = &shared.parts;
        let mut startable = Self {
            loads: Vec::new(),
            profiles: BTreeMap::new(),
            held: false,
            parked: None,
        };
        let resting = resting_agents(shared, &ready).await?;
        for entry in ready.projects {
            let project = entry.project;
            let profile = parts.profiles.profile(&project).await;
            let hold = profile.as_ref().err().cloned();
            if hold != project.hold {
                parts
                    .store
                    .hold_project(project.id, hold, parts.clock.now())
                    .await?;
            }
            let resting = resting.get(&entry.agent);
            if let Some(Resting::Parked(until)) = resting {
                startable.parked = [startable.parked, Some(*until)].into_iter().flatten().min();
            }
            match profile {
                // Whoever starts it again wakes another round.
                Ok(_) if resting == Some(&Resting::Down) => {}
                Ok(profile) => {
                    startable
                        .profiles
                        .insert(project.id, (entry.agent, profile));
                    startable.loads.push(ProjectLoad {
                        id: project.id,
                        // The dedicated agent does one thing at a time, and nothing while it is parked.
                        slots: u32::from(project.running == 0 && resting.is_none()),
                        running: u32::try_from(project.running).unwrap_or(u32::MAX),
                        last_started: entry.last_started,
                        candidates: entry.candidates,
                    });
                }
                Err(_) => startable.held = true,
            }
        }
        Ok(startable)
    }
}

/// Why an agent gets no task now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resting {
    /// Until then.
    Parked(Timestamp),
    /// Until somebody starts it, or hands it back.
    Down,
}

/// The agents that get no task now.
async fn resting_agents(shared: &Shared, ready: &Ready) -> Result<BTreeMap<AgentId, Resting>> {
    if ready.projects.is_empty() {
        return Ok(BTreeMap::new());
    }
    let now = shared.parts.clock.now();
    let agents = shared.parts.store.agents().await?;
    let resting = |agent: &Agent| match agent.wish.wanted {
        Wanted::Down | Wanted::Taken => Some(Resting::Down),
        Wanted::Up | Wanted::Asleep => agent.state.parked_until(now).map(Resting::Parked),
    };
    Ok(agents
        .into_iter()
        .filter_map(|agent| Some((agent.id, resting(&agent)?)))
        .collect())
}
