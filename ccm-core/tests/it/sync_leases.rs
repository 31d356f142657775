//! Shared tasks: exactly one machine runs each, and stops before another can have it.

use ccm_core::Reason;
use ccm_core::api::CreateTask;
use ccm_core::engine::{DefineTask, Engine};
use ccm_core::id::TaskId;
use ccm_core::project::RemoteTasks;
use ccm_core::run::RunState;
use ccm_core::store::RunQuery;
use ccm_core::system::SystemKind;
use ccm_core::task::{Setback, TaskStateName};
use ccm_core::testing::memory::LaunchFault;

use crate::sync_home::{
    Net, all_now, define_as, define_for_any, definition, local, millis, now, report, secs, state,
    told, work,
};

/// Which of some machines run a task now.
async fn runners(engines: &[&Engine], id: TaskId) -> usize {
    let mut running = 0;
    for engine in engines {
        running += usize::from(state(engine, id).await == Some(TaskStateName::Running));
    }
    running
}

#[tokio::test]
async fn one_of_several_machines_runs_a_shared_task() {
    let net = Net::new();
    let homes = ["a", "b", "c"].map(|name| net.home(name));
    let mut engines = Vec::new();
    let mut projects = Vec::new();
    for home in &homes {
        let engine = home.daemon().await;
        projects.push(home.project(&engine, "site").await);
        engines.push(engine);
    }
    let all: Vec<&Engine> = engines.iter().collect();
    all_now(&all).await;
    let id = define_for_any(&engines[0], projects[0], "wait hello").await;
    net.until("the start", secs(1), async || runners(&all, id).await == 1)
        .await;
    net.pass(secs(400)).await;
    assert_eq!(runners(&all, id).await, 1, "its lease is renewed");
    let started: Vec<usize> = {
        let mut started = Vec::new();
        for engine in &engines {
            started.push(usize::from(local(engine, id).await.is_some()));
        }
        started
    };
    assert_eq!(started.iter().sum::<usize>(), 1, "{started:?}");
    let holder = started.iter().position(|has| *has == 1).unwrap();
    assert_eq!(engines[holder].sync_status().await.unwrap().leases, 1);
    homes[holder].runtime.release("go");
    net.until("the result", secs(1), async || {
        told(&engines[(holder + 1) % 3], id).await == Some(TaskStateName::Succeeded)
    })
    .await;
    all_now(&all).await;
    assert_eq!(engines[holder].sync_status().await.unwrap().leases, 0);
    net.pass(secs(700)).await;
    let mut attempts = 0;
    for engine in &engines {
        attempts += local(engine, id).await.map_or(0, |task| task.attempts);
    }
    assert_eq!(attempts, 1);
}

#[tokio::test]
async fn a_task_goes_to_a_machine_that_is_what_it_asks_for() {
    let net = Net::new();
    let (laptop, mut server) = (net.home("laptop"), net.home("server"));
    server.system.tags = vec!["gpu".to_owned()];
    server.system.kind = SystemKind::Devops;
    let (here, there) = (laptop.daemon().await, server.daemon().await);
    let mine = laptop.project(&here, "site").await;
    server.project(&there, "website").await;
    all_now(&[&here, &there]).await;
    let by_tag = CreateTask {
        tags: vec!["gpu".to_owned()],
        ..CreateTask::new(mine, "tag")
    };
    let by_type = CreateTask {
        system_type: Some(SystemKind::Devops),
        ..CreateTask::new(mine, "type")
    };
    let by_none = CreateTask {
        tags: vec!["tpu".to_owned()],
        ..CreateTask::new(mine, "none")
    };
    for task in [&by_tag, &by_type, &by_none] {
        let task = DefineTask {
            task: task.clone(),
            any_machine: false,
        };
        assert!(here.is_for_others(&task).await.unwrap());
    }
    let tag = define_as(&here, by_tag, false).await;
    let kind = define_as(&here, by_type, false).await;
    let none = define_as(&here, by_none, false).await;
    for id in [tag, kind] {
        net.until("the result", secs(20), async || {
            told(&here, id).await == Some(TaskStateName::Succeeded)
        })
        .await;
        assert_eq!(local(&there, id).await.unwrap().project, "website");
    }
    assert!(report(&here, none).await.is_none() && local(&there, none).await.is_none());
}

#[tokio::test]
async fn a_shared_task_waits_for_its_date_and_for_what_it_is_blocked_by() {
    let net = Net::new();
    let (laptop, server) = (net.home("laptop"), net.home("server"));
    let (here, there) = (laptop.daemon().await, server.daemon().await);
    let theirs = server.project(&there, "site").await;
    all_now(&[&here, &there]).await;
    let first = define_for_any(&here, theirs, "wait one").await;
    let blocked = CreateTask {
        blocked_by: vec![first],
        ..CreateTask::new(theirs, "two")
    };
    let blocked = define_as(&here, blocked, true).await;
    let begun = ccm_core::time::Clock::now(&net.clock);
    let dated = CreateTask {
        not_before: Some(begun.after(secs(90))),
        priority: Some(5),
        ..CreateTask::new(theirs, "three")
    };
    let dated = define_as(&here, dated, true).await;
    net.pass(secs(30)).await;
    assert!(local(&there, blocked).await.is_none());
    server.runtime.release("go");
    net.until("the blocked one", secs(2), async || {
        told(&here, blocked).await == Some(TaskStateName::Succeeded)
    })
    .await;
    assert!(local(&there, dated).await.is_none());
    net.until("the dated one", secs(70), async || {
        told(&here, dated).await == Some(TaskStateName::Succeeded)
    })
    .await;
    let passed = ccm_core::time::Clock::now(&net.clock).since(begun);
    assert!(passed >= secs(90) && passed < secs(95), "{passed:?}");
}

#[tokio::test]
async fn a_holder_without_contact_stops_before_another_begins() {
    let net = Net::new();
    let homes = ["a", "b"].map(|name| net.home(name));
    let (one, two) = (homes[0].daemon().await, homes[1].daemon().await);
    let project = homes[0].project(&one, "site").await;
    let paused = homes[1].project(&two, "site").await;
    two.pause_project(paused, true).await.unwrap();
    all_now(&[&one, &two]).await;
    let id = define_for_any(&one, project, "stay").await;
    net.until("the start", secs(1), async || {
        runners(&[&one], id).await == 1
    })
    .await;
    all_now(&[&one, &two]).await;
    two.pause_project(paused, false).await.unwrap();
    homes[0].line.set_up(false);
    let cut = ccm_core::time::Clock::uptime(&net.clock);
    net.until("the second start", secs(400), async || {
        let count = runners(&[&one, &two], id).await;
        assert!(count <= 1, "two machines run it");
        state(&two, id).await == Some(TaskStateName::Running)
    })
    .await;
    let passed = ccm_core::time::Clock::uptime(&net.clock) - cut;
    assert!(
        passed > secs(190),
        "not before the lease has ended: {passed:?}"
    );
    let task = local(&one, id).await.unwrap();
    assert!(task.yielded);
    let runs = one
        .store()
        .runs(&RunQuery {
            task: Some(id),
            agent: None,
            before: None,
            limit: 9,
        })
        .await
        .unwrap();
    let RunState::Ended { outcome, .. } = &runs.items[0].state else {
        panic!("it goes on");
    };
    assert_eq!(outcome.verdict.setback().reason, Reason::LeaseLost);

    homes[0].line.set_up(true);
    net.pass(secs(90)).await;
    let report = report(&one, id).await.unwrap();
    assert_eq!(report.system_id, homes[1].system.id);
    assert_eq!(report.task.state, TaskStateName::Running);
    assert_eq!(now(&one).await.pending.set_aside, 0);
    assert_eq!(runners(&[&one, &two], id).await, 1);
}

#[tokio::test]
async fn a_task_of_a_dead_machine_is_done_by_another() {
    let net = Net::new();
    let homes = ["a", "b"].map(|name| net.home(name));
    let (one, two) = (homes[0].daemon().await, homes[1].daemon().await);
    let project = homes[0].project(&one, "site").await;
    all_now(&[&one, &two]).await;
    let id = define_for_any(&one, project, "wait hello").await;
    net.until("the start", secs(1), async || {
        runners(&[&one], id).await == 1
    })
    .await;
    all_now(&[&one, &two]).await;
    one.shutdown(false).await;
    homes[0].runtime.reboot();
    homes[1].project(&two, "site").await;
    homes[1].runtime.release("go");
    let took = net
        .until("the result", secs(420), async || {
            told(&two, id).await == Some(TaskStateName::Succeeded)
                || state(&two, id).await == Some(TaskStateName::Succeeded)
        })
        .await;
    assert!(took > secs(200), "{took:?}");
}

#[tokio::test]
async fn an_outcome_that_came_late_does_not_count() {
    let net = Net::new();
    let homes = ["a", "b"].map(|name| net.home(name));
    let (one, two) = (homes[0].daemon().await, homes[1].daemon().await);
    let project = homes[0].project(&one, "site").await;
    homes[1].project(&two, "site").await;
    all_now(&[&one, &two]).await;
    // Only one has room.
    homes[1].line.set_up(false);
    let id = define_for_any(&one, project, "wait hello").await;
    net.until("the start", secs(1), async || {
        runners(&[&one], id).await == 1
    })
    .await;
    now(&one).await;
    homes[0].line.set_up(false);
    homes[1].line.set_up(true);
    homes[0].runtime.release("go");
    net.until("its end there", secs(1), async || {
        state(&one, id).await == Some(TaskStateName::Succeeded)
    })
    .await;
    // Nobody hears of it, so another does it again.
    homes[1].runtime.release("go");
    net.until("the second end", secs(450), async || {
        state(&two, id).await == Some(TaskStateName::Succeeded)
    })
    .await;
    homes[0].line.set_up(true);
    net.pass(secs(70)).await;
    for engine in [&one, &two] {
        now(engine).await;
    }
    all_now(&[&one, &two]).await;
    assert!(
        local(&one, id).await.unwrap().yielded,
        "it is not its own any more"
    );
    let told = report(&one, id).await.unwrap();
    assert_eq!(told.system_id, homes[1].system.id, "one outcome");
    assert_eq!(one.sync_status().await.unwrap().leases, 0);
}

#[tokio::test]
async fn a_task_that_can_not_start_is_given_back() {
    let net = Net::new();
    let homes = ["a", "b"].map(|name| net.home(name));
    let (one, two) = (homes[0].daemon().await, homes[1].daemon().await);
    let project = homes[0].project(&one, "site").await;
    all_now(&[&one, &two]).await;
    let busy = one
        .create_tasks(vec![CreateTask::new(project, "stay")], "cli", None)
        .await
        .unwrap()
        .tasks[0]
        .id;
    net.until("the other work", secs(1), async || {
        state(&one, busy).await == Some(TaskStateName::Running)
    })
    .await;
    let id = define_for_any(&one, project, "hello").await;
    net.pass(secs(30)).await;
    assert!(local(&one, id).await.is_none(), "there is no room for it");
    one.cancel_task(busy, "cli").await.unwrap();
    net.until("the claim", secs(5), async || {
        local(&one, id).await.is_some()
    })
    .await;
    net.until("its end", secs(5), async || {
        state(&one, id).await == Some(TaskStateName::Succeeded)
    })
    .await;

    // A program that can't be started on this machine.
    for _ in 0..50 {
        let why = Setback::new(Reason::NotStarted, "there is no such program");
        homes[0].runtime.fail_launch(LaunchFault::NeverStarts(why));
    }
    let next = define_for_any(&one, project, "again").await;
    net.until("the claim", secs(5), async || {
        local(&one, next).await.is_some()
    })
    .await;
    homes[1].project(&two, "site").await;
    net.until("the other machine", secs(400), async || {
        state(&two, next).await == Some(TaskStateName::Succeeded)
    })
    .await;
    all_now(&[&one, &two]).await;
    assert_eq!(told(&one, next).await, Some(TaskStateName::Succeeded));
}

#[tokio::test]
async fn a_shared_task_that_nobody_has_is_called_off() {
    let net = Net::new();
    let (laptop, server) = (net.home("laptop"), net.home("server"));
    let (here, there) = (laptop.daemon().await, server.daemon().await);
    let theirs = server.project(&there, "site").await;
    there.pause_project(theirs, true).await.unwrap();
    all_now(&[&here, &there]).await;
    let id = define_for_any(&here, theirs, "hello").await;
    all_now(&[&here, &there]).await;
    here.cancel_task(id, "cli").await.unwrap();
    net.until("the end", secs(5), async || {
        told(&here, id).await == Some(TaskStateName::Cancelled)
            && told(&there, id).await == Some(TaskStateName::Cancelled)
    })
    .await;
    there.pause_project(theirs, false).await.unwrap();
    net.pass(secs(700)).await;
    assert!(local(&there, id).await.is_none());
    assert_eq!(here.sync_status().await.unwrap().leases, 0);
    assert_eq!(there.sync_status().await.unwrap().leases, 0);
}

#[tokio::test]
async fn a_machine_that_asks_first_leaves_shared_tasks_alone_until_somebody_lets_them() {
    let net = Net::new();
    let (laptop, server) = (net.home("laptop"), net.home("server"));
    let (here, there) = (laptop.daemon().await, server.daemon().await);
    server.set("site", RemoteTasks::Ask);
    let theirs = server.project(&there, "site").await;
    all_now(&[&here, &there]).await;
    let id = define_for_any(&here, theirs, "hello").await;
    all_now(&[&here, &there]).await;
    net.pass(secs(100)).await;
    assert!(local(&there, id).await.is_none());
    there.approve_task(id, "cli").await.unwrap();
    net.until("the end", secs(5), async || {
        told(&here, id).await == Some(TaskStateName::Succeeded)
    })
    .await;
}

#[tokio::test]
async fn a_shared_task_that_nobody_can_know_of_is_done_without_contact() {
    let net = Net::new();
    let homes = ["a", "b"].map(|name| net.home(name));
    let (one, two) = (homes[0].daemon().await, homes[1].daemon().await);
    let project = homes[0].project(&one, "site").await;
    homes[1].project(&two, "site").await;
    all_now(&[&one, &two]).await;
    homes[0].line.set_up(false);
    net.pass(secs(20)).await;
    let id = define_for_any(&one, project, "wait hello").await;
    net.until("the start", millis(200), async || {
        runners(&[&one], id).await == 1
    })
    .await;
    homes[0].line.set_up(true);
    net.pass(secs(70)).await;
    assert_eq!(runners(&[&one, &two], id).await, 1);
    homes[0].runtime.release("go");
    net.until("the result", secs(2), async || {
        told(&two, id).await == Some(TaskStateName::Succeeded)
    })
    .await;
    assert!(definition(&two, id).await.pinned);
    assert!(local(&two, id).await.is_none());
}

#[tokio::test]
async fn a_shared_task_that_was_sent_is_not_begun_without_a_lease() {
    let net = Net::new();
    let homes = ["a", "b"].map(|name| net.home(name));
    let one = homes[0].daemon().await;
    let project = homes[0].project(&one, "site").await;
    now(&one).await;
    one.pause_project(project, true).await.unwrap();
    let id = define_for_any(&one, project, "hello").await;
    now(&one).await;
    homes[0].line.set_up(false);
    one.pause_project(project, false).await.unwrap();
    net.pass(secs(120)).await;
    assert!(
        local(&one, id).await.is_none(),
        "another machine may have it"
    );
    homes[0].line.set_up(true);
    net.until("the end", secs(61), async || {
        state(&one, id).await == Some(TaskStateName::Succeeded)
    })
    .await;
}

#[tokio::test]
async fn a_shared_task_is_retried_under_a_lease_of_its_own() {
    let net = Net::new();
    let homes = ["a", "b"].map(|name| net.home(name));
    let (one, two) = (homes[0].daemon().await, homes[1].daemon().await);
    let project = homes[0].project(&one, "site").await;
    all_now(&[&one, &two]).await;
    let id = define_for_any(&two, project, "fail").await;
    net.until("its failure", secs(3), async || {
        told(&two, id).await == Some(TaskStateName::Failed)
    })
    .await;
    all_now(&[&one, &two]).await;
    assert_eq!(one.sync_status().await.unwrap().leases, 0);
    // Without contact it waits.
    homes[0].line.set_up(false);
    one.retry_task(id, "cli").await.unwrap();
    net.pass(secs(30)).await;
    assert_eq!(state(&one, id).await, Some(TaskStateName::Queued));
    homes[0].line.set_up(true);
    net.until("its second failure", secs(61), async || {
        state(&one, id).await == Some(TaskStateName::Failed)
    })
    .await;
    let token = net
        .server
        .rows()
        .into_iter()
        .find(|row| row.kind == ccm_core::sync::Kind::Report && row.id == *id.as_uuid());
    work().await;
    all_now(&[&one, &two]).await;
    assert!(token.unwrap().epoch.is_some_and(|token| token.0 >= 1));
    here_again(&net, &two, id).await;
}

/// From another machine a wish does the same.
async fn here_again(net: &Net, engine: &Engine, id: TaskId) {
    let before = report(engine, id).await.unwrap().task.run_id;
    engine.retry_task(id, "cli").await.unwrap();
    net.until("its third failure", secs(70), async || {
        let told = report(engine, id).await.unwrap().task;
        told.state == TaskStateName::Failed && told.run_id != before
    })
    .await;
}

#[tokio::test]
async fn an_engine_that_starts_again_goes_on_with_its_lease() {
    let net = Net::new();
    let homes = ["a", "b"].map(|name| net.home(name));
    let (one, two) = (homes[0].daemon().await, homes[1].daemon().await);
    let project = homes[0].project(&one, "site").await;
    homes[1].project(&two, "site").await;
    homes[1].line.set_up(false);
    now(&one).await;
    let id = define_for_any(&one, project, "wait hello").await;
    net.until("the start", secs(1), async || {
        runners(&[&one], id).await == 1
    })
    .await;
    now(&one).await;
    homes[1].line.set_up(true);
    one.shutdown(false).await;
    net.pass(secs(60)).await;
    let one = homes[0].daemon().await;
    net.pass(secs(600)).await;
    assert_eq!(runners(&[&one, &two], id).await, 1);
    assert_eq!(state(&one, id).await, Some(TaskStateName::Running));
    homes[0].runtime.release("go");
    net.until("the result", secs(2), async || {
        told(&two, id).await == Some(TaskStateName::Succeeded)
    })
    .await;
}
