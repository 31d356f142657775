//! What changes leave behind for other machines.

use super::*;
use crate::agent::{AgentState, Evidence, Want, Wanted, Wish};
use crate::ask::{Answer, AskKind, Question};
use crate::id::InputId;
use crate::run::{Checkpoint, Observation, Stream};
use crate::store::{Intake, Reply, TaskEdit, TaskMove};
use crate::task::{Edit, Place, SpecEdit};

fn edit(task: &Task, edit: SpecEdit) -> TaskEdit {
    TaskEdit {
        id: task.id,
        revision: None,
        edit,
        by: "me".to_owned(),
        now: at(7),
    }
}

fn text(text: &str) -> SpecEdit {
    SpecEdit {
        text: Some(TaskText::new(text).unwrap()),
        ..SpecEdit::default()
    }
}

/// "Every change of something shared leaves a mark in the same commit", whatever it is, and of nothing else.
pub async fn every_change_leaves_its_mark(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let second = place.another().await;
    // Another handle sees change and marks together, and then nothing is left.
    let expect = async |what: &str, wanted: Vec<(String, Uuid)>| {
        let marks = second.replica().unwrap().marks(&[], 100).await.unwrap();
        let found = marks
            .into_iter()
            .map(|mark| (mark.kind.to_string(), mark.id));
        assert_eq!(sorted(found), sorted(wanted), "{what}");
        bench.send_all().await;
    };
    let project = bench.project("p").await;
    let own = || name(Kind::Project, project.project.id.as_uuid());
    expect("register", vec![own()]).await;
    let task = bench.task(&project, "x").await;
    let other = bench.task(&project, "y").await;
    let definition = |task: &Task| name(Kind::Task, task.id.as_uuid());
    let report = |task: &Task| name(Kind::Report, task.id.as_uuid());
    let both = [
        definition(&task),
        report(&task),
        definition(&other),
        report(&other),
    ];
    expect("create", both.to_vec()).await;
    bench.store.edit_task(edit(&task, text("z"))).await.unwrap();
    expect("edit", vec![definition(&task), report(&task)]).await;
    let wish = TaskMove {
        id: other.id,
        place: Place::First,
        by: "me".to_owned(),
        now: at(7),
    };
    bench.store.move_task(wish).await.unwrap();
    expect("move within a priority", vec![report(&other)]).await;
    let claimed = bench.claimed(&project, &task).await;
    let (id, token) = (claimed.run.id, claimed.run.token);
    let run = || name(Kind::Run, id.as_uuid());
    expect("claim", vec![report(&task), run()]).await;
    bench
        .store
        .mark_started(id, token, at(6), at(6))
        .await
        .unwrap();
    expect("start", vec![run()]).await;
    let output = Observation::Output {
        stream: Stream::Out,
        from: 0,
        to: 5,
    };
    let take = async |out: u64, seen: Vec<Observation>| {
        let from = bench.store.run(id).await.unwrap().checkpoint;
        let to = Checkpoint {
            out,
            ..from.clone()
        };
        let intake = Intake::new(from, to, seen);
        let asks = intake.ask_ids.clone();
        bench.store.take_in(id, token, intake, at(6)).await.unwrap();
        asks
    };
    take(5, vec![output]).await;
    expect("output", vec![run()]).await;
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
    let asks = take(6, vec![asked]).await;
    let ask = || name(Kind::Ask, asks[0].as_uuid());
    expect("ask", vec![run(), ask(), report(&task)]).await;
    let reply = Reply {
        answer: Answer::Allow,
        by: "me".to_owned(),
        input_id: InputId::new(),
        now: at(7),
    };
    bench.store.answer_ask(asks[0], reply).await.unwrap();
    expect("answer", vec![run(), ask(), report(&task)]).await;
    bench.done(&claimed, Verdict::Succeeded).await;
    expect("finish", vec![run(), report(&task)]).await;
    bench.store.retry_task(task.id, "me", at(10)).await.unwrap();
    expect("retry", vec![report(&task)]).await;
    bench
        .store
        .cancel_task(task.id, "me", at(10))
        .await
        .unwrap();
    expect("cancel", vec![report(&task)]).await;
    bench
        .store
        .pause_project(project.project.id, true, at(10))
        .await
        .unwrap();
    expect("pause", vec![own()]).await;
    let evidence = |second| Evidence {
        source: "test".to_owned(),
        seen_at: at(second),
    };
    let agent = project.agent.id;
    bench
        .store
        .observe_agent(agent, AgentState::Idle, evidence(11))
        .await
        .unwrap();
    expect("observe", vec![own()]).await;
    bench
        .store
        .observe_agent(agent, AgentState::Idle, evidence(12))
        .await
        .unwrap();
    expect("observe the same", vec![]).await;
    let want = Want {
        wish: Wish {
            wanted: Wanted::Down,
            by: "me".to_owned(),
            at: at(12),
        },
        force: false,
        hand_back: false,
    };
    bench.store.want_agent(agent, want).await.unwrap();
    expect("want", vec![own()]).await;
    bench.store.check().await.unwrap();
    expect("check", vec![]).await;
    let mut system = bench.system.clone();
    system.hostname = "other".to_owned();
    bench.store.begin(&system, at(13)).await.unwrap();
    expect("begin", vec![name(Kind::System, system.id.as_uuid())]).await;
}

/// A change that is refused or changes nothing leaves no mark.
pub async fn a_refused_change_leaves_no_mark(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let task = bench.task(&project, "x").await;
    bench.send_all().await;
    bench.store.edit_task(edit(&task, text("x"))).await.unwrap();
    let blocked = SpecEdit {
        text: Some(TaskText::new("other").unwrap()),
        blocked_by: Some(vec![TaskId::new()]),
        ..SpecEdit::default()
    };
    refused(bench.store.edit_task(edit(&task, blocked)).await);
    let mut wanting = order(TaskId::new(), project.project.id, spec("y"));
    wanting.max_queued = 0;
    refused(bench.store.create_tasks(wanting).await);
    refused(bench.store.retry_task(task.id, "me", at(8)).await);
    bench
        .store
        .pause_project(project.project.id, false, at(8))
        .await
        .unwrap();
    assert_eq!(bench.marked().await, []);
}

/// "A second change of the same object moves the mark's moment, not its place", and moments only grow.
pub async fn a_second_change_moves_the_moment(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let first = bench.task(&project, "x").await;
    let second = bench.task(&project, "y").await;
    let of_reports = async || {
        let marks = bench.replica().marks(&[Kind::Report], 10).await.unwrap();
        marks
            .into_iter()
            .map(|mark| (mark.id, mark.hlc))
            .collect::<Vec<_>>()
    };
    let before = of_reports().await;
    let ids = [*first.id.as_uuid(), *second.id.as_uuid()];
    assert_eq!([before[0].0, before[1].0], ids);
    assert!(before[0].1 < before[1].1);
    // Although its clock was put back.
    bench
        .store
        .cancel_task(first.id, "me", at(-1_000))
        .await
        .unwrap();
    let after = of_reports().await;
    assert_eq!([after[0].0, after[1].0], ids);
    assert!(after[0].1 > before[1].1);
    assert_eq!(after[1], before[1]);
    assert_eq!(bench.known().await.clock, after[0].1);
}

/// "The oldest marks, of `kinds` or of all if that is empty."
pub async fn marks_are_asked_for_by_kind(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let task = bench.task(&project, "x").await;
    bench.task(&project, "y").await;
    let all = bench.marks().await;
    assert_eq!(all.len(), 5);
    let kinds = [Kind::Report, Kind::Project];
    let some = bench.replica().marks(&kinds, 2).await.unwrap();
    let names: Vec<_> = some.iter().map(|mark| (&mark.kind, mark.id)).collect();
    let wanted = [
        (&Kind::Project, *project.project.id.as_uuid()),
        (&Kind::Report, *task.id.as_uuid()),
    ];
    assert_eq!(names, wanted);
    assert_eq!(bench.replica().marks(&[], 3).await.unwrap(), all[..3]);
    assert_eq!(bench.replica().marks(&[Kind::Ask], 9).await.unwrap(), []);
}

/// A definition's mark names the version that the server has, also while an earlier edit is on its way.
pub async fn an_edit_names_what_the_server_has(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let task = bench.accept(&project, 4).await;
    let id = *task.id.as_uuid();
    bench.send_all().await;
    let server = bench.document(Kind::Task, id).await.unwrap();
    assert_eq!(server.seq, Some(4));
    let mark = async || {
        let marks = bench.replica().marks(&[Kind::Task], 10).await.unwrap();
        marks.into_iter().next().expect("a mark")
    };
    bench.store.edit_task(edit(&task, text("a"))).await.unwrap();
    let first = mark().await;
    assert_eq!((first.base, &first.base_body), (Some(4), &server.body));
    bench.store.edit_task(edit(&task, text("b"))).await.unwrap();
    let again = mark().await;
    assert!(again.hlc > first.hlc);
    assert_eq!((again.base, &again.base_body), (Some(4), &server.body));
    bench.seal_all().await;
    bench.store.edit_task(edit(&task, text("c"))).await.unwrap();
    let third = mark().await;
    assert_eq!((third.base, &third.base_body), (Some(4), &server.body));
    // The same of one that is only a document here.
    let foreign = TaskId::new();
    let row = bench.definition(foreign, ProjectId::new(), 7);
    bench.adopt(vec![row.clone()]).await;
    bench.send_all().await;
    let id = *foreign.as_uuid();
    bench.put(Kind::Task, id, json!({ "v": 1 })).await;
    bench.put(Kind::Task, id, json!({ "v": 2 })).await;
    let found = mark().await;
    assert_eq!((found.id, found.base), (id, Some(7)));
    assert_eq!(found.base_body, row.body);
    // A title that nobody had before is unset by the text.
    let unset = SpecEdit {
        title: Edit::Unset,
        ..SpecEdit::default()
    };
    bench.send_all().await;
    bench.store.edit_task(edit(&task, unset)).await.unwrap();
    assert_eq!(bench.marks().await, [], "it was no change");
}

/// "Removing a project": itself, and the reports of what fails or stops by it.
pub async fn a_removed_project_is_told(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let running = bench.task(&project, "runs").await;
    let waiting = bench.task(&project, "waits").await;
    let ended = bench.task(&project, "ended").await;
    bench
        .store
        .cancel_task(ended.id, "me", at(4))
        .await
        .unwrap();
    let run = bench.claimed(&project, &running).await.run;
    bench.send_all().await;
    let id = project.project.id;
    bench
        .store
        .remove_project(id, true, "me", at(9))
        .await
        .unwrap();
    let wanted = [
        name(Kind::Project, id.as_uuid()),
        name(Kind::Report, running.id.as_uuid()),
        name(Kind::Run, run.id.as_uuid()),
        name(Kind::Report, waiting.id.as_uuid()),
    ];
    assert_eq!(bench.marked().await, sorted(wanted));
    let latest = bench.marks().await.into_iter().map(|mark| mark.hlc).max();
    assert!(bench.known().await.clock >= latest.unwrap());
}
