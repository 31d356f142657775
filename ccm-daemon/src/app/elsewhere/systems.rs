//! The machines.

use std::collections::HashMap;

use ccm_core::api::{Machine, System};
use ccm_core::id::SystemId;
use ccm_core::store::DocumentQuery;
use ccm_core::sync::Kind;
use ccm_core::sync::documents::SystemReport;
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Noun, Result};

use super::{Elsewhere, Machines, known};
use crate::app::App;

impl App {
    /// Every machine that is known, this one first.
    pub(crate) async fn systems(&self) -> Result<Vec<System>> {
        let mut systems = vec![self.this_system()];
        if let Some(elsewhere) = self.elsewhere().await? {
            let (others, _) = elsewhere.reports().await?;
            systems.extend(others);
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
    /// The other machines, and what all machines are called.
    async fn reports(&self) -> Result<(Vec<System>, Option<System>)> {
        let heard: HashMap<SystemId, Timestamp> = self
            .replica
            .heard()
            .await?
            .into_iter()
            .map(|(id, hlc)| (id, Timestamp::from_micros(hlc.time)))
            .collect();
        let query = DocumentQuery {
            kinds: vec![Kind::System],
            ..DocumentQuery::default()
        };
        let (mut others, mut this) = (Vec::new(), None);
        for document in self.all(query).await? {
            let Some(report) = known::<SystemReport>(&document) else {
                continue;
            };
            let id = SystemId::from_uuid(document.id);
            let system = System {
                id,
                hostname: report.hostname,
                kind: report.kind,
                tags: report.tags,
                this: self.is_this(id),
                version: Some(report.version).filter(|version| !version.is_empty()),
                last_seen: heard.get(&id).copied(),
                revoked_at: report.revoked_at,
            };
            match system.this {
                true => this = Some(system),
                false => others.push(system),
            }
        }
        Ok((others, this))
    }

    /// What machines are called, and when they were heard of.
    pub(in crate::app) async fn machines(&self, this: &str) -> Result<Machines> {
        let (others, _) = self.reports().await?;
        let others = others.into_iter().map(|system| {
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
