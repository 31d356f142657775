//! What documents of other machines do here.

use super::*;
use crate::ask::{Answer, AskKind, AskState, Question};
use crate::id::InputId;
use crate::reason::Reason;
use crate::run::{Checkpoint, Observation};
use crate::store::{Intake, Reply, TaskEdit};
use crate::task::{Setback, SpecEdit, TaskState, TaskStateName};

/// Definitions of projects and tasks of this machine are unsettled, and again whenever another machine changed them.
pub async fn definitions_for_this_machine_are_unsettled(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let (here, there) = (TaskId::new(), TaskId::new());
    let id = *here.as_uuid();
    bench
        .adopt(vec![
            bench.definition(there, ProjectId::new(), 3),
            bench.definition(here, project.project.id, 4),
        ])
        .await;
    let unsettled = bench.unsettled().await;
    assert_eq!(unsettled.len(), 1);
    assert_eq!(unsettled[0].id, id);
    assert_eq!(bench.known().await.pending.unsettled, 1);
    let place = unsettled[0].place;
    assert_eq!(bench.replica().unsettled(place, 9).await.unwrap(), []);
    let request = order(here, project.project.id, spec("from afar"));
    bench.settle(id, create(request)).await.unwrap();
    assert_eq!(bench.open().await, [] as [Uuid; 0]);
    let next = bench.definition(here, project.project.id, 6);
    bench.adopt(vec![next.clone()]).await;
    let unsettled = bench.unsettled().await;
    assert_eq!(unsettled[0].id, id);
    assert!(unsettled[0].place > place);
    bench.settle(id, Act::Nothing).await.unwrap();
    // An edit of this machine itself does not come back, be it of the task or of the document.
    let edit = TaskEdit {
        id: here,
        revision: None,
        edit: SpecEdit {
            priority: Some(7),
            ..SpecEdit::default()
        },
        by: "me".to_owned(),
        now: at(21),
    };
    bench.store.edit_task(edit).await.unwrap();
    bench.send_all().await;
    let mine = Row {
        origin: bench.system.id,
        seq: 7,
        body: Some(json!({ "project_id": project.project.id, "priority": 7 })),
        ..next
    };
    bench.adopt(vec![mine]).await;
    assert_eq!(bench.open().await, [] as [Uuid; 0]);
    let body = json!({ "project_id": project.project.id });
    let mut new = new_document(Kind::Task, id, body);
    new.settled = true;
    bench
        .replica()
        .put(vec![new.clone()], None, at(22))
        .await
        .unwrap();
    assert_eq!(bench.open().await, [] as [Uuid; 0]);
    new.settled = false;
    bench.replica().put(vec![new], None, at(22)).await.unwrap();
    assert_eq!(bench.open().await, [id]);
    // A project that was not here when its tasks came.
    let later = ProjectId::new();
    let row = bench.definition(TaskId::new(), later, 9);
    let waits = row.id;
    bench.adopt(vec![row]).await;
    assert_eq!(bench.open().await, [id]);
    let new = NewProject {
        id: later,
        agent_id: AgentId::new(),
        name: "later".to_owned(),
        exact_name: false,
        path: PathBuf::from("/projects/later"),
        now: at(23),
    };
    bench.store.register_project(new).await.unwrap();
    assert_eq!(bench.open().await, [id, waits]);
}

/// Wishes are unsettled when their task is this machine's, also if they came before it.
pub async fn wishes_wait_for_their_task(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let own = bench.task(&project, "x").await;
    let (early, never) = (TaskId::new(), TaskId::new());
    let rows = [
        wish(&bench, own.id, "cancel", 3),
        wish(&bench, early, "cancel", 4),
        wish(&bench, never, "cancel", 5),
    ];
    let ids = [rows[0].id, rows[1].id];
    bench.adopt(rows.to_vec()).await;
    let unsettled = bench.unsettled().await;
    assert_eq!(unsettled.len(), 1);
    assert_eq!(unsettled[0].id, ids[0]);
    let definition = bench.definition(early, project.project.id, 6);
    bench.adopt(vec![definition]).await;
    assert_eq!(
        sorted(bench.open().await),
        sorted([ids[0], ids[1], *early.as_uuid()])
    );
    // One that is run under a lease, of a project of another machine.
    let shared = TaskId::new();
    let rows = [
        bench.definition(shared, ProjectId::new(), 7),
        wish(&bench, shared, "cancel", 8),
    ];
    let last = rows[1].id;
    bench.adopt(rows.to_vec()).await;
    assert!(!bench.open().await.contains(&last));
    let document = bench.document(Kind::Task, *shared.as_uuid()).await.unwrap();
    let act = create(order(shared, project.project.id, spec("shared")));
    bench
        .replica()
        .settle(settle(&document, act))
        .await
        .unwrap();
    assert!(bench.open().await.contains(&last));
    let after = wish(&bench, early, "retry", 9);
    let id = after.id;
    bench.adopt(vec![after]).await;
    assert!(bench.open().await.contains(&id));
}

/// "In one commit, so it is done once": whoever repeats it because no answer came does it no second time.
pub async fn settling_is_done_once(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let task = bench.task(&project, "x").await;
    bench.store.cancel_task(task.id, "me", at(4)).await.unwrap();
    bench.send_all().await;
    let row = wish(&bench, task.id, "retry", 5);
    bench.adopt(vec![row]).await;
    let document = bench.unsettled().await.remove(0);
    let act = Act::Retry {
        task: task.id,
        by: "them".to_owned(),
    };
    let before = bench.head().await;
    let wanted = settle(&document, act);
    bench.replica().settle(wanted.clone()).await.unwrap();
    assert_eq!(bench.kinds_since(before).await, "task.requeued");
    assert_eq!(bench.open().await, [] as [Uuid; 0]);
    assert_eq!(
        bench.marked().await,
        [name(Kind::Report, task.id.as_uuid())]
    );
    bench
        .store
        .cancel_task(task.id, "me", at(12))
        .await
        .unwrap();
    let before = bench.head().await;
    bench.replica().settle(wanted).await.unwrap();
    assert_eq!(bench.head().await, before);
    let now = bench.store.task(task.id).await.unwrap();
    assert_eq!(now.state.name(), TaskStateName::Cancelled);
    // A task that was created is not created again.
    let made = bench.accept(&project, 6).await;
    let document = bench
        .document(Kind::Task, *made.id.as_uuid())
        .await
        .unwrap();
    let before = bench.head().await;
    let act = create(order(made.id, project.project.id, spec("again")));
    bench
        .replica()
        .settle(settle(&document, act))
        .await
        .unwrap();
    assert_eq!(bench.head().await, before);
    assert_eq!(bench.store.task(made.id).await.unwrap(), made);
}

/// "In order, all of it or nothing."
pub async fn several_are_settled_or_none(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let project = project.project.id;
    let ids = [TaskId::new(), TaskId::new(), TaskId::new()];
    let rows = (3..).zip(&ids);
    let rows = rows.map(|(seq, id)| bench.definition(*id, project, seq));
    bench.adopt(rows.collect()).await;
    let documents = bench.unsettled().await;
    let mut acts = ids.map(|id| order(id, project, spec("from afar")));
    acts[1].tasks[0].spec.blocked_by = vec![ids[0], ids[2]];
    let wanted = |acts: &[CreateTasks]| {
        let acts = documents.iter().zip(acts);
        acts.map(|(document, request)| settle(document, create(request.clone())))
            .collect::<Vec<_>>()
    };
    let before = bench.head().await;
    let mut bad = acts.clone();
    bad[2].tasks[0].spec.blocked_by = vec![TaskId::new()];
    let refused_one = bench.replica().settle_all(wanted(&bad)).await;
    assert_eq!(refused(refused_one), ErrorKind::NotFound(Noun::Task));
    assert_eq!(bench.head().await, before);
    assert_eq!(bench.open().await.len(), 3);
    refused(bench.store.task(ids[0]).await);

    bench.replica().settle_all(wanted(&acts)).await.unwrap();
    let kinds = "task.created task.created task.created";
    assert_eq!(bench.kinds_since(before).await, kinds);
    assert_eq!(bench.open().await, [] as [Uuid; 0]);
    assert_eq!(sorted(bench.ready().await), sorted([ids[0], ids[2]]));
    // What is done for one is there for the next.
    let wish = wish(&bench, ids[0], "cancel", 9);
    let edit = bench.definition(ids[0], project, 10);
    bench.adopt(vec![wish, edit]).await;
    let documents = bench.unsettled().await;
    let by = || "them".to_owned();
    let settles = vec![
        settle(
            &documents[0],
            Act::Cancel {
                task: ids[0],
                by: by(),
            },
        ),
        settle(
            &documents[1],
            Act::Retry {
                task: ids[0],
                by: by(),
            },
        ),
    ];
    let before = bench.head().await;
    bench.replica().settle_all(settles).await.unwrap();
    let kinds = "task.cancelled task.requeued";
    assert_eq!(bench.kinds_since(before).await, kinds);
    bench.replica().settle_all(Vec::new()).await.unwrap();
}

/// "`Superseded` when the document changed since it was read."
pub async fn settling_compares_the_place(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let task = TaskId::new();
    let row = |seq| bench.definition(task, project.project.id, seq);
    bench.adopt(vec![row(3)]).await;
    let document = bench.unsettled().await.remove(0);
    bench.adopt(vec![row(4)]).await;
    let act = create(order(task, project.project.id, spec("x")));
    let stale = settle(&document, act.clone());
    let late = bench.replica().settle(stale.clone()).await;
    assert_eq!(refused(late), ErrorKind::Superseded);
    refused(bench.store.task(task).await);
    assert_eq!(bench.open().await, [*task.as_uuid()]);
    let unknown = Settle {
        id: Uuid::now_v7(),
        ..stale
    };
    let unknown = bench.replica().settle(unknown).await;
    assert_eq!(refused(unknown), ErrorKind::Superseded);
    bench.settle(*task.as_uuid(), act).await.unwrap();
}

/// "Those of what it does; it is not settled then."
pub async fn a_failed_act_settles_nothing(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let task = TaskId::new();
    let row = bench.definition(task, project.project.id, 3);
    bench.adopt(vec![row]).await;
    let id = *task.as_uuid();
    let before = bench.head().await;
    let mut blocked = spec("x");
    blocked.blocked_by = vec![TaskId::new()];
    let act = create(order(task, project.project.id, blocked));
    let error = ErrorKind::NotFound(Noun::Task);
    assert_eq!(refused(bench.settle(id, act).await), error);
    let act = create(order(task, ProjectId::new(), spec("x")));
    let error = ErrorKind::NotFound(Noun::Project);
    assert_eq!(refused(bench.settle(id, act).await), error);
    let act = Act::Cancel {
        task,
        by: "me".to_owned(),
    };
    let error = ErrorKind::NotFound(Noun::Task);
    assert_eq!(refused(bench.settle(id, act).await), error);
    let mut two = order(task, project.project.id, spec("x"));
    two.tasks.push(two.tasks[0].clone());
    assert_eq!(
        refused(bench.settle(id, create(two)).await),
        ErrorKind::Invalid
    );
    assert_eq!(bench.head().await, before);
    assert_eq!(bench.open().await, [id]);
    assert_eq!(bench.marks().await.len(), 1, "of the project");
}

/// "Accepts a task. The limit of the queue does not count": its report is marked, its definition is another's.
pub async fn a_task_of_another_machine_is_created(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    bench.send_all().await;
    let id = TaskId::new();
    let row = bench.definition(id, project.project.id, 3);
    bench.adopt(vec![row]).await;
    let mut request = order(id, project.project.id, spec("from afar"));
    request.max_queued = 0;
    request.created_by = "them".to_owned();
    let act = Act::Create {
        request: Box::new(request),
        hold: None,
        lease: Some(lease(5)),
    };
    let before = bench.head().await;
    bench.settle(*id.as_uuid(), act).await.unwrap();
    assert_eq!(bench.kinds_since(before).await, "task.created");
    let task = bench.store.task(id).await.unwrap();
    assert_eq!((task.created_by.as_str(), task.created_at), ("them", at(4)));
    assert_eq!((&task.hold, task.yielded), (&None, false));
    assert_eq!(bench.marked().await, [name(Kind::Report, id.as_uuid())]);
    assert_eq!(bench.ready().await, [id]);
    assert_eq!(bench.store.counts().await.unwrap().queued, 1);
    let leases = bench.replica().leases().await.unwrap();
    assert_eq!(leases, [(id, lease(5))]);
}

/// A task with a hold is not offered and can't be claimed until a person lets it run.
pub async fn a_held_task_waits_for_leave(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let id = TaskId::new();
    let row = bench.definition(id, project.project.id, 3);
    bench.adopt(vec![row]).await;
    let hold = Setback::new(Reason::RemoteUnapproved, "from another machine");
    let mut wanting = spec("x");
    wanting.tags = vec!["gpu".to_owned()];
    let act = Act::Create {
        request: Box::new(order(id, project.project.id, wanting)),
        hold: Some(hold.clone()),
        lease: None,
    };
    bench.settle(*id.as_uuid(), act).await.unwrap();
    bench.send_all().await;
    let task = bench.store.task(id).await.unwrap();
    assert_eq!(task.hold, Some(hold));
    let shown = crate::api::Task::new(task.clone(), None);
    assert_eq!(shown.reason, Some(Reason::RemoteUnapproved));
    assert_eq!(bench.ready().await, []);
    let claim = Claim {
        task: id,
        run: RunId::new(),
        agent: project.agent.id,
        system: bench.system.id,
        lease_until: None,
        now: at(5),
    };
    let early = bench.store.claim(claim.clone()).await;
    assert_eq!(refused(early), ErrorKind::WrongState(Noun::Task));
    // Neither another machine nor another start lets it run.
    let mut system = bench.system.clone();
    for tags in [vec![], bench.system.tags.clone()] {
        system.tags = tags;
        bench.store.begin(&system, at(6)).await.unwrap();
        assert_eq!(bench.ready().await, []);
    }
    let edit = TaskEdit {
        id,
        revision: None,
        edit: SpecEdit {
            priority: Some(3),
            ..SpecEdit::default()
        },
        by: "me".to_owned(),
        now: at(7),
    };
    bench.store.edit_task(edit).await.unwrap();
    assert_eq!(bench.ready().await, []);
    bench.send_all().await;
    let before = bench.head().await;
    bench.replica().approve(id, "me", at(8)).await.unwrap();
    assert_eq!(bench.kinds_since(before).await, "task.updated");
    let now = bench.store.task(id).await.unwrap();
    assert_eq!((&now.hold, now.updated_at), (&None, at(8)));
    assert!(now.revision > task.revision);
    assert_eq!(bench.ready().await, [id]);
    assert_eq!(bench.marked().await, [name(Kind::Report, id.as_uuid())]);
    let approve = |id| bench.replica().approve(id, "me", at(9));
    let again = approve(id).await;
    assert_eq!(refused(again), ErrorKind::WrongState(Noun::Task));
    let unknown = approve(TaskId::new()).await;
    assert_eq!(refused(unknown), ErrorKind::NotFound(Noun::Task));
    bench.store.claim(claim).await.unwrap();
}

/// "Accepts a task and fails it at once, because this machine does not want it."
pub async fn a_refused_task_fails(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let id = TaskId::new();
    let row = bench.definition(id, project.project.id, 3);
    bench.adopt(vec![row]).await;
    let cause = Setback::bare(Reason::RemoteDenied);
    let act = Act::Refuse {
        request: Box::new(order(id, project.project.id, spec("x"))),
        cause: cause.clone(),
    };
    bench.send_all().await;
    let before = bench.head().await;
    bench.settle(*id.as_uuid(), act).await.unwrap();
    assert_eq!(bench.kinds_since(before).await, "task.created task.failed");
    let task = bench.store.task(id).await.unwrap();
    let failed = TaskState::Failed {
        run: None,
        cause,
        at: at(11),
    };
    assert_eq!(task.state, failed);
    assert_eq!(bench.store.counts().await.unwrap().queued, 0);
    assert_eq!(bench.marked().await, [name(Kind::Report, id.as_uuid())]);
}

/// "One that does not wait any more keeps the change for its next attempt."
pub async fn an_edit_reaches_a_task_that_runs(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let task = bench.accept(&project, 3).await;
    let claimed = bench.claimed(&project, &task).await;
    bench.send_all().await;
    let id = *task.id.as_uuid();
    let row = bench.definition(task.id, project.project.id, 5);
    bench.adopt(vec![row]).await;
    let edit = TaskEdit {
        id: task.id,
        revision: None,
        edit: SpecEdit {
            text: Some(TaskText::new("other").unwrap()),
            not_before: crate::task::Edit::Set(at(100)),
            ..SpecEdit::default()
        },
        by: "them".to_owned(),
        now: at(11),
    };
    bench
        .settle(id, Act::Edit(Box::new(edit.clone())))
        .await
        .unwrap();
    let now = bench.store.task(task.id).await.unwrap();
    assert_eq!(now.spec.text.as_str(), "other");
    assert_eq!(
        (now.state.name(), now.due_at),
        (TaskStateName::Running, None)
    );
    assert_eq!(bench.marked().await, [name(Kind::Report, &id)]);
    let done = bench.done(&claimed, Verdict::Succeeded).await;
    assert_eq!(done.spec.text.as_str(), "other");
    bench.store.retry_task(task.id, "me", at(12)).await.unwrap();
    let now = bench.store.task(task.id).await.unwrap();
    assert_eq!(now.due_at, Some(at(100)));
    // The same again is no change.
    let row = bench.definition(task.id, project.project.id, 6);
    bench.adopt(vec![row]).await;
    bench.send_all().await;
    bench.settle(id, Act::Edit(Box::new(edit))).await.unwrap();
    assert_eq!(bench.marked().await, []);
    assert_eq!(bench.open().await, [] as [Uuid; 0]);
}

/// Cancel, retry and answer do what they say, and leave alone what went on since.
pub async fn wishes_are_granted(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let task = bench.task(&project, "x").await;
    let run = bench.claimed(&project, &task).await.run;
    let asked = Observation::Asked {
        request_id: "1".to_owned(),
        question: Question {
            kind: AskKind::Permission,
            title: "May I?".to_owned(),
            detail: String::new(),
            choices: Vec::new(),
            payload: "{}".to_owned(),
        },
    };
    let to = Checkpoint {
        out: 1,
        ..Checkpoint::default()
    };
    let intake = Intake::new(Checkpoint::default(), to, vec![asked]);
    let ask = intake.ask_ids[0];
    bench
        .store
        .take_in(run.id, run.token, intake, at(6))
        .await
        .unwrap();
    let mut seq = 3;
    let mut grant = async |act: Act| {
        seq += 1;
        let row = wish(&bench, task.id, "something", seq);
        let id = row.id;
        bench.adopt(vec![row]).await;
        bench.settle(id, act).await
    };
    let by = || "them".to_owned();
    let reply = |answer| Act::Answer {
        ask,
        reply: Box::new(Reply {
            answer,
            by: by(),
            input_id: InputId::new(),
            now: at(11),
        }),
    };
    grant(reply(Answer::Allow)).await.unwrap();
    let deny = Answer::Deny { message: None };
    grant(reply(deny)).await.unwrap();
    let answered = AskState::Answered {
        answer: Answer::Allow,
        by: by(),
        at: at(11),
    };
    assert_eq!(bench.store.ask(ask).await.unwrap().state, answered);
    assert_eq!(bench.store.inputs(run.id).await.unwrap().len(), 1);
    let id = task.id;
    let (cancel, retry) = (
        || Act::Cancel { task: id, by: by() },
        || Act::Retry { task: id, by: by() },
    );
    grant(retry()).await.unwrap();
    let now = bench.store.task(id).await.unwrap();
    assert_eq!(now.state.name(), TaskStateName::Running, "it runs already");
    grant(cancel()).await.unwrap();
    let now = bench.store.task(id).await.unwrap();
    let TaskState::Running {
        stop: Some(stop), ..
    } = now.state
    else {
        panic!("{:?}", now.state);
    };
    assert_eq!((stop.reason, stop.by.as_str()), (Reason::Cancelled, "them"));
    let finish = end(Verdict::Succeeded);
    bench
        .store
        .finish(run.id, run.token, finish, at(12))
        .await
        .unwrap();
    grant(cancel()).await.unwrap();
    let now = bench.store.task(id).await.unwrap();
    assert_eq!(now.state.name(), TaskStateName::Succeeded);
    grant(retry()).await.unwrap();
    let now = bench.store.task(id).await.unwrap();
    assert_eq!(now.state.name(), TaskStateName::Queued);
    assert_eq!(bench.open().await, [] as [Uuid; 0]);
}

/// "Blockers that are not here are looked for among the documents: a report of another machine that says `succeeded` lifts
/// them, also later."
pub async fn a_task_of_another_machine_is_waited_for(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let (first, second) = (TaskId::new(), TaskId::new());
    let waiting = |blockers: &[TaskId]| {
        let mut wanting = spec("waits");
        wanting.blocked_by = blockers.to_vec();
        order(TaskId::new(), project.project.id, wanting)
    };
    let unknown = bench.store.create_tasks(waiting(&[first])).await;
    assert_eq!(refused(unknown), ErrorKind::NotFound(Noun::Task));
    let elsewhere = ProjectId::new();
    bench
        .adopt(vec![
            bench.definition(first, elsewhere, 3),
            bench.definition(second, elsewhere, 4),
        ])
        .await;
    let create = async |blockers: &[TaskId]| {
        let created = bench.store.create_tasks(waiting(blockers)).await.unwrap();
        created.tasks[0].clone()
    };
    let one = create(&[first]).await;
    let both = create(&[first, second]).await;
    assert_eq!(bench.ready().await, []);
    let report = async |task: TaskId, state: &str, seq| {
        let body = json!({ "state": state, "result": "x" });
        let row = bench.row(Kind::Report, *task.as_uuid(), seq, body);
        bench.adopt(vec![row]).await;
    };
    report(first, "running", 5).await;
    assert_eq!(bench.ready().await, []);
    report(first, "succeeded", 6).await;
    assert_eq!(bench.ready().await, [one.id]);
    report(first, "succeeded", 7).await;
    report(second, "succeeded", 8).await;
    assert_eq!(sorted(bench.ready().await), sorted([one.id, both.id]));
    // One that comes later does not wait at all, and one that is done again is waited for again.
    let late = create(&[second]).await;
    assert!(bench.ready().await.contains(&late.id));
    report(second, "queued", 9).await;
    assert_eq!(bench.ready().await, [one.id]);
    // What a task waits for can be changed to one of another machine.
    let edit = TaskEdit {
        id: one.id,
        revision: None,
        edit: SpecEdit {
            blocked_by: Some(vec![second]),
            ..SpecEdit::default()
        },
        by: "me".to_owned(),
        now: at(21),
    };
    bench.store.edit_task(edit).await.unwrap();
    assert_eq!(bench.ready().await, []);
    report(second, "succeeded", 10).await;
    assert_eq!(bench.ready().await.len(), 3);
    // When it comes here, what its own row says counts.
    let document = bench.document(Kind::Task, *second.as_uuid()).await.unwrap();
    let act = super::create(order(second, project.project.id, spec("here now")));
    bench
        .replica()
        .settle(settle(&document, act))
        .await
        .unwrap();
    assert_eq!(bench.ready().await, [second]);
    let task = bench.store.task(second).await.unwrap();
    let claimed = bench.claimed(&project, &task).await;
    report(second, "failed", 11).await;
    bench.done(&claimed, Verdict::Succeeded).await;
    assert_eq!(bench.ready().await.len(), 3);
}
