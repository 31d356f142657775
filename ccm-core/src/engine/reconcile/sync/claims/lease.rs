//! Getting the leases of shared tasks, and giving them back.

use std::time::Duration;

use uuid::Uuid;

use super::{Candidate, ENDING, candidate, read};
use crate::engine::reconcile::sync::line::Line;
use crate::engine::reconcile::sync::state::{Hold, Kept};
use crate::engine::reconcile::sync::{bodies, leases};
use crate::id::{FencingToken, ProjectId, TaskId};
use crate::store::{Act, LeaseRecord, Settle};
use crate::sync::documents::Report;
use crate::sync::{Kind, Lease, SharedClaim};
use crate::task::TaskState;
use crate::{ErrorKind, Result};

impl Line {
    /// Asks for a task's lease. `None` if it is another machine's, or the task has ended.
    pub(super) async fn lease(&mut self, task: TaskId) -> Result<Option<(LeaseRecord, Hold)>> {
        let kept = self.shared.sync.kept(task).map(|kept| kept.record);
        // One that was not answered is repeated: it may have been granted.
        let open = kept.as_ref().filter(|record| record.token.is_none());
        let claim = open.map_or_else(Uuid::now_v7, |record| record.claim);
        let asked = LeaseRecord {
            claim,
            token: kept.and_then(|record| record.token),
            until: None,
        };
        self.keep(task, asked.clone(), None).await?;
        crate::barrier!("sync.claiming");
        let period = self.shared.sync.limits().lease;
        let begun = self.shared.parts.clock.since_boot();
        let request = SharedClaim {
            id: claim,
            task,
            period,
        };
        let (me, sent) = (self.me().await?, self.now());
        match self.backend.claim(me, &request).await {
            Ok(lease) => {
                self.heard(sent, lease.now);
                tracing::info!(%task, token = %lease.token, until = %lease.until, "this machine has a shared task's lease");
                Ok(Some(held(claim, lease, begun)))
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WrongState(_) | ErrorKind::NotFound(_)
                ) =>
            {
                tracing::debug!(%task, why = crate::chain(&error), "a shared task is not to be had");
                if asked.token.is_none() {
                    self.replica()?.keep_lease(task, None).await?;
                    self.shared.sync.drop_kept(task);
                }
                let at = self.uptime() + self.left_alone();
                self.claims.later(task, at);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn keep(
        &self,
        task: TaskId,
        record: LeaseRecord,
        hold: Option<Hold>,
    ) -> Result<()> {
        self.replica()?
            .keep_lease(task, Some(record.clone()))
            .await?;
        self.shared.sync.keep(task, Kept { record, hold });
        Ok(())
    }

    pub(super) async fn claim_for(&mut self, one: &Candidate, project: ProjectId) -> Result<bool> {
        let Some((record, hold)) = self.lease(one.id).await? else {
            return Ok(false);
        };
        crate::barrier!("sync.claimed");
        self.accept_claimed(one, project, record, hold).await
    }

    /// Accepts a task whose lease was got, or gives that back.
    async fn accept_claimed(
        &mut self,
        one: &Candidate,
        project: ProjectId,
        record: LeaseRecord,
        hold: Hold,
    ) -> Result<bool> {
        let accepted = async {
            let replica = self.replica()?;
            let _documents = self.shared.sync.documents.lock().await;
            let request = self
                .inbox
                .request(replica, one.id, &one.definition, project)
                .await?;
            let act = Act::Create {
                request: Box::new(request),
                hold: None,
                lease: Some(record.clone()),
            };
            let settle = Settle {
                kind: Kind::Task,
                id: *one.id.as_uuid(),
                place: one.place,
                act,
                now: self.now(),
            };
            self.inbox.settle(replica, settle).await
        };
        // Known before it is accepted, so that nothing starts it without.
        let kept = Kept {
            record: record.clone(),
            hold: Some(hold),
        };
        let before = self.shared.sync.kept(one.id);
        self.shared.sync.keep(one.id, kept);
        match accepted.await {
            Ok(()) => {
                self.claims.open.remove(&one.id);
                self.shared.sync.not_wanted_again(one.id);
                Ok(true)
            }
            Err(error) => {
                tracing::info!(task = %one.id, why = crate::chain(&error), "a shared task can't be accepted; its lease is given back");
                match before {
                    Some(kept) => self.shared.sync.keep(one.id, kept),
                    None => self.shared.sync.drop_kept(one.id),
                }
                if let Some(token) = record.token {
                    self.hand_back(one.id, token).await?;
                }
                self.replica()?.keep_lease(one.id, None).await?;
                self.shared.sync.drop_kept(one.id);
                self.claims.later(one.id, self.uptime() + ENDING);
                match error.kind() {
                    ErrorKind::Superseded
                    | ErrorKind::WrongState(_)
                    | ErrorKind::NotFound(_)
                    | ErrorKind::Invalid => Ok(false),
                    _ => Err(error),
                }
            }
        }
    }

    /// Gets the lease again of a task that ended here under one and was queued again.
    pub(super) async fn claim_again(&mut self, id: TaskId) -> Result<bool> {
        let task = match self.shared.parts.store.task(id).await {
            Ok(task) => task,
            Err(error) if bodies::is_missing(&error) => {
                self.shared.sync.not_wanted_again(id);
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let waits = matches!(task.state, TaskState::Queued { .. }) && !task.yielded;
        let document = self.replica()?.document(&Kind::Task, *id.as_uuid()).await?;
        let one = document.and_then(|document| candidate(&document));
        let (Some(one), true) = (one, waits) else {
            self.shared.sync.not_wanted_again(id);
            return Ok(false);
        };
        let Some((record, hold)) = self.lease(id).await? else {
            let report: Option<Report> = read(self.replica()?, &Kind::Report, id).await;
            let me = self.shared.parts.system.id;
            if report.is_some_and(|report| report.system_id != me) {
                // Another machine was faster.
                self.shared.sync.not_wanted_again(id);
                leases::give_up(&self.shared, id, Duration::ZERO).await?;
            }
            return Ok(false);
        };
        self.accept_claimed(&one, task.project_id, record, hold)
            .await
    }

    /// Leases whose task has ended, so that they can be given back once that was told.
    pub(in crate::engine::reconcile::sync) async fn ended(
        &self,
    ) -> Result<Vec<(TaskId, FencingToken)>> {
        let mut ended = Vec::new();
        for (task, kept) in self.shared.sync.all_kept() {
            let (Some(token), Some(_)) = (kept.record.token, kept.hold) else {
                continue;
            };
            let is_over = match self.shared.parts.store.task(task).await {
                Ok(row) => row.state.name().is_final() && !row.yielded,
                // It was called off before it was here, or what was begun for it was not finished.
                Err(error) if bodies::is_missing(&error) => true,
                Err(error) => return Err(error),
            };
            if is_over {
                ended.push((task, token));
            }
        }
        Ok(ended)
    }

    /// Gives leases back. What was told under them can be told on until another machine has one.
    pub(in crate::engine::reconcile::sync) async fn give_back(
        &mut self,
        ended: Vec<(TaskId, FencingToken)>,
    ) -> Result<()> {
        for (task, token) in ended {
            let Some(kept) = self.shared.sync.kept(task) else {
                continue;
            };
            if kept.record.token != Some(token) {
                continue;
            }
            self.hand_back(task, token).await?;
            let record = LeaseRecord {
                until: None,
                ..kept.record
            };
            self.keep(task, record, None).await?;
            if let Err(error) = self.shared.parts.store.task(task).await
                && bodies::is_missing(&error)
            {
                self.claims.see(task);
            }
        }
        Ok(())
    }

    async fn hand_back(&self, task: TaskId, token: FencingToken) -> Result<()> {
        match self.backend.finish(self.me().await?, task, token).await {
            Err(error) if error.kind() != ErrorKind::Superseded => Err(error),
            _ => Ok(()),
        }
    }
}

/// A lease as it is kept. Its time is counted from before it was asked for.
pub(in crate::engine::reconcile::sync) fn held(
    claim: Uuid,
    lease: Lease,
    begun: Duration,
) -> (LeaseRecord, Hold) {
    let record = LeaseRecord {
        claim,
        token: Some(lease.token),
        until: Some(lease.until),
    };
    let hold = Hold {
        ends: begun + lease.period(),
        renew_at: begun + lease.period() / 3,
        idle_since: None,
    };
    (record, hold)
}
