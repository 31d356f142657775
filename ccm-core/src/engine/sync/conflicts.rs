//! Edits of one task that two machines made without knowing of each other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::engine::Engine;
use crate::id::SystemId;
use crate::store::{DocumentQuery, NewDocument};
use crate::sync::Kind;
use crate::sync::documents::{self, Conflict, Keep, Resolution};
use crate::{Error, ErrorKind, Noun, Result};

/// The most conflicts that are listed.
const MOST: usize = 1000;
/// How many documents are read together.
const TOGETHER: u32 = 200;

/// A conflict and its name.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenConflict {
    /// Its id.
    pub id: Uuid,
    /// What happened.
    pub conflict: Conflict,
}

impl OpenConflict {
    /// The fields that both edits changed, each to something else. Of edits whose common beginning is not known: all that
    /// differ.
    pub fn both_changed(&self) -> Vec<String> {
        let sides = Sides::of(&self.conflict);
        let fields = sides.differing().into_iter();
        fields.filter(|field| sides.is_contested(field)).collect()
    }
}

impl Engine {
    /// Conflicts, the newest first: those that somebody has to decide, or all that are kept.
    ///
    /// # Errors
    /// `WrongState(System)` while sharing is off.
    pub async fn conflicts(&self, only_open: bool) -> Result<Vec<OpenConflict>> {
        let (replica, _) = self.sharing().await?;
        let mut query = DocumentQuery {
            kinds: vec![Kind::Conflict],
            open: only_open,
            newest_first: true,
            limit: TOGETHER,
            ..DocumentQuery::default()
        };
        let mut conflicts = Vec::new();
        loop {
            let found = replica.documents(&query).await?;
            let Some(last) = found.last() else {
                return Ok(conflicts);
            };
            query.after = Some(last.id);
            let read = found.into_iter().filter_map(|document| {
                let body = document.body?;
                let conflict = documents::read(&Kind::Conflict, document.id, &body).ok()?;
                Some(OpenConflict {
                    id: document.id,
                    conflict,
                })
            });
            let is_wanted = |found: &OpenConflict| !only_open || found.conflict.is_open();
            conflicts.extend(read.filter(is_wanted).take(MOST - conflicts.len()));
            if conflicts.len() >= MOST {
                return Ok(conflicts);
            }
        }
    }

    /// Decides a conflict ([`Keep`]). `choices` says of fields which side counts; [`Keep::Merge`] needs one for each field
    /// that both sides changed to something else. What was changed since in other fields stays.
    ///
    /// # Errors
    /// `WrongState(System)` while sharing is off; `NotFound(Task)` for no such conflict; `WrongState(Task)` for one that
    /// was decided; `Invalid` for a merge that leaves a field open, with their names, for a choice of a field that does not
    /// differ, and for a definition that breaks a rule.
    pub async fn resolve_conflict(
        &self,
        id: Uuid,
        keep: Keep,
        choices: &BTreeMap<String, Keep>,
        by: &str,
    ) -> Result<OpenConflict> {
        let (replica, me) = self.sharing().await?;
        let _documents = self.shared.sync.documents.lock().await;
        let document = replica.document(&Kind::Conflict, id).await?;
        let body = document.and_then(|document| document.body);
        let body = body.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound(Noun::Task),
                format!("there is no conflict {id}"),
            )
        })?;
        let mut conflict: Conflict = documents::read(&Kind::Conflict, id, &body)?;
        if let Some(resolution) = &conflict.resolution {
            return Err(Error::new(
                ErrorKind::WrongState(Noun::Task),
                format!("{} decided it before", resolution.by),
            ));
        }
        let task = *conflict.task_id.as_uuid();
        let lost = Sides::of(&conflict).lost_fields(me.system, keep, choices)?;
        let current = replica.document(&Kind::Task, task).await?;
        let current = current.and_then(|document| document.body);
        let current = current.ok_or_else(|| Error::no_task(conflict.task_id))?;
        let resolved = take(&current, &conflict, &lost);
        let definition = documents::read(&Kind::Task, task, &resolved)?;
        super::view::spec(&definition)?;
        let now = self.shared.parts.clock.now();
        conflict.resolution = Some(Resolution {
            keep,
            by: by.to_owned(),
            at: now,
        });
        let mut documents = Vec::new();
        if resolved != current {
            documents.push(NewDocument {
                kind: Kind::Task,
                id: task,
                body: Some(resolved),
                settled: false,
            });
        }
        documents.push(NewDocument {
            kind: Kind::Conflict,
            id,
            body: Some(documents::write(&conflict)?),
            settled: true,
        });
        self.noting(replica.put(documents, None, now).await)?;
        tracing::info!(conflict = %id, task = %conflict.task_id, by, ?keep, "a conflict was decided");
        self.shared.sync.changed.notify_one();
        Ok(OpenConflict { id, conflict })
    }
}

/// Both edits and what they began with, by field.
struct Sides {
    kept: Map<String, Value>,
    lost: Map<String, Value>,
    base: Option<Map<String, Value>>,
    /// Who made the one that lost, and the one that counts.
    origins: (SystemId, SystemId),
}

impl Sides {
    fn of(conflict: &Conflict) -> Self {
        let fields = |body: Option<&Value>| match body {
            Some(Value::Object(fields)) => fields.clone(),
            _ => Map::new(),
        };
        Self {
            kept: fields(conflict.kept.body.as_ref()),
            lost: fields(conflict.lost.body.as_ref()),
            base: conflict.base.as_ref().map(|base| fields(Some(base))),
            origins: (conflict.lost.origin, conflict.kept.origin),
        }
    }

    fn differing(&self) -> BTreeSet<String> {
        let names = self.kept.keys().chain(self.lost.keys());
        let differs = |name: &&String| get(&self.kept, name) != get(&self.lost, name);
        names.filter(differs).cloned().collect()
    }

    fn is_contested(&self, field: &str) -> bool {
        let Some(base) = &self.base else { return true };
        let base = get(base, field);
        get(&self.kept, field) != base && get(&self.lost, field) != base
    }

    /// The fields that are to be as in the edit that lost.
    fn lost_fields(
        &self,
        me: SystemId,
        keep: Keep,
        choices: &BTreeMap<String, Keep>,
    ) -> Result<BTreeSet<String>> {
        let (lost, kept) = self.origins;
        // Where neither is of this machine, "local" is the one that lost.
        let local_lost = lost == me || kept != me;
        let takes_lost = |keep: Keep| match keep {
            Keep::Local => Some(local_lost),
            Keep::Remote => Some(!local_lost),
            Keep::Merge => None,
        };
        let differing = self.differing();
        if let Some(field) = choices.keys().find(|field| !differing.contains(*field)) {
            return Err(Error::invalid(format!(
                "the two edits do not differ in {field:?}"
            )));
        }
        let mut fields = BTreeSet::new();
        let mut open = Vec::new();
        for field in differing {
            let choice = choices.get(&field).copied().and_then(takes_lost);
            let changed_by_lost = || {
                let base = self.base.as_ref();
                base.is_some_and(|base| get(base, &field) != get(&self.lost, &field))
            };
            let takes = match choice.or(takes_lost(keep)) {
                Some(takes) => takes,
                None if self.is_contested(&field) => {
                    open.push(field);
                    continue;
                }
                None => changed_by_lost(),
            };
            if takes {
                fields.insert(field);
            }
        }
        if open.is_empty() {
            return Ok(fields);
        }
        Err(Error::invalid(format!(
            "both edits changed {}: say for each whether the local or the remote one counts",
            open.join(", ")
        )))
    }
}

/// A field that is not there is one that is null.
fn get<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a Value {
    fields.get(name).unwrap_or(&Value::Null)
}

fn take(current: &Value, conflict: &Conflict, lost: &BTreeSet<String>) -> Value {
    let mut resolved = current.clone();
    let Some(fields) = resolved.as_object_mut() else {
        return conflict.lost.body.clone().unwrap_or_default();
    };
    for field in lost {
        let value = conflict.lost.body.as_ref().and_then(|body| body.get(field));
        match value {
            Some(value) => fields.insert(field.clone(), value.clone()),
            None => fields.remove(field),
        };
    }
    resolved
}
