//! What every [`SyncBackend`] with a server behind it must do.

mod changes;
mod claims;
mod conflicts;
mod machines;
mod owners;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub use changes::*;
pub use claims::*;
pub use conflicts::*;
pub use machines::*;
pub use owners::*;

use super::{refused, soon};
use crate::id::{FencingToken, ProjectId, TaskId};
use crate::sync::documents::{Definition, write};
use crate::sync::{
    Change, ConflictRule, Fate, Hlc, Identity, Kind, Lease, Operation, PullQuery, Pulled, Pushed,
    Registration, Row, SharedClaim, SyncBackend, SyncCursor, Welcome,
};
use crate::task::SessionMode;
use crate::time::Timestamp;
use crate::{ErrorKind, Noun};

/// Makes one `#[tokio::test]` of every case of the sync suite.
///
/// The first argument is an async function without arguments that returns a [`SyncPlace`] with an empty server. What
/// follows goes into `#[tokio::test(...)]`.
#[macro_export]
macro_rules! sync_conformance {
    ($factory:path) => { $crate::sync_conformance!($factory,); };
    ($factory:path, $($flavor:tt)*) => {
        $crate::for_each_sync_case!($factory, [$($flavor)*]);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! for_each_sync_case {
    ($factory:path, $flavor:tt) => {
        $crate::for_each_sync_case!($factory, $flavor,
            what_was_pushed_is_pulled
            the_last_content_is_pulled
            any_characters_are_taken
            a_repeated_push_is_skipped
            a_gap_is_refused
            a_reused_number_is_another_machine
            pages_follow_on_each_other
            a_follower_misses_nothing
            a_push_pokes_the_others
            one_machine_gets_a_task
            a_task_that_is_not_there_is_not_given
            a_task_that_ended_is_not_given
            a_repeated_claim_is_the_same
            a_lease_ends_unless_it_is_renewed
            a_finished_task_is_given_back
            the_later_edit_counts
            an_edit_of_the_last_version_is_no_conflict
            the_servers_edit_counts_until_somebody_decides
            a_wrong_clock_does_not_win
            every_machine_comes_to_the_same
            a_machine_registers_again
            a_copy_of_a_machine_is_refused
            an_older_state_goes_on_as_another_life
            an_unknown_machine_is_out_of_step
            a_restored_server_is_noticed
            a_lost_mark_does_no_harm
            a_revoked_machine_is_shut_out
            nobody_revokes_itself
            a_machine_writes_its_own_documents
            a_pinned_task_is_its_machines
            a_shared_task_is_its_holders
            a_wish_never_changes
        );
    };
    ($factory:path, $flavor:tt, $($case:ident)*) => {
        /// The names of the suite's cases.
        #[allow(dead_code)]
        const SYNC_CASES: &[&str] = &[$(stringify!($case)),*];
        $($crate::conformance_case!(sync $factory $flavor $case);)*
    };
}

/// A server under test that several machines of one user share.
#[async_trait]
pub trait SyncPlace: Send + Sync {
    /// Another machine with an id and a sign-in of its own, which has registered with [`registration`].
    async fn machine(&self) -> (Identity, Arc<dyn SyncBackend>);

    /// Lets so much time pass on the server.
    async fn pass(&self, period: Duration);

    /// Keeps a copy of what the server has.
    async fn back_up(&self);

    /// Puts back what [`back_up`](Self::back_up) kept.
    async fn restore(&self);
}

/// What a machine of a [`SyncPlace`] says of itself.
pub fn registration(identity: Identity) -> Registration {
    Registration {
        identity,
        previous: None,
        hostname: format!("box-{}", identity.system),
    }
}

/// How long the suite's leases are. A real server's time passes for real, so it is short.
const PERIOD: Duration = Duration::from_secs(3);
/// The repository of the shared tasks.
const REPOSITORY: &str = "example.org/größe";

/// A machine that numbers what it says.
struct Machine {
    me: Identity,
    backend: Arc<dyn SyncBackend>,
    number: u64,
    /// The server's time when it came.
    began: Timestamp,
}

impl Machine {
    async fn of(place: &dyn SyncPlace) -> Self {
        let (me, backend) = place.machine().await;
        assert!(backend.is_connected());
        let welcome = backend.register(&registration(me)).await.unwrap();
        Self {
            me,
            backend,
            number: welcome.last_number,
            began: welcome.now,
        }
    }

    /// A moment in the last hour before this machine came; a higher `step` is later.
    fn at(&self, step: i64) -> Hlc {
        Hlc {
            time: self.began.as_micros() - 3_600_000_000 + step,
            count: 3,
        }
    }

    fn operation(&mut self, change: Option<Change>) -> Operation {
        self.number += 1;
        Operation {
            number: self.number,
            uuid: Uuid::now_v7(),
            change,
        }
    }

    /// A document that no other machine has written.
    fn new_document(&mut self, kind: Kind, id: Uuid, body: Option<Value>) -> Operation {
        let hlc = self.at(self.number as i64);
        self.operation(Some(change(kind, id, body, hlc)))
    }

    async fn push(&self, batch: &[Operation]) -> crate::Result<Pushed> {
        let rule = ConflictRule::LastWriteWins;
        self.backend.push(self.me, batch, rule).await
    }

    /// Pushes one change, and returns what became of it and of its document.
    async fn say(&mut self, change: Change, rule: ConflictRule) -> (Fate, Option<Row>) {
        let key = (change.kind.clone(), change.id);
        let operation = self.operation(Some(change));
        let pushed = self.backend.push(self.me, &[operation], rule).await;
        let pushed = pushed.unwrap();
        assert_eq!(pushed.acknowledged, self.number);
        let [result] = <[_; 1]>::try_from(pushed.results).expect("one result");
        assert_eq!(result.number, self.number);
        let row = pushed.rows.into_iter().next();
        if let Some(row) = &row {
            assert_eq!((row.kind.clone(), row.id), key, "the row of the document");
        }
        (result.fate, row)
    }

    /// Writes a document that must be taken.
    async fn tell(&mut self, kind: Kind, id: Uuid, body: Value) -> Row {
        let operation = self.new_document(kind, id, Some(body));
        let change = operation.change.expect("a change");
        self.number -= 1;
        let (fate, row) = self.say(change, ConflictRule::LastWriteWins).await;
        assert_eq!(fate, Fate::Taken);
        row.expect("the document")
    }

    /// A project of this machine.
    async fn project(&mut self) -> ProjectId {
        let id = ProjectId::new();
        let body = json!({
            "id": id, "name": "größe", "path": "/home/me/größe", "system_id": self.me.system,
            "repository": REPOSITORY, "remote_tasks": "allow",
        });
        self.tell(Kind::Project, *id.as_uuid(), body).await;
        id
    }

    /// A task of a project that only the project's machine may run, or any that has the repository.
    async fn task(&mut self, project: ProjectId, any_machine: bool) -> TaskId {
        let task = TaskId::new();
        let body = self.definition(project, any_machine, "Measure it");
        self.tell(Kind::Task, *task.as_uuid(), body).await;
        task
    }

    fn definition(&self, project_id: ProjectId, any_machine: bool, title: &str) -> Value {
        let definition = Definition {
            project_id,
            repository: Some(REPOSITORY.to_owned()),
            any_machine,
            pinned: false,
            title: title.to_owned(),
            text: "Measure it.".to_owned(),
            priority: 0,
            not_before: None,
            blocked_by: Vec::new(),
            max_retries: 0,
            timeout_us: None,
            session: SessionMode::default(),
            tags: Vec::new(),
            system_type: None,
            created_by: "cli".to_owned(),
            created_on: self.me.system,
            created_at: self.began,
            extra: Map::from_iter([("later".to_owned(), json!({ "than": ["this", 1, null] }))]),
        };
        write(&definition).unwrap()
    }

    /// What this machine says of a task.
    fn report(&mut self, task: TaskId, state: &str, epoch: Option<FencingToken>) -> Change {
        let body = json!({ "id": task, "system_id": self.me.system, "state": state });
        let hlc = self.at(self.number as i64 + 1);
        let change = change(Kind::Report, *task.as_uuid(), Some(body), hlc);
        Change { epoch, ..change }
    }

    /// What becomes of saying so.
    async fn reported(&mut self, task: TaskId, state: &str, epoch: Option<FencingToken>) -> Fate {
        let report = self.report(task, state, epoch);
        self.say(report, ConflictRule::LastWriteWins).await.0
    }

    async fn page(&self, after: SyncCursor, limit: u32) -> Pulled {
        let query = PullQuery::after(after, limit);
        let page = self.backend.pull(self.me, &query).await.unwrap();
        assert!(page.rows.len() <= limit as usize, "more than was asked for");
        let end = page.rows.last().map_or(after.0, |row| row.seq);
        assert!(page.cursor.0 >= end, "the cursor is behind the rows");
        page
    }

    /// All that the server has, in pages.
    async fn pull_all(&self, limit: u32) -> Vec<Row> {
        let (mut all, mut cursor) = (Vec::new(), SyncCursor::default());
        loop {
            let page = self.page(cursor, limit).await;
            assert!(
                page.cursor > cursor || page.rows.is_empty(),
                "the cursor did not move"
            );
            all.extend(page.rows);
            cursor = page.cursor;
            if !page.more {
                break;
            }
        }
        assert!(all.is_sorted_by(|a, b| a.seq < b.seq), "in order of seq");
        all
    }

    /// The server's version of a document.
    async fn row(&self, kind: Kind, id: Uuid) -> Option<Row> {
        let rows = self.pull_all(100).await;
        rows.into_iter()
            .find(|row| (&row.kind, row.id) == (&kind, id))
    }

    async fn claim(&self, task: TaskId) -> crate::Result<Lease> {
        self.backend.claim(self.me, &wish(task)).await
    }

    async fn renew(&self, task: TaskId, token: FencingToken) -> crate::Result<Lease> {
        self.backend.renew(self.me, task, token, PERIOD).await
    }

    async fn finish(&self, task: TaskId, token: FencingToken) -> crate::Result<()> {
        self.backend.finish(self.me, task, token).await
    }

    async fn register(&self, registration: &Registration) -> crate::Result<Welcome> {
        self.backend.register(registration).await
    }
}

fn change(kind: Kind, id: Uuid, body: Option<Value>, hlc: Hlc) -> Change {
    Change {
        kind,
        id,
        body,
        hlc,
        base: None,
        base_body: None,
        epoch: None,
    }
}

fn wish(task: TaskId) -> SharedClaim {
    SharedClaim {
        id: Uuid::now_v7(),
        task,
        period: PERIOD,
    }
}

/// The codes of a refusal must be among `codes`.
#[track_caller]
fn assert_refused(fate: &Fate, codes: &[&str]) {
    match fate {
        Fate::Refused { code, .. } if codes.contains(&code.as_str()) => {}
        fate => panic!("this was to be refused with one of {codes:?}: {fate:?}"),
    }
}

/// A kind that this program does not know.
fn unknown() -> Kind {
    Kind::Other("later".to_owned())
}
