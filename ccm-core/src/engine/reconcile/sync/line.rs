//! The line to the server: introducing this machine, sending, fetching, and beginning again when the two sides do not
//! remember the same.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::bodies;
use super::claims::Claims;
use super::inbox::Inbox;
use crate::engine::reconcile::Shared;
use crate::store::{Adoption, Replica, Sharing};
use crate::sync::{
    Fate, Identity, Operation, PullQuery, Pulled, PushResult, Pushed, Registration, SyncBackend,
    SyncCursor, Welcome,
};
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Noun, Result};

/// The most operations of one push.
const PUSHED: u32 = 500;
/// The most content of one push, in bytes, unless one operation has more.
const PUSHED_BYTES: u64 = 2 * 1024 * 1024;
/// How many of them are read together, each of which may be large.
const READ_TOGETHER: usize = 50;
/// The most documents of one pull.
const PULLED: u32 = 500;
/// How many times in `AGAIN` the two sides may differ until it has to be another machine that is taken for this one.
const MOST_AGAIN: usize = 3;
const AGAIN: Duration = Duration::from_secs(10 * 60);

/// This machine's side of the line.
pub(super) struct Line {
    pub(super) shared: Arc<Shared>,
    pub(super) backend: Arc<dyn SyncBackend>,
    pub(super) inbox: Inbox,
    /// As whom the server knows this machine since the line was last changed.
    registered: Option<Identity>,
    /// How many operations a push has now: fewer while one is looked for that the server does not let in.
    batch: u32,
    /// When the two sides were found to differ, in the clock's uptime.
    begun_again: Vec<Duration>,
    pub(super) claims: Claims,
}

impl Line {
    pub(super) fn new(shared: Arc<Shared>, backend: Arc<dyn SyncBackend>) -> Self {
        Self {
            inbox: Inbox::new(&shared),
            shared,
            backend,
            registered: None,
            batch: PUSHED,
            begun_again: Vec::new(),
            claims: Claims::default(),
        }
    }

    /// There may be another server behind the line.
    pub(super) fn changed(&mut self) {
        self.registered = None;
    }

    pub(super) fn replica(&self) -> Result<&dyn Replica> {
        let replica = self.shared.parts.store.replica();
        replica.ok_or_else(|| Error::internal("the store shares nothing"))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.shared.parts.clock.now()
    }

    /// Sends what waits, and, if it is `whole`, gets what is new; then does what there is to do.
    #[tracing::instrument(name = "sync", level = "debug", skip_all)]
    pub(super) async fn round(&mut self, whole: bool) -> Result<()> {
        self.introduce().await?;
        self.settle_inbox().await?;
        let ended = self.ended().await?;
        self.push().await?;
        crate::barrier!("sync.pushed");
        self.give_back(ended).await?;
        if whole {
            self.pull().await?;
            crate::barrier!("sync.pulled");
            self.push().await?;
        }
        if self.claim().await? {
            self.push().await?;
        }
        Ok(())
    }

    /// Deals with what came in and was not dealt with, because a round was cut off.
    pub(super) async fn settle_inbox(&self) -> Result<()> {
        let replica = self.replica()?;
        let _documents = self.shared.sync.documents.lock().await;
        self.inbox.settle_all(replica).await
    }

    // --- who this is ---

    /// Tells the server of this machine, unless it knows since the line was last changed.
    pub(super) async fn introduce(&mut self) -> Result<()> {
        let sharing = self.sharing().await?;
        if self.registered == Some(sharing.identity) {
            return Ok(());
        }
        let welcome = self.register(&sharing).await?;
        match fits(&sharing, &self.unanswered().await?, &welcome) {
            Fit::Same => {}
            Fit::Behind => {
                tracing::warn!(
                    known = welcome.last_number,
                    acknowledged = sharing.acknowledged,
                    "the server was put back to an older state; everything is sent and fetched again"
                );
                self.resync(Some(welcome.last_number)).await?;
            }
            Fit::Other => return Err(another()),
        }
        self.replica()?
            .see_clock(welcome.clock.clamped(welcome.now))
            .await?;
        self.registered = Some(sharing.identity);
        Ok(())
    }

    /// What is kept of sharing, which is switched on if it is not.
    async fn sharing(&self) -> Result<Sharing> {
        let replica = self.replica()?;
        if let Some(sharing) = replica.sharing().await? {
            return Ok(sharing);
        }
        let identity = Identity {
            system: self.shared.parts.system.id,
            incarnation: Uuid::now_v7(),
        };
        tracing::info!(incarnation = %identity.incarnation, "this machine begins to share its queue");
        replica.share(identity, self.now()).await
    }

    pub(super) async fn me(&self) -> Result<Identity> {
        match self.replica()?.identity().await? {
            Some(me) => Ok(me),
            None => Ok(self.sharing().await?.identity),
        }
    }

    async fn register(&self, sharing: &Sharing) -> Result<Welcome> {
        let registration = Registration {
            identity: sharing.identity,
            previous: sharing.previous,
            hostname: self.shared.parts.system.hostname.clone(),
        };
        let asked = self.now();
        let welcome = self.backend.register(&registration).await?;
        self.heard(asked, welcome.now);
        Ok(welcome)
    }

    async fn unanswered(&self) -> Result<Vec<Operation>> {
        self.replica()?.outbox(0, u32::MAX, u64::MAX).await
    }

    /// The server answered.
    pub(super) fn heard(&self, asked: Timestamp, server: Timestamp) {
        let now = self.now();
        let between = asked.as_micros() / 2 + now.as_micros() / 2;
        self.shared.sync.note(|facts| {
            facts.last_contact = Some(now);
            facts.clock_ahead_ms = Some((between - server.as_micros()) / 1000);
        });
    }

    /// Begins again, because the two sides do not remember the same.
    async fn begin_again(&mut self) -> Result<()> {
        let now = self.shared.parts.clock.uptime();
        self.begun_again
            .retain(|then| now.saturating_sub(*then) < AGAIN);
        if self.begun_again.len() >= MOST_AGAIN {
            return Err(another());
        }
        self.begun_again.push(now);
        let sharing = self.sharing().await?;
        let welcome = self.register(&sharing).await?;
        let last_number = match fits(&sharing, &self.unanswered().await?, &welcome) {
            Fit::Same => None,
            Fit::Behind => Some(welcome.last_number),
            Fit::Other => return Err(another()),
        };
        if sharing.cursor == SyncCursor(0) && last_number.is_none() {
            // From the start it can't be taken up either: as a machine with another life it can.
            tracing::warn!("the server does not know what this machine has; it begins a new life");
            let identity = Identity {
                incarnation: Uuid::now_v7(),
                ..sharing.identity
            };
            self.replica()?.share(identity, self.now()).await?;
            self.registered = None;
            return self.introduce_anew().await;
        }
        tracing::warn!(
            "the server and this machine do not remember the same; everything is fetched again"
        );
        self.resync(last_number).await
    }

    /// Introduces a new life.
    async fn introduce_anew(&mut self) -> Result<()> {
        let sharing = self.sharing().await?;
        let welcome = self.register(&sharing).await?;
        self.replica()?
            .see_clock(welcome.clock.clamped(welcome.now))
            .await?;
        self.registered = Some(sharing.identity);
        Ok(())
    }

    async fn resync(&mut self, last_number: Option<u64>) -> Result<()> {
        self.claims.forget();
        self.replica()?.resync(last_number, self.now()).await
    }

    // --- sending ---

    /// Sends until nothing waits. While a batch is on its way, the answer to the one before is taken in, and the next is got
    /// ready.
    pub(super) async fn push(&mut self) -> Result<()> {
        let mut answered: Option<(Vec<Operation>, Pushed)> = None;
        loop {
            let replica = self.replica()?;
            let known = answered.as_ref().map_or(0, |(_, told)| told.acknowledged);
            let batch = replica.outbox(known, self.batch, PUSHED_BYTES).await?;
            if batch.is_empty() {
                if let Some((batch, pushed)) = answered.take() {
                    self.take_in(&batch, pushed).await?;
                } else if self.seal().await? == 0 {
                    let now = self.now();
                    self.shared.sync.note(|facts| facts.last_push = Some(now));
                    return Ok(());
                }
                continue;
            }
            let before = answered.take();
            let meanwhile = async {
                if let Some((batch, pushed)) = before {
                    self.take_in(&batch, pushed).await?;
                }
                // There is more, it seems.
                if batch.len() >= PUSHED as usize {
                    self.seal().await?;
                }
                Ok(())
            };
            let (pushed, done): (_, Result<()>) = tokio::join!(self.send(&batch), meanwhile);
            done?;
            match pushed {
                Ok(pushed) => {
                    self.batch = self.batch.saturating_mul(2).min(PUSHED);
                    answered = Some((batch, pushed));
                }
                Err(error) if error.kind() == ErrorKind::OutOfStep => self.begin_again().await?,
                Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::TooLarge) => {
                    self.not_let_in(&batch, &error).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Numbers what changed, as much as goes into one push. Returns how much.
    async fn seal(&self) -> Result<usize> {
        let replica = self.replica()?;
        let _documents = self.shared.sync.documents.lock().await;
        // What was half done to a document is not what others are to see.
        self.inbox.settle_all(replica).await?;
        let mut operations = Vec::new();
        let mut bytes = 0;
        let marks = replica.marks(&[], PUSHED).await?;
        'sealed: for marks in marks.chunks(READ_TOGETHER) {
            for operation in bodies::operations(&self.shared, replica, marks).await? {
                bytes += operation.body.as_ref().map_or(0, size) as u64;
                if bytes > PUSHED_BYTES && !operations.is_empty() {
                    break 'sealed;
                }
                operations.push(operation);
            }
        }
        let sealed = operations.len();
        if sealed > 0 {
            replica.seal(operations, self.now()).await?;
            crate::barrier!("sync.sealed");
        }
        Ok(sealed)
    }

    async fn send(&self, batch: &[Operation]) -> Result<Pushed> {
        let me = self.me().await?;
        let rule = self.shared.sync.limits().rule;
        let asked = self.now();
        let pushed = self.backend.push(me, batch, rule).await?;
        self.heard(asked, pushed.now);
        if batch
            .first()
            .is_some_and(|first| pushed.acknowledged < first.number)
        {
            return Err(Error::internal(
                "the server took a push and acknowledges nothing of it",
            ));
        }
        for result in &pushed.results {
            tracing::debug!(number = result.number, fate = ?result.fate, "an operation was answered");
        }
        crate::barrier!("sync.answered");
        Ok(pushed)
    }

    /// Keeps what became of a batch, and deals with it.
    async fn take_in(&self, batch: &[Operation], pushed: Pushed) -> Result<()> {
        let replica = self.replica()?;
        {
            let _documents = self.shared.sync.documents.lock().await;
            let (last, results) = (pushed.acknowledged, &pushed.results);
            replica
                .pushed(last, results, pushed.rows, self.now())
                .await?;
            self.inbox.settle_all(replica).await?;
        }
        tracing::debug!(to = pushed.acknowledged, "changes were sent");
        self.note_lost(batch, &pushed.results).await
    }

    /// Lets go of tasks that the server takes nothing about from this machine, because another has their lease.
    async fn note_lost(&self, batch: &[Operation], results: &[PushResult]) -> Result<()> {
        let is_lost = |result: &&PushResult| matches!(&result.fate, Fate::Refused { code, .. } if code == "lease_lost");
        for result in results.iter().filter(is_lost) {
            let operation = batch.iter().find(|one| one.number == result.number);
            let Some(change) = operation.and_then(|one| one.change.as_ref()) else {
                continue;
            };
            // It is no news: what the other machine tells counts.
            self.replica()?
                .dismiss_set_aside(result.number, false, self.now())
                .await?;
            let task = bodies::task_of(&change.kind, change.id, change.body.as_ref());
            let Some(task) = task.filter(|task| self.shared.sync.epoch(*task) == change.epoch)
            else {
                continue;
            };
            let row = self.shared.parts.store.task(task).await;
            if row.is_ok_and(|row| !row.yielded) && self.shared.sync.kept(task).is_some() {
                tracing::warn!(%task, "another machine has the lease of a shared task; what became of it here does not count");
                super::leases::give_up(&self.shared, task, Duration::ZERO).await?;
            }
        }
        Ok(())
    }

    /// Finds the one operation that the server does not let in, and sets it aside; the rest goes on.
    async fn not_let_in(&mut self, batch: &[Operation], error: &Error) -> Result<()> {
        let sharing = self.sharing().await?;
        let welcome = self.register(&sharing).await?;
        match (batch, fits(&sharing, batch, &welcome)) {
            // It does not know what it once acknowledged, so these don't follow on what it has.
            (_, Fit::Behind) => self.begin_again().await,
            (_, Fit::Other) => Err(another()),
            ([one], Fit::Same) => {
                let why = crate::chain(error);
                tracing::error!(
                    number = one.number,
                    why,
                    "the server can't take a change; it is set aside"
                );
                self.replica()?
                    .set_operation_aside(one.number, &why, self.now())
                    .await
            }
            (several, Fit::Same) => {
                self.batch = u32::try_from(several.len() / 2).unwrap_or(1).max(1);
                Ok(())
            }
        }
    }

    // --- fetching ---

    /// Fetches until there is nothing that this machine does not have.
    async fn pull(&mut self) -> Result<()> {
        while !self.pull_through().await? {
            self.begin_again().await?;
            self.push().await?;
        }
        let now = self.now();
        self.shared.sync.note(|facts| facts.last_pull = Some(now));
        Ok(())
    }

    /// Fetches page by page, each while the one before is kept. `false` if the two sides do not remember the same.
    async fn pull_through(&self) -> Result<bool> {
        let replica = self.replica()?;
        // What the server is told must be known here first, or its answer could be taken for another's.
        let mark = Uuid::now_v7();
        replica.leave_mark(mark).await?;
        crate::barrier!("sync.marked");
        let sharing = self.sharing().await?;
        let mut query = PullQuery {
            after: sharing.cursor,
            limit: PULLED,
            known_marks: sharing.left_marks.clone(),
            mark: Some(mark),
        };
        let mut page = self.fetch(&sharing, &query).await?;
        while let Some(pulled) = page {
            let adoption = Adoption {
                rows: pulled.rows,
                cursor: pulled.cursor,
                mark: query.mark.take(),
                complete: !pulled.more,
            };
            crate::barrier!("sync.fetched");
            if !pulled.more {
                self.adopt(adoption).await?;
                return Ok(true);
            }
            query.after = pulled.cursor;
            let next = self.fetch(&sharing, &query);
            let (adopted, next) = tokio::join!(self.adopt(adoption), next);
            adopted?;
            page = next?;
        }
        Ok(false)
    }

    /// A page. `None` if the server does not remember what this machine does.
    async fn fetch(&self, sharing: &Sharing, query: &PullQuery) -> Result<Option<Pulled>> {
        let asked = self.now();
        let pulled = match self.backend.pull(sharing.identity, query).await {
            Err(error) if error.kind() == ErrorKind::OutOfStep => return Ok(None),
            pulled => pulled?,
        };
        self.heard(asked, pulled.now);
        Ok((pulled.last_number >= sharing.acknowledged).then_some(pulled))
    }

    /// Keeps what came, and deals with it.
    async fn adopt(&self, adoption: Adoption) -> Result<()> {
        let replica = self.replica()?;
        let _documents = self.shared.sync.documents.lock().await;
        let adopted = replica.adopt(adoption, self.now()).await?;
        crate::barrier!("sync.adopted");
        self.inbox.settle_all(replica).await?;
        if adopted.changed > 0 {
            tracing::debug!(
                changed = adopted.changed,
                "changes of other machines came in"
            );
        }
        Ok(())
    }
}

/// How what the server knows of this machine fits what it knows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Same,
    /// The server lacks what it once acknowledged.
    Behind,
    /// Somebody else wrote as this machine.
    Other,
}

fn fits(sharing: &Sharing, outbox: &[Operation], welcome: &Welcome) -> Fit {
    let last = welcome.last_number;
    if last < sharing.acknowledged {
        return Fit::Behind;
    }
    let own = match last {
        _ if last == sharing.acknowledged => sharing.acknowledged_uuid,
        _ => match outbox.iter().find(|operation| operation.number == last) {
            Some(operation) => Some(operation.uuid),
            // Further than this machine ever was, unless this is not all that it has.
            None if last > sharing.sealed => return Fit::Other,
            None => return Fit::Same,
        },
    };
    match (own, welcome.last_uuid) {
        (Some(own), Some(theirs)) if own != theirs => Fit::Other,
        _ => Fit::Same,
    }
}

fn another() -> Error {
    Error::new(
        ErrorKind::Taken(Noun::System),
        "another machine, or another copy of this one, writes as this machine",
    )
}

fn size(body: &serde_json::Value) -> usize {
    body.to_string().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SystemId;
    use crate::store::Pending;
    use crate::sync::Hlc;

    #[test]
    fn the_servers_memory_is_compared_with_this_machines() {
        let (kept, sent) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let sharing = Sharing {
            identity: Identity {
                system: SystemId::new(),
                incarnation: Uuid::from_u128(9),
            },
            previous: None,
            acknowledged: 4,
            acknowledged_uuid: Some(kept),
            sealed: 5,
            cursor: SyncCursor(0),
            complete: true,
            clock: Hlc::default(),
            left_marks: Vec::new(),
            pending: Pending::default(),
        };
        let outbox = [Operation {
            number: 5,
            uuid: sent,
            change: None,
        }];
        let fit = |last_number, last_uuid| {
            let welcome = Welcome {
                now: Timestamp::UNIX_EPOCH,
                last_number,
                last_uuid,
                clock: Hlc::default(),
            };
            fits(&sharing, &outbox, &welcome)
        };
        assert_eq!(fit(4, Some(kept)), Fit::Same);
        assert_eq!(fit(5, Some(sent)), Fit::Same, "the answer was lost");
        assert_eq!(fit(3, Some(Uuid::from_u128(7))), Fit::Behind);
        assert_eq!(fit(0, None), Fit::Behind);
        assert_eq!(fit(4, Some(sent)), Fit::Other);
        assert_eq!(fit(5, Some(kept)), Fit::Other);
        assert_eq!(fit(6, Some(sent)), Fit::Other);
    }
}
