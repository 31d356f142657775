//! What every [`Replica`] must do.

mod documents;
mod incoming;
mod leases;
mod like_memory;
mod marks;
mod outgoing;
mod settling;
mod sharing;

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

pub use documents::*;
pub use incoming::*;
pub use leases::*;
pub use like_memory::*;
pub use marks::*;
pub use outgoing::*;
pub use settling::*;
pub use sharing::*;

use super::refused;
use super::store::StorePlace;
use crate::event::Event;
use crate::id::{AgentId, FencingToken, ProjectId, RunId, SystemId, TaskId};
use crate::run::{Outcome, Verdict};
use crate::store::{
    Act, Adopted, Adoption, Claim, Claimed, CreateTasks, Document, EventQuery, Finish, LeaseRecord,
    Mark, NewDocument, NewProject, NewTask, Registered, Replica, SealedOperation, Settle, Sharing,
    Store,
};
use crate::sync::{Hlc, Identity, Kind, Operation, Row, SyncCursor};
use crate::system::{System, SystemKind};
use crate::task::{Task, TaskSpec, TaskText};
use crate::time::Timestamp;
use crate::{ErrorKind, Noun};

/// Makes one `#[tokio::test]` of every case of the replica suite.
///
/// The first argument is an async function without arguments that returns a
/// [`StorePlace`](crate::testing::conformance::store::StorePlace) with an empty store that has a replica. What follows goes
/// into `#[tokio::test(...)]`.
#[macro_export]
macro_rules! replica_conformance {
    ($factory:path) => { $crate::replica_conformance!($factory,); };
    ($factory:path, $($flavor:tt)*) => {
        $crate::for_each_replica_case!($factory, [$($flavor)*]);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! for_each_replica_case {
    ($factory:path, $flavor:tt) => {
        $crate::for_each_replica_case!($factory, $flavor,
            nothing_is_shared_at_first
            sharing_marks_everything_there_is
            sharing_again_changes_nothing
            another_identity_begins_anew
            unsharing_keeps_what_is_of_this_machine
            resync_asks_for_everything_again
            resync_sends_again_what_the_server_lost
            resync_goes_on_after_a_number
            the_clock_only_goes_on
            left_marks_are_known_until_one_is_answered
            every_change_leaves_its_mark
            a_refused_change_leaves_no_mark
            a_second_change_moves_the_moment
            marks_are_asked_for_by_kind
            an_edit_names_what_the_server_has
            a_removed_project_is_told
            seal_takes_unchanged_marks_away
            numbers_have_no_gaps
            operations_stay_what_they_were
            the_outbox_is_read_by_size
            pushed_takes_out_what_is_acknowledged
            pushed_adopts_the_servers_row
            pushed_keeps_what_was_changed_again
            pushed_keeps_another_edit_that_was_not_seen
            what_was_refused_can_be_looked_at
            what_was_refused_can_be_tried_again
            setting_aside_releases_what_waited
            setting_aside_keeps_what_has_more_to_send
            adopt_keeps_rows_and_cursor
            an_older_row_changes_nothing
            adopt_never_overwrites_what_waits
            what_this_machine_sent_comes_back_quietly
            what_this_machine_lost_comes_back
            what_is_not_known_survives
            a_deletion_is_kept
            put_writes_as_this_machine
            put_takes_all_or_nothing
            a_repeated_put_is_one
            documents_are_listed
            documents_are_counted
            definitions_for_this_machine_are_unsettled
            wishes_wait_for_their_task
            settling_is_done_once
            several_are_settled_or_none
            settling_compares_the_place
            a_failed_act_settles_nothing
            a_task_of_another_machine_is_created
            a_held_task_waits_for_leave
            a_refused_task_fails
            an_edit_reaches_a_task_that_runs
            wishes_are_granted
            a_task_of_another_machine_is_waited_for
            a_yielded_task_is_told_of_no_more
            a_yielded_task_can_come_back
            leases_are_kept
            it_does_what_the_one_in_memory_does
        );
    };
    ($factory:path, $flavor:tt, $($case:ident)*) => {
        /// The names of the suite's cases.
        #[allow(dead_code)]
        const REPLICA_CASES: &[&str] = &[$(stringify!($case)),*];
        $($crate::conformance_case!(replica $factory $flavor $case);)*
    };
}

/// A moment, in seconds after the suite's beginning of time.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000 + seconds * 1_000_000)
}

fn hlc(seconds: i64) -> Hlc {
    Hlc {
        time: at(seconds).as_micros(),
        count: 0,
    }
}

/// A store that has begun.
struct Bench {
    store: Arc<dyn Store>,
    system: System,
    /// Another machine.
    other: SystemId,
}

impl Bench {
    async fn new(place: &dyn StorePlace) -> Self {
        let system = System {
            id: SystemId::new(),
            hostname: "mühle".to_owned(),
            kind: SystemKind::Devops,
            tags: vec!["gpu".to_owned()],
        };
        Self::of(place.store(), system).await
    }

    async fn of(store: Arc<dyn Store>, system: System) -> Self {
        store.begin(&system, at(0)).await.expect("begin");
        Self {
            store,
            system,
            other: SystemId::new(),
        }
    }

    /// One that shares, with nothing that is still to be sent.
    async fn sharing(place: &dyn StorePlace) -> Self {
        let bench = Self::new(place).await;
        bench.share(1).await;
        bench.send_all().await;
        bench
    }

    fn replica(&self) -> &dyn Replica {
        self.store.replica().expect("the store has a replica")
    }

    fn identity(&self, life: u128) -> Identity {
        Identity {
            system: self.system.id,
            incarnation: Uuid::from_u128(life),
        }
    }

    async fn share(&self, life: u128) -> Sharing {
        let identity = self.identity(life);
        self.replica().share(identity, at(1)).await.expect("share")
    }

    async fn known(&self) -> Sharing {
        let sharing = self.replica().sharing().await.expect("sharing");
        sharing.expect("it is on")
    }

    async fn project(&self, name: &str) -> Registered {
        let new = NewProject {
            id: ProjectId::new(),
            agent_id: AgentId::new(),
            name: name.to_owned(),
            exact_name: false,
            path: PathBuf::from("/projects").join(name),
            now: at(2),
        };
        self.store.register_project(new).await.expect("register")
    }

    async fn task(&self, project: &Registered, text: &str) -> Task {
        let request = order(TaskId::new(), project.project.id, spec(text));
        let created = self.store.create_tasks(request).await.expect("create");
        created.tasks.into_iter().next().expect("one task")
    }

    async fn claimed(&self, project: &Registered, task: &Task) -> Claimed {
        let claim = Claim {
            task: task.id,
            run: RunId::new(),
            agent: project.agent.id,
            system: self.system.id,
            lease_until: None,
            now: at(5),
        };
        self.store.claim(claim).await.expect("claim")
    }

    async fn done(&self, claimed: &Claimed, verdict: Verdict) -> Task {
        let (run, token) = (claimed.run.id, claimed.run.token);
        let done = self.store.finish(run, token, end(verdict), at(9)).await;
        done.expect("finish")
    }

    async fn marks(&self) -> Vec<Mark> {
        self.replica().marks(&[], 10_000).await.expect("marks")
    }

    async fn marked(&self) -> Vec<(String, Uuid)> {
        let marks = self.marks().await.into_iter();
        let mut names: Vec<_> = marks.map(|mark| (mark.kind.to_string(), mark.id)).collect();
        names.sort();
        names
    }

    async fn outbox(&self) -> Vec<Operation> {
        let outbox = self.replica().outbox(0, 10_000, u64::MAX).await;
        outbox.expect("outbox")
    }

    /// Seals every mark with a content that says what it is.
    async fn seal_all(&self) -> Vec<Operation> {
        let marks = self.marks().await;
        let sealed = marks.into_iter().map(|mark| {
            let body = json!({ "of": mark.id });
            sealed(mark, Some(body))
        });
        let sealed = sealed.collect();
        self.replica().seal(sealed, at(3)).await.expect("seal");
        self.outbox().await
    }

    /// Has the server take everything, whatever it is.
    async fn send_all(&self) {
        let outbox = self.seal_all().await;
        if let Some(last) = outbox.last() {
            let pushed = self.replica().pushed(last.number, &[], Vec::new(), at(3));
            pushed.await.expect("pushed");
        }
        assert_eq!(self.marked().await, []);
    }

    fn row(&self, kind: Kind, id: Uuid, seq: u64, body: Value) -> Row {
        Row {
            kind,
            id,
            body: Some(body),
            hlc: hlc(seq as i64),
            origin: self.other,
            seq,
            epoch: None,
        }
    }

    /// A definition for a project as another machine writes it.
    fn definition(&self, task: TaskId, project: ProjectId, seq: u64) -> Row {
        let body = json!({ "project_id": project, "title": format!("version {seq}"), "text": "x" });
        self.row(Kind::Task, *task.as_uuid(), seq, body)
    }

    async fn adopt(&self, rows: Vec<Row>) -> Adopted {
        let cursor = rows.iter().map(|row| row.seq).max();
        self.adopt_to(rows, cursor.unwrap_or_default(), false).await
    }

    async fn adopt_to(&self, rows: Vec<Row>, cursor: u64, complete: bool) -> Adopted {
        let adoption = Adoption {
            rows,
            cursor: SyncCursor(cursor),
            mark: None,
            complete,
        };
        self.replica().adopt(adoption, at(20)).await.expect("adopt")
    }

    async fn document(&self, kind: Kind, id: Uuid) -> Option<Document> {
        let document = self.replica().document(&kind, id).await;
        document.expect("document")
    }

    async fn put(&self, kind: Kind, id: Uuid, body: Value) -> Document {
        let new = new_document(kind, id, body);
        let put = self.replica().put(vec![new], None, at(10)).await;
        put.expect("put").pop().expect("one document")
    }

    async fn unsettled(&self) -> Vec<Document> {
        let unsettled = self.replica().unsettled(0, 100).await;
        unsettled.expect("unsettled")
    }

    async fn open(&self) -> Vec<Uuid> {
        let unsettled = self.unsettled().await.into_iter();
        unsettled.map(|document| document.id).collect()
    }

    /// Settles a document that is unsettled.
    async fn settle(&self, id: Uuid, act: Act) -> crate::Result<()> {
        let unsettled = self.unsettled().await;
        let document = unsettled.iter().find(|document| document.id == id);
        let document = document.expect("it is unsettled");
        self.replica().settle(settle(document, act)).await
    }

    /// Adopts a definition and makes a task of it.
    async fn accept(&self, project: &Registered, seq: u64) -> Task {
        let id = TaskId::new();
        let row = self.definition(id, project.project.id, seq);
        self.adopt(vec![row]).await;
        let act = create(order(id, project.project.id, spec("from afar")));
        self.settle(*id.as_uuid(), act).await.expect("settle");
        self.store.task(id).await.expect("task")
    }

    async fn ready(&self) -> Vec<TaskId> {
        let ready = self.store.ready(at(30), 10).await.expect("ready");
        let projects = ready.projects.into_iter();
        let candidates = projects.flat_map(|project| project.candidates);
        candidates.map(|candidate| candidate.task).collect()
    }

    async fn head(&self) -> u64 {
        self.store.log().await.expect("log").head.0
    }

    async fn told_since(&self, seq: u64) -> Vec<Event> {
        let query = EventQuery {
            after: crate::id::Seq(seq),
            limit: 10_000,
            ..EventQuery::default()
        };
        self.store.events(&query).await.expect("events")
    }

    async fn kinds_since(&self, seq: u64) -> String {
        let events = self.told_since(seq).await;
        let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
        kinds.join(" ")
    }
}

fn spec(text: &str) -> TaskSpec {
    TaskSpec::new(TaskText::new(text).expect("a good text"))
}

fn order(id: TaskId, project_id: ProjectId, spec: TaskSpec) -> CreateTasks {
    CreateTasks {
        tasks: vec![NewTask {
            id,
            project_id,
            spec,
        }],
        created_by: "cli".to_owned(),
        key: None,
        max_queued: 1_000,
        now: at(4),
    }
}

fn create(request: CreateTasks) -> Act {
    Act::Create {
        request: Box::new(request),
        hold: None,
        lease: None,
    }
}

/// A wish of another machine.
fn wish(bench: &Bench, task: TaskId, what: &str, seq: u64) -> Row {
    let body = json!({ "task_id": task, "what": what, "by": "them" });
    bench.row(Kind::Wish, Uuid::now_v7(), seq, body)
}

/// A lease as it is kept.
fn lease(number: u64) -> LeaseRecord {
    LeaseRecord {
        claim: Uuid::from_u128(u128::from(number)),
        token: Some(FencingToken(number)),
        until: Some(at(300)),
    }
}

fn settle(document: &Document, act: Act) -> Settle {
    Settle {
        kind: document.kind.clone(),
        id: document.id,
        place: document.place,
        act,
        now: at(11),
    }
}

fn sealed(mark: Mark, body: Option<Value>) -> SealedOperation {
    SealedOperation {
        mark,
        uuid: Uuid::now_v7(),
        body,
        epoch: None,
    }
}

fn new_document(kind: Kind, id: Uuid, body: Value) -> NewDocument {
    NewDocument {
        kind,
        id,
        body: Some(body),
        settled: false,
    }
}

fn end(verdict: Verdict) -> Finish {
    Finish {
        outcome: Outcome {
            verdict,
            exit_code: Some(0),
            result: Some("done".to_owned()),
            denied: 0,
        },
        started_at: Some(at(6)),
        usage: None,
        cost_usd: None,
        retry_at: None,
    }
}

fn name(kind: Kind, id: &Uuid) -> (String, Uuid) {
    (kind.to_string(), *id)
}

fn sorted<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort();
    items
}

const OFF: ErrorKind = ErrorKind::WrongState(Noun::System);
