//! Many at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::{Place, fate, operation, pinned, shared, with};

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(120);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

/// A cursor over a sequence loses what is committed out of order; this one must not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_misses_nothing_of_eight_pushers() {
    const EACH: usize = 40;
    let place = Place::new().await;
    let mut pushers = JoinSet::new();
    for number in 0..8_usize {
        let mut machine = place.machine().await;
        pushers.spawn(async move {
            let mut ids = Vec::new();
            for round in 0..EACH {
                // Batches of different sizes, each third one by one.
                let mut batch: Vec<_> = (0..1 + (round + number) % 5)
                    .map(|_| operation("wish", Uuid::new_v4(), round as i64, json!({})))
                    .collect();
                ids.extend(batch.iter().map(|operation| operation["id"].clone()));
                if round % 3 == 0 {
                    batch.push(operation("wish", Uuid::new_v4(), 0, json!([])));
                }
                machine.push(batch).await;
            }
            ids
        });
    }
    let mut reader = place.machine().await;
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let over = Arc::clone(&done);
    let following = tokio::spawn(async move {
        let mut after = 0;
        let mut seen = Vec::new();
        loop {
            let last = over.load(std::sync::atomic::Ordering::SeqCst);
            let answer = reader.pull(after, 7).await.unwrap();
            let rows = answer["rows"].as_array().unwrap();
            seen.extend(
                rows.iter()
                    .map(|row| row["id"].as_str().unwrap().to_owned()),
            );
            after = answer["cursor"].as_i64().unwrap();
            if last && answer["more"] == false {
                break seen;
            }
        }
    });
    let pushed = soon(pushers.join_all()).await;
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    let seen = soon(following).await.unwrap();
    let pushed: BTreeSet<_> = pushed
        .into_iter()
        .flatten()
        .map(|id| id.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(seen.len(), pushed.len(), "no double");
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), pushed);
    assert_eq!(
        place.seq().await,
        pushed.len() as i64,
        "no number is left out"
    );
}

/// Everything that writes locks the same row first, so nobody waits for somebody who waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn push_claim_renew_pull_and_revoke_never_wait_for_each_other() {
    let place = Place::new().await;
    let mut first = place.machine().await;
    let tasks: Vec<_> = (0..5).map(|_| Uuid::new_v4()).collect();
    first
        .push(
            tasks
                .iter()
                .map(|id| operation("task", *id, 0, shared(Uuid::new_v4(), "x")))
                .collect(),
        )
        .await;
    let mut all = JoinSet::new();
    for number in 0..8_usize {
        let mut machine = place.machine().await;
        let mut tasks = tasks.clone();
        // Each in another order.
        tasks.rotate_left(number % 5);
        if number % 2 == 0 {
            tasks.reverse();
        }
        all.spawn(async move {
            for round in 0..15_i64 {
                for task in &tasks {
                    if let Ok(lease) = machine.claim(Uuid::new_v4(), *task, 60.0).await {
                        let report =
                            operation("report", *task, round, json!({ "state": "running" }));
                        let answer = machine
                            .push(vec![with(report, json!({ "epoch": lease["token"] }))])
                            .await;
                        assert_eq!(fate(&answer, 0), "taken");
                        machine.renew(*task, &lease["token"], 60.0).await.unwrap();
                        machine.finish(*task, &lease["token"]).await.unwrap();
                    }
                }
                let edits = tasks
                    .iter()
                    .map(|id| operation("task", *id, round, shared(Uuid::new_v4(), "edit")))
                    .collect();
                machine.push(edits).await;
                let more = json!({ "p_after": 0, "p_limit": 100, "p_nonces": [], "p_nonce": null });
                machine.call("ccm_pull", more).await.unwrap();
            }
        });
    }
    let done = soon(async {
        while let Some(one) = all.join_next().await {
            one.unwrap();
        }
    });
    done.await;
    let log = std::fs::read_to_string(place.database.log()).unwrap();
    assert!(!log.contains("deadlock"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_claimers_share_ten_thousand_tasks() {
    const TASKS: usize = 10_000;
    let place = Place::new().await;
    let mut author = place.machine().await;
    let tasks: Vec<_> = (0..TASKS).map(|_| Uuid::new_v4()).collect();
    for part in tasks.chunks(1000) {
        let answer = author
            .push(
                part.iter()
                    .map(|id| operation("task", *id, 0, shared(Uuid::new_v4(), "x")))
                    .collect(),
            )
            .await;
        assert_eq!(answer["acknowledged"], author.sent);
    }
    let tasks = Arc::new(tasks);
    let mut claimers = JoinSet::new();
    for number in 0..8_usize {
        let mut machine = place.machine().await;
        let tasks = Arc::clone(&tasks);
        claimers.spawn(async move {
            let mut mine = Vec::new();
            // In pairs they go for the same quarter, from both ends.
            let quarter = &tasks[number / 2 * TASKS / 4..][..TASKS / 4];
            for place in 0..quarter.len() {
                let place = if number % 2 == 0 {
                    place
                } else {
                    quarter.len() - 1 - place
                };
                match machine.claim(Uuid::new_v4(), quarter[place], 600.0).await {
                    Ok(lease) => mine.push((quarter[place], lease["token"].as_i64().unwrap())),
                    Err(refusal) => assert_eq!(refusal.code, "lease_held"),
                }
            }
            mine
        });
    }
    let won = soon(claimers.join_all()).await;
    let mut holders = BTreeMap::new();
    for (task, token) in won.iter().flatten() {
        assert_eq!(*token, 1);
        assert_eq!(holders.insert(task, ()), None, "a double");
    }
    assert_eq!(holders.len(), TASKS);
    assert!(won.iter().filter(|mine| !mine.is_empty()).count() > 1);
}

/// Edits of the same definitions by all at once: one of them counts, and each other one is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_edit_of_many_is_lost() {
    const MACHINES: usize = 6;
    let place = Place::new().await;
    let mut first = place.machine().await;
    let task = Uuid::new_v4();
    let project = Uuid::new_v4();
    let base = first
        .push(vec![operation("task", task, 0, pinned(project, "base"))])
        .await["rows"][0]["seq"]
        .clone();
    let mut editors = JoinSet::new();
    for number in 0..MACHINES {
        let mut machine = place.machine().await;
        let edit = with(
            operation(
                "task",
                task,
                10 + number as i64,
                pinned(project, &format!("edit {number}")),
            ),
            json!({ "base": base }),
        );
        editors.spawn(async move { machine.put(edit).await });
    }
    soon(editors.join_all()).await;
    let last = format!("edit {}", MACHINES - 1);
    assert_eq!(
        first.get("task", task).await.unwrap()["body"]["title"],
        json!(last)
    );
    // The first edit knew of the base; every other one meets another.
    let all = first.all().await;
    let lost = all
        .iter()
        .filter(|row| row["kind"] == "conflict")
        .map(|row| {
            row["body"]["lost"]["body"]["title"]
                .as_str()
                .unwrap()
                .to_owned()
        });
    let expected: BTreeSet<_> = (0..MACHINES - 1)
        .map(|number| format!("edit {number}"))
        .collect();
    assert_eq!(lost.collect::<BTreeSet<_>>(), expected);
}
