//! Shared tasks: which of them this machine may run, and getting their leases.

mod alone;
mod lease;
mod room;

pub(super) use self::lease::held;

use std::collections::BTreeMap;
use std::time::Duration;

use self::room::Room;
use super::bodies;
use super::inbox::client_of;
use super::line::Line;
use super::trouble::chance;
use crate::Result;
use crate::event::EventKind;
use crate::id::{Seq, TaskId};
use crate::store::{Document, DocumentQuery, EventQuery, Replica};
use crate::sync::Kind;
use crate::sync::documents::{self, Definition, Report, Wanted, Wish};
use crate::task::TaskState;

/// How many documents, and events, are read together.
const TOGETHER: u32 = 500;
/// The most shared tasks that are looked at in one round.
const LOOKED_AT: usize = 500;
/// How soon a task is looked at again whose last run on this machine has not ended yet.
const ENDING: Duration = Duration::from_secs(2);
/// How often a date is looked at again.
const DATE_RECHECK: Duration = Duration::from_secs(60);

/// Shared tasks that have not ended, as far as this machine knows, and are not its own.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Up to where the log was read for changes of them; `None` before all were looked for.
    read: Option<Seq>,
    open: BTreeMap<TaskId, Open>,
    /// When the first of them is to be looked at again, in the clock's uptime.
    pub(super) next: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    /// Not looked at before, in the clock's uptime.
    at: Duration,
    /// Whether another machine's report of it was not waited for yet.
    fresh: bool,
}

impl Claims {
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn see(&mut self, task: TaskId) {
        let fresh = Open {
            at: Duration::ZERO,
            fresh: true,
        };
        self.open.entry(task).or_insert(fresh);
    }

    fn later(&mut self, task: TaskId, at: Duration) {
        self.open.insert(task, Open { at, fresh: false });
    }
}

/// A shared task that is looked at.
#[derive(Debug)]
struct Candidate {
    id: TaskId,
    place: u64,
    definition: Definition,
}
impl Line {
    /// Gets the leases of shared tasks that this machine has room for. Returns whether there is something to tell.
    pub(super) async fn claim(&mut self) -> Result<bool> {
        self.notice().await?;
        let mut done = false;
        for task in self.shared.sync.wanted_again() {
            done |= self.claim_again(task).await?;
        }
        let mut room = None;
        for candidate in self.candidates().await? {
            done |= self.consider(candidate, &mut room).await?;
        }
        let waiting = self.claims.open.values();
        self.claims.next = waiting.map(|open| open.at).filter(|at| !at.is_zero()).min();
        if done {
            self.shared.dispatch.notify_one();
        }
        Ok(done)
    }

    /// How long a task is left alone that another machine seems to have.
    fn left_alone(&self) -> Duration {
        let quarter = self.shared.sync.limits().lease / 4;
        let period = quarter.clamp(Duration::from_secs(1), Duration::from_secs(60));
        period.mul_f64(0.75 + chance() / 2.0)
    }

    fn uptime(&self) -> Duration {
        self.shared.parts.clock.uptime()
    }

    /// Learns which shared tasks there are.
    async fn notice(&mut self) -> Result<()> {
        let log = self.shared.parts.store.log().await?;
        for (task, until) in self.shared.sync.take_given_up() {
            self.claims.later(task, until);
        }
        match self.claims.read {
            Some(read) if read >= log.pruned => self.follow(read).await,
            _ => {
                self.notice_all().await?;
                self.claims.read = Some(log.head);
                Ok(())
            }
        }
    }

    async fn notice_all(&mut self) -> Result<()> {
        let mut query = DocumentQuery {
            kinds: vec![Kind::Task],
            shared: true,
            limit: TOGETHER,
            ..DocumentQuery::default()
        };
        loop {
            let found = self.replica()?.documents(&query).await?;
            let Some(last) = found.last() else {
                return Ok(());
            };
            query.after = Some(last.id);
            for document in found {
                self.claims.see(TaskId::from_uuid(document.id));
            }
        }
    }

    async fn follow(&mut self, mut read: Seq) -> Result<()> {
        loop {
            let query = EventQuery {
                after: read,
                kinds: vec![EventKind::DocumentChanged, EventKind::SharingChanged],
                limit: TOGETHER,
                ..EventQuery::default()
            };
            let head = self.shared.parts.store.log().await?.head;
            let events = self.shared.parts.store.events(&query).await?;
            let full = events.len() == TOGETHER as usize;
            for event in &events {
                read = event.seq;
                if event.kind == EventKind::SharingChanged {
                    self.claims.forget();
                    return Ok(());
                }
                let kind = event.data["kind"].as_str().unwrap_or_default();
                let Some(task) = event.task_id else { continue };
                if kind == Kind::Task.as_str() || kind == Kind::Wish.as_str() {
                    self.claims.see(task);
                }
                if kind == Kind::Report.as_str() {
                    let at = self.uptime() + self.left_alone();
                    if let Some(open) = self.claims.open.get_mut(&task) {
                        open.at = open.at.max(at);
                        open.fresh = false;
                    }
                    self.reopen(task).await?;
                }
            }
            if !full {
                self.claims.read = Some(read.max(head));
                return Ok(());
            }
        }
    }

    /// A task that had ended may be wanted again.
    async fn reopen(&mut self, task: TaskId) -> Result<()> {
        if self.claims.open.contains_key(&task) {
            return Ok(());
        }
        let replica = self.replica()?;
        let report: Option<Report> = read(replica, &Kind::Report, task).await;
        if report.is_some_and(|report| !report.task.state.is_final()) {
            let at = self.uptime() + self.left_alone();
            self.claims.later(task, at);
        }
        Ok(())
    }

    /// Those that may be looked at now, the most urgent first.
    async fn candidates(&mut self) -> Result<Vec<Candidate>> {
        let now = self.uptime();
        let due = self.claims.open.iter().filter(|(_, open)| open.at <= now);
        let due: Vec<TaskId> = due.map(|(task, _)| *task).take(LOOKED_AT).collect();
        let mut candidates = Vec::new();
        for id in due {
            let document = self.replica()?.document(&Kind::Task, *id.as_uuid()).await?;
            match document.and_then(|document| candidate(&document)) {
                Some(candidate) => candidates.push(candidate),
                // It is not a shared one any more, or was deleted. A change of it is noticed.
                None => drop(self.claims.open.remove(&id)),
            }
        }
        let urgency = |one: &Candidate| {
            let definition = &one.definition;
            (
                std::cmp::Reverse(definition.priority),
                definition.created_at,
                one.id,
            )
        };
        candidates.sort_by_key(urgency);
        Ok(candidates)
    }

    /// Claims a shared task if it is for this machine now. Returns whether there is something to tell.
    async fn consider(&mut self, one: Candidate, room: &mut Option<Room>) -> Result<bool> {
        let now = self.uptime();
        match self.shared.parts.store.task(one.id).await {
            Ok(task) if !task.yielded => {
                self.claims.open.remove(&one.id);
                return Ok(false);
            }
            Ok(task) if !task.state.name().is_final() => {
                self.claims.later(one.id, now + ENDING);
                return Ok(false);
            }
            Err(error) if !bodies::is_missing(&error) => return Err(error),
            _ => {}
        }
        let report: Option<Report> = read(self.replica()?, &Kind::Report, one.id).await;
        if let Some(report) = report {
            if report.task.state.is_final() {
                self.claims.open.remove(&one.id);
                return Ok(false);
            }
            let fresh = self.claims.open.get(&one.id).is_some_and(|open| open.fresh);
            if fresh && report.system_id != self.shared.parts.system.id {
                self.claims.later(one.id, now + self.left_alone());
                return Ok(false);
            }
        }
        if room.is_none() {
            *room = Some(self.room().await?);
        }
        let Some(room) = room else { return Ok(false) };
        if let Some(wish) = self.cancelled(&one, room).await? {
            return self.claim_and_cancel(one, wish).await;
        }
        let (due, wall) = (one.definition.not_before, self.now());
        if let Some(due) = due.filter(|due| *due > wall) {
            // Not longer, because the clock may be set meanwhile.
            self.claims
                .later(one.id, now + due.since(wall).min(DATE_RECHECK));
            return Ok(false);
        }
        let Some(project) = self.place(&one, room).await? else {
            return Ok(false);
        };
        let claimed = self.claim_for(&one, project).await?;
        if claimed {
            room.fill(project);
        }
        Ok(claimed)
    }

    // --- calling off what nobody has ---

    /// Who wants a task called off that no machine has, if it is this machine's to do it.
    async fn cancelled(&self, one: &Candidate, room: &Room) -> Result<Option<Wish>> {
        let query = DocumentQuery {
            kinds: vec![Kind::Wish],
            task: Some(one.id),
            limit: TOGETHER,
            ..DocumentQuery::default()
        };
        let mut wanted = None;
        for document in self.replica()?.documents(&query).await? {
            let Some(body) = document.body else { continue };
            let Ok(wish) = documents::read::<Wish>(&Kind::Wish, document.id, &body) else {
                continue;
            };
            match wish.what {
                Wanted::Cancel => wanted = Some(wish),
                Wanted::Retry => wanted = None,
                Wanted::Answer { .. } | Wanted::Other => {}
            }
        }
        let me = self.shared.parts.system.id;
        let is_here = room.has(one.definition.repository.as_deref());
        Ok(wanted.filter(|wish| wish.system_id == me || is_here))
    }

    async fn claim_and_cancel(&mut self, one: Candidate, wish: Wish) -> Result<bool> {
        let Some((record, hold)) = self.lease(one.id).await? else {
            return Ok(false);
        };
        self.keep(one.id, record, Some(hold)).await?;
        let replica = self.replica()?;
        let host = self.inbox.name_of(replica, wish.system_id).await?;
        let state = TaskState::Cancelled {
            run: None,
            by: match wish.system_id == self.shared.parts.system.id {
                true => wish.by,
                false => client_of(&wish.by, &host),
            },
            at: self.now(),
        };
        self.inbox
            .report_of_none(replica, one.id, &one.definition, state)
            .await?;
        self.claims.open.remove(&one.id);
        Ok(true)
    }
}

fn candidate(document: &Document) -> Option<Candidate> {
    let body = document.body.as_ref()?;
    let definition: Definition = documents::read(&Kind::Task, document.id, body).ok()?;
    definition.is_shared().then(|| Candidate {
        id: TaskId::from_uuid(document.id),
        place: document.place,
        definition,
    })
}

/// A document of a task. What can't be read is as if it were not there.
async fn read<T: serde::de::DeserializeOwned>(
    replica: &dyn Replica,
    kind: &Kind,
    task: TaskId,
) -> Option<T> {
    bodies::read(replica, kind, *task.as_uuid())
        .await
        .ok()
        .flatten()
}
