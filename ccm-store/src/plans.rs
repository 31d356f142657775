//! Tests that the statements people wait for walk along indexes and look at nothing else.

use ccm_core::ask::AskStateKind;
use ccm_core::id::{AgentId, AskId, ProjectId, RunId, SystemId, TaskId};
use ccm_core::stats::{Span, StatsQuery};
use ccm_core::store::{
    AskQuery, DocumentQuery, EventQuery, QueueQuery, RunQuery, TaskFilter, TaskQuery,
};
use ccm_core::sync::Kind;
use ccm_core::task::{Rank, Spot, TaskStateName, Words};
use ccm_core::time::Timestamp;
use sea_orm::sea_query::Value;

use crate::reader::Reader;
use crate::task_lists::Stretch;
use crate::writer::{
    Look, OPEN_ASKS_OF, OPEN_INPUTS_OF, OPEN_RUNS_OF, OPERATIONS, PROMOTE, STALE, along_queue,
    asks_of_requests, circles, kept, known_tasks, leave, oldest, run_of, shift, unblock,
};
use crate::{SqliteStore, events, lists, queue, ready, replica, stats, task_lists, tasks};

/// The steps of a statement.
async fn steps(reader: &Reader, (sql, values): (String, Vec<Value>)) -> Vec<String> {
    reader
        .all(&format!("EXPLAIN QUERY PLAN {sql}"), values)
        .await
        .unwrap()
        .iter()
        .map(|row| row.try_get("", "detail").unwrap())
        .collect()
}

/// Every table is reached by an index, nothing is sorted, and the named steps are there.
async fn check(reader: &Reader, statement: (String, Vec<Value>), expected: &[&str]) {
    let sql = statement.0.clone();
    let steps = steps(reader, statement).await;
    for step in &steps {
        let walks = [
            "task", "run", "event", "ready", "ask", "input", "document", "known", "sent",
        ]
        .iter()
        .any(|table| *step == format!("SCAN {table}"));
        assert!(!walks, "{sql}\n{steps:#?}");
    }
    for wanted in expected {
        let found = steps.iter().any(|step| step.contains(wanted));
        assert!(found, "no {wanted:?}\n{sql}\n{steps:#?}");
    }
}

#[tokio::test]
async fn readers_walk_along_indexes() {
    let store = SqliteStore::in_memory().await.unwrap();
    let reader = &store.reader;
    let project = ProjectId::new();
    let task_query = |project, states, before| {
        task_lists::task_page(&TaskQuery {
            filter: TaskFilter {
                project,
                states,
                ..TaskFilter::default()
            },
            before,
            limit: 50,
            ..TaskQuery::default()
        })
    };
    let open = vec![TaskStateName::Queued, TaskStateName::Running];
    let deep = Some(TaskId::new());
    let by_id = ["SEARCH task USING INDEX sqlite_autoindex_task_1 (id=?)"];
    check(reader, task_query(None, vec![], None), &by_id).await;
    check(
        reader,
        task_query(None, vec![], deep),
        &["USING COVERING INDEX sqlite_autoindex_task_1 (id<?)"],
    )
    .await;
    check(
        reader,
        task_query(None, open.clone(), deep),
        &["SEARCH task USING COVERING INDEX task_state (state=? AND id<?)"],
    )
    .await;
    check(
        reader,
        task_query(Some(project), open, deep),
        &["SEARCH task USING COVERING INDEX task_list (project_id=? AND state=? AND id<?)"],
    )
    .await;
    check(
        reader,
        task_query(Some(project), vec![], None),
        &["SEARCH task USING COVERING INDEX task_list (project_id=? AND state=?)"],
    )
    .await;
    let one = (tasks::select("task.id = ?"), vec![vec![0_u8].into()]);
    check(reader, one, &by_id).await;
}

#[tokio::test]
async fn what_waits_for_leave_is_found_without_the_queue() {
    let store = SqliteStore::in_memory().await.unwrap();
    let query = TaskQuery {
        filter: TaskFilter {
            states: vec![TaskStateName::Queued],
            held: true,
            ..TaskFilter::default()
        },
        limit: 50,
        ..TaskQuery::default()
    };
    let page = task_lists::task_page(&query);
    check(&store.reader, page, &["USING INDEX task_held"]).await;
}

#[tokio::test]
async fn looking_into_tasks_keeps_to_a_stretch() {
    let store = SqliteStore::in_memory().await.unwrap();
    let reader = &store.reader;
    let stretch = Stretch {
        before: Some(TaskId::new()),
        from: Some(TaskId::new()),
    };
    let filter = |project, states| TaskFilter {
        project,
        states,
        words: Some(Words::new("a é").unwrap()),
        tag: Some("t".to_owned()),
        created_by: Some("me".to_owned()),
        held: false,
    };
    let open = vec![TaskStateName::Queued, TaskStateName::Running];
    for (filter, step) in [
        (
            filter(None, vec![]),
            "SEARCH task USING INDEX sqlite_autoindex_task_1 (id>? AND id<?)",
        ),
        (
            filter(None, open),
            "SEARCH task USING INDEX task_state (state=? AND id>? AND id<?)",
        ),
        (
            filter(Some(ProjectId::new()), vec![]),
            "SEARCH task USING INDEX task_list (project_id=? AND state=? AND id>? AND id<?)",
        ),
    ] {
        let found = task_lists::found_in(&filter, stretch);
        let sorted = steps(reader, found.clone()).await;
        assert!(
            !sorted.iter().any(|step| step.contains("TEMP B-TREE")),
            "{sorted:#?}"
        );
        check(reader, found, &[step]).await;
        check(reader, task_lists::count_in(&filter, stretch), &[step]).await;
    }
    let next = ["SEARCH task USING COVERING INDEX sqlite_autoindex_task_1 (id<?)"];
    check(reader, task_lists::further(stretch.before, 50), &next).await;
}

#[tokio::test]
async fn what_is_ready_is_found_at_any_length_of_the_queue() {
    let store = SqliteStore::in_memory().await.unwrap();
    check(
        &store.reader,
        ready::query(Timestamp::from_micros(0), 10),
        &[
            "SEARCH task USING INDEX task_due (project_id=? AND due_at>?)",
            "SEARCH task USING INDEX task_urgent (project_id=?)",
            "SEARCH task USING INDEX task_oldest (project_id=?)",
            "SEARCH task USING INDEX task_dated (project_id=? AND due_at<?)",
            "SEARCH ready USING INDEX sqlite_autoindex_task_1 (id=?)",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_place_in_a_queue_is_found_at_any_length_of_it() {
    let store = SqliteStore::in_memory().await.unwrap();
    let reader = &store.reader;
    let (project, task) = (ProjectId::new(), TaskId::new());
    let spot = Spot {
        priority: 3,
        rank: Rank::from_number(7),
        task,
    };
    let whole = "SEARCH task USING COVERING INDEX task_queue (project_id=?)";
    let before = "SEARCH task USING COVERING INDEX task_queue (project_id=? AND priority=? AND (rank,id)<(?,?))";
    let after = "SEARCH task USING COVERING INDEX task_queue (project_id=? AND priority=? AND (rank,id)>(?,?))";
    let lower = "SEARCH task USING COVERING INDEX task_queue (project_id=? AND priority<?)";
    let page = |after| {
        queue::queue_page(&QueueQuery {
            project,
            after,
            limit: 50,
            cut: None,
        })
    };
    check(reader, page(None), &[whole]).await;
    check(reader, page(Some(spot)), &[after, lower]).await;
    for (look, step) in [
        (Look::First, whole),
        (Look::Last, whole),
        (Look::Before(spot), before),
        (Look::From(spot), after),
        (Look::After(spot), after),
    ] {
        let look = along_queue(project, look, task, 64);
        let sorted = steps(reader, look.clone()).await;
        assert!(!sorted.iter().any(|step| step.contains("TEMP B-TREE")));
        check(reader, look, &[step]).await;
    }
    let ready = [
        "SEARCH task USING INDEX task_oldest (project_id=?)",
        "SEARCH task USING INDEX task_dated (project_id=? AND due_at<?)",
    ];
    let now = Timestamp::from_micros(0);
    check(reader, oldest(project, task, now), &ready).await;
    let values = vec![vec![0_u8].into(), vec![1_u8].into()];
    let edges = ["SEARCH edge USING PRIMARY KEY (blocker_id=?)"];
    check(reader, (circles(1), values), &edges).await;
    let values = vec![vec![0_u8].into(), 1_i64.into()];
    let by_id = ["SEARCH task USING COVERING INDEX sqlite_autoindex_task_1 (id=?)"];
    check(reader, (shift(1), values), &by_id).await;
}

#[tokio::test]
async fn the_writer_walks_along_indexes() {
    let store = SqliteStore::in_memory().await.unwrap();
    let reader = &store.reader;
    let promote = (PROMOTE.to_owned(), vec![1_i64.into(), 1_i64.into()]);
    let dated = ["SEARCH due USING INDEX task_dated (project_id=? AND due_at<?)"];
    check(reader, promote, &dated).await;
    let by_id = ["SEARCH task USING INDEX sqlite_autoindex_task_1 (id=?)"];
    for condition in [
        "task.id IN (?, ?)",
        "task.id IN (SELECT task_id FROM run WHERE id IN (?, ?))",
    ] {
        let values = vec![vec![0_u8].into(), vec![1_u8].into()];
        check(reader, (tasks::select(condition), values), &by_id).await;
    }
    let update = "UPDATE task SET state = new.column2 FROM (VALUES (?, ?), (?, ?)) AS new WHERE task.id = new.column1";
    let values = ["a", "b", "c", "d"].map(Value::from).to_vec();
    let by_id = ["SEARCH task USING COVERING INDEX sqlite_autoindex_task_1 (id=?)"];
    check(reader, (update.to_owned(), values), &by_id).await;
    let values = vec![vec![0_u8].into(), 1_i64.into()];
    let edges = [
        "SEARCH edge USING PRIMARY KEY (blocker_id=?)",
        "SEARCH task USING INDEX sqlite_autoindex_task_1 (id=?)",
    ];
    check(reader, (unblock(1), values), &edges).await;
}

#[tokio::test]
async fn runs_and_events_walk_along_indexes() {
    let store = SqliteStore::in_memory().await.unwrap();
    let reader = &store.reader;
    let run_query = |task, agent, before| {
        lists::run_page(&RunQuery {
            task,
            agent,
            before,
            limit: 50,
        })
    };
    let (task, agent) = (Some(TaskId::new()), Some(AgentId::new()));
    let deep = Some(RunId::new());
    let of_task = ["SEARCH run USING INDEX run_task (task_id=? AND id<?)"];
    let of_agent = ["SEARCH run USING INDEX run_agent (agent_id=? AND id<?)"];
    check(reader, run_query(task, None, deep), &of_task).await;
    check(reader, run_query(None, agent, deep), &of_agent).await;
    check(reader, run_query(task, agent, deep), &of_task).await;
    check(
        reader,
        (lists::OPEN_RUNS.to_owned(), vec![]),
        &["SCAN run USING INDEX run_open"],
    )
    .await;
    let event_query = |project, task, run| {
        events::event_page(&EventQuery {
            project,
            task,
            run,
            limit: 50,
            ..EventQuery::default()
        })
    };
    let project = Some(ProjectId::new());
    let of_task = ["SEARCH event USING INDEX event_task (task_id=? AND rowid>?)"];
    let of_project = ["SEARCH event USING INDEX event_project (project_id=? AND rowid>?)"];
    let all = ["SEARCH event USING INTEGER PRIMARY KEY (rowid>?)"];
    check(reader, event_query(None, None, None), &all).await;
    check(reader, event_query(project, None, None), &of_project).await;
    check(reader, event_query(project, task, None), &of_task).await;
    check(reader, event_query(None, None, deep), &of_task).await;
    check(reader, event_query(project, task, deep), &of_task).await;
}

#[tokio::test]
async fn what_happened_is_found_by_its_time() {
    let store = SqliteStore::in_memory().await.unwrap();
    let moment = Timestamp::from_micros;
    for project in [None, Some(ProjectId::new())] {
        let query = StatsQuery {
            span: Span::new(moment(0), moment(1_000_000), 10).unwrap(),
            project,
        };
        let steps = [
            "USING COVERING INDEX task_created (created_at>? AND created_at<?)",
            "USING COVERING INDEX task_ended (ended_at>? AND ended_at<?)",
            "USING COVERING INDEX run_started (started_at>? AND started_at<?)",
            "SEARCH earlier USING INDEX run_task (task_id=? AND id<?)",
            "USING INDEX run_finished (finished_at>? AND finished_at<?)",
        ];
        check(&store.reader, stats::statement(&query, 0), &steps).await;
    }
}

#[tokio::test]
async fn asks_and_inputs_walk_along_indexes() {
    let store = SqliteStore::in_memory().await.unwrap();
    let reader = &store.reader;
    let (project, task, run) = (
        Some(ProjectId::new()),
        Some(TaskId::new()),
        Some(RunId::new()),
    );
    let of_run = ["SEARCH ask USING INDEX ask_run (run_id=? AND id<?)"];
    let of_task = ["SEARCH ask USING INDEX ask_task (task_id=? AND id<?)"];
    let of_project = ["SEARCH ask USING INDEX ask_project (project_id=? AND id<?)"];
    let all = ["SEARCH ask USING INDEX sqlite_autoindex_ask_1 (id<?)"];
    let open = ["SEARCH ask USING INDEX ask_open (id<?)"];
    for (query, closed) in [
        ((None, None, None), &all),
        ((project, None, None), &of_project),
        ((project, task, None), &of_task),
        ((None, task, None), &of_task),
        ((None, None, run), &of_run),
        ((project, task, run), &of_run),
    ] {
        let (project, task, run) = query;
        let page = |state| {
            lists::ask_page(&AskQuery {
                project,
                task,
                run,
                state,
                before: Some(AskId::new()),
                limit: 50,
            })
        };
        check(reader, page(None), closed).await;
        check(reader, page(Some(AskStateKind::Void)), closed).await;
        check(reader, page(Some(AskStateKind::Open)), &open).await;
    }
    let of_run = ["SEARCH input USING INDEX input_number (run_id=?)"];
    let one = || vec![vec![0_u8].into()];
    check(reader, (lists::INPUTS.to_owned(), one()), &of_run).await;
    for table in ["ask", "input"] {
        let its_run = ["SEARCH run USING INDEX sqlite_autoindex_run_1 (id=?)"];
        check(reader, (run_of(table, 1), one()), &its_run).await;
    }
    let open = ["SEARCH ask USING INDEX ask_run (run_id=?)"];
    check(reader, (format!("{OPEN_ASKS_OF}(?)"), one()), &open).await;
    let open = ["SEARCH input USING INDEX input_open (run_id=?)"];
    check(reader, (format!("{OPEN_INPUTS_OF}(?)"), one()), &open).await;
    let in_hand = ["SCAN run USING INDEX run_open"];
    check(reader, (format!("{OPEN_RUNS_OF}(?)"), one()), &in_hand).await;
    let values = vec![vec![0_u8].into(), "a".into(), vec![1_u8].into(), "b".into()];
    let known = ["SEARCH ask USING INDEX ask_request (run_id=? AND request_id=?)"];
    check(reader, (asks_of_requests(2), values), &known).await;
}

#[tokio::test]
async fn marks_and_operations_walk_along_indexes() {
    let store = SqliteStore::in_memory().await.unwrap();
    let reader = &store.reader;
    let one = || Value::from(1_i64);
    let blob = || Value::from(vec![0_u8]);
    let values = vec!["task".into(), blob(), one(), one(), blob(), one()];
    let steps_of_leave = [
        "SEARCH known USING INDEX document_object (kind=? AND id=?)",
        "SEARCH sent USING INTEGER PRIMARY KEY (rowid=?)",
        "SEARCH outbox USING COVERING INDEX outbox_object (kind=? AND id=?)",
        "SEARCH given USING",
    ];
    check(reader, (leave(1), values), &steps_of_leave).await;
    let by_object = ["SEARCH document USING COVERING INDEX document_object (kind=? AND id=?)"];
    let values = vec!["task".into(), blob(), one(), one(), one(), one()];
    check(reader, (replica::Held::shift(1), values), &by_object).await;
    let by_object = ["SEARCH mark USING INDEX mark_object (kind=? AND id=?)"];
    let values = vec!["task".into(), blob(), one(), one()];
    check(reader, (replica::unmark(1), values), &by_object).await;
    let of_kind = ["SEARCH mark USING COVERING INDEX mark_kind (kind=?)"];
    let kinds = [Kind::Task, Kind::Report];
    check(reader, replica::marks(&kinds, 9), &of_kind).await;
    let sorted = steps(reader, replica::marks(&[], 9)).await;
    assert_eq!(sorted, ["SCAN mark"], "in the order of the table itself");
    let after = ["SEARCH outbox USING INTEGER PRIMARY KEY (rowid>?)"];
    let sizes = (replica::OUTBOX_SIZES.to_owned(), vec![one(), one()]);
    check(reader, sizes, &after).await;
    let between = ["SEARCH outbox USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"];
    check(
        reader,
        (replica::OUTBOX.to_owned(), vec![one(), one()]),
        &between,
    )
    .await;
    check(
        reader,
        (OPERATIONS.to_owned(), vec![one(), one()]),
        &between,
    )
    .await;
    for sql in kept("VALUES (?, ?), (?, ?)") {
        let values = vec!["task".into(), blob(), "run".into(), blob()];
        let steps = steps(reader, (sql.clone(), values)).await;
        let searched = steps
            .iter()
            .any(|step| step.contains("_object (kind=? AND id=?)") || step.contains("_1 (id=?)"));
        assert!(searched, "{sql}\n{steps:#?}");
    }
}

#[tokio::test]
async fn documents_walk_along_indexes() {
    let store = SqliteStore::in_memory().await.unwrap();
    let reader = &store.reader;
    let none = DocumentQuery::default;
    let after = Some(uuid::Uuid::now_v7());
    let of = |kinds: &[Kind]| DocumentQuery {
        kinds: kinds.to_vec(),
        after,
        limit: 50,
        ..none()
    };
    let (project, task, run) = (
        Some(ProjectId::new()),
        Some(TaskId::new()),
        Some(RunId::new()),
    );
    let kinds = [Kind::Task, Kind::Report];
    for (query, step) in [
        (of(&[]), "document_id (id>?)"),
        (of(&kinds), "document_object (kind=? AND id>?)"),
        (
            DocumentQuery {
                newest_first: true,
                not_origin: Some(SystemId::new()),
                ..of(&kinds)
            },
            "document_object (kind=? AND id<?)",
        ),
        (
            DocumentQuery {
                project,
                ..of(&kinds)
            },
            "document_project (project_id=? AND kind=? AND id>?)",
        ),
        (
            DocumentQuery {
                project,
                task,
                ..of(&kinds)
            },
            "document_task (task_id=? AND kind=? AND id>?)",
        ),
        (
            DocumentQuery {
                project,
                task,
                run,
                ..of(&kinds)
            },
            "document_run (run_id=? AND kind=? AND id>?)",
        ),
        (
            DocumentQuery {
                open: true,
                ..of(&kinds)
            },
            "document_open (kind=? AND id>?)",
        ),
        (
            DocumentQuery {
                shared: true,
                ..of(&[Kind::Task])
            },
            "document_shared (kind=? AND id>?)",
        ),
        (
            DocumentQuery {
                elsewhere: true,
                unheard: true,
                ..of(&[Kind::Task])
            },
            "SEARCH report USING COVERING INDEX document_object (kind=? AND id=?)",
        ),
    ] {
        check(reader, replica::document_page(&query), &[step]).await;
    }
    let open = ["SEARCH document USING INDEX document_unsettled (place>?)"];
    check(reader, replica::unsettled(3, 50), &open).await;
    let stale = ["SEARCH document USING INDEX document_generation (generation<?)"];
    check(reader, (STALE.to_owned(), vec![]), &stale).await;
    let values = vec![vec![0_u8].into(), vec![1_u8].into()];
    let known = [
        "SEARCH task USING INDEX sqlite_autoindex_task_1 (id=?)",
        "SEARCH document USING INDEX document_object (kind=? AND id=?)",
        "task_yielded",
    ];
    check(reader, (known_tasks(2), values), &known).await;
}
