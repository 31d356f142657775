//! Keeps the leases of shared tasks alive, and gives a task up before its lease can have ended.
//!
//! A lease's time is counted from before it was asked for, by a clock that nobody sets and that goes on while the machine
//! sleeps. Its run is ended a while before the end, whoever could be reached.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::super::Shared;
use super::bodies;
use super::claims::held;
use super::state::Kept;
use crate::id::{FencingToken, TaskId};
use crate::store::{Act, Settle};
use crate::sync::{Kind, Lease};
use crate::task::{Task, TaskState};
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Result, chain};

/// How long a shared task may wait on the machine that has it, before that gives it back.
const IDLE: Duration = Duration::from_secs(120);
/// How often in a row its program may not be started, before it is given back.
const FALSE_STARTS: u32 = 3;
/// For how long the machine that gave a task back leaves it to others.
const LEFT_TO_OTHERS: Duration = Duration::from_secs(600);
/// How soon a renewal that failed is tried again, and a store that could not answer.
const RETRY: Duration = Duration::from_secs(2);
/// What is left for the processes of a run beside twice the time they get to end.
const SLACK: Duration = Duration::from_secs(2);

/// Learns which tasks are shared ones before anything is started.
pub(in crate::engine) async fn know_leases(shared: &Shared) -> Result<()> {
    let Some(replica) = shared.parts.store.replica() else {
        return Ok(());
    };
    if replica.identity().await?.is_none() {
        return Ok(());
    }
    let (now, up) = (shared.parts.clock.now(), shared.parts.clock.since_boot());
    let longest = shared.sync.limits().lease;
    for (task, record) in replica.leases().await? {
        // How long it still holds was counted by an engine that is gone. It is renewed at once.
        let hold = record
            .token
            .and(record.until)
            .map(|until| super::state::Hold {
                ends: up + until.since(now).min(longest),
                renew_at: up,
                idle_since: None,
            });
        shared.sync.keep(task, Kept { record, hold });
    }
    Ok(())
}

struct Renewed {
    task: TaskId,
    token: FencingToken,
    begun: Duration,
    lease: Result<Lease>,
}

pub(super) async fn run(shared: Arc<Shared>) {
    let mut renewals: JoinSet<Renewed> = JoinSet::new();
    let mut under_way = BTreeSet::new();
    loop {
        let wait = match look(&shared, &mut renewals, &mut under_way).await {
            Ok(wait) => wait,
            Err(error) if shared.superseded(&error) => return,
            Err(error) => {
                tracing::error!(error = chain(&error), "looking after the leases failed");
                Some(RETRY)
            }
        };
        let timer = async {
            match wait {
                // Looked at again soon after the machine was suspended.
                Some(period) => shared.parts.clock.sleep(period).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            Some(renewed) = renewals.join_next(), if !renewals.is_empty() => {
                let Ok(renewed) = renewed else { continue };
                under_way.remove(&renewed.task);
                if let Err(error) = note(&shared, renewed).await {
                    if shared.superseded(&error) {
                        return;
                    }
                    tracing::error!(error = chain(&error), "a renewed lease can't be kept");
                }
            }
            () = shared.sync.leases_changed.notified() => {}
            () = timer => {}
        }
    }
}

/// How long before its end a lease's run is ended.
fn margin(shared: &Shared) -> Duration {
    let stopping = shared.limits().stop_grace * 2 + SLACK;
    stopping.min(shared.sync.limits().lease / 4)
}

impl Shared {
    /// When the host of a shared task's run ends it by itself, in the time since the machine was booted. `None` for a task
    /// of this machine alone. The engine does it a little before, if there is one.
    pub(in crate::engine) fn host_deadline(&self, task: TaskId) -> Option<Duration> {
        let ends = self.sync.ends(task)?;
        Some(ends.saturating_sub(margin(self) / 2))
    }
}

/// Renews and gives up what has to be. Returns how long nothing has to be done.
async fn look(
    shared: &Arc<Shared>,
    renewals: &mut JoinSet<Renewed>,
    under_way: &mut BTreeSet<TaskId>,
) -> Result<Option<Duration>> {
    let mut next: Option<Duration> = None;
    for (task, kept) in shared.sync.all_kept() {
        let (Some(token), Some(hold)) = (kept.record.token, kept.hold) else {
            continue;
        };
        let up = shared.parts.clock.since_boot();
        let row = match shared.parts.store.task(task).await {
            Ok(row) => Some(row),
            Err(error) if bodies::is_missing(&error) => None,
            Err(error) => return Err(error),
        };
        let is_over = row.as_ref().is_none_or(|row| row.state.name().is_final());
        let give_up_at = hold.ends.saturating_sub(margin(shared));
        if up >= give_up_at {
            if is_over {
                // There is nothing to stop. What came of it is told, and counts unless another machine has it by then.
                shared.sync.change_kept(task, |kept| {
                    kept.hold = Some(super::state::Hold {
                        renew_at: Duration::MAX,
                        ends: Duration::MAX,
                        ..hold
                    });
                });
                shared.sync.wake.notify_one();
                continue;
            }
            tracing::warn!(%task, "the lease of a shared task could not be renewed; it is given up");
            give_up(shared, task, Duration::ZERO).await?;
            continue;
        }
        if let Some(row) = row.filter(|_| !is_over)
            && let Some(waited) = idle(shared, &row, hold.idle_since, up)
        {
            if waited >= IDLE {
                tracing::info!(%task, "a shared task does not get to start here; it is given back");
                hand_back(shared, task, token).await;
                give_up(shared, task, LEFT_TO_OTHERS).await?;
                continue;
            }
            shared.sync.change_kept(task, |kept| {
                if let Some(hold) = &mut kept.hold {
                    hold.idle_since = Some(up.saturating_sub(waited));
                }
            });
            next = Some(next.map_or(IDLE - waited, |next| next.min(IDLE - waited)));
        } else {
            shared.sync.change_kept(task, |kept| {
                if let Some(hold) = &mut kept.hold {
                    hold.idle_since = None;
                }
            });
        }
        let connected = shared
            .parts
            .sync
            .as_ref()
            .filter(|sync| sync.is_connected());
        if up >= hold.renew_at
            && let Some(backend) = connected
            && under_way.insert(task)
        {
            renew(shared, Arc::clone(backend), renewals, task, token);
        }
        let until = match up >= hold.renew_at {
            true => give_up_at,
            false => hold.renew_at.min(give_up_at),
        };
        let left = until.saturating_sub(up);
        next = Some(next.map_or(left, |next| next.min(left)));
    }
    Ok(next.map(|next| next.max(Duration::from_millis(1))))
}

/// How long a task has waited that could have started. `None` for one that runs, or waits for another attempt of its own.
fn idle(shared: &Shared, row: &Task, since: Option<Duration>, up: Duration) -> Option<Duration> {
    if !matches!(row.state, TaskState::Queued { .. }) {
        return None;
    }
    if row.false_starts >= FALSE_STARTS {
        return Some(IDLE);
    }
    let now = shared.parts.clock.now();
    let is_between_attempts = row.attempts > 0 && row.due_at.is_some_and(|due| due > now);
    (!is_between_attempts).then(|| up.saturating_sub(since.unwrap_or(up)))
}

fn renew(
    shared: &Arc<Shared>,
    backend: Arc<dyn crate::SyncBackend>,
    renewals: &mut JoinSet<Renewed>,
    task: TaskId,
    token: FencingToken,
) {
    let owner = Arc::clone(shared);
    renewals.spawn(async move {
        let begun = owner.parts.clock.since_boot();
        let period = owner.sync.limits().lease;
        let lease = async {
            let replica = owner.parts.store.replica();
            let replica = replica.ok_or_else(|| Error::internal("the store shares nothing"))?;
            let me = replica.identity().await?;
            let me = me.ok_or_else(|| Error::unavailable("sharing is off"))?;
            backend.renew(me, task, token, period).await
        };
        Renewed {
            task,
            token,
            begun,
            lease: lease.await,
        }
    });
}

/// Keeps what came of a renewal.
async fn note(shared: &Arc<Shared>, renewed: Renewed) -> Result<()> {
    let Renewed {
        task,
        token,
        begun,
        lease,
    } = renewed;
    let Some(kept) = shared.sync.kept(task) else {
        return Ok(());
    };
    let (Some(hold), true) = (kept.hold, kept.record.token == Some(token)) else {
        return Ok(());
    };
    match lease {
        Ok(lease) => {
            let (record, mut renewed) = held(kept.record.claim, lease, begun);
            renewed.idle_since = hold.idle_since;
            let replica = shared.parts.store.replica();
            if let Some(replica) = replica {
                replica.keep_lease(task, Some(record.clone())).await?;
            }
            let kept = Kept {
                record,
                hold: Some(renewed),
            };
            shared.sync.keep(task, kept);
            extend_run(shared, task, lease.until).await
        }
        Err(error) if error.kind() == ErrorKind::Superseded => {
            let row = shared.parts.store.task(task).await;
            if row.is_ok_and(|row| row.state.name().is_final()) {
                // It is told all the same, and the server decides whether it counts.
                shared.sync.change_kept(task, |kept| {
                    kept.hold = Some(super::state::Hold {
                        renew_at: Duration::MAX,
                        ends: Duration::MAX,
                        ..hold
                    });
                });
                shared.sync.wake.notify_one();
                return Ok(());
            }
            tracing::warn!(%task, "the lease of a shared task is another machine's");
            give_up(shared, task, Duration::ZERO).await
        }
        Err(error) => {
            tracing::debug!(%task, error = chain(&error), "a lease can't be renewed now");
            let again =
                shared.parts.clock.since_boot() + RETRY.min(shared.sync.limits().lease / 10);
            shared.sync.change_kept(task, |kept| {
                if let Some(hold) = &mut kept.hold {
                    hold.renew_at = again;
                }
            });
            Ok(())
        }
    }
}

/// Lets the run of a task go on for as long as its lease does now.
async fn extend_run(shared: &Shared, task: TaskId, until: Timestamp) -> Result<()> {
    let parts = &shared.parts;
    let row = parts.store.task(task).await?;
    let TaskState::Running { run, .. } = row.state else {
        return Ok(());
    };
    let token = parts.store.run(run).await?.token;
    match parts.store.renew(run, token, until).await {
        // It ended meanwhile.
        Err(error) if error.kind() == ErrorKind::Superseded => {
            return match parts.store.run(run).await?.state.is_ended() {
                true => Ok(()),
                false => Err(error),
            };
        }
        renewed => renewed?,
    }
    let Some(deadline) = shared.host_deadline(task) else {
        return Ok(());
    };
    match parts.runtime.set_deadline(run, deadline).await {
        Err(error) if error.kind() != ErrorKind::Unsupported => {
            tracing::warn!(%run, error = chain(&error), "the run's host keeps its old deadline");
        }
        _ => {}
    }
    Ok(())
}

async fn hand_back(shared: &Shared, task: TaskId, token: FencingToken) {
    let (Some(backend), Some(replica)) = (&shared.parts.sync, shared.parts.store.replica()) else {
        return;
    };
    let Ok(Some(me)) = replica.identity().await else {
        return;
    };
    if let Err(error) = backend.finish(me, task, token).await {
        tracing::debug!(%task, error = chain(&error), "a lease can't be given back; it will end by itself");
    }
}

/// Gives a shared task up: its run is ended, and what happens to it is for another machine to tell.
pub(in crate::engine) async fn give_up(
    shared: &Shared,
    task: TaskId,
    left_alone: Duration,
) -> Result<()> {
    let Some(replica) = shared.parts.store.replica() else {
        return Ok(());
    };
    loop {
        let document = replica.document(&Kind::Task, *task.as_uuid()).await?;
        let Some(document) = document else {
            replica.keep_lease(task, None).await?;
            break;
        };
        let settle = Settle {
            kind: Kind::Task,
            id: document.id,
            place: document.place,
            act: Act::Yield { task },
            now: shared.parts.clock.now(),
        };
        match replica.settle(settle).await {
            Ok(()) => break,
            Err(error) if bodies::is_missing(&error) => {
                replica.keep_lease(task, None).await?;
                break;
            }
            Err(error) if error.kind() == ErrorKind::Superseded => {
                let now = replica.document(&Kind::Task, *task.as_uuid()).await?;
                if now.is_some_and(|now| now.place == document.place) {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    crate::barrier!("sync.yielded");
    shared.sync.drop_kept(task);
    if let Ok(row) = shared.parts.store.task(task).await
        && let Some(run) = row.state.run()
    {
        shared.actors.wake(run);
    }
    let until = shared.parts.clock.uptime() + left_alone;
    shared.sync.note_given_up(task, until);
    shared.dispatch.notify_one();
    Ok(())
}

/// Gives all shared tasks up, because sharing is switched off.
pub(in crate::engine) async fn give_all_up(shared: &Shared) -> Result<()> {
    for (task, kept) in shared.sync.all_kept() {
        if let (Some(token), Some(_)) = (kept.record.token, kept.hold) {
            hand_back(shared, task, token).await;
            give_up(shared, task, Duration::ZERO).await?;
        }
        shared.sync.drop_kept(task);
    }
    Ok(())
}
