//! Tasks that came from other machines, in the log of who did what.

use ccm_core::Result;
use ccm_core::api::AuditEntry;
use ccm_core::id::TaskId;
use ccm_core::store::Replica;
use ccm_core::sync::Kind;
use ccm_core::sync::documents::{self, Definition, SystemReport};
use ccm_core::task::{Task, TaskState};
use ccm_core::{ErrorKind, Noun, Reason};

use crate::app::App;

/// What was asked for, as the log calls it.
const OPERATION: &str = "SYNC /tasks/{id}";

impl App {
    /// Writes down where a new task of this machine came from, if that was another one.
    pub(super) async fn note_arrival(&self, replica: &dyn Replica, id: TaskId) -> Result<()> {
        let document = replica.document(&Kind::Task, *id.as_uuid()).await?;
        let definition = document.and_then(|document| {
            let body = document.body?;
            documents::read::<Definition>(&Kind::Task, document.id, &body).ok()
        });
        let here = self.engine().system().id;
        let Some(definition) = definition.filter(|definition| definition.created_on != here) else {
            return Ok(());
        };
        let task = match self.engine().store().task(id).await {
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Task) => return Ok(()),
            task => task?,
        };
        let from = *definition.created_on.as_uuid();
        let system = replica.document(&Kind::System, from).await?;
        let hostname = system.and_then(|document| {
            let body = document.body?;
            let report = documents::read::<SystemReport>(&Kind::System, document.id, &body);
            report.ok().map(|report| report.hostname)
        });
        let path = format!("/api/v1/tasks/{id}");
        self.access().audit.add(AuditEntry {
            time: self.now(),
            principal: principal(
                &from.to_string(),
                hostname.as_deref(),
                self.sharing().made_for().as_deref(),
            ),
            client: definition.created_by,
            operation: OPERATION.to_owned(),
            created: Some(path.clone()),
            path,
            status: status(&task),
        });
        Ok(())
    }
}

/// The machine, what it is called, and the account that both share.
fn principal(machine: &str, hostname: Option<&str>, account: Option<&str>) -> String {
    let mut principal = format!("machine:{machine}");
    if let Some(hostname) = hostname {
        principal.push_str(&format!(",host={hostname}"));
    }
    if let Some(account) = account {
        principal.push_str(&format!(",account={account}"));
    }
    principal
}

/// Accepted, accepted if somebody lets it, or refused.
fn status(task: &Task) -> u16 {
    match &task.state {
        TaskState::Failed { cause, .. } if cause.reason == Reason::RemoteDenied => 403,
        _ if task.hold.is_some() => 202,
        _ => 201,
    }
}
