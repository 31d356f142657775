//! Shared tasks: their leases, and giving them up.

use super::*;
use crate::reason::Reason;
use crate::task::{Setback, TaskState, TaskStateName};

/// "Gives a shared task up whose lease is another machine's now: it is no longer reported."
pub async fn a_yielded_task_is_told_of_no_more(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let running = bench.accept(&project, 3).await;
    let waiting = bench.accept(&project, 4).await;
    let claimed = bench.claimed(&project, &running).await;
    for task in [running.id, waiting.id] {
        let kept = bench.replica().keep_lease(task, Some(lease(1))).await;
        kept.unwrap();
    }
    bench.send_all().await;
    // What was still to be told, and what another machine has told meanwhile.
    bench
        .store
        .mark_started(claimed.run.id, claimed.run.token, at(6), at(6))
        .await
        .unwrap();
    bench.replica().resync(None, at(7)).await.unwrap();
    let theirs = bench.row(
        Kind::Report,
        *running.id.as_uuid(),
        6,
        json!({ "by": "them" }),
    );
    assert_eq!(bench.adopt(vec![theirs.clone()]).await.waiting, 1);
    let give_up = async |task: TaskId| {
        let document = bench.document(Kind::Task, *task.as_uuid()).await.unwrap();
        let act = Act::Yield { task };
        bench
            .replica()
            .settle(settle(&document, act))
            .await
            .unwrap();
    };
    let before = bench.head().await;
    give_up(running.id).await;
    give_up(waiting.id).await;
    let kinds = "document.changed task.stopping task.failed";
    assert_eq!(bench.kinds_since(before).await, kinds);
    let report = bench
        .document(Kind::Report, *running.id.as_uuid())
        .await
        .unwrap();
    assert_eq!((report.body, report.pending), (theirs.body, false));
    let own = [
        name(Kind::Project, project.project.id.as_uuid()),
        name(Kind::System, bench.system.id.as_uuid()),
    ];
    assert_eq!(bench.marked().await, own);
    bench.send_all().await;
    let before = bench.head().await;
    give_up(waiting.id).await;
    assert_eq!(bench.head().await, before);
    assert_eq!(bench.replica().leases().await.unwrap(), []);
    let now = bench.store.task(waiting.id).await.unwrap();
    assert!(now.yielded);
    let lost = Setback::bare(Reason::LeaseLost);
    let failed = TaskState::Failed {
        run: None,
        cause: lost,
        at: at(11),
    };
    assert_eq!(now.state, failed);
    let run = bench.store.run(claimed.run.id).await.unwrap();
    assert_eq!(run.stop.unwrap().reason, Reason::LeaseLost);
    // What is still written about it is this machine's own business.
    let cause = Setback::bare(Reason::LeaseLost);
    let mut finish = end(Verdict::Lost { cause });
    finish.retry_at = Some(at(30));
    let (id, token) = (claimed.run.id, claimed.run.token);
    let ended = bench.store.finish(id, token, finish, at(12)).await.unwrap();
    assert_eq!(
        ended.state.name(),
        TaskStateName::Failed,
        "it is not tried again here"
    );
    assert_eq!(bench.marked().await, []);
    assert_eq!(bench.ready().await, []);
    bench.replica().resync(None, at(40)).await.unwrap();
    let marked = bench.marked().await;
    for task in [running.id, waiting.id] {
        assert!(!marked.contains(&name(Kind::Report, task.as_uuid())));
        assert!(!marked.contains(&name(Kind::Task, task.as_uuid())));
    }
    assert!(!marked.contains(&name(Kind::Run, id.as_uuid())));
    // Wishes for it are others' to grant.
    let row = wish(&bench, waiting.id, "cancel", 9);
    let foreign = TaskId::new();
    let elsewhere = bench.definition(foreign, ProjectId::new(), 10);
    bench.adopt(vec![row, elsewhere]).await;
    assert!(!bench.open().await.contains(foreign.as_uuid()));
}

/// A task that was given up is this machine's again when it gets the lease again.
pub async fn a_yielded_task_can_come_back(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let task = bench.accept(&project, 3).await;
    let mut wanting = spec("waits");
    wanting.blocked_by = vec![task.id];
    let blocked = order(TaskId::new(), project.project.id, wanting);
    let blocked = bench
        .store
        .create_tasks(blocked)
        .await
        .unwrap()
        .tasks
        .remove(0);
    let claimed = bench.claimed(&project, &task).await;
    let document = async || {
        bench
            .document(Kind::Task, *task.id.as_uuid())
            .await
            .unwrap()
    };
    let act = Act::Yield { task: task.id };
    bench
        .replica()
        .settle(settle(&document().await, act))
        .await
        .unwrap();
    let again = Act::Create {
        request: Box::new(order(task.id, project.project.id, spec("x"))),
        hold: None,
        lease: Some(lease(2)),
    };
    let early = bench
        .replica()
        .settle(settle(&document().await, again.clone()))
        .await;
    assert_eq!(refused(early), ErrorKind::WrongState(Noun::Task));
    assert!(bench.store.task(task.id).await.unwrap().yielded);
    // It ended well after all, but nobody may know of that from here.
    bench.done(&claimed, Verdict::Succeeded).await;
    assert!(!bench.ready().await.contains(&blocked.id));
    let body = json!({ "state": "succeeded" });
    let report = bench.row(Kind::Report, *task.id.as_uuid(), 7, body);
    bench.adopt(vec![report]).await;
    assert!(bench.ready().await.contains(&blocked.id));
    bench.send_all().await;
    bench
        .replica()
        .settle(settle(&document().await, again))
        .await
        .unwrap();
    let now = bench.store.task(task.id).await.unwrap();
    assert_eq!(
        (now.yielded, now.state.name()),
        (false, TaskStateName::Queued)
    );
    assert_eq!(bench.ready().await, [task.id]);
    assert_eq!(
        bench.marked().await,
        [name(Kind::Report, task.id.as_uuid())]
    );
    assert_eq!(
        bench.replica().leases().await.unwrap(),
        [(task.id, lease(2))]
    );
    let claimed = bench.claimed(&project, &task).await;
    bench.done(&claimed, Verdict::Succeeded).await;
    assert_eq!(bench.ready().await, [blocked.id]);
}

/// "Keeps a lease, or that there is none any more", with all that it says.
pub async fn leases_are_kept(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let replica = bench.replica();
    let ids = [TaskId::new(), TaskId::new()];
    let open = LeaseRecord {
        claim: Uuid::now_v7(),
        token: None,
        until: None,
    };
    let before = bench.head().await;
    replica.keep_lease(ids[1], Some(lease(3))).await.unwrap();
    replica
        .keep_lease(ids[0], Some(open.clone()))
        .await
        .unwrap();
    let wanted = [(ids[0], open), (ids[1], lease(3))];
    assert_eq!(replica.leases().await.unwrap(), wanted);
    replica.keep_lease(ids[0], Some(lease(4))).await.unwrap();
    replica.keep_lease(ids[1], None).await.unwrap();
    let second = place.another().await;
    let kept = second.replica().unwrap().leases().await.unwrap();
    assert_eq!(kept, [(ids[0], lease(4))]);
    replica.keep_lease(ids[0], None).await.unwrap();
    replica.keep_lease(ids[0], None).await.unwrap();
    assert_eq!(replica.leases().await.unwrap(), []);
    assert_eq!(bench.head().await, before);
    assert_eq!(bench.marks().await, []);
}
