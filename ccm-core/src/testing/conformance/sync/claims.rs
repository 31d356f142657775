//! Leases of shared tasks.

use super::*;

/// A machine with a shared task, and another one.
async fn shared(place: &dyn SyncPlace) -> (Machine, Machine, TaskId) {
    let mut first = Machine::of(place).await;
    let second = Machine::of(place).await;
    let project = first.project().await;
    let task = first.task(project, true).await;
    (first, second, task)
}

/// "Claims hand a shared task to one machine at a time": of many at once one gets it, the others get `WrongState(Task)`.
pub async fn one_machine_gets_a_task(place: &dyn SyncPlace) {
    let (_, _, task) = shared(place).await;
    let mut machines = Vec::new();
    for _ in 0..8 {
        machines.push(Machine::of(place).await);
    }
    let mut claimers = tokio::task::JoinSet::new();
    for machine in machines {
        let claim = SharedClaim {
            // Longer than all of this takes.
            period: Duration::from_secs(600),
            ..wish(task)
        };
        claimers.spawn(async move {
            let lease = machine.backend.claim(machine.me, &claim).await;
            lease.map_err(|error| error.kind())
        });
    }
    let answers = soon("the claims", claimers.join_all()).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for kind in answers.into_iter().filter_map(Result::err) {
        assert_eq!(kind, ErrorKind::WrongState(Noun::Task));
    }
}

/// "`NotFound(Task)` for one that the server does not know."
pub async fn a_task_that_is_not_there_is_not_given(place: &dyn SyncPlace) {
    let first = Machine::of(place).await;
    let kind = refused(first.claim(TaskId::new()).await);
    assert_eq!(kind, ErrorKind::NotFound(Noun::Task));
}

/// "`WrongState(Task)` ... when the task has ended", also when its lease was given back.
pub async fn a_task_that_ended_is_not_given(place: &dyn SyncPlace) {
    let (mut first, second, task) = shared(place).await;
    let lease = first.claim(task).await.unwrap();
    let fate = first.reported(task, "running", Some(lease.token)).await;
    assert_eq!(fate, Fate::Taken);
    let fate = first.reported(task, "succeeded", Some(lease.token)).await;
    assert_eq!(fate, Fate::Taken);
    first.finish(task, lease.token).await.unwrap();
    for machine in [&first, &second] {
        let kind = refused(machine.claim(task).await);
        assert_eq!(kind, ErrorKind::WrongState(Noun::Task));
    }
}

/// "Idempotent by `claim.id`": a repeated claim is the same claim, and another one of the same machine is not.
pub async fn a_repeated_claim_is_the_same(place: &dyn SyncPlace) {
    let (first, _, task) = shared(place).await;
    let claim = wish(task);
    let again = || first.backend.claim(first.me, &claim);
    let lease = again().await.unwrap();
    assert!(lease.token > FencingToken(0));
    assert!(lease.period() <= PERIOD && lease.period() > PERIOD / 2);
    let same = again().await.unwrap();
    assert_eq!((same.token, same.until), (lease.token, lease.until));
    let longer = PERIOD * 20;
    let renewed = first
        .backend
        .renew(first.me, task, lease.token, longer)
        .await
        .unwrap();
    assert_eq!(renewed.token, lease.token);
    assert!(renewed.until > lease.until);
    let same = again().await.unwrap();
    assert_eq!((same.token, same.until), (lease.token, renewed.until));
    assert_eq!(
        refused(first.claim(task).await),
        ErrorKind::WrongState(Noun::Task)
    );
}

/// A lease that is renewed holds; one that ended is another machine's to have, and then the first is `Superseded`.
pub async fn a_lease_ends_unless_it_is_renewed(place: &dyn SyncPlace) {
    let (first, second, task) = shared(place).await;
    let lease = first.claim(task).await.unwrap();
    place.pass(PERIOD / 2).await;
    first.renew(task, lease.token).await.unwrap();
    place.pass(PERIOD * 2 / 3).await;
    let kind = refused(second.claim(task).await);
    assert_eq!(
        kind,
        ErrorKind::WrongState(Noun::Task),
        "the renewed lease holds"
    );
    place.pass(PERIOD).await;
    let gone = ErrorKind::Superseded;
    assert_eq!(refused(first.renew(task, lease.token).await), gone, "over");
    let next = second.claim(task).await.unwrap();
    assert!(next.token > lease.token, "tokens grow");
    assert_eq!(refused(first.renew(task, lease.token).await), gone);
    assert_eq!(refused(first.finish(task, lease.token).await), gone);
    let theirs = refused(first.renew(task, next.token).await);
    assert_eq!(theirs, gone, "another's token");
    second.renew(task, next.token).await.unwrap();
}

/// "Gives a shared task back ... Idempotent": then another machine may have it at once.
pub async fn a_finished_task_is_given_back(place: &dyn SyncPlace) {
    let (first, second, task) = shared(place).await;
    let lease = first.claim(task).await.unwrap();
    for _ in 0..2 {
        first.finish(task, lease.token).await.unwrap();
    }
    let gone = ErrorKind::Superseded;
    assert_eq!(refused(first.renew(task, lease.token).await), gone);
    let next = second.claim(task).await.unwrap();
    assert!(next.token > lease.token);
    assert_eq!(refused(first.finish(task, lease.token).await), gone);
    second.finish(task, next.token).await.unwrap();
}
