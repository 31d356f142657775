//! Tasks and wishes of other machines, over servers and lines in memory.

use ccm_core::api::{CreateTask, EditTask};
use ccm_core::engine::DefineTask;
use ccm_core::project::RemoteTasks;
use ccm_core::sync::Kind;
use ccm_core::sync::documents::{ProjectReport, SystemReport, Wanted};
use ccm_core::task::{CancelEffect, TaskState, TaskStateName};
use ccm_core::{ErrorKind, Noun, Reason};

use crate::sync_home::{
    Net, all_now, body, define, definition, local, millis, now, report, secs, state, told, work,
};

#[tokio::test]
async fn a_task_for_another_machine_runs_there_at_once_and_its_result_comes_back() {
    let net = Net::new();
    let (laptop, server) = (net.home("laptop"), net.home("server"));
    let (here, there) = (laptop.daemon().await, server.daemon().await);
    let project = server.project(&there, "site").await;
    all_now(&[&there, &here]).await;

    let id = define(&here, project, "wait hello").await;
    let took = net
        .until("the start", secs(1), async || {
            state(&there, id).await == Some(TaskStateName::Running)
        })
        .await;
    assert!(took <= millis(300), "it took {took:?}");
    assert_eq!(local(&there, id).await.unwrap().created_by, "cli:laptop");
    assert_eq!(state(&here, id).await, None);
    net.until("its report", secs(1), async || {
        told(&here, id).await == Some(TaskStateName::Running)
    })
    .await;

    server.runtime.release("go");
    net.until("the result", secs(1), async || {
        told(&here, id).await == Some(TaskStateName::Succeeded)
    })
    .await;
    let told = report(&here, id).await.unwrap();
    assert_eq!(told.task.result.as_deref(), Some("hello\n"));
    assert_eq!(told.system_id, server.system.id);
    assert_eq!(told.task.text, "", "that is in the definition");
    let run = told.task.run_id.unwrap();
    net.until("its run", secs(70), async || {
        let run = body(&here, Kind::Run, run.as_uuid()).await;
        run.is_some_and(|run| run["state"] == "succeeded")
    })
    .await;
}

#[tokio::test]
async fn machines_and_projects_are_known_to_each_other() {
    let net = Net::new();
    let (laptop, server) = (net.home("laptop"), net.home("server"));
    let (here, there) = (laptop.daemon().await, server.daemon().await);
    let project = server.project(&there, "site").await;
    all_now(&[&there, &here]).await;
    let system = body(&here, Kind::System, server.system.id.as_uuid())
        .await
        .unwrap();
    let system: SystemReport = serde_json::from_value(system).unwrap();
    assert_eq!(system.hostname, "server");
    let read = async || {
        let body = body(&here, Kind::Project, project.as_uuid()).await.unwrap();
        serde_json::from_value::<ProjectReport>(body).unwrap()
    };
    let told = read().await;
    assert_eq!(
        (told.project.name.as_str(), told.remote_tasks.as_str()),
        ("site", "allow")
    );
    assert_eq!(
        told.repository.as_deref(),
        Some(crate::sync_home::REPOSITORY)
    );
    assert_eq!(told.removed_at, None);

    there.pause_project(project, true).await.unwrap();
    net.until("the pause", secs(1), async || {
        read().await.project.state == ccm_core::api::ProjectState::Paused
    })
    .await;
    there.remove_project(project, false, "cli").await.unwrap();
    all_now(&[&there, &here]).await;
    assert_eq!(body(&here, Kind::Project, project.as_uuid()).await, None);
    let task = DefineTask {
        task: CreateTask::new(project, "late"),
        any_machine: false,
    };
    let error = here
        .define_tasks(vec![task], "cli", None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound(Noun::Project));
    assert_eq!(error.part(), Some("/tasks/0/project_id"));
}

#[tokio::test]
async fn work_that_was_done_without_contact_goes_out_afterwards() {
    let net = Net::new();
    let (laptop, server) = (net.home("laptop"), net.home("server"));
    let (here, there) = (laptop.daemon().await, server.daemon().await);
    let (mine, theirs) = (
        laptop.project(&here, "mine").await,
        server.project(&there, "site").await,
    );
    all_now(&[&there, &here]).await;
    laptop.line.set_up(false);
    net.pass(secs(30)).await;
    let own = here
        .create_tasks(vec![CreateTask::new(mine, "own")], "cli", None)
        .await
        .unwrap()
        .tasks[0]
        .id;
    let other = define(&here, theirs, "other").await;
    net.until("its own task", secs(1), async || {
        state(&here, own).await == Some(TaskStateName::Succeeded)
    })
    .await;
    let status = here.sync_status().await.unwrap();
    assert!(
        status.failures > 0 && status.pending.marks > 0,
        "{status:?}"
    );
    assert!(told(&there, own).await.is_none());
    assert!(state(&there, other).await.is_none());

    laptop.line.set_up(true);
    net.until("the other task", secs(61), async || {
        told(&here, other).await == Some(TaskStateName::Succeeded)
    })
    .await;
    net.until("the own one", secs(1), async || {
        told(&there, own).await == Some(TaskStateName::Succeeded)
    })
    .await;
    assert!(definition(&there, own).await.pinned);
    let status = now(&here).await;
    assert_eq!(
        (status.failures, status.pending.marks, status.pending.outbox),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn a_project_asks_before_a_task_of_another_machine_runs() {
    let net = Net::new();
    let (laptop, server) = (net.home("laptop"), net.home("server"));
    let (here, there) = (laptop.daemon().await, server.daemon().await);
    server.set("site", RemoteTasks::Ask);
    let project = server.project(&there, "site").await;
    all_now(&[&there, &here]).await;
    let id = define(&here, project, "hello").await;
    all_now(&[&here, &there, &here]).await;
    net.pass(secs(5)).await;
    let told_of = report(&here, id).await.unwrap();
    assert_eq!(told_of.task.state, TaskStateName::Queued);
    assert_eq!(told_of.task.reason, Some(Reason::RemoteUnapproved));
    assert!(told_of.task.detail.unwrap().contains("laptop"));
    assert!(
        here.approve_task(id, "cli").await.is_err(),
        "that is for the other machine"
    );

    there.approve_task(id, "cli").await.unwrap();
    net.until("its end", secs(1), async || {
        told(&here, id).await == Some(TaskStateName::Succeeded)
    })
    .await;
    let error = there.approve_task(id, "cli").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongState(Noun::Task));
}

#[tokio::test]
async fn a_project_refuses_tasks_of_other_machines() {
    let net = Net::new();
    let (laptop, server) = (net.home("laptop"), net.home("server"));
    let (here, there) = (laptop.daemon().await, server.daemon().await);
    server.set("site", RemoteTasks::Deny);
    let project = server.project(&there, "site").await;
    all_now(&[&there, &here]).await;
    let id = define(&here, project, "hello").await;
    all_now(&[&here, &there, &here]).await;
    let told = report(&here, id).await.unwrap();
    assert_eq!(told.task.state, TaskStateName::Failed);
    assert_eq!(told.task.reason, Some(Reason::RemoteDenied));
    assert_eq!(local(&there, id).await.unwrap().attempts, 0);
}

#[tokio::test]
async fn another_machines_edit_of_the_text_is_not_let_in_by_the_back_door() {
    let net = Net::new();
    let (laptop, server) = (net.home("laptop"), net.home("server"));
    let (here, there) = (laptop.daemon().await, server.daemon().await);
    server.set("site", RemoteTasks::Deny);
    let project = server.project(&there, "site").await;
    there.pause_project(project, true).await.unwrap();
    let created = there
        .create_tasks(vec![CreateTask::new(project, "harmless")], "cli", None)
        .await;
    let id = created.unwrap().tasks[0].id;
    all_now(&[&there, &here]).await;
    let edit = EditTask {
        text: Some("harmful".to_owned()),
        priority: Some(7),
        ..EditTask::default()
    };
    here.edit_task(id, None, edit, "cli").await.unwrap();
    assert_eq!(definition(&here, id).await.text, "harmful");
    all_now(&[&here, &there, &here]).await;
    let task = local(&there, id).await.unwrap();
    assert_eq!(task.spec.text.as_str(), "harmless");
    assert_eq!(task.spec.title.as_str(), "harmless");
    assert_eq!(definition(&here, id).await.text, "harmless", "it says so");
    // What is no text is let in.
    assert_eq!(task.spec.priority, 7);
    assert_eq!(definition(&here, id).await.priority, 7);
    let status = there.sync_status().await.unwrap();
    assert_eq!(status.pending.unsettled, 0);
}

#[tokio::test]
async fn a_waiting_task_is_edited_anywhere() {
    let net = Net::new();
    let (laptop, server) = (net.home("laptop"), net.home("server"));
    let (here, there) = (laptop.daemon().await, server.daemon().await);
    let project = server.project(&there, "site").await;
    there.pause_project(project, true).await.unwrap();
    all_now(&[&there, &here]).await;
    let id = define(&here, project, "one").await;
    all_now(&[&here, &there, &here]).await;

    let edit = |text: &str| EditTask {
        text: Some(text.to_owned()),
        ..EditTask::default()
    };
    let edited = here.edit_task(id, None, edit("two"), "cli").await.unwrap();
    assert_eq!(edited.spec.text.as_str(), "two");
    all_now(&[&here, &there]).await;
    let task = local(&there, id).await.unwrap();
    assert_eq!(task.spec.text.as_str(), "two");
    assert_eq!(
        task.spec.title.as_str(),
        "two",
        "a title that was made of the text"
    );

    there
        .edit_task(id, None, edit("three"), "cli")
        .await
        .unwrap();
    all_now(&[&there, &here]).await;
    assert_eq!(definition(&here, id).await.text, "three");
    let definition = definition(&here, id).await;
    assert_eq!(definition.created_on, laptop.system.id);
    assert!(!definition.pinned);
}

#[tokio::test]
async fn what_a_newer_program_writes_survives_an_edit() {
    let net = Net::new();
    let (laptop, server) = (net.home("laptop"), net.home("server"));
    let (here, there) = (laptop.daemon().await, server.daemon().await);
    let project = server.project(&there, "site").await;
    there.pause_project(project, true).await.unwrap();
    all_now(&[&there, &here]).await;
    let id = define(&here, project, "one").await;
    let mut newer = body(&here, Kind::Task, id.as_uuid()).await.unwrap();
    newer["colour"] = serde_json::json!({ "of": ["the", 1, null] });
    let replica = here.store().replica().unwrap();
    let document = ccm_core::store::NewDocument {
        kind: Kind::Task,
        id: *id.as_uuid(),
        body: Some(newer.clone()),
        settled: true,
    };
    replica
        .put(vec![document], None, ccm_core::time::Clock::now(&net.clock))
        .await
        .unwrap();
    all_now(&[&here, &there]).await;
    let edit = EditTask {
        priority: Some(5),
        ..EditTask::default()
    };
    there.edit_task(id, None, edit, "cli").await.unwrap();
    all_now(&[&there, &here]).await;
    let edited = body(&here, Kind::Task, id.as_uuid()).await.unwrap();
    assert_eq!(edited["priority"], 5);
    assert_eq!(edited["colour"], newer["colour"]);
}

#[tokio::test]
async fn wishes_reach_the_machine_that_runs_a_task() {
    let net = Net::new();
    let (laptop, server) = (net.home("laptop"), net.home("server"));
    let (here, there) = (laptop.daemon().await, server.daemon().await);
    let project = server.project(&there, "site").await;
    all_now(&[&there, &here]).await;
    let id = define(&here, project, "stay").await;
    net.until("its start", secs(1), async || {
        told(&here, id).await == Some(TaskStateName::Running)
    })
    .await;
    let error = here.retry_task(id, "cli").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongState(Noun::Task));

    let (task, effect) = here.cancel_task(id, "cli").await.unwrap();
    assert_eq!((task.id, effect), (id, CancelEffect::Stopping));
    net.until("its end", secs(2), async || {
        told(&here, id).await == Some(TaskStateName::Cancelled)
    })
    .await;
    let task = local(&there, id).await.unwrap();
    assert!(
        matches!(&task.state, TaskState::Cancelled { by, .. } if by == "cli:laptop"),
        "{:?}",
        task.state
    );
    let (_, effect) = here.cancel_task(id, "cli").await.unwrap();
    assert_eq!(effect, CancelEffect::Unchanged);

    here.retry_task(id, "cli").await.unwrap();
    net.until("its second start", secs(2), async || {
        told(&here, id).await == Some(TaskStateName::Running)
    })
    .await;
    here.wish(id, Wanted::Cancel, "web").await.unwrap();
    net.until("its second end", secs(2), async || {
        told(&here, id).await == Some(TaskStateName::Cancelled)
    })
    .await;
}

#[tokio::test]
async fn a_question_is_answered_from_another_machine() {
    use ccm_core::ask::{Answer, AskKind, AskState, Question};
    use ccm_core::run::Observation;
    use ccm_core::testing::memory::Step;

    let net = Net::new();
    let (laptop, server) = (net.home("laptop"), net.home("server"));
    server.runtime.program("agent", |_| {
        vec![
            Step::Say(Observation::Asked {
                request_id: "1".to_owned(),
                question: Question {
                    kind: AskKind::Permission,
                    title: "May I?".to_owned(),
                    detail: String::new(),
                    choices: Vec::new(),
                    payload: "secret".to_owned(),
                },
            }),
            Step::Stay,
        ]
    });
    let (here, there) = (laptop.daemon().await, server.daemon().await);
    let project = server.project(&there, "site").await;
    all_now(&[&there, &here]).await;
    let id = define(&here, project, "x").await;
    net.until("the question", secs(1), async || {
        report(&here, id)
            .await
            .is_some_and(|report| !report.task.open_asks.is_empty())
    })
    .await;
    let ask = report(&here, id).await.unwrap().task.open_asks[0].id;
    let told = body(&here, Kind::Ask, ask.as_uuid()).await.unwrap();
    assert!(!told.to_string().contains("secret"));
    let bad = Answer::Text {
        text: vec!["no".to_owned()],
    };
    assert_eq!(
        here.answer_ask(ask, bad, "cli").await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
    let sent = here.answer_ask(ask, Answer::Allow, "cli").await.unwrap();
    assert!(matches!(sent.state, AskState::Answered { .. }));
    net.until("the answer", secs(1), async || {
        let ask = there.store().ask(ask).await.unwrap();
        matches!(ask.state, AskState::Answered { answer: Answer::Allow, by, .. } if by == "cli:laptop")
    })
    .await;
    net.until("the news of it", secs(1), async || {
        body(&here, Kind::Ask, ask.as_uuid()).await.unwrap()["state"] == "answered"
    })
    .await;
    let late = here
        .answer_ask(ask, Answer::Deny { message: None }, "cli")
        .await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::WrongState(Noun::Ask));
}

#[tokio::test]
async fn nothing_that_another_machine_writes_keeps_this_one_from_its_work() {
    let net = Net::new();
    let (laptop, server) = (net.home("laptop"), net.home("server"));
    let (here, there) = (laptop.daemon().await, server.daemon().await);
    let project = server.project(&there, "site").await;
    all_now(&[&there, &here]).await;
    let bad = [
        serde_json::json!({ "project_id": project }),
        serde_json::json!([]),
        {
            let good = define(&here, project, "x").await;
            let mut body = body(&here, Kind::Task, good.as_uuid()).await.unwrap();
            body["text"] = "".into();
            body
        },
    ];
    let replica = here.store().replica().unwrap();
    for body in bad {
        let document = ccm_core::store::NewDocument {
            kind: Kind::Task,
            id: uuid::Uuid::now_v7(),
            body: Some(body),
            settled: true,
        };
        let now = ccm_core::time::Clock::now(&net.clock);
        replica.put(vec![document], None, now).await.unwrap();
    }
    let good = define(&here, project, "good").await;
    net.until("the good one", secs(1), async || {
        told(&here, good).await == Some(TaskStateName::Succeeded)
    })
    .await;
    work().await;
    assert_eq!(now(&there).await.pending.unsettled, 0);
}
