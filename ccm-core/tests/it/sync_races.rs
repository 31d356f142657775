//! What one machine does just when it hears of another's change, at every moment in which it can.

use ccm_core::ErrorKind;
use ccm_core::api::EditTask;
use ccm_core::engine::Engine;
use ccm_core::id::{Revision, TaskId};
use ccm_core::sync::Kind;
use ccm_core::task::{Edit, TaskStateName};

use crate::sync_home::{Home, Net, all_now, body, define, local, secs, state, told};

/// How many turns others have while a slow store does something.
const SLOW: usize = 7;
/// In how many turns a change of another machine is heard of and dealt with.
const TURNS: usize = 400;

fn priority(priority: i32) -> EditTask {
    EditTask {
        priority: Some(priority),
        ..EditTask::default()
    }
}

fn title(title: &str) -> EditTask {
    EditTask {
        title: Edit::Set(title.to_owned()),
        ..EditTask::default()
    }
}

/// Whether an edit counts, or was kept when another one won.
async fn is_kept(engine: &Engine, id: TaskId, field: &str, value: &serde_json::Value) -> bool {
    let now = body(engine, Kind::Task, id.as_uuid()).await.unwrap();
    let conflicts = engine.conflicts(false).await.unwrap();
    let mut lost = conflicts
        .iter()
        .filter_map(|one| one.conflict.lost.body.as_ref());
    now[field] == *value || lost.any(|lost| lost[field] == *value)
}

/// A task of the laptop for the server, where it waits.
async fn waiting(laptop: &Home, server: &Home) -> (Engine, Engine, TaskId) {
    let (here, there) = (laptop.daemon().await, server.daemon().await);
    let project = server.project(&there, "site").await;
    all_now(&[&there, &here]).await;
    there.pause_project(project, true).await.unwrap();
    let id = define(&here, project, "x").await;
    all_now(&[&there, &here]).await;
    (here, there, id)
}

/// Two machines change a task: the second one when it has been hearing of the first one's change for so many turns.
async fn edit_while_hearing(turns: usize, owner_hears: bool) {
    let net = Net::new();
    let (laptop, server) = (net.home("laptop"), net.home("server"));
    let (here, there, id) = waiting(&laptop, &server).await;
    let (first, hears, home) = match owner_hears {
        true => (&here, &there, &server),
        false => (&there, &here, &laptop),
    };
    home.line.set_pokes(false);
    first.edit_task(id, None, priority(5), "cli").await.unwrap();
    first.sync_now().await.unwrap();
    home.store.set_slow(SLOW);
    let hearing = async { hears.sync_now().await.unwrap() };
    let editing = async {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        let edited = hears.edit_task(id, None, title("mine"), "cli").await;
        edited.unwrap();
    };
    tokio::join!(hearing, editing);
    home.store.set_slow(0);
    all_now(&[hears, first]).await;
    for engine in [&here, &there] {
        assert!(
            is_kept(engine, id, "priority", &5.into()).await,
            "the other machine's edit is gone, {turns} turns after"
        );
        assert!(
            is_kept(engine, id, "title", &"mine".into()).await,
            "this machine's edit is gone, {turns} turns after"
        );
    }
    here.shutdown(false).await;
    there.shutdown(false).await;
}

#[tokio::test]
async fn an_edit_by_the_tasks_machine_while_anothers_comes_in_loses_neither() {
    for turns in 0..TURNS {
        edit_while_hearing(turns, true).await;
    }
}

#[tokio::test]
async fn an_edit_of_another_machines_task_while_anothers_comes_in_loses_neither() {
    for turns in 0..TURNS {
        edit_while_hearing(turns, false).await;
    }
}

/// What somebody saw before another machine's edit came in is not what their own edit is made on.
#[tokio::test]
async fn an_edit_of_a_version_that_was_seen_overwrites_no_other() {
    for turns in 0..TURNS {
        let net = Net::new();
        let (laptop, server) = (net.home("laptop"), net.home("server"));
        let (here, there, id) = waiting(&laptop, &server).await;
        laptop.line.set_pokes(false);
        there
            .edit_task(id, None, title("theirs"), "cli")
            .await
            .unwrap();
        there.sync_now().await.unwrap();
        let replica = here.store().replica().unwrap();
        let seen = replica.document(&Kind::Task, *id.as_uuid()).await.unwrap();
        let seen = Some(Revision(seen.unwrap().place));
        laptop.store.set_slow(SLOW);
        let hearing = async { here.sync_now().await.unwrap() };
        let editing = async {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            match here.edit_task(id, seen, title("mine"), "cli").await {
                Ok(_) => true,
                Err(error) if error.kind() == ErrorKind::StaleRevision => false,
                Err(error) => panic!("{error}"),
            }
        };
        let (_, edited) = tokio::join!(hearing, editing);
        laptop.store.set_slow(0);
        all_now(&[&here, &there]).await;
        for engine in [&here, &there] {
            let theirs = is_kept(engine, id, "title", &"theirs".into()).await;
            assert!(
                theirs,
                "the other machine's edit is gone, {turns} turns after"
            );
            let mine = is_kept(engine, id, "title", &"mine".into()).await;
            assert_eq!(mine, edited, "{turns} turns after");
        }
        here.shutdown(false).await;
        there.shutdown(false).await;
    }
}

#[tokio::test]
async fn a_task_and_the_wish_to_call_it_off_come_together() {
    let net = Net::new();
    let (laptop, server) = (net.home("laptop"), net.home("server"));
    let (here, there) = (laptop.daemon().await, server.daemon().await);
    let project = server.project(&there, "site").await;
    all_now(&[&there, &here]).await;
    server.line.set_up(false);
    let id = define(&here, project, "stay").await;
    here.sync_now().await.unwrap();
    here.cancel_task(id, "cli").await.unwrap();
    here.sync_now().await.unwrap();
    server.line.set_up(true);
    there.sync_now().await.unwrap();
    net.until("its end", secs(2), async || {
        told(&here, id).await == Some(TaskStateName::Cancelled)
    })
    .await;
    assert_eq!(state(&there, id).await, Some(TaskStateName::Cancelled));
    assert_eq!(local(&there, id).await.unwrap().attempts, 0);
}
