use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ccm_core::api::{
    Conflict, ConflictStateName, Device, Keep, ProblemCode, ResolveConflict, SetAside,
    SetAsideAction, Side, SyncCondition, SyncRound, SyncState, definition_field,
};
use ccm_core::id::{ConflictId, SystemId};
use ccm_core::store::{Document, DocumentQuery, Page, Replica};
use ccm_core::sync::documents::{self, Kind, SystemReport};
use ccm_core::{Error, ErrorKind, Noun};

use super::App;
use crate::machine::config::Config;
use crate::sharing;

/// How long one exchange is waited for.
const ROUND: Duration = Duration::from_secs(20);

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
        match error.kind() {
            ErrorKind::Unsupported => Self::Is(ProblemCode::SyncNotSetUp, error.to_string()),
            _ => Self::Other(error),
        }
    }
}

type Answer<T> = Result<T, SyncRefusal>;

impl App {
    /// The config in force.
    pub(crate) fn config_in_force(&self) -> Arc<Config> {
        self.parts.settings.current()
    }

    /// How the queue is shared.
    pub(crate) async fn sync_state(&self) -> Answer<SyncState> {
        let config = self.config_in_force();
        Ok(sharing::state(self.engine(), self.sharing(), &config).await?)
    }

    /// Exchanges everything now, as far as that is done in a while.
    pub(crate) async fn sync_now(&self) -> Answer<SyncRound> {
        self.must_share().await?;
        let traffic = self.sharing().traffic();
        let (sent, received) = (traffic.sent(), traffic.received());
        let round = tokio::time::timeout(ROUND, self.engine().sync_now()).await;
        let complete = round.is_ok();
        if let Ok(done) = round {
            done?;
        }
        Ok(SyncRound {
            sent: traffic.sent() - sent,
            received: traffic.received() - received,
            complete,
            state: self.sync_state().await?,
        })
    }

    /// Refuses what needs a line to other machines, with the reason why there is none.
    async fn must_share(&self) -> Answer<()> {
        let state = self.sync_state().await?;
        let code = match state.condition {
            SyncCondition::Off => ProblemCode::SyncOff,
            SyncCondition::SignedOut => ProblemCode::SyncSignedOut,
            // What it was last may be mended by now.
            _ => return Ok(()),
        };
        let to_do = match state.to_do {
            None if code == ProblemCode::SyncOff => {
                Some("`ccm supabase connect` connects it".to_owned())
            }
            to_do => to_do,
        };
        let to_do = to_do.map(|to_do| format!("; {to_do}")).unwrap_or_default();
        Err(SyncRefusal::Is(code, format!("{}{to_do}", state.detail)))
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
        let side = |side| match side {
            Side::Local => Keep::Local,
            Side::Remote => Keep::Remote,
        };
        let choices: BTreeMap<_, _> = decision
            .fields
            .iter()
            .map(|field| (definition_field(&field.name).to_owned(), side(field.keep)))
            .collect();
        self.engine()
            .resolve_conflict(*id.as_uuid(), decision.keep, &choices, by)
            .await?;
        self.conflict(id).await
    }

    /// The machines that share this queue.
    pub(crate) async fn devices(&self) -> Answer<Vec<Device>> {
        self.must_share().await?;
        let this = self.engine().system().id;
        let devices = self.engine().devices().await?.into_iter();
        Ok(devices.map(|device| Device::new(device, this)).collect())
    }

    /// Shuts a machine out.
    pub(crate) async fn revoke_device(&self, id: SystemId) -> Answer<Device> {
        self.must_share().await?;
        self.engine().revoke(id).await?;
        let devices = self.devices().await?;
        let device = devices.into_iter().find(|device| device.id == id);
        device.ok_or_else(|| {
            let error = Error::new(
                ErrorKind::NotFound(Noun::System),
                format!("there is no machine {id}"),
            );
            error.into()
        })
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
