//! Who may write which documents.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Machine, Place, THEN, fate, operation, pinned, shared, with};

/// A machine with a project on it.
async fn owner(place: &Place) -> (Machine, Uuid) {
    let mut machine = place.machine().await;
    let project = Uuid::new_v4();
    let body = json!({ "system_id": machine.id, "name": "p" });
    assert_eq!(
        machine.put(operation("project", project, 0, body)).await,
        "taken"
    );
    (machine, project)
}

fn report(task: Uuid, after: i64, state: &str) -> Value {
    operation("report", task, after, json!({ "state": state }))
}

fn under(operation: Value, token: &Value) -> Value {
    with(operation, json!({ "epoch": token }))
}

#[tokio::test]
async fn a_machine_and_its_projects_are_its_own() {
    let place = Place::new().await;
    let (mut one, project) = owner(&place).await;
    let mut two = place.machine().await;
    assert_eq!(
        one.put(operation("system", one.id, 0, json!({ "hostname": "one" })))
            .await,
        "taken"
    );
    assert_eq!(
        two.put(operation(
            "system",
            one.id,
            9,
            json!({ "hostname": "mine now" })
        ))
        .await,
        "refused not_owner"
    );
    assert_eq!(
        two.put(operation("system", one.id, 9, Value::Null)).await,
        "refused not_owner"
    );
    let body = json!({ "system_id": two.id, "name": "mine now" });
    assert_eq!(
        two.put(operation("project", project, 9, body)).await,
        "refused not_owner"
    );
    assert_eq!(
        two.put(operation("project", project, 9, Value::Null)).await,
        "refused not_owner"
    );
    let body = json!({ "system_id": one.id });
    assert_eq!(
        two.put(operation("project", Uuid::new_v4(), 9, body)).await,
        "refused not_owner"
    );
    assert_eq!(
        one.get("system", one.id).await.unwrap()["body"]["hostname"],
        "one"
    );
}

#[tokio::test]
async fn what_happens_to_a_pinned_task_is_its_machine_s() {
    let place = Place::new().await;
    let (mut one, project) = owner(&place).await;
    let mut two = place.machine().await;
    let [task, run, ask, part] = [(); 4].map(|()| Uuid::new_v4());
    // Written elsewhere, for the project of the first.
    assert_eq!(
        two.put(operation("task", task, 0, pinned(project, "x")))
            .await,
        "taken"
    );
    let of_task = json!({ "task_id": task });
    for (kind, id) in [
        ("report", task),
        ("run", run),
        ("ask", ask),
        ("transcript", part),
    ] {
        let body = with(of_task.clone(), json!({ "state": "running" }));
        assert_eq!(
            two.put(operation(kind, id, 9, body.clone())).await,
            "refused not_owner",
            "{kind}"
        );
        assert_eq!(
            one.put(operation(kind, id, 1, body.clone())).await,
            "taken",
            "{kind}"
        );
        assert_eq!(
            two.put(operation(kind, id, 9, body.clone())).await,
            "refused not_owner",
            "{kind}"
        );
        // Of what it says the later counts, by its own clock.
        assert_eq!(
            one.put(operation(kind, id, 0, body)).await,
            "overruled",
            "{kind}"
        );
    }
    // Also after the project is gone: its machine says what became of its tasks.
    assert_eq!(
        one.put(operation("project", project, 20, Value::Null))
            .await,
        "taken"
    );
    assert_eq!(one.put(report(task, 21, "failed")).await, "taken");
    assert_eq!(
        two.put(report(task, 99, "succeeded")).await,
        "refused not_owner"
    );
}

#[tokio::test]
async fn where_nothing_says_whose_it_is_it_is_whose_said_it_first() {
    let place = Place::new().await;
    let [mut one, mut two] = [place.machine().await, place.machine().await];
    let task = Uuid::new_v4();
    // After the server was put back: the definition is another machine's to send again.
    assert_eq!(one.put(report(task, 0, "running")).await, "taken");
    assert_eq!(
        two.put(report(task, 9, "queued")).await,
        "refused not_owner"
    );
    assert_eq!(one.put(report(task, 10, "succeeded")).await, "taken");
}

#[tokio::test]
async fn what_happens_to_a_shared_task_is_the_holder_s() {
    let place = Place::new().await;
    let (mut one, project) = owner(&place).await;
    let mut two = place.machine().await;
    let task = Uuid::new_v4();
    one.push(vec![
        operation("task", task, 0, shared(project, "x")),
        report(task, 1, "queued"),
    ])
    .await;
    assert_eq!(
        two.put(report(task, 2, "running")).await,
        "refused not_owner",
        "before anybody has it"
    );

    let lease = two.claim(Uuid::new_v4(), task, 60.0).await.unwrap();
    let first = lease["token"].clone();
    assert_eq!(
        two.put(report(task, 3, "running")).await,
        "refused lease_lost",
        "without its token"
    );
    assert_eq!(
        two.put(under(report(task, 3, "running"), &json!(99))).await,
        "refused lease_lost"
    );
    assert_eq!(
        two.put(under(report(task, 3, "running"), &first)).await,
        "taken"
    );
    assert_eq!(two.get("report", task).await.unwrap()["epoch"], first);
    assert_eq!(
        one.put(report(task, 9, "cancelled")).await,
        "refused lease_lost",
        "also the project's machine"
    );

    // It is taken over: what the first holder still says is too late, whatever its clock.
    let admin = place.database.admin().await;
    admin
        .run("update ccm_leases set until = now() - interval '1 second'")
        .await;
    let late = under(report(task, 4, "running"), &first);
    assert_eq!(
        two.put(late).await,
        "taken",
        "a lease that ended is good until somebody else has one"
    );
    let second = one.claim(Uuid::new_v4(), task, 60.0).await.unwrap()["token"].clone();
    assert_eq!(
        two.put(under(report(task, 999, "succeeded"), &first)).await,
        "refused lease_lost"
    );
    let run = operation("run", Uuid::new_v4(), 999, json!({ "task_id": task }));
    assert_eq!(two.put(under(run, &first)).await, "refused lease_lost");
    assert_eq!(
        one.put(under(report(task, 0, "running"), &second)).await,
        "taken",
        "whatever the moment of the last one"
    );
    let row = one.get("report", task).await.unwrap();
    assert_eq!((&row["origin"], &row["epoch"]), (&json!(one.id), &second));

    // Moments only grow, and what the new holder says next counts all the same.
    let row_time = |row: &Value| row["hlc_time"].as_i64().unwrap();
    assert_eq!(row_time(&row), THEN + 4);
    assert_eq!(
        one.put(under(report(task, 1, "running"), &second)).await,
        "taken"
    );
    let next = one.get("report", task).await.unwrap();
    assert_eq!(
        (row_time(&next), next["hlc_count"].as_i64()),
        (THEN + 4, Some(2))
    );
    assert_eq!(
        one.put(under(report(task, 0, "queued"), &second)).await,
        "overruled"
    );

    // What was said under a lease that was given back is still let in.
    one.finish(task, &second).await.unwrap();
    assert_eq!(
        one.put(under(report(task, 1_000, "succeeded"), &second))
            .await,
        "taken"
    );
}

#[tokio::test]
async fn a_task_that_becomes_one_machine_s_own_is_nobody_else_s() {
    let place = Place::new().await;
    let (mut one, project) = owner(&place).await;
    let mut two = place.machine().await;
    let task = Uuid::new_v4();
    one.push(vec![operation("task", task, 0, shared(project, "x"))])
        .await;
    let seq = one.get("task", task).await.unwrap()["seq"].clone();
    let token = two.claim(Uuid::new_v4(), task, 60.0).await.unwrap()["token"].clone();
    // Started offline by the first, which pins it in the same commit.
    let body = with(shared(project, "x"), json!({ "pinned": true }));
    let pin = with(operation("task", task, 5, body), json!({ "base": seq }));
    assert_eq!(one.put(pin).await, "taken");
    assert_eq!(
        crate::support::code(two.renew(task, &token, 60.0).await),
        "PT409 lease_lost"
    );
    assert_eq!(
        two.put(under(report(task, 9, "running"), &token)).await,
        "refused not_owner"
    );
    assert_eq!(one.put(report(task, 6, "running")).await, "taken");
    assert_eq!(
        crate::support::code(two.claim(Uuid::new_v4(), task, 60.0).await),
        "PT409 lease_held"
    );
    // Shared again: the old token stays worthless.
    let seq = one.get("task", task).await.unwrap()["seq"].clone();
    let again = with(
        operation("task", task, 20, shared(project, "x")),
        json!({ "base": seq }),
    );
    assert_eq!(one.put(again).await, "taken");
    assert_eq!(
        two.put(under(report(task, 30, "running"), &token)).await,
        "refused lease_lost"
    );
    assert!(
        two.claim(Uuid::new_v4(), task, 60.0).await.unwrap()["token"].as_i64() > token.as_i64()
    );
}

#[tokio::test]
async fn a_wish_never_changes() {
    let place = Place::new().await;
    let [mut one, mut two] = [place.machine().await, place.machine().await];
    let id = Uuid::new_v4();
    let cancel = json!({ "what": "cancel" });
    assert_eq!(
        one.put(operation("wish", id, 0, cancel.clone())).await,
        "taken"
    );
    assert_eq!(two.put(operation("wish", id, 9, cancel)).await, "skipped");
    assert_eq!(
        one.put(operation("wish", id, 9, json!({ "what": "retry" })))
            .await,
        "refused invalid"
    );
    assert_eq!(
        one.put(operation("wish", id, 10, Value::Null)).await,
        "taken"
    );
    assert_eq!(
        two.put(operation("wish", id, 11, json!({ "what": "cancel" })))
            .await,
        "skipped",
        "it is gone"
    );
}

#[tokio::test]
async fn what_is_of_a_batch_counts_within_it() {
    let place = Place::new().await;
    let (mut one, project) = owner(&place).await;
    let mut two = place.machine().await;
    let [task, foreign] = [Uuid::new_v4(), Uuid::new_v4()];
    // Reports before their definition, of a definition for somebody else's project, and one that moves to another one.
    let answer = two
        .push(vec![
            operation("task", foreign, 0, pinned(project, "for the other machine")),
            report(foreign, 1, "running"),
            operation("wish", Uuid::new_v4(), 2, json!({})),
        ])
        .await;
    assert_eq!(
        (0..3).map(|n| fate(&answer, n)).collect::<Vec<_>>(),
        ["taken", "refused not_owner", "taken"]
    );
    let answer = one
        .push(vec![
            operation("task", task, 0, pinned(project, "x")),
            report(task, 1, "running"),
            operation("task", task, 2, pinned(Uuid::new_v4(), "x")),
            report(task, 3, "succeeded"),
        ])
        .await;
    assert_eq!(
        (0..4).map(|n| fate(&answer, n)).collect::<Vec<_>>(),
        ["taken"; 4]
    );
}
