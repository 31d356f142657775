//! Claims, renewals, ends.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Machine, Place, code, operation, pinned, shared, with};

async fn task(machine: &mut Machine) -> Uuid {
    let id = Uuid::new_v4();
    assert_eq!(
        machine
            .put(operation("task", id, 0, shared(Uuid::new_v4(), "x")))
            .await,
        "taken"
    );
    id
}

async fn let_pass(place: &Place) {
    let admin = place.database.admin().await;
    admin
        .run("update ccm_leases set until = now() - interval '1 microsecond'")
        .await;
}

#[tokio::test]
async fn one_machine_has_a_task_and_a_repeated_claim_is_the_same() {
    let place = Place::new().await;
    let [mut one, mut two] = [place.machine().await, place.machine().await];
    let task = task(&mut one).await;
    let claim = Uuid::new_v4();
    let lease = one.claim(claim, task, 300.0).await.unwrap();
    assert_eq!(lease["token"], 1);
    let period = lease["until"].as_i64().unwrap() - lease["server_time"].as_i64().unwrap();
    assert_eq!(period, 300_000_000);
    let again = one.claim(claim, task, 300.0).await.unwrap();
    assert_eq!(
        (&again["token"], &again["until"]),
        (&lease["token"], &lease["until"])
    );
    assert_eq!(
        code(two.claim(Uuid::new_v4(), task, 300.0).await),
        "PT409 lease_held"
    );
    assert_eq!(
        code(two.claim(claim, task, 300.0).await),
        "PT409 lease_held",
        "the id alone is not enough"
    );
    assert_eq!(
        code(one.claim(Uuid::new_v4(), task, 300.0).await),
        "PT409 lease_held"
    );
}

#[tokio::test]
async fn a_lease_ends_unless_it_is_renewed() {
    let place = Place::new().await;
    let [mut one, mut two] = [place.machine().await, place.machine().await];
    let task = task(&mut one).await;
    let claim = Uuid::new_v4();
    let lease = one.claim(claim, task, 60.0).await.unwrap();
    let token = lease["token"].clone();
    let renewed = one.renew(task, &token, 120.0).await.unwrap();
    assert!(renewed["until"].as_i64() > lease["until"].as_i64());
    let shorter = one.renew(task, &token, 1.0).await.unwrap();
    assert_eq!(
        shorter["until"], renewed["until"],
        "a renewal takes nothing away"
    );
    assert_eq!(
        code(one.renew(task, &json!(9), 60.0).await),
        "PT409 lease_lost"
    );
    assert_eq!(
        code(two.renew(task, &token, 60.0).await),
        "PT409 lease_lost"
    );

    let_pass(&place).await;
    assert_eq!(
        code(one.renew(task, &token, 60.0).await),
        "PT409 lease_lost"
    );
    let next = two.claim(Uuid::new_v4(), task, 60.0).await.unwrap()["token"].clone();
    assert!(next.as_i64() > token.as_i64());
    assert_eq!(code(one.finish(task, &token).await), "PT409 lease_lost");
    assert_eq!(
        code(one.claim(claim, task, 60.0).await),
        "PT409 lease_held",
        "a late repetition of the first claim"
    );
    two.renew(task, &next, 60.0).await.unwrap();
}

#[tokio::test]
async fn a_task_is_given_back() {
    let place = Place::new().await;
    let [mut one, mut two] = [place.machine().await, place.machine().await];
    let task = task(&mut one).await;
    let claim = Uuid::new_v4();
    let token = one.claim(claim, task, 60.0).await.unwrap()["token"].clone();
    for _ in 0..2 {
        one.finish(task, &token).await.unwrap();
    }
    assert_eq!(
        code(one.renew(task, &token, 60.0).await),
        "PT409 lease_lost"
    );
    assert_eq!(
        code(one.claim(claim, task, 60.0).await),
        "PT409 task_ended",
        "a late repetition takes nothing"
    );
    let next = two.claim(Uuid::new_v4(), task, 60.0).await.unwrap()["token"].clone();
    assert_eq!(code(one.finish(task, &token).await), "PT409 lease_lost");
    let done = operation("report", task, 5, json!({ "state": "succeeded" }));
    assert_eq!(two.put(with(done, json!({ "epoch": next }))).await, "taken");
    two.finish(task, &next).await.unwrap();
    assert_eq!(
        code(one.claim(Uuid::new_v4(), task, 60.0).await),
        "PT409 task_ended"
    );
    // Done again on somebody's wish.
    let again = operation("report", task, 6, json!({ "state": "queued" }));
    assert_eq!(
        two.put(with(again, json!({ "epoch": next }))).await,
        "taken"
    );
    one.claim(Uuid::new_v4(), task, 60.0).await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_or_not_shared_is_not_claimed() {
    let place = Place::new().await;
    let mut machine = place.machine().await;
    assert_eq!(
        code(machine.claim(Uuid::new_v4(), Uuid::new_v4(), 60.0).await),
        "PT404 no_such_task"
    );
    let project = Uuid::new_v4();
    let bodies = [
        pinned(project, "x"),
        with(shared(project, "x"), json!({ "pinned": true })),
        with(shared(project, "x"), json!({ "repository": null })),
        with(
            shared(project, "x"),
            json!({ "any_machine": false, "tags": [], "system_type": null }),
        ),
    ];
    for body in bodies {
        let id = Uuid::new_v4();
        machine.put(operation("task", id, 0, body.clone())).await;
        assert_eq!(
            code(machine.claim(Uuid::new_v4(), id, 60.0).await),
            "PT409 lease_held",
            "{body}"
        );
    }
    for more in [
        json!({ "tags": ["gpu"] }),
        json!({ "system_type": "server" }),
        json!({ "pinned": false }),
    ] {
        let id = Uuid::new_v4();
        let any = more.get("pinned").is_some();
        let body = with(
            with(shared(project, "x"), json!({ "any_machine": any })),
            more,
        );
        machine.put(operation("task", id, 0, body.clone())).await;
        machine.claim(Uuid::new_v4(), id, 60.0).await.unwrap();
    }
    let gone = Uuid::new_v4();
    machine
        .put(operation("task", gone, 0, shared(project, "x")))
        .await;
    machine.put(operation("task", gone, 1, Value::Null)).await;
    assert_eq!(
        code(machine.claim(Uuid::new_v4(), gone, 60.0).await),
        "PT404 no_such_task"
    );
    let id = task(&mut machine).await;
    for seconds in [0.0, -1.0, 86_401.0] {
        assert_eq!(
            code(machine.claim(Uuid::new_v4(), id, seconds).await),
            "PT400 invalid"
        );
    }
    assert_eq!(
        code(
            machine
                .call(
                    "ccm_claim",
                    json!({ "p_claim": null, "p_task": id, "p_seconds": 1 })
                )
                .await
        ),
        "PT400 invalid"
    );
}

#[tokio::test]
async fn a_deleted_task_s_lease_is_lost() {
    let place = Place::new().await;
    let [mut one, mut two] = [place.machine().await, place.machine().await];
    let task = task(&mut one).await;
    let token = two.claim(Uuid::new_v4(), task, 60.0).await.unwrap()["token"].clone();
    one.put(operation("task", task, 1, Value::Null)).await;
    assert_eq!(
        code(two.renew(task, &token, 60.0).await),
        "PT409 lease_lost"
    );
}
