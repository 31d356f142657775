//! What goes wrong between machines and the server, and that nothing is lost by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ccm_core::api::{CreateTask, EditTask};
use ccm_core::engine::{Engine, SyncLimits};
use ccm_core::id::TaskId;
use ccm_core::store::NewDocument;
use ccm_core::sync::documents::Keep;
use ccm_core::sync::{ConflictRule, Kind, SyncPhase};
use ccm_core::task::TaskStateName;
use ccm_core::testing::memory::{FakeClock, SyncFault};
use ccm_core::time::Clock;
use ccm_core::{ErrorKind, Noun};
use uuid::Uuid;

use crate::sync_home::{
    Home, Net, all_now, body, define, definition, known, local, millis, now, secs, state, told,
    work,
};

/// Two machines, and a paused project of the second.
struct Pair {
    net: Net,
    homes: [Home; 2],
    here: Engine,
    there: Engine,
    project: ccm_core::id::ProjectId,
}

async fn pair() -> Pair {
    let net = Net::new();
    let homes = [net.home("laptop"), net.home("server")];
    let (here, there) = (homes[0].daemon().await, homes[1].daemon().await);
    let project = homes[1].project(&there, "site").await;
    there.pause_project(project, true).await.unwrap();
    all_now(&[&there, &here]).await;
    Pair {
        net,
        homes,
        here,
        there,
        project,
    }
}

fn text(text: &str) -> EditTask {
    EditTask {
        text: Some(text.to_owned()),
        ..EditTask::default()
    }
}

fn priority(priority: i32) -> EditTask {
    EditTask {
        priority: Some(priority),
        ..EditTask::default()
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_at_any_step_does_no_harm() {
    for fault in [SyncFault::AnswerLost, SyncFault::RequestLost] {
        for skipped in 0..6 {
            let pair = pair().await;
            let line = &pair.homes[0].line;
            let id = define(&pair.here, pair.project, "hello").await;
            line.fail_after(skipped, fault);
            // Until it has gone wrong, whichever call it hits.
            for _ in 0..7 {
                let _ = pair.here.sync_now().await;
            }
            all_now(&[&pair.here, &pair.there, &pair.here]).await;
            assert_eq!(told(&pair.here, id).await, Some(TaskStateName::Queued));
            let status = now(&pair.here).await;
            assert_eq!((status.pending.marks, status.pending.outbox), (0, 0));
            assert_eq!(status.phase, SyncPhase::UpToDate);
            let count = pair
                .net
                .server
                .rows()
                .iter()
                .filter(|row| row.kind == Kind::Task)
                .count();
            assert_eq!(count, 1);
        }
    }
}

#[tokio::test]
async fn pokes_that_are_missing_or_come_for_nothing_change_nothing() {
    let pair = pair().await;
    pair.homes[1].line.set_pokes(false);
    pair.homes[0].line.set_pokes(false);
    pair.there.pause_project(pair.project, false).await.unwrap();
    let id = define(&pair.here, pair.project, "hello").await;
    let took = pair
        .net
        .until("the end", secs(25), async || {
            told(&pair.here, id).await == Some(TaskStateName::Succeeded)
        })
        .await;
    assert!(took > secs(1), "nobody was told");
    for _ in 0..50 {
        pair.net.server.poke();
        work().await;
    }
    assert_eq!(local(&pair.there, id).await.unwrap().attempts, 1);
}

#[tokio::test]
async fn whoever_always_has_something_to_say_looks_as_often_as_others() {
    let pair = pair().await;
    pair.homes[1].line.set_pokes(false);
    let id = define(&pair.here, pair.project, "hello").await;
    let begun = pair.net.clock.uptime();
    let mut said = 0;
    while local(&pair.there, id).await.is_none() {
        let passed = pair.net.clock.uptime() - begun;
        assert!(passed <= secs(15), "nothing was heard in {passed:?}");
        define(&pair.there, pair.project, "said meanwhile").await;
        said += 1;
        pair.net.pass(secs(1)).await;
    }
    assert!(said > 1, "nobody was told");
}

#[tokio::test]
async fn without_contact_it_is_tried_less_and_less_and_nothing_is_dropped() {
    let pair = pair().await;
    let line = &pair.homes[0].line;
    line.set_up(false);
    let id = define(&pair.here, pair.project, "hello").await;
    pair.net.pass(secs(2)).await;
    let status = pair.here.sync_status().await.unwrap();
    assert!(
        matches!(status.phase, SyncPhase::Waiting { .. }),
        "{status:?}"
    );
    assert!(!status.pokes && status.pending.marks + status.pending.outbox > 0);
    pair.net.pass(secs(300)).await;
    let status = pair.here.sync_status().await.unwrap();
    assert!(status.breaker_open && status.failures > 5, "{status:?}");
    assert!(status.failures < 30, "{status:?}");
    let error = pair.here.sync_now().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    line.set_up(true);
    let status = now(&pair.here).await;
    assert!(!status.breaker_open && status.failures == 0);
    all_now(&[&pair.there, &pair.here]).await;
    assert_eq!(told(&pair.here, id).await, Some(TaskStateName::Queued));
}

#[tokio::test]
async fn what_a_person_has_to_do_is_said() {
    for (kind, words) in [
        (ErrorKind::Unauthenticated, "sign in"),
        (ErrorKind::Revoked, "shut out"),
        (ErrorKind::TooOld, "newer CCM"),
    ] {
        let pair = pair().await;
        pair.homes[0].line.set_bad(Some(SyncFault::Refused(kind)));
        define(&pair.here, pair.project, "hello").await;
        assert_eq!(pair.here.sync_now().await.unwrap_err().kind(), kind);
        let status = pair.here.sync_status().await.unwrap();
        let SyncPhase::Stopped { hint, .. } = &status.phase else {
            panic!("{status:?}");
        };
        assert!(hint.contains(words), "{hint}");
        assert!(
            pair.here
                .problems()
                .iter()
                .any(|problem| problem.contains(words))
        );
        assert!(status.pending.marks + status.pending.outbox > 0);
        pair.net.pass(secs(120)).await;
        let again = pair.here.sync_status().await.unwrap();
        assert!(again.failures <= 2, "it is tried rarely: {again:?}");
        pair.homes[0].line.set_bad(None);
        pair.here.wake_sync();
        work().await;
        assert_eq!(now(&pair.here).await.phase, SyncPhase::UpToDate);
        assert!(pair.here.problems().is_empty());
    }
}

#[tokio::test]
async fn one_change_that_the_server_can_not_take_is_set_aside_and_the_rest_goes_on() {
    let pair = pair().await;
    let mut ids = Vec::new();
    for number in 0..40 {
        ids.push(define(&pair.here, pair.project, &format!("task {number}")).await);
    }
    let bad = ids[23];
    pair.net.server.poison(*bad.as_uuid());
    let status = now(&pair.here).await;
    assert_eq!(status.pending.set_aside, 1);
    assert_eq!((status.pending.marks, status.pending.outbox), (0, 0));
    all_now(&[&pair.there, &pair.here]).await;
    for id in ids {
        let there = local(&pair.there, id).await;
        assert_eq!(there.is_some(), id != bad);
    }
    let aside = pair
        .here
        .store()
        .replica()
        .unwrap()
        .set_aside(9)
        .await
        .unwrap();
    assert_eq!(
        (aside[0].id, aside[0].why.contains("not let in")),
        (*bad.as_uuid(), true)
    );
}

#[tokio::test]
async fn a_copied_home_is_refused() {
    let net = Net::new();
    let original = net.home("laptop");
    let one = original.daemon().await;
    original.project(&one, "site").await;
    now(&one).await;
    // The same data, on another machine: as an older copy would have.
    let copy = Home {
        store: original.store.copy(),
        line: Arc::new(net.server.connect()),
        runtime: net.home("copy").runtime,
        ..net.home_as("copy", original.system.id)
    };
    let id = one
        .create_tasks(
            vec![CreateTask::new(original.project(&one, "more").await, "x")],
            "cli",
            None,
        )
        .await
        .unwrap()
        .tasks[0]
        .id;
    now(&one).await;
    let two = copy.daemon().await;
    let error = two.sync_now().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Taken(Noun::System));
    let status = two.sync_status().await.unwrap();
    assert!(matches!(&status.phase, SyncPhase::Stopped { hint, .. } if hint.contains("copied")));
    now(&one).await;
    assert!(state(&one, id).await.is_some() && state(&two, id).await.is_none());
}

#[tokio::test]
async fn a_restored_server_gets_everything_again() {
    let pair = pair().await;
    let first = define(&pair.here, pair.project, "first").await;
    all_now(&[&pair.here, &pair.there]).await;
    let backup = pair.net.server.back_up();
    let second = define(&pair.here, pair.project, "second").await;
    pair.there
        .edit_task(first, None, priority(3), "cli")
        .await
        .unwrap();
    all_now(&[&pair.here, &pair.there]).await;
    pair.net.server.restore(&backup);
    let third = define(&pair.here, pair.project, "third").await;
    all_now(&[&pair.here, &pair.there, &pair.here, &pair.there]).await;
    for engine in [&pair.here, &pair.there] {
        for id in [first, second, third] {
            assert_eq!(definition(engine, id).await.project_id, pair.project);
        }
        assert_eq!(definition(engine, first).await.priority, 3);
        let status = now(engine).await;
        assert_eq!(
            (
                status.pending.marks,
                status.pending.outbox,
                status.pending.unsettled
            ),
            (0, 0, 0)
        );
    }
    for id in [first, second, third] {
        assert_eq!(told(&pair.here, id).await, Some(TaskStateName::Queued));
        assert_eq!(state(&pair.there, id).await, Some(TaskStateName::Queued));
    }
}

#[tokio::test]
async fn a_server_that_was_restored_before_it_knew_anybody_gets_everything_again() {
    let net = Net::new();
    let empty = net.server.back_up();
    let homes = [net.home("laptop"), net.home("server")];
    let (here, there) = (homes[0].daemon().await, homes[1].daemon().await);
    let project = homes[1].project(&there, "site").await;
    there.pause_project(project, true).await.unwrap();
    all_now(&[&there, &here]).await;
    let id = define(&here, project, "first").await;
    all_now(&[&here, &there]).await;
    net.server.restore(&empty);
    all_now(&[&there, &here, &there, &here]).await;
    assert_eq!(told(&here, id).await, Some(TaskStateName::Queued));
    assert_eq!(definition(&there, id).await.title, "first");
    assert!(
        body(&here, Kind::System, homes[1].system.id.as_uuid())
            .await
            .is_some()
    );
}

#[tokio::test]
async fn a_wrong_clock_is_told_and_does_not_win() {
    let pair = pair().await;
    let id = define(&pair.here, pair.project, "first").await;
    all_now(&[&pair.here, &pair.there]).await;
    // An hour ahead, on one machine alone.
    let ahead = FakeClock::new(pair.net.clock.now().after(secs(3600)));
    let home = Home {
        clock: ahead.clone(),
        ..pair.net.home("ahead")
    };
    let engine = home.daemon().await;
    engine.sync_now().await.unwrap();
    let skew = engine.sync_status().await.unwrap().clock_ahead_ms.unwrap();
    assert!((3_599_000..3_601_000).contains(&skew), "{skew}");
    engine
        .edit_task(id, None, text("ahead"), "cli")
        .await
        .unwrap();
    engine.sync_now().await.unwrap();
    all_now(&[&pair.here, &pair.there]).await;
    assert_eq!(definition(&pair.here, id).await.text, "ahead");
    pair.net.pass(secs(61)).await;
    pair.here
        .edit_task(id, None, text("later"), "cli")
        .await
        .unwrap();
    all_now(&[&pair.here, &pair.there]).await;
    engine.sync_now().await.unwrap();
    for engine in [&pair.here, &pair.there, &engine] {
        assert_eq!(definition(engine, id).await.text, "later");
    }
}

#[tokio::test]
async fn the_later_edit_counts_and_the_other_is_kept() {
    let pair = pair().await;
    let id = define(&pair.here, pair.project, "first").await;
    all_now(&[&pair.here, &pair.there]).await;
    for home in &pair.homes {
        home.line.set_up(false);
    }
    pair.here
        .edit_task(id, None, text("here"), "cli")
        .await
        .unwrap();
    pair.net.pass(secs(1)).await;
    pair.there
        .edit_task(id, None, text("there"), "cli")
        .await
        .unwrap();
    for home in &pair.homes {
        home.line.set_up(true);
    }
    all_now(&[&pair.there, &pair.here, &pair.there]).await;
    for engine in [&pair.here, &pair.there] {
        assert_eq!(definition(engine, id).await.text, "there");
        let kept = engine.conflicts(false).await.unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].conflict.lost.body.as_ref().unwrap()["text"], "here");
        assert!(engine.conflicts(true).await.unwrap().is_empty());
        assert_eq!(engine.sync_status().await.unwrap().open_conflicts, 0);
    }
    assert_eq!(
        local(&pair.there, id).await.unwrap().spec.text.as_str(),
        "there"
    );
    // Whoever wants the other one can still have it.
    let id_of = pair.here.conflicts(false).await.unwrap()[0].id;
    pair.here
        .resolve_conflict(id_of, Keep::Local, &BTreeMap::new(), "ada")
        .await
        .unwrap();
    all_now(&[&pair.here, &pair.there]).await;
    assert_eq!(
        local(&pair.there, id).await.unwrap().spec.text.as_str(),
        "here"
    );
}

#[tokio::test]
async fn a_person_decides_a_conflict() {
    let pair = pair().await;
    let manual = SyncLimits {
        rule: ConflictRule::Manual,
        ..SyncLimits::default()
    };
    pair.here.set_sync_limits(manual);
    pair.there.set_sync_limits(manual);
    let id = define(&pair.here, pair.project, "first").await;
    all_now(&[&pair.here, &pair.there]).await;
    let conflict = async |here: EditTask, there: EditTask| {
        for home in &pair.homes {
            home.line.set_up(false);
        }
        pair.here.edit_task(id, None, here, "cli").await.unwrap();
        pair.there.edit_task(id, None, there, "cli").await.unwrap();
        for home in &pair.homes {
            home.line.set_up(true);
        }
        all_now(&[&pair.there, &pair.here, &pair.there]).await;
        let open = pair.here.conflicts(true).await.unwrap();
        assert_eq!(open.len(), 1, "{open:?}");
        assert_eq!(pair.there.conflicts(true).await.unwrap(), open);
        assert_eq!(pair.there.sync_status().await.unwrap().open_conflicts, 1);
        open.into_iter().next().unwrap()
    };
    let none = BTreeMap::new();

    // What the server had counts until then.
    let open = conflict(text("here"), text("there")).await;
    assert_eq!(definition(&pair.here, id).await.text, "there");
    pair.here
        .resolve_conflict(open.id, Keep::Local, &none, "ada")
        .await
        .unwrap();
    all_now(&[&pair.here, &pair.there]).await;
    assert_eq!(
        local(&pair.there, id).await.unwrap().spec.text.as_str(),
        "here"
    );
    assert!(pair.there.conflicts(true).await.unwrap().is_empty());
    let again = pair
        .there
        .resolve_conflict(open.id, Keep::Local, &none, "bob")
        .await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::WrongState(Noun::Task));

    let open = conflict(text("mine"), text("yours")).await;
    pair.here
        .resolve_conflict(open.id, Keep::Remote, &none, "ada")
        .await
        .unwrap();
    all_now(&[&pair.here, &pair.there]).await;
    assert_eq!(
        local(&pair.there, id).await.unwrap().spec.text.as_str(),
        "yours"
    );

    // Different fields need no choice.
    let open = conflict(priority(9), text("both")).await;
    assert_eq!(open.both_changed(), Vec::<String>::new());
    pair.here
        .resolve_conflict(open.id, Keep::Merge, &none, "ada")
        .await
        .unwrap();
    all_now(&[&pair.here, &pair.there]).await;
    let spec = local(&pair.there, id).await.unwrap().spec;
    assert_eq!((spec.priority, spec.text.as_str()), (9, "both"));

    let here = EditTask {
        priority: Some(1),
        ..text("a")
    };
    let open = conflict(here, text("b")).await;
    assert_eq!(open.both_changed(), ["text", "title"]);
    let error = pair
        .here
        .resolve_conflict(open.id, Keep::Merge, &none, "ada")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("text, title"), "{error}");
    let unknown = BTreeMap::from([("colour".to_owned(), Keep::Local)]);
    let error = pair
        .here
        .resolve_conflict(open.id, Keep::Merge, &unknown, "ada")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let choices = ["text", "title"].map(|field| (field.to_owned(), Keep::Remote));
    pair.here
        .resolve_conflict(open.id, Keep::Merge, &choices.into(), "ada")
        .await
        .unwrap();
    all_now(&[&pair.here, &pair.there]).await;
    let spec = local(&pair.there, id).await.unwrap().spec;
    assert_eq!((spec.priority, spec.text.as_str()), (1, "b"));
    let error = pair
        .here
        .resolve_conflict(Uuid::now_v7(), Keep::Merge, &none, "ada")
        .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound(Noun::Task));
}

#[tokio::test]
async fn a_machine_that_is_shut_out_says_so_and_the_others_know() {
    let pair = pair().await;
    let devices = pair.here.devices().await.unwrap();
    assert_eq!(devices.len(), 2);
    let own = pair.here.revoke(pair.homes[0].system.id).await.unwrap_err();
    assert_eq!(own.kind(), ErrorKind::Invalid);
    pair.here.revoke(pair.homes[1].system.id).await.unwrap();
    assert_eq!(
        pair.there.sync_now().await.unwrap_err().kind(),
        ErrorKind::Revoked
    );
    now(&pair.here).await;
    let told = body(&pair.here, Kind::System, pair.homes[1].system.id.as_uuid())
        .await
        .unwrap();
    assert!(told["revoked_at"].is_string());
}

#[tokio::test]
async fn sharing_is_switched_off_and_on_again() {
    let pair = pair().await;
    let id = define(&pair.here, pair.project, "hello").await;
    all_now(&[&pair.here, &pair.there]).await;
    pair.here.stop_sharing().await.unwrap();
    work().await;
    let status = pair.here.sync_status().await.unwrap();
    assert_eq!(
        pair.here
            .store()
            .replica()
            .unwrap()
            .sharing()
            .await
            .unwrap(),
        None
    );
    assert_eq!(status.pending.marks, 0);
    let other = *pair.homes[1].system.id.as_uuid();
    let known = known(&pair.here).await;
    assert!(!known.contains_key(&("system".to_owned(), other)));
    assert!(!known.contains_key(&("report".to_owned(), *id.as_uuid())));
    let error = pair.here.cancel_task(id, "cli").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound(Noun::Task));
    let error = pair.here.devices().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongState(Noun::System));
    pair.here.wake_sync();
    work().await;
    all_now(&[&pair.here, &pair.there, &pair.here]).await;
    assert_eq!(told(&pair.here, id).await, Some(TaskStateName::Queued));
}

#[tokio::test]
async fn a_machine_without_anything_behind_its_line_does_nothing() {
    let net = Net::new();
    let home = net.home("alone");
    home.line.set_connected(false);
    let engine = home.daemon().await;
    let project = home.project(&engine, "site").await;
    net.pass(secs(60)).await;
    let status = engine.sync_status().await.unwrap();
    assert_eq!((status.phase, status.failures), (SyncPhase::Off, 0));
    assert_eq!(
        engine.sync_now().await.unwrap_err().kind(),
        ErrorKind::WrongState(Noun::System)
    );
    assert!(
        engine
            .store()
            .replica()
            .unwrap()
            .sharing()
            .await
            .unwrap()
            .is_none()
    );
    home.line.set_connected(true);
    engine.wake_sync();
    net.until("the first contact", millis(500), async || {
        net.server
            .rows()
            .iter()
            .any(|row| row.id == *project.as_uuid())
    })
    .await;
}

#[tokio::test]
async fn an_idle_machine_asks_rarely() {
    let pair = pair().await;
    pair.net.pass(secs(5)).await;
    let before = pair.homes[0].line.calls();
    for _ in 0..12 {
        pair.net.pass(secs(50)).await;
    }
    let calls = pair.homes[0].line.calls() - before;
    assert!((9..=12).contains(&calls), "{calls} calls in ten minutes");
    pair.homes[0].line.set_pokes(false);
    let before = pair.homes[0].line.calls();
    for _ in 0..12 {
        pair.net.pass(secs(50)).await;
    }
    let calls = pair.homes[0].line.calls() - before;
    assert!(
        (55..=62).contains(&calls),
        "{calls} calls in ten minutes without pokes"
    );
}

#[tokio::test]
async fn a_document_of_a_kind_that_nobody_knows_comes_through() {
    let pair = pair().await;
    let id = Uuid::now_v7();
    let document = NewDocument {
        kind: Kind::Other("recipe".to_owned()),
        id,
        body: Some(serde_json::json!({ "of": "cake" })),
        settled: true,
    };
    let replica = pair.here.store().replica().unwrap();
    replica
        .put(vec![document], None, pair.net.clock.now())
        .await
        .unwrap();
    all_now(&[&pair.here, &pair.there]).await;
    let other = Kind::Other("recipe".to_owned());
    assert_eq!(body(&pair.there, other, &id).await.unwrap()["of"], "cake");
}

#[tokio::test]
async fn a_task_that_was_written_before_a_restore_waits_for_a_person() {
    let pair = pair().await;
    let backup = pair.homes[1].store.copy();
    let id = define(&pair.here, pair.project, "hello").await;
    all_now(&[&pair.here, &pair.there, &pair.here]).await;
    assert_eq!(told(&pair.here, id).await, Some(TaskStateName::Queued));
    pair.there.shutdown(false).await;
    // As `ccm restore` does it: another life, that names the one before.
    let home = Home {
        store: backup,
        line: Arc::new(pair.net.server.connect()),
        ..pair.net.home_as("server", pair.homes[1].system.id)
    };
    home.set("site", ccm_core::project::RemoteTasks::Allow);
    let store = home.store.another();
    ccm_core::Store::begin(&store, &home.system, home.clock.now())
        .await
        .unwrap();
    let replica = ccm_core::Store::replica(&store).unwrap();
    let identity = replica.sharing().await.unwrap().unwrap().identity;
    let anew = ccm_core::sync::Identity {
        incarnation: Uuid::now_v7(),
        ..identity
    };
    replica.share(anew, home.clock.now()).await.unwrap();
    let there = home.daemon().await;
    there.pause_project(pair.project, false).await.unwrap();
    all_now(&[&there, &pair.here, &there]).await;
    pair.net.pass(secs(5)).await;
    let task = local(&there, id).await.unwrap();
    assert_eq!(task.state.name(), TaskStateName::Queued);
    assert!(task.hold.unwrap().detail.unwrap().contains("put back"));
    there.approve_task(id, "cli").await.unwrap();
    pair.net
        .until("the end", secs(3), async || {
            told(&pair.here, id).await == Some(TaskStateName::Succeeded)
        })
        .await;
}

#[tokio::test]
async fn bursts_go_out_together() {
    let pair = pair().await;
    pair.net.pass(secs(1)).await;
    let before = pair.homes[0].line.calls();
    let mut last = TaskId::new();
    for number in 0..300 {
        last = define(&pair.here, pair.project, &format!("task {number}")).await;
    }
    pair.net
        .until("the last", secs(1), async || {
            state(&pair.there, last).await == Some(TaskStateName::Queued)
        })
        .await;
    let calls = pair.homes[0].line.calls() - before;
    assert!(calls <= 8, "{calls} calls for one burst");
}
