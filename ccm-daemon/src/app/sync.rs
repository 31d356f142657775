use std::collections::HashMap;

use ccm_core::api::{
    Conflict, ConflictStateName, Device, ProblemCode, ResolveConflict, SetAside, SetAsideAction,
    SyncCondition, SyncRound, SyncState,
};
use ccm_core::id::{ConflictId, SystemId};
use ccm_core::store::{Document, DocumentQuery, Page, Replica};
use ccm_core::sync::documents::{self, Kind, SystemReport};
use ccm_core::{Error, ErrorKind};

use super::App;

/// The most changes that were set aside and are listed.
const MOST_SET_ASIDE: u32 = 1000;
/// The most machines whose names are looked up at once.
const MOST_SYSTEMS: u32 = 1000;
/// How many documents are looked through at once for those of a list.
const LOOKED_THROUGH: u32 = 200;

/// Why something about sharing was not done.
#[derive(Debug)]
pub(crate) enum SyncRefusal {
    /// For this reason.
    Is(ProblemCode, String),
    /// Something else.
    Other(Error),
}

impl From<Error> for SyncRefusal {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

type Answer<T> = Result<T, SyncRefusal>;

impl App {
    /// How the queue is shared.
    pub(crate) async fn sync_state(&self) -> Answer<SyncState> {
        Ok(SyncState {
            enabled: false,
            backend: "none".to_owned(),
            connected: false,
            pending: 0,
            conflicts: 0,
            detail: "this machine is not connected to Supabase, and everything is kept on it"
                .to_owned(),
            condition: SyncCondition::Off,
            to_do: None,
            server: None,
            account: None,
            key_storage: None,
            signed_in_at: None,
            last_contact: None,
            last_error: None,
            failures: 0,
            next_try_at: None,
            live: false,
            interval_s: self.parts.settings.current().sync.interval.as_secs(),
            rule: Default::default(),
            unsettled: 0,
            set_aside: 0,
        })
    }

    /// Exchanges everything now.
    pub(crate) async fn sync_now(&self) -> Answer<SyncRound> {
        Err(off())
    }

    /// Conflicts in this state, or in any, newest first.
    pub(crate) async fn conflicts(
        &self,
        state: Option<ConflictStateName>,
        before: Option<ConflictId>,
        limit: u32,
    ) -> Answer<Page<Conflict>> {
        let mut page = Page {
            items: Vec::new(),
            more: false,
        };
        let Some(replica) = self.replica() else {
            return Ok(page);
        };
        let names = hostnames(replica).await?;
        let mut query = DocumentQuery {
            kinds: vec![Kind::Conflict],
            after: before.map(|id| *id.as_uuid()),
            newest_first: true,
            limit: LOOKED_THROUGH,
            ..DocumentQuery::default()
        };
        loop {
            let documents = replica.documents(&query).await?;
            let last = documents.len() < LOOKED_THROUGH as usize;
            query.after = documents.last().map(|document| document.id);
            for document in documents {
                let Some(conflict) = self.shown_conflict(&document, &names) else {
                    continue;
                };
                if state.is_some_and(|state| state != conflict.state) {
                    continue;
                }
                if page.items.len() == limit as usize {
                    page.more = true;
                    return Ok(page);
                }
                page.items.push(conflict);
            }
            if last {
                return Ok(page);
            }
        }
    }

    /// One conflict.
    pub(crate) async fn conflict(&self, id: ConflictId) -> Answer<Conflict> {
        let missing = || {
            let detail = format!("there is no conflict {id}");
            SyncRefusal::Is(ProblemCode::ConflictNotFound, detail)
        };
        let replica = self.replica().ok_or_else(missing)?;
        let document = replica.document(&Kind::Conflict, *id.as_uuid()).await?;
        let document = document.ok_or_else(missing)?;
        let names = hostnames(replica).await?;
        self.shown_conflict(&document, &names).ok_or_else(missing)
    }

    /// Decides a conflict.
    pub(crate) async fn resolve_conflict(
        &self,
        id: ConflictId,
        decision: ResolveConflict,
        by: &str,
    ) -> Answer<Conflict> {
        let conflict = self.conflict(id).await?;
        if let Some(done) = &conflict.resolution {
            if done.keep == decision.keep && decision.fields.is_empty() {
                return Ok(conflict);
            }
            let detail = format!("{} decided it at {}", done.by, done.at);
            return Err(SyncRefusal::Is(ProblemCode::ConflictResolved, detail));
        }
        let _ = by;
        Err(off())
    }

    /// The machines that share this queue.
    pub(crate) async fn devices(&self) -> Answer<Vec<Device>> {
        Err(off())
    }

    /// Shuts a machine out.
    pub(crate) async fn revoke_device(&self, _id: SystemId) -> Answer<Device> {
        Err(off())
    }

    /// Changes that the service can never take.
    pub(crate) async fn set_aside(&self) -> Answer<Vec<SetAside>> {
        let Some(replica) = self.replica() else {
            return Ok(Vec::new());
        };
        let aside = replica.set_aside(MOST_SET_ASIDE).await?;
        Ok(aside.into_iter().map(SetAside::from).collect())
    }

    /// Forgets a change that was set aside, or sends what its object is now.
    pub(crate) async fn decide_set_aside(&self, number: u64, action: SetAsideAction) -> Answer<()> {
        let missing = || {
            let detail = format!("no change of the number {number} was set aside");
            SyncRefusal::Is(ProblemCode::SetAsideNotFound, detail)
        };
        let replica = self.replica().ok_or_else(missing)?;
        let again = action == SetAsideAction::Again;
        match replica.dismiss_set_aside(number, again, self.now()).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Invalid => Err(missing()),
            Err(error) => Err(error.into()),
        }
    }

    /// What is kept of other machines, if this store can.
    fn replica(&self) -> Option<&dyn Replica> {
        self.engine().store().replica()
    }

    /// A conflict as it is shown, if this program can read it.
    fn shown_conflict(
        &self,
        document: &Document,
        names: &HashMap<SystemId, String>,
    ) -> Option<Conflict> {
        let body = document.body.as_ref()?;
        let conflict: documents::Conflict =
            documents::read(&Kind::Conflict, document.id, body).ok()?;
        let id = ConflictId::from_uuid(document.id);
        let this = self.engine().system().id;
        let name = |id| names.get(&id).cloned();
        Some(Conflict::new(id, &conflict, this, name))
    }
}

fn off() -> SyncRefusal {
    SyncRefusal::Is(
        ProblemCode::SyncOff,
        "this machine shares nothing with others; `ccm supabase connect` connects it".to_owned(),
    )
}

/// What machines are called.
async fn hostnames(replica: &dyn Replica) -> Answer<HashMap<SystemId, String>> {
    let query = DocumentQuery {
        kinds: vec![Kind::System],
        limit: MOST_SYSTEMS,
        ..DocumentQuery::default()
    };
    let documents = replica.documents(&query).await?;
    let named = documents.iter().filter_map(|document| {
        let body = document.body.as_ref()?;
        let report: SystemReport = documents::read(&Kind::System, document.id, body).ok()?;
        Some((SystemId::from_uuid(document.id), report.hostname))
    });
    Ok(named.collect())
}
