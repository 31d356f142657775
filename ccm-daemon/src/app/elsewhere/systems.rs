//! The machines.

use std::collections::HashMap;
use std::time::Duration;

use ccm_core::api::{Machine, System};
use ccm_core::id::SystemId;
use ccm_core::store::DocumentQuery;
use ccm_core::sync::Kind;
use ccm_core::sync::documents::SystemReport;
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Noun, Result};

use super::{Elsewhere, Machines, known};
use crate::app::App;

/// How long the list of machines waits for the server.
const PATIENCE: Duration = Duration::from_secs(2);

impl App {
    /// Every machine that is known, this one first.
    pub(crate) async fn systems(&self) -> Result<Vec<System>> {
        let mut systems = vec![self.this_system()];
        if let Some(elsewhere) = self.elsewhere() {
            systems.extend(elsewhere.others(PATIENCE).await?);
        }
        systems[1..].sort_by(|a, b| (&a.hostname, a.id).cmp(&(&b.hostname, b.id)));
        Ok(systems)
    }

    pub(crate) async fn system(&self, id: SystemId) -> Result<System> {
        let mut systems = self.systems().await?.into_iter();
        systems.find(|system| system.id == id).ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound(Noun::System),
                format!("there is no system {id}"),
            )
        })
    }
}

impl Elsewhere<'_> {
    /// The other machines. The server is waited for that long to say when it heard of them.
    async fn others(&self, patience: Duration) -> Result<Vec<System>> {
        let seen = self.seen.times(self.engine, patience).await;
        // What a machine tells of its projects changes more often than what it tells of itself.
        let query = DocumentQuery {
            kinds: vec![Kind::System, Kind::Project],
            not_origin: Some(self.this),
            ..DocumentQuery::default()
        };
        let documents = self.all(query).await?;
        let mut heard: HashMap<SystemId, Timestamp> = HashMap::new();
        for document in &documents {
            let at = Timestamp::from_micros(document.hlc.time);
            let known = heard.entry(document.origin).or_insert(at);
            *known = at.max(*known);
        }
        let mut others = Vec::new();
        let systems = documents.iter().filter(|one| one.kind == Kind::System);
        for document in systems {
            let Some(report) = known::<SystemReport>(document) else {
                continue;
            };
            let id = SystemId::from_uuid(document.id);
            if self.is_this(id) {
                continue;
            }
            others.push(System {
                id,
                hostname: report.hostname,
                kind: report.kind,
                tags: report.tags,
                this: false,
                version: Some(report.version).filter(|version| !version.is_empty()),
                // The server hears of those, too, that have nothing to tell.
                last_seen: heard.get(&id).max(seen.get(&id)).copied(),
                revoked_at: report.revoked_at,
            });
        }
        Ok(others)
    }

    /// What machines are called, and when they were heard of.
    pub(in crate::app) async fn machines(&self, this: &str) -> Result<Machines> {
        let others = self.others(Duration::ZERO).await?.into_iter();
        let others = others.map(|system| {
            let machine = Machine {
                id: system.id,
                hostname: system.hostname,
                this: false,
                last_seen: system.last_seen,
            };
            (machine.id, machine)
        });
        Ok(Machines {
            this: Machine {
                id: self.this,
                hostname: this.to_owned(),
                this: true,
                last_seen: None,
            },
            others: others.collect(),
        })
    }
}
