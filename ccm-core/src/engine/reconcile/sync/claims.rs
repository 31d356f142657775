//! Shared tasks: which of them this machine may run, and getting their leases.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use super::bodies;
use super::inbox::client_of;
use super::line::Line;
use super::state::{Hold, Kept};
use super::trouble::chance;
use crate::agent::Wanted as WantedAgent;
use crate::engine::sync::spec;
use crate::event::EventKind;
use crate::id::{FencingToken, ProjectId, Seq, TaskId};
use crate::project::{Project, RemoteTasks};
use crate::scheduler::{Machine, Wants};
use crate::store::{
    Act, Document, DocumentQuery, EventQuery, LeaseRecord, NewDocument, Replica, Settle,
};
use crate::sync::documents::{self, Definition, Report, Wanted, Wish};
use crate::sync::{Kind, Lease, SharedClaim};
use crate::task::{TaskState, TaskStateName};
use crate::time::Timestamp;
use crate::{ErrorKind, Result};

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

/// What this machine has for shared tasks.
#[derive(Debug, Default)]
struct Room {
    slots: u32,
    projects: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    project: Project,
    repository: String,
    remote_tasks: RemoteTasks,
    /// The first of its own tasks that may start: what it has itself comes first if it is as urgent and older.
    first: Option<(i32, Timestamp)>,
    free: bool,
}

impl Room {
    /// The project in which a task would run: its own if it is here.
    fn place_for(
        &mut self,
        definition: &Definition,
        may: impl Fn(&Place) -> bool,
    ) -> Option<&mut Place> {
        if self.slots == 0 {
            return None;
        }
        let repository = definition.repository.as_deref()?;
        let urgency = (
            definition.priority,
            std::cmp::Reverse(definition.created_at),
        );
        let fits = |place: &&mut Place| {
            let first = place
                .first
                .map(|(priority, at)| (priority, std::cmp::Reverse(at)));
            place.free
                && place.repository == repository
                && first.is_none_or(|first| urgency > first)
                && may(place)
        };
        let places = self.projects.iter_mut().filter(fits);
        places.max_by_key(|place| place.project.id == definition.project_id)
    }
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
            room.slots = room.slots.saturating_sub(1);
            let taken = room
                .projects
                .iter_mut()
                .find(|place| place.project.id == project);
            if let Some(place) = taken {
                place.free = false;
            }
        }
        Ok(claimed)
    }

    /// Where a task may run now, if it may on this machine.
    async fn place(&self, one: &Candidate, room: &mut Room) -> Result<Option<ProjectId>> {
        let definition = &one.definition;
        let parts = &self.shared.parts;
        let Ok(spec) = spec(definition) else {
            return Ok(None);
        };
        let is_due = definition.not_before.is_none_or(|at| at <= self.now());
        if !is_due || !Wants::from(&spec).met_by(&Machine::from(&parts.system)) {
            return Ok(None);
        }
        let is_own = definition.created_on == parts.system.id;
        let approved = is_own || self.shared.sync.is_approved(one.id);
        let may = |place: &Place| match place.remote_tasks {
            RemoteTasks::Allow => true,
            RemoteTasks::Ask => approved,
            RemoteTasks::Deny => is_own,
        };
        let Some(place) = room.place_for(definition, may) else {
            return Ok(None);
        };
        let project = place.project.id;
        Ok((!self.is_blocked(&spec.blocked_by).await?).then_some(project))
    }

    async fn is_blocked(&self, blockers: &[TaskId]) -> Result<bool> {
        for blocker in blockers {
            let own = match self.shared.parts.store.task(*blocker).await {
                Ok(task) if !task.yielded => Some(task.state.name()),
                Err(error) if !bodies::is_missing(&error) => return Err(error),
                _ => None,
            };
            let state = match own {
                Some(state) => Some(state),
                None => {
                    let report: Option<Report> =
                        read(self.replica()?, &Kind::Report, *blocker).await;
                    report.map(|report| report.task.state)
                }
            };
            if state != Some(TaskStateName::Succeeded) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn room(&self) -> Result<Room> {
        let parts = &self.shared.parts;
        let now = self.now();
        let running = parts.store.counts().await?.running;
        let running = u32::try_from(running).unwrap_or(u32::MAX);
        let agents = parts.store.agents().await?;
        let ready = parts.store.ready(now, 1).await?;
        let mut projects = Vec::new();
        for project in parts.store.projects().await? {
            let sharing = parts.profiles.sharing(&project).await;
            let Some(repository) = sharing.repository else {
                continue;
            };
            let agent = agents.iter().find(|agent| agent.project_id == project.id);
            let can_work = agent.is_some_and(|agent| {
                matches!(agent.wish.wanted, WantedAgent::Up | WantedAgent::Asleep)
                    && agent.state.parked_until(now).is_none()
            });
            let own = ready
                .projects
                .iter()
                .find(|own| own.project.id == project.id);
            let own = own.and_then(|own| own.candidates.first());
            projects.push(Place {
                repository,
                remote_tasks: sharing.remote_tasks,
                first: own.map(|own| (own.priority, own.rank.moment())),
                free: can_work
                    && project.running == 0
                    && !project.paused
                    && parts.profiles.profile(&project).await.is_ok(),
                project,
            });
        }
        Ok(Room {
            slots: self.shared.limits().max_running.saturating_sub(running),
            projects,
        })
    }

    // --- claiming ---

    /// Asks for a task's lease. `None` if it is another machine's, or the task has ended.
    async fn lease(&mut self, task: TaskId) -> Result<Option<(LeaseRecord, Hold)>> {
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

    async fn keep(&self, task: TaskId, record: LeaseRecord, hold: Option<Hold>) -> Result<()> {
        self.replica()?
            .keep_lease(task, Some(record.clone()))
            .await?;
        self.shared.sync.keep(task, Kept { record, hold });
        Ok(())
    }

    async fn claim_for(&mut self, one: &Candidate, project: ProjectId) -> Result<bool> {
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
    async fn claim_again(&mut self, id: TaskId) -> Result<bool> {
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
                super::leases::give_up(&self.shared, id, Duration::ZERO).await?;
            }
            return Ok(false);
        };
        self.accept_claimed(&one, task.project_id, record, hold)
            .await
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
        let repository = one.definition.repository.as_deref();
        let is_here = room
            .projects
            .iter()
            .any(|place| Some(place.repository.as_str()) == repository);
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

    // --- giving back ---

    /// Leases whose task has ended, so that they can be given back once that was told.
    pub(super) async fn ended(&self) -> Result<Vec<(TaskId, FencingToken)>> {
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
    pub(super) async fn give_back(&mut self, ended: Vec<(TaskId, FencingToken)>) -> Result<()> {
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

    // --- without a server ---

    /// Takes tasks that were written here, that no other machine can know of, and that this machine has room for: they are
    /// its own from now on.
    pub(super) async fn pin(&mut self) -> Result<()> {
        self.notice().await?;
        let candidates = self.candidates().await?;
        let own = candidates
            .into_iter()
            .filter(|one| one.definition.created_on == self.shared.parts.system.id);
        let mut own: Vec<Candidate> = own.collect();
        if own.is_empty() {
            return Ok(());
        }
        let replica = self.replica()?;
        let mut room = self.room().await?;
        for one in &mut own {
            let _documents = self.shared.sync.documents.lock().await;
            let known = self.shared.parts.store.task(one.id).await;
            if known.is_ok() || !self.is_unsealed(replica, one.id).await? {
                continue;
            }
            let Some(project) = self.place(one, &mut room).await? else {
                continue;
            };
            one.definition.pinned = true;
            one.definition.project_id = project;
            let document = NewDocument {
                kind: Kind::Task,
                id: *one.id.as_uuid(),
                body: Some(documents::write(&one.definition)?),
                settled: false,
            };
            replica.put(vec![document], None, self.now()).await?;
            tracing::info!(task = %one.id, "a shared task is this machine's alone, because there is no contact");
            crate::barrier!("sync.pinned");
            self.inbox.settle_all(replica).await?;
            room.slots = room.slots.saturating_sub(1);
            let taken = room
                .projects
                .iter_mut()
                .find(|place| place.project.id == project);
            if let Some(place) = taken {
                place.free = false;
            }
        }
        Ok(())
    }

    /// Whether nobody else can know of a task yet.
    async fn is_unsealed(&self, replica: &dyn Replica, task: TaskId) -> Result<bool> {
        let id = *task.as_uuid();
        let document = replica.document(&Kind::Task, id).await?;
        if document.is_none_or(|document| document.seq.is_some()) {
            return Ok(false);
        }
        let outbox = replica.outbox(u32::MAX, u64::MAX).await?;
        let sealed = outbox
            .iter()
            .filter_map(|operation| operation.change.as_ref())
            .any(|change| change.kind == Kind::Task && change.id == id);
        if sealed {
            return Ok(false);
        }
        let marks = replica.marks(&[Kind::Task], u32::MAX).await?;
        Ok(marks.iter().any(|mark| mark.id == id))
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

/// A lease as it is kept. Its time is counted from before it was asked for.
pub(super) fn held(claim: Uuid, lease: Lease, begun: Duration) -> (LeaseRecord, Hold) {
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
