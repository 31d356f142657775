//! Documents: writing and reading them.

use super::{DocumentState, Held, Kept, Key};
use crate::event::EventKind;
use crate::id::{ProjectId, TaskId};
use crate::store::{Document, DocumentQuery, IdempotencyKey, NewDocument};
use crate::sync::local::Facts;
use crate::sync::{Kind, Row};
use crate::testing::memory::store::{About, KeyName, KeyRow, State};
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Result};
use serde_json::{Value, json};

impl Kept {
    pub(super) fn read(&self, key: &Key) -> Option<Document> {
        let held = self.documents.get(key)?;
        Some(Document {
            kind: key.0.clone(),
            id: key.1,
            body: held.body.clone(),
            hlc: held.hlc,
            origin: held.origin,
            seq: held.seq,
            pending: self.is_pending(key),
            place: held.place,
        })
    }

    fn find<'a>(&'a self, query: &'a DocumentQuery) -> impl Iterator<Item = &'a Key> {
        let found = self.documents.iter().filter(|((kind, id), held)| {
            let facts = Facts::of(kind, *id, held.body.as_ref());
            (query.kinds.is_empty() || query.kinds.contains(kind))
                && query.project.is_none_or(|of| facts.project == Some(of))
                && query.task.is_none_or(|of| facts.task == Some(of))
                && query.run.is_none_or(|of| facts.run == Some(of))
                && query.origin.is_none_or(|of| held.origin == of)
                && query.not_origin.is_none_or(|of| held.origin != of)
                && (!query.open || facts.open)
                && (!query.shared || facts.shared)
                && (!query.elsewhere || facts.shared || held.state == DocumentState::Elsewhere)
                && query.after.is_none_or(|after| match query.newest_first {
                    true => *id < after,
                    false => *id > after,
                })
        });
        found.map(|(key, _)| key)
    }
}

impl State {
    pub(super) fn document(&self, key: &Key) -> Option<Document> {
        self.replica.as_ref().and_then(|kept| kept.read(key))
    }

    pub(super) fn documents(&self, query: &DocumentQuery) -> Vec<Document> {
        let Some(kept) = &self.replica else {
            return Vec::new();
        };
        let mut found: Vec<&Key> = self.find(kept, query).collect();
        found.sort_by_key(|(kind, id)| (*id, kind.as_str()));
        if query.newest_first {
            found.reverse();
        }
        let first = found.into_iter().take(query.limit as usize);
        first.filter_map(|key| kept.read(key)).collect()
    }

    pub(super) fn count_documents(&self, query: &DocumentQuery) -> u64 {
        let kept = self.replica.iter();
        kept.map(|kept| self.find(kept, query).count() as u64).sum()
    }

    fn find<'a>(
        &'a self,
        kept: &'a Kept,
        query: &'a DocumentQuery,
    ) -> impl Iterator<Item = &'a Key> {
        let is_unheard = |key: &Key| {
            let held = kept.documents.get(key);
            held.is_some_and(|held| held.body.is_some())
                && !kept.documents.contains_key(&(Kind::Report, key.1))
                && !self.tasks.contains_key(&TaskId::from_uuid(key.1))
        };
        let found = kept.find(query);
        found.filter(move |key| !query.unheard || is_unheard(key))
    }

    pub(super) fn put(
        &mut self,
        documents: Vec<NewDocument>,
        key: Option<IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Vec<Document>> {
        self.kept()?;
        let names: Vec<Key> = documents
            .iter()
            .map(|new| (new.kind.clone(), new.id))
            .collect();
        if let Some(key) = key {
            let name = KeyName {
                principal: key.principal,
                route: key.route,
                key: key.key,
            };
            if let Some(used) = self.keys.get(&name) {
                if used.fingerprint != key.fingerprint {
                    return Err(Error::new(
                        ErrorKind::KeyReused,
                        "the idempotency key was used for another request",
                    ));
                }
                let known = used.documents.iter();
                return Ok(known.filter_map(|key| self.document(key)).collect());
            }
            if names.is_empty() {
                return Ok(Vec::new());
            }
            let row = KeyRow {
                fingerprint: key.fingerprint,
                tasks: Vec::new(),
                documents: names.clone(),
            };
            self.keys.insert(name, row);
        }
        for new in documents {
            let key = (new.kind, new.id);
            let state = match self.state_of(&key, new.body.as_ref()) {
                DocumentState::Open if new.settled => DocumentState::Settled,
                state => state,
            };
            self.write_document(key, new.body, state, now)?;
        }
        Ok(names.iter().filter_map(|key| self.document(key)).collect())
    }

    /// Writes a document as this machine.
    pub(super) fn write_document(
        &mut self,
        key: Key,
        body: Option<Value>,
        state: DocumentState,
        now: Timestamp,
    ) -> Result<()> {
        let kept = self.kept()?;
        let hlc = kept.tick(now);
        kept.leave(key.clone(), hlc);
        let (me, generation) = (kept.me(), kept.generation);
        let old = kept.documents.get(&key).cloned();
        let seq = old.as_ref().and_then(|old| old.seq);
        if let Some((old, seq)) = old.zip(seq) {
            // What the server has is what counts again if this is set aside.
            let row = Row {
                kind: key.0.clone(),
                id: key.1,
                body: old.body,
                hlc: old.hlc,
                origin: old.origin,
                seq,
                epoch: None,
            };
            kept.beside.entry(key.clone()).or_insert(row);
        }
        let held = Held {
            body,
            hlc,
            origin: me,
            seq,
            place: 0,
            state,
            generation,
        };
        self.replace(key, held, now)
    }

    /// Keeps another version of a document, and tells of it.
    pub(super) fn replace(&mut self, key: Key, held: Held, now: Timestamp) -> Result<()> {
        let kept = self.kept()?;
        kept.last_place += 1;
        let place = kept.last_place;
        let facts = Facts::of(&key.0, key.1, held.body.as_ref());
        let origin = held.origin;
        kept.documents.insert(key.clone(), Held { place, ..held });
        if key.0 == Kind::Task && self.is_local(&facts) {
            self.reopen_wishes(TaskId::from_uuid(key.1));
        }
        self.tell_document(&key, &facts, origin, now);
        Ok(())
    }

    pub(super) fn tell_document(
        &mut self,
        (kind, id): &Key,
        facts: &Facts,
        origin: crate::id::SystemId,
        now: Timestamp,
    ) {
        let about = About {
            project: facts.project,
            task: facts.task,
            run: facts.run,
            agent: None,
        };
        let data = json!({ "kind": kind, "id": id, "origin": origin });
        self.event(now, EventKind::DocumentChanged, about, data);
    }

    /// Whether a definition is this machine's to run: of a project that it has or had, or of a task that it runs.
    pub(super) fn is_local(&self, facts: &Facts) -> bool {
        let project = facts
            .project
            .is_some_and(|id| self.projects.contains_key(&id));
        project || facts.task.is_some_and(|task| self.runs_task(task))
    }

    fn runs_task(&self, task: TaskId) -> bool {
        self.tasks.get(&task).is_some_and(|row| !row.task.yielded)
    }

    /// What this machine has to do about a document that became known.
    pub(super) fn state_of(&self, key: &Key, body: Option<&Value>) -> DocumentState {
        let facts = Facts::of(&key.0, key.1, body);
        let concerns = match key.0 {
            Kind::Task => self.is_local(&facts),
            Kind::Wish => facts.task.is_some_and(|task| {
                let key = (Kind::Task, *task.as_uuid());
                let definition = self
                    .replica
                    .as_ref()
                    .and_then(|kept| kept.documents.get(&key));
                let local = |held: &Held| held.state != DocumentState::Elsewhere;
                self.runs_task(task) || definition.is_some_and(local)
            }),
            _ => return DocumentState::Settled,
        };
        match concerns {
            true => DocumentState::Open,
            false => DocumentState::Elsewhere,
        }
    }

    /// Wishes that were nothing to this machine before it had their task.
    pub(super) fn reopen_wishes(&mut self, task: TaskId) {
        let kept = self.replica.iter_mut();
        for ((kind, id), held) in kept.flat_map(|kept| &mut kept.documents) {
            let facts = Facts::of(kind, *id, held.body.as_ref());
            if *kind == Kind::Wish
                && facts.task == Some(task)
                && held.state == DocumentState::Elsewhere
            {
                held.state = DocumentState::Open;
            }
        }
    }

    /// Definitions that were nothing to this machine before it had their project.
    pub(in crate::testing::memory::store) fn reopen_definitions(&mut self, project: ProjectId) {
        let kept = self.kept().into_iter();
        let mut tasks = Vec::new();
        for ((kind, id), held) in kept.flat_map(|kept| &mut kept.documents) {
            let facts = Facts::of(kind, *id, held.body.as_ref());
            if *kind == Kind::Task && facts.project == Some(project) {
                tasks.push(TaskId::from_uuid(*id));
                if held.state == DocumentState::Elsewhere {
                    held.state = DocumentState::Open;
                }
            }
        }
        for task in tasks {
            self.reopen_wishes(task);
        }
    }

    /// Whether the object of a document is in this machine's own tables.
    pub(super) fn has_own_row(&self, (kind, id): &Key) -> bool {
        match kind {
            Kind::Project => self.projects.contains_key(&ProjectId::from_uuid(*id)),
            Kind::Task | Kind::Report => self.tasks.contains_key(&TaskId::from_uuid(*id)),
            Kind::Run => self.runs.contains_key(&crate::id::RunId::from_uuid(*id)),
            Kind::Ask => self.asks.contains_key(&crate::id::AskId::from_uuid(*id)),
            _ => false,
        }
    }

    /// Whether somebody can wait for this task.
    pub(in crate::testing::memory::store) fn is_known(&self, task: TaskId) -> bool {
        let key = (Kind::Task, *task.as_uuid());
        let document = || self.replica.as_ref()?.documents.get(&key)?.body.as_ref();
        self.tasks.contains_key(&task) || document().is_some()
    }

    /// Whether a task is done, here or where it runs.
    pub(in crate::testing::memory::store) fn has_succeeded(&self, task: TaskId) -> bool {
        if let Some(row) = self.tasks.get(&task).filter(|row| !row.task.yielded) {
            return matches!(row.task.state, crate::task::TaskState::Succeeded { .. });
        }
        let key = (Kind::Report, *task.as_uuid());
        let report = self
            .replica
            .as_ref()
            .and_then(|kept| kept.documents.get(&key));
        report.is_some_and(|held| Facts::of(&key.0, key.1, held.body.as_ref()).succeeded)
    }
}
