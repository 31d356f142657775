//! Databases of every released schema, and those that must not be opened.
//!
//! `tests/schemas/N.sql` is what `sqlite3 DATABASE .dump` said of a database of schema N that [`seed`] had filled, and
//! its `user_version` and `application_id`. `CCM_STORE_TEST_SEED=FILE` makes such a database of the present schema.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ccm_core::agent::{AgentState, Evidence, Want, Wanted, Wish};
use ccm_core::ask::{Answer, AskKind, Question};
use ccm_core::id::{AgentId, AskId, FencingToken, InputId, ProjectId, RunId, SystemId, TaskId};
use ccm_core::input::InputState;
use ccm_core::run::{Checkpoint, Observation, Parking, ParserState, Stream, Usage, Verdict};
use ccm_core::store::{
    Act, Adoption, AskQuery, Claim, DocumentQuery, EventQuery, Finish, IdempotencyKey, Intake,
    Interrupt, LeaseRecord, NewDocument, NewProject, QueueQuery, Replica, Reply, RunQuery,
    SealedOperation, Settle, TaskEdit, TaskMove, TaskQuery,
};
use ccm_core::sync::{Fate, Hlc, Identity, Kind, PushResult, Row, SyncCursor};
use ccm_core::system::{System, SystemKind};
use ccm_core::task::{
    Place as QueuePlace, SessionMode, Setback, SpecEdit, StopIntent, TaskText, Title,
};
use ccm_core::{ErrorKind, Reason, Store};
use ccm_store::{SqliteOptions, SqliteStore};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Place, at, done, key, request, spec};

/// The present schema. Every one up to it has a file.
const SCHEMA: u32 = 7;

const fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number)
}

pub(crate) fn seed_system() -> System {
    System {
        id: SystemId::from_uuid(uuid(1)),
        hostname: "mühle".to_owned(),
        kind: SystemKind::Business,
        tags: vec!["gpu".to_owned()],
    }
}

fn task_id(number: u128) -> TaskId {
    TaskId::from_uuid(uuid(1000 + number))
}

/// Puts something into every column that schema `version` has. The same every time.
pub(crate) async fn seed(store: &dyn Store, version: u32) {
    seed_1(store).await;
    if version >= 2 {
        seed_2(store).await;
    }
    if version >= 3 {
        seed_3(store).await;
    }
    if version >= 4 {
        seed_4(store).await;
    }
    if version >= 5 {
        seed_5(store).await;
    }
    if version >= 7 {
        seed_7(store).await;
    }
}

/// What is shared, on its way, refused, waited for and given up.
async fn seed_7(store: &dyn Store) {
    let replica = store.replica().unwrap();
    for life in [7001, 7002] {
        let identity = Identity {
            system: seed_system().id,
            incarnation: uuid(life),
        };
        replica.share(identity, at(70)).await.unwrap();
    }
    replica.leave_mark(uuid(7003)).await.unwrap();
    let seal = async |number: u128| {
        let marks = replica.marks(&[], 1000).await.unwrap();
        let operation = |(mark, number)| SealedOperation {
            mark,
            uuid: uuid(number),
            body: Some(json!({ "number": number })),
            epoch: Some(FencingToken(3)),
        };
        let sealed = marks.into_iter().zip(number..).map(operation);
        replica.seal(sealed.collect(), at(71)).await.unwrap();
        replica.outbox(0, 1000, u64::MAX).await.unwrap()
    };
    let first = seal(7100).await;
    let refused = |number| PushResult {
        number,
        fate: Fate::Refused {
            code: "invalid".to_owned(),
            message: "'no'".to_owned(),
        },
    };
    let last = first.last().unwrap().number - 1;
    replica
        .pushed(last, &[refused(1)], Vec::new(), at(72))
        .await
        .unwrap();
    let row = |kind, id, seq, body| Row {
        kind,
        id,
        body: Some(body),
        hlc: Hlc {
            time: at(80).as_micros(),
            count: 3,
        },
        origin: SystemId::from_uuid(uuid(2)),
        seq,
        epoch: Some(FencingToken(4)),
    };
    let project = ProjectId::from_uuid(uuid(10));
    let definition = |number, seq| {
        let body = json!({ "project_id": project, "title": "äöü", "n": number });
        row(Kind::Task, *task_id(number).as_uuid(), seq, body)
    };
    let elsewhere = json!({ "task_id": uuid(9001), "run_id": uuid(9002), "state": "open" });
    let shared = json!({ "any_machine": true, "repository": "host/path" });
    let succeeded = json!({ "state": "succeeded" });
    let rows = vec![
        definition(40, 11),
        definition(41, 12),
        definition(42, 13),
        row(Kind::Ask, uuid(7200), 14, elsewhere),
        row(Kind::Task, uuid(7201), 15, shared),
        row(Kind::Report, uuid(7201), 16, succeeded),
    ];
    let adoption = |rows, cursor, mark| Adoption {
        rows,
        cursor: SyncCursor(cursor),
        mark,
        complete: true,
    };
    let first = adoption(rows, 16, Some(uuid(7004)));
    replica.adopt(first, at(73)).await.unwrap();
    for (number, hold) in [(40, true), (41, false)] {
        let id = task_id(number);
        let held = Setback::new(Reason::RemoteUnapproved, "from 'afar'");
        let mut wish = request(project, vec![spec("from afar")]);
        wish.tasks[0].id = id;
        wish.tasks[0].spec.blocked_by = vec![TaskId::from_uuid(uuid(7201))];
        let act = Act::Create {
            request: Box::new(wish),
            hold: hold.then_some(held),
            lease: None,
        };
        settle(replica, id, act).await;
        let lease = LeaseRecord {
            claim: uuid(7300 + number),
            token: Some(FencingToken(5)),
            until: Some(at(900)),
        };
        replica.keep_lease(id, Some(lease)).await.unwrap();
    }
    settle(replica, task_id(41), Act::Yield { task: task_id(41) }).await;
    let key = IdempotencyKey {
        route: "documents".to_owned(),
        ..key("seed", "print").unwrap()
    };
    for (number, key) in [(42, Some(key)), (43, None)] {
        let new = NewDocument {
            kind: Kind::Task,
            id: *task_id(number).as_uuid(),
            body: Some(json!({ "v": number })),
            settled: false,
        };
        replica.put(vec![new], key, at(74)).await.unwrap();
    }
    let waits = adoption(vec![definition(42, 17)], 17, None);
    replica.adopt(waits, at(75)).await.unwrap();
    replica.leave_mark(uuid(7005)).await.unwrap();
}

async fn settle(replica: &dyn Replica, task: TaskId, act: Act) {
    let document = replica.document(&Kind::Task, *task.as_uuid()).await;
    let settle = Settle {
        kind: Kind::Task,
        id: *task.as_uuid(),
        place: document.unwrap().unwrap().place,
        act,
        now: at(74),
    };
    replica.settle(settle).await.unwrap();
}

/// All that there is to read of sharing.
async fn everything_shared(store: &dyn Store) -> String {
    let replica = store.replica().unwrap();
    let query = DocumentQuery {
        limit: 1000,
        ..DocumentQuery::default()
    };
    format!(
        "{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}",
        replica.sharing().await.unwrap(),
        replica.marks(&[], 1000).await.unwrap(),
        replica.outbox(0, 1000, u64::MAX).await.unwrap(),
        replica.set_aside(1000).await.unwrap(),
        replica.documents(&query).await.unwrap(),
        replica.unsettled(0, 1000).await.unwrap(),
        replica.leases().await.unwrap(),
    )
}

/// A run that a person interrupted.
async fn seed_5(store: &dyn Store) {
    let claim = Claim {
        task: task_id(20),
        run: RunId::from_uuid(uuid(2020)),
        agent: AgentId::from_uuid(uuid(20)),
        system: seed_system().id,
        lease_until: None,
        now: at(60),
    };
    store.claim(claim).await.unwrap();
    let interrupt = |number, second, then| Interrupt {
        id: InputId::from_uuid(uuid(number)),
        task: task_id(20),
        then,
        by: "mé".to_owned(),
        now: at(second),
    };
    let message = InputId::from_uuid(uuid(4003));
    let then = Some((message, TaskText::new("rather 'this'").unwrap()));
    store.interrupt(interrupt(4002, 61, then)).await.unwrap();
    store.interrupt(interrupt(4004, 62, None)).await.unwrap();
}

/// A task that was edited, and one that was moved.
async fn seed_4(store: &dyn Store) {
    let edit = TaskEdit {
        id: task_id(20),
        revision: None,
        edit: SpecEdit {
            text: Some(TaskText::new("something else").unwrap()),
            priority: Some(4),
            ..SpecEdit::default()
        },
        by: "mé".to_owned(),
        now: at(50),
    };
    store.edit_task(edit).await.unwrap();
    let wish = TaskMove {
        id: task_id(6),
        place: QueuePlace::First,
        by: "me".to_owned(),
        now: at(51),
    };
    store.move_task(wish).await.unwrap();
}

/// An agent that someone stopped.
async fn seed_3(store: &dyn Store) {
    let want = Want {
        wish: Wish {
            wanted: Wanted::Down,
            by: "mé".to_owned(),
            at: at(40),
        },
        force: false,
        hand_back: false,
    };
    let two = AgentId::from_uuid(uuid(21));
    store.want_agent(two, want).await.unwrap();
}

/// Asks and inputs, of a run that is held and one that goes on.
async fn seed_2(store: &dyn Store) {
    let held = store.run(RunId::from_uuid(uuid(2005))).await.unwrap();
    let question = |kind| Question {
        kind,
        title: "May I?".to_owned(),
        detail: "'quoted' äöü".to_owned(),
        choices: Vec::new(),
        payload: "{}".to_owned(),
    };
    let asked = |request: &str, kind| Observation::Asked {
        request_id: request.to_owned(),
        question: question(kind),
    };
    let parking = Parking {
        cause: Setback::new(Reason::RateLimited, "come back later"),
        until: Some(at(700)),
    };
    let intake = Intake {
        from: Checkpoint::default(),
        to: Checkpoint {
            out: 1,
            ..Checkpoint::default()
        },
        observations: vec![
            asked("answered", AskKind::Permission),
            asked("open", AskKind::Text),
            asked("void", AskKind::Permission),
            Observation::Withdrawn {
                request_id: "void".to_owned(),
            },
            Observation::Parked {
                parking: Some(parking),
            },
        ],
        ask_ids: (1..=3).map(|n| AskId::from_uuid(uuid(3000 + n))).collect(),
    };
    store
        .take_in(held.id, held.token, intake, at(30))
        .await
        .unwrap();
    let reply = Reply {
        answer: Answer::Deny {
            message: Some("no".to_owned()),
        },
        by: "me".to_owned(),
        input_id: InputId::from_uuid(uuid(4001)),
        now: at(31),
    };
    store
        .answer_ask(AskId::from_uuid(uuid(3001)), reply)
        .await
        .unwrap();
    store
        .settle_input(held.id, held.token, 2, InputState::Written, at(32))
        .await
        .unwrap();
}

async fn seed_1(store: &dyn Store) {
    store.begin(&seed_system(), at(0)).await.unwrap();
    let mut homes = Vec::new();
    for (number, name) in ["one", "two", "gone"].into_iter().enumerate() {
        let new = NewProject {
            id: ProjectId::from_uuid(uuid(10 + number as u128)),
            agent_id: AgentId::from_uuid(uuid(20 + number as u128)),
            name: name.to_owned(),
            exact_name: true,
            path: PathBuf::from(format!("/projects/{name} é")),
            now: at(1),
        };
        homes.push(store.register_project(new).await.unwrap());
    }
    let (one, two, gone) = (
        homes[0].project.id,
        homes[1].project.id,
        homes[2].project.id,
    );
    let mut wish = spec("Do it.\n\u{1b}[31m'quoted'; \"äöü\"");
    wish.title = Title::new("A title").unwrap();
    wish.priority = -3;
    wish.not_before = Some(at(500));
    wish.max_retries = 2;
    wish.timeout = Some(Duration::from_millis(1500));
    wish.session = SessionMode::Continue;
    wish.tags = vec!["gpu".to_owned(), "a:b/c".to_owned()];
    wish.system_type = Some(SystemKind::Devops);
    wish.blocked_by = vec![task_id(1), task_id(0)];
    let plain: Vec<_> = (0..6)
        .map(|number| spec(&format!("task {number}")))
        .collect();
    let mut tasks = request(one, plain.into_iter().chain([wish]).collect());
    tasks.key = key("seed", "print");
    for (number, task) in tasks.tasks.iter_mut().enumerate() {
        task.id = task_id(number as u128);
    }
    store.create_tasks(tasks).await.unwrap();
    for (number, project) in [(20, two), (21, gone)] {
        let mut other = request(project, vec![spec("elsewhere")]);
        other.tasks[0].id = task_id(number);
        store.create_tasks(other).await.unwrap();
    }
    let claim = async |number: u128| {
        let claim = Claim {
            task: task_id(number),
            run: RunId::from_uuid(uuid(2000 + number)),
            agent: homes[0].agent.id,
            system: seed_system().id,
            lease_until: Some(at(900)),
            now: at(10),
        };
        store.claim(claim).await.unwrap().run
    };
    let good = claim(0).await;
    store
        .mark_started(good.id, good.token, at(11), at(12))
        .await
        .unwrap();
    let intake = Intake {
        from: Checkpoint::default(),
        to: Checkpoint {
            out: 10,
            err: 5,
            parser: Some(ParserState {
                version: 3,
                data: "{}".to_owned(),
            }),
        },
        observations: vec![
            Observation::Output {
                stream: Stream::Out,
                from: 0,
                to: 10,
            },
            Observation::Session {
                session_id: "session".to_owned(),
            },
            Observation::Skipped {
                stream: Stream::Err,
                offset: 0,
                length: 5,
            },
        ],
        ask_ids: Vec::new(),
    };
    store
        .take_in(good.id, good.token, intake, at(13))
        .await
        .unwrap();
    let finish = Finish {
        usage: Some(Usage {
            input_tokens: 1,
            output_tokens: 2,
            cache_read_tokens: 3,
            cache_write_tokens: 4,
        }),
        ..done(Verdict::Succeeded)
    };
    store
        .finish(good.id, good.token, finish, at(14))
        .await
        .unwrap();
    let bad = claim(2).await;
    let cause = Setback::new(Reason::ExitCode, "the program ended with exit code 3");
    store
        .finish(bad.id, bad.token, done(Verdict::Failed { cause }), at(15))
        .await
        .unwrap();
    let again = claim(3).await;
    let cause = Setback::new(Reason::NotStarted, "no such program");
    let finish = Finish {
        retry_at: Some(at(600)),
        ..done(Verdict::NotStarted { cause })
    };
    store
        .finish(again.id, again.token, finish, at(16))
        .await
        .unwrap();
    store.cancel_task(task_id(4), "me", at(17)).await.unwrap();
    let held = claim(5).await;
    store
        .mark_started(held.id, held.token, at(18), at(18))
        .await
        .unwrap();
    let intent = StopIntent {
        reason: Reason::Timeout,
        by: "engine".to_owned(),
        at: at(19),
    };
    store
        .mark_stopping(held.id, held.token, intent)
        .await
        .unwrap();
    store
        .mark_held(held.id, held.token, Some(Reason::Unstoppable), at(20))
        .await
        .unwrap();
    let evidence = Evidence {
        source: "host".to_owned(),
        seen_at: at(21),
    };
    store
        .observe_agent(
            homes[0].agent.id,
            AgentState::Working { run: held.id },
            evidence,
        )
        .await
        .unwrap();
    let hold = Setback::new(Reason::ProjectMissing, "the folder is not there");
    store.hold_project(two, Some(hold), at(22)).await.unwrap();
    store.pause_project(two, true, at(23)).await.unwrap();
    store
        .remove_project(gone, true, "me", at(24))
        .await
        .unwrap();
}

/// Everything that can be read, as text.
async fn everything(store: &dyn Store) -> String {
    let tasks = TaskQuery {
        limit: 100,
        ..TaskQuery::default()
    };
    let runs = RunQuery {
        task: None,
        agent: None,
        before: None,
        limit: 100,
    };
    let events = EventQuery {
        limit: 1000,
        ..EventQuery::default()
    };
    let asks = AskQuery {
        limit: 100,
        ..AskQuery::default()
    };
    let tasks = store.tasks(&tasks).await.unwrap().items;
    let runs = store.runs(&runs).await.unwrap().items;
    let mut inputs = Vec::new();
    for run in &runs {
        inputs.extend(store.inputs(run.id).await.unwrap());
    }
    let mut queues = Vec::new();
    for project in store.projects().await.unwrap() {
        let query = QueueQuery {
            project: project.id,
            after: None,
            limit: 100,
            cut: None,
        };
        queues.extend(store.queue(&query).await.unwrap().items);
    }
    let texts: Vec<&str> = tasks.iter().map(|task| task.spec.text.as_str()).collect();
    let shared = everything_shared(store).await;
    format!(
        "{shared}\n{:#?}\n{:#?}\n{texts:#?}\n{tasks:#?}\n{runs:#?}\n{:#?}\n{inputs:#?}\n{queues:#?}\n{:#?}\n{:#?}\n{:#?}",
        store.projects().await.unwrap(),
        store.agents().await.unwrap(),
        store.asks(&asks).await.unwrap().items,
        store.counts().await.unwrap(),
        store.ready(at(1000), 10).await.unwrap(),
        store.events(&events).await.unwrap(),
    )
}

pub(crate) async fn raw(path: &Path) -> DatabaseConnection {
    let url = format!("sqlite://{}?mode=rwc", path.display());
    Database::connect(url).await.unwrap()
}

/// A database of schema `version` at `path`, as it was kept.
pub(crate) async fn from_dump(path: &Path, version: u32) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas");
    let dump = fs::read_to_string(folder.join(format!("{version}.sql"))).unwrap();
    let db = raw(path).await;
    db.execute_unprepared(&dump).await.unwrap();
    db.close().await.unwrap();
}

/// Is no test but makes what a new file in `tests/schemas` is dumped from.
#[tokio::test]
async fn a_seed_can_be_made() {
    if let Some(path) = std::env::var_os("CCM_STORE_TEST_SEED") {
        let store = SqliteStore::open(path, SqliteOptions::default())
            .await
            .unwrap();
        seed(&store, SCHEMA).await;
        store.close().await;
    }
}

#[tokio::test]
async fn every_released_schema_is_brought_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas");
    let mut seen = 0;
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        let version = file.file_stem().unwrap().to_str().unwrap();
        let fresh = Place::new();
        let fresh = fresh.open().await;
        seed(&fresh, version.parse().unwrap()).await;
        let expected = everything(&fresh).await;
        let place = Place::new();
        from_dump(&place.path(), version.parse().unwrap()).await;
        let store = place.open().await;
        assert_eq!(everything(&store).await, expected, "{}", file.display());
        // What has no reader of its own: keys, tokens, blockers, and the next number of the log.
        store.begin(&seed_system(), at(2000)).await.unwrap();
        let mut again = request(ProjectId::from_uuid(uuid(10)), vec![]);
        again.key = key("seed", "print");
        let replay = store.create_tasks(again).await.unwrap();
        assert!(replay.replayed);
        assert_eq!(replay.tasks.len(), 7);
        assert_eq!(replay.tasks[6].spec.priority, -3, "as it was created");
        store.retry_task(task_id(2), "me", at(2001)).await.unwrap();
        let claim = |number| Claim {
            task: task_id(number),
            run: RunId::new(),
            agent: AgentId::from_uuid(uuid(20)),
            system: seed_system().id,
            lease_until: None,
            now: at(2002),
        };
        assert_eq!(store.claim(claim(2)).await.unwrap().run.token.0, 2);
        let refused = async || {
            let error = store.claim(claim(6)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WrongState(ccm_core::Noun::Task));
            error.to_string()
        };
        assert!(refused().await.contains("another one"));
        let blocker = store.claim(claim(1)).await.unwrap().run;
        store
            .finish(
                blocker.id,
                blocker.token,
                done(Verdict::Succeeded),
                at(2003),
            )
            .await
            .unwrap();
        assert!(refused().await.contains("another machine"));
        let right = System {
            kind: SystemKind::Devops,
            tags: vec!["a:b/c".to_owned(), "gpu".to_owned()],
            ..seed_system()
        };
        store.begin(&right, at(2004)).await.unwrap();
        store.claim(claim(6)).await.unwrap();
        seen += 1;
    }
    assert_eq!(seen, SCHEMA);
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_as_it_is() {
    let place = Place::new();
    place.begin().await.close().await;
    let db = raw(&place.path()).await;
    db.execute_unprepared("PRAGMA user_version = 99")
        .await
        .unwrap();
    db.close().await.unwrap();
    let before = fs::read(place.path()).unwrap();
    let files = || fs::read_dir(place.folder()).unwrap().count();
    let files_before = files();
    let refused = SqliteStore::open(place.path(), SqliteOptions::default()).await;
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooNew);
    assert!(error.to_string().contains("99"), "{error}");
    assert_eq!(fs::read(place.path()).unwrap(), before);
    assert_eq!(files(), files_before);
}

#[tokio::test]
async fn a_newer_schema_that_is_only_in_the_log_is_refused_too() {
    let place = Place::new();
    place.begin().await.close().await;
    let db = raw(&place.path()).await;
    db.execute_unprepared("PRAGMA user_version = 99")
        .await
        .unwrap();
    let before = fs::read(place.path()).unwrap();
    let refused = SqliteStore::open(place.path(), SqliteOptions::default()).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::TooNew);
    assert_eq!(fs::read(place.path()).unwrap(), before);
    db.close().await.unwrap();
}

#[tokio::test]
async fn somebody_elses_database_is_left_as_it_is() {
    let place = Place::new();
    let db = raw(&place.path()).await;
    db.execute_unprepared("CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('mine')")
        .await
        .unwrap();
    db.close().await.unwrap();
    let before = fs::read(place.path()).unwrap();
    let refused = SqliteStore::open(place.path(), SqliteOptions::default()).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(fs::read(place.path()).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_database_is_left_as_it_is() {
    let place = Place::new();
    let store = place.open().await;
    seed(&store, SCHEMA).await;
    store.close().await;
    let mut content = fs::read(place.path()).unwrap();
    content[4096..].fill(0xff);
    fs::write(place.path(), &content).unwrap();
    let refused = SqliteStore::open(place.path(), SqliteOptions::default()).await;
    let error = refused.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Corrupt,
        "{}",
        ccm_core::chain(&error)
    );
    assert_eq!(fs::read(place.path()).unwrap(), content);
}
