//! What is known here of other machines: their projects, tasks, runs and asks, from the documents that machines share.

mod asks;
mod projects;
mod runs;
mod seen;
mod shown;
mod systems;
mod tasks;
mod transcripts;
mod wishes;

pub(super) use seen::LastSeen;
pub(super) use transcripts::Parts;

use std::collections::HashMap;

use ccm_core::api::Machine;
use ccm_core::engine::Engine;
use ccm_core::id::SystemId;
use ccm_core::store::{Document, DocumentQuery, Replica};
use ccm_core::sync::documents;
use ccm_core::{Error, ErrorKind, Noun, Result, Store};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::App;

/// How many documents are read at once.
const PART: u32 = 500;
/// The most machines, and projects of them, that are looked at for one answer.
const MOST: usize = 10_000;

/// The documents of a store that shares.
#[derive(Clone, Copy)]
pub(super) struct Elsewhere<'a> {
    store: &'a dyn Store,
    replica: &'a dyn Replica,
    engine: &'a Engine,
    seen: &'a LastSeen,
    this: SystemId,
}

impl App {
    /// What is known of other machines; `None` while nothing is shared, which costs nothing to find out.
    pub(super) fn elsewhere(&self) -> Option<Elsewhere<'_>> {
        let store = &**self.engine().store();
        let replica = store.replica().filter(|replica| replica.may_share());
        replica.map(|replica| Elsewhere {
            store,
            replica,
            engine: self.engine(),
            seen: &self.seen,
            this: self.engine().system().id,
        })
    }
}

impl Elsewhere<'_> {
    /// All documents of such a query, up to [`MOST`].
    async fn all(&self, query: DocumentQuery) -> Result<Vec<Document>> {
        let mut query = DocumentQuery {
            limit: PART,
            ..query
        };
        let mut all = Vec::new();
        loop {
            let part = self.replica.documents(&query).await?;
            let last = part.len() < PART as usize;
            query.after = part.last().map(|document| document.id);
            all.extend(part);
            if last || all.len() >= MOST {
                return Ok(all);
            }
        }
    }

    fn is_this(&self, id: SystemId) -> bool {
        id == self.this
    }
}

/// The content of a document as this program knows it. Of one that it can't read, as a newer program may write it, it is
/// logged that it is left out.
fn known<T: DeserializeOwned>(document: &Document) -> Option<T> {
    let body = document.body.as_ref()?;
    documents::read(&document.kind, document.id, body)
        .inspect_err(|error| {
            tracing::debug!(error = ccm_core::chain(error), "a document is left out");
        })
        .ok()
}

/// The content of a document that somebody asked for by its id.
fn readable<T: DeserializeOwned>(document: &Document) -> Result<Option<T>> {
    let Some(body) = document.body.as_ref() else {
        return Ok(None);
    };
    documents::read(&document.kind, document.id, body)
        .map(Some)
        .map_err(|error| {
            Error::unavailable(format!(
                "the {} {} of another machine is in a form that this program can't read: upgrade CCM here",
                document.kind, document.id
            ))
            .with_source(error)
        })
}

/// Machines by their ids.
#[derive(Debug)]
pub(super) struct Machines {
    this: Machine,
    others: HashMap<SystemId, Machine>,
}

impl Machines {
    pub(super) fn get(&self, id: SystemId) -> Machine {
        if id == self.this.id {
            return self.this.clone();
        }
        self.others.get(&id).cloned().unwrap_or_else(|| Machine {
            id,
            hostname: id.to_string(),
            this: false,
            last_seen: None,
        })
    }

    /// The machine, if it is another one than the one that answers.
    fn other(&self, id: SystemId) -> Option<Machine> {
        Some(self.get(id)).filter(|machine| !machine.this)
    }
}

/// The refusal of what only the machine itself can do, which `how` names as in "it can be moved".
fn only_there(noun: Noun, machine: &Machine, how: &str) -> Error {
    Error::new(
        ErrorKind::WrongState(noun),
        format!("it is on {}, and {how} there alone", machine.hostname),
    )
}

fn uuid_in(body: &serde_json::Value, key: &str) -> Option<Uuid> {
    body.get(key)?.as_str()?.parse().ok()
}
