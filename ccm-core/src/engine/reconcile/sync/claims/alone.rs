//! Shared tasks without a server.

use super::Candidate;
use crate::Result;
use crate::engine::reconcile::sync::line::Line;
use crate::id::TaskId;
use crate::store::{NewDocument, Replica};
use crate::sync::Kind;
use crate::sync::documents;

impl Line {
    /// Takes tasks that were written here, that no other machine can know of, and that this machine has room for: they are
    /// its own from now on.
    pub(in crate::engine::reconcile::sync) async fn pin(&mut self) -> Result<()> {
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
            room.fill(project);
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
        let outbox = replica.outbox(0, u32::MAX, u64::MAX).await?;
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
