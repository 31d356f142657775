//! Push: numbers, lost answers, what is not let in.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Machine, Place, THEN, code, fate, operation, pinned, with};

fn wishes(count: usize) -> Vec<Value> {
    (0..count)
        .map(|n| operation("wish", Uuid::new_v4(), n as i64, json!({ "n": n })))
        .collect()
}

#[tokio::test]
async fn a_repeated_push_is_skipped_whole_and_in_part() {
    let place = Place::new().await;
    let mut machine = place.machine().await;
    let all = machine.number(wishes(6));
    let answer = machine.send("last_write_wins", &all[..3]).await.unwrap();
    assert_eq!(answer["acknowledged"], 3);
    assert_eq!(answer["rows"].as_array().unwrap().len(), 3);
    let seq = place.seq().await;
    let again = machine.send("last_write_wins", &all[..3]).await.unwrap();
    assert_eq!(again["acknowledged"], 3);
    assert_eq!(
        (0..3).map(|place| fate(&again, place)).collect::<Vec<_>>(),
        ["skipped"; 3]
    );
    let seqs = |answer: &Value| {
        let rows = answer["rows"].as_array().unwrap().iter();
        rows.map(|row| (row["id"].clone(), row["seq"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        seqs(&again),
        seqs(&answer),
        "whoever lost the answer gets the rows all the same"
    );
    for (place, sent) in all[..3].iter().enumerate() {
        let (first, second) = (&answer["rows"][place], &again["rows"][place]);
        assert_eq!(
            (&first["operation"], &first["body"]),
            (&sent["uuid"], &Value::Null)
        );
        assert_eq!(second["body"], sent["body"]);
    }
    assert_eq!(place.seq().await, seq, "nobody is told of nothing");
    let more = machine.send("last_write_wins", &all[1..5]).await.unwrap();
    assert_eq!(
        (0..4).map(|place| fate(&more, place)).collect::<Vec<_>>(),
        ["skipped", "skipped", "taken", "taken"]
    );
    let last = machine.send("last_write_wins", &all[5..]).await.unwrap();
    assert_eq!(last["acknowledged"], 6);
    assert_eq!(place.count("wish").await, 6);
    let empty = machine.send("last_write_wins", &[]).await.unwrap();
    assert_eq!(
        (&empty["acknowledged"], &empty["rows"]),
        (&json!(6), &json!([]))
    );
}

#[tokio::test]
async fn a_gap_is_refused_with_all_of_the_batch() {
    let place = Place::new().await;
    let mut machine = place.machine().await;
    let all = machine.number(wishes(6));
    assert_eq!(code(machine.send("manual", &all[1..2]).await), "PT409 gap");
    machine.send("manual", &all[..1]).await.unwrap();
    for batch in [
        vec![all[1].clone(), all[3].clone()],
        vec![all[2].clone(), all[1].clone()],
        vec![all[0].clone(), all[2].clone()],
        vec![all[1].clone(), all[1].clone()],
    ] {
        assert_eq!(code(machine.send("manual", &batch).await), "PT409 gap");
    }
    assert_eq!(place.count("wish").await, 1);
    assert_eq!(
        machine.send("manual", &all[1..]).await.unwrap()["acknowledged"],
        6
    );
}

#[tokio::test]
async fn a_number_with_another_uuid_is_another_machine() {
    let place = Place::new().await;
    let mut machine = place.machine().await;
    let kept = machine.number(wishes(3));
    machine.send("manual", &kept).await.unwrap();
    // An older copy of the same machine goes on from number 2.
    machine.sent = 1;
    let copy = machine.number(wishes(3));
    assert_eq!(
        code(machine.send("manual", &copy).await),
        "PT409 identity_conflict"
    );
    let half = [kept[1].clone(), copy[1].clone()];
    assert_eq!(
        code(machine.send("manual", &half).await),
        "PT409 identity_conflict"
    );
    assert_eq!(place.count("wish").await, 3);
    assert_eq!(
        machine.send("manual", &kept).await.unwrap()["acknowledged"],
        3
    );
}

#[tokio::test]
async fn numbers_older_than_any_answer_that_can_be_lost_are_another_machine() {
    let place = Place::new().await;
    let mut machine = place.machine().await;
    let noop = || json!({ "uuid": Uuid::new_v4(), "kind": "noop" });
    let first = machine.number((0..1000).map(|_| noop()).collect());
    machine.send("manual", &first).await.unwrap();
    for _ in 0..10 {
        machine.push((0..1000).map(|_| noop()).collect()).await;
    }
    let admin = place.database.admin().await;
    assert_eq!(
        admin.number("select count(*) from ccm_operations").await,
        10
    );
    assert_eq!(
        code(machine.send("manual", &first[999..]).await),
        "PT409 identity_conflict"
    );
}

#[tokio::test]
async fn one_bad_operation_uses_up_its_number_and_the_rest_goes_on() {
    let place = Place::new().await;
    let mut machine = place.machine().await;
    let [good, better] = [Uuid::new_v4(), Uuid::new_v4()];
    let id = Uuid::new_v4();
    let bad = [
        operation("wish", id, 0, json!(["no object"])),
        operation("wish", id, -THEN - 1, json!({})),
        with(
            operation("wish", id, 0, json!({})),
            json!({ "id": "no uuid" }),
        ),
        with(operation("wish", id, 0, json!({})), json!({ "id": null })),
        with(operation("wish", id, 0, json!({})), json!({ "kind": "" })),
        with(
            operation("wish", id, 0, json!({})),
            json!({ "hlc_count": 4_294_967_296_i64 }),
        ),
        with(
            operation("wish", id, 0, json!({})),
            json!({ "hlc_time": "late" }),
        ),
        operation("project", id, 0, json!({ "system_id": "not one" })),
        operation("run", id, 0, json!({})),
    ];
    for bad in bad {
        let batch = vec![
            operation("wish", good, 0, json!({ "n": 1 })),
            bad.clone(),
            operation("wish", better, 0, json!({ "n": 2 })),
        ];
        let first = place.count("wish").await == 0;
        let numbered = machine.number(batch);
        let answer = machine.send("last_write_wins", &numbered).await.unwrap();
        let around = if first { "taken" } else { "skipped" };
        let fates: Vec<_> = (0..3).map(|place| fate(&answer, place)).collect();
        assert_eq!(fates, [around, "refused invalid", around], "{bad}");
        assert!(!answer["results"][1]["message"].as_str().unwrap().is_empty());
        assert_eq!(answer["acknowledged"], machine.sent);
        // An answer that was lost is given again, the refusal too.
        let again = machine.send("last_write_wins", &numbered).await.unwrap();
        assert_eq!(fate(&again, 1), "refused invalid", "{bad}");
    }
    assert_eq!(place.count("wish").await, 2);
}

#[tokio::test]
async fn what_postgresql_can_t_keep_is_refused() {
    let place = Place::new().await;
    let mut machine = place.machine().await;
    let [one, two] = [
        operation("wish", Uuid::new_v4(), 0, json!({})),
        operation("wish", Uuid::new_v4(), 0, json!({})),
    ];
    let batch = machine.number(vec![one, two]);
    let text = json!(batch)
        .to_string()
        .replacen("{}", r#"{ "n": 1e200000 }"#, 1);
    let call = "select public.ccm_push($1, $2, 1, 'manual', $3::text::json)::jsonb";
    let rows = machine
        .caller
        .query(call, &[&machine.id, &machine.incarnation, &text])
        .await
        .unwrap();
    let answer: Value = rows[0].get(0);
    assert_eq!(
        [fate(&answer, 0), fate(&answer, 1)],
        ["refused invalid", "taken"]
    );
    // PostgREST itself does not get past this one: nothing of the batch is taken, and the others go on without it.
    let nul = operation("wish", Uuid::new_v4(), 0, json!({ "text": "\0" }));
    let batch = machine.number(vec![operation("wish", Uuid::new_v4(), 0, json!({})), nul]);
    assert_eq!(
        machine.send("manual", &batch).await.unwrap_err().state,
        "22P05"
    );
    assert_eq!(
        machine.send("manual", &batch[..1]).await.unwrap()["acknowledged"],
        3
    );
}

#[tokio::test]
async fn what_is_no_batch_at_all_is_not_taken() {
    let place = Place::new().await;
    let mut machine = place.machine().await;
    let push = async |machine: &mut crate::support::Machine, mode: &str, operations: Value| {
        code(
            machine
                .call(
                    "ccm_push",
                    json!({ "p_mode": mode, "p_operations": operations }),
                )
                .await,
        )
    };
    assert_eq!(
        push(&mut machine, "manual", json!({})).await,
        "PT400 invalid"
    );
    assert_eq!(
        push(&mut machine, "manual", json!(null)).await,
        "PT400 invalid"
    );
    assert_eq!(
        push(&mut machine, "whatever", json!([])).await,
        "PT400 invalid"
    );
    assert_eq!(
        push(&mut machine, "manual", json!([{ "number": 1 }])).await,
        "PT400 invalid"
    );
    assert_eq!(
        push(
            &mut machine,
            "manual",
            json!([{ "number": "x", "uuid": Uuid::new_v4() }])
        )
        .await,
        "PT400 invalid"
    );
    assert_eq!(
        push(&mut machine, "manual", json!([1, 2])).await,
        "PT400 invalid"
    );
    let many: Vec<_> = (1..=1001)
        .map(|n| json!({ "number": n, "uuid": Uuid::new_v4(), "kind": "noop" }))
        .collect();
    assert_eq!(
        push(&mut machine, "manual", json!(many)).await,
        "PT413 too_large"
    );
    let large = "x".repeat(8 * 1024 * 1024);
    let large = with(
        operation("wish", Uuid::new_v4(), 0, json!({ "text": large })),
        json!({ "number": 1 }),
    );
    assert_eq!(
        push(&mut machine, "manual", json!([large])).await,
        "PT413 too_large"
    );
    assert_eq!(machine.pull(0, 1).await.unwrap()["last_number"], 0);
}

#[tokio::test]
async fn what_nobody_knows_survives() {
    let place = Place::new().await;
    let [mut one, mut two] = [place.machine().await, place.machine().await];
    let body = json!({ "title": "größe \"1\" \u{1F600}", "deep": { "a": [1, 2.5, null, true, { "b": "" }] }, "big": 9_007_199_254_740_993_i64 });
    let [task, later] = [Uuid::new_v4(), Uuid::new_v4()];
    one.push(vec![
        operation("task", task, 0, body.clone()),
        operation("sketch", later, 0, json!({ "of": "a newer program" })),
    ])
    .await;
    assert_eq!(two.get("task", task).await.unwrap()["body"], body);
    assert_eq!(
        two.get("sketch", later).await.unwrap()["body"]["of"],
        "a newer program"
    );
    // Of a kind that only newer programs know, the later one counts, whoever wrote it.
    assert_eq!(
        two.put(operation("sketch", later, 5, json!({ "v": 2 })))
            .await,
        "taken"
    );
    assert_eq!(
        one.put(operation("sketch", later, 3, json!({ "v": 1 })))
            .await,
        "overruled"
    );
    assert_eq!(one.get("sketch", later).await.unwrap()["body"]["v"], 2);
}

#[tokio::test]
async fn a_clock_that_is_ahead_does_not_win_for_ever() {
    let place = Place::new().await;
    let [mut wrong, mut right] = [place.machine().await, place.machine().await];
    let task = Uuid::new_v4();
    let project = Uuid::new_v4();
    let year = 365 * 24 * 3600 * 1_000_000_i64;
    let server = wrong.pull(0, 1).await.unwrap()["server_time"]
        .as_i64()
        .unwrap();
    let at = |time: i64, title: &str| operation("task", task, time - THEN, pinned(project, title));
    let answer = wrong
        .push(vec![
            at(server + year, "one"),
            at(server + year + 5, "two"),
            at(server + year + 9, "three"),
        ])
        .await;
    let row = &answer["rows"][0];
    assert_eq!(
        row["body"]["title"], "three",
        "its own changes keep their order"
    );
    let ahead = row["hlc_time"].as_i64().unwrap() - server;
    assert!((60_000_000..=70_000_000).contains(&ahead), "{ahead}");
    // Its clock is right again; what it knows of is before its next change, so that one counts.
    let next = with(
        at(server + 1_000_000, "four"),
        json!({ "base": row["seq"] }),
    );
    assert_eq!(wrong.put(next).await, "taken");
    let row = wrong.get("task", task).await.unwrap();
    assert_eq!(row["body"]["title"], "four");
    assert!(
        row["hlc_time"].as_i64().unwrap() - server >= ahead,
        "moments only grow"
    );
    // The clock of all others is told to whoever registers.
    let clock = right.register().await.unwrap()["clock"].clone();
    assert_eq!(
        (&clock["time"], &clock["count"]),
        (&row["hlc_time"], &row["hlc_count"])
    );
    // At most a minute later anybody's edit is later than that.
    let wins = at(row["hlc_time"].as_i64().unwrap() + 1, "of another machine");
    assert_eq!(right.put(wins).await, "taken");
}

/// Both ways of taking a batch come to the same, whatever is in it.
#[tokio::test]
async fn at_once_or_one_by_one_is_the_same() {
    let place = Place::new().await;
    let [mut fast, mut slow] = [place.machine().await, place.machine().await];
    let batch = |machine: Uuid, salt: u128| {
        let id = |n: u128| Uuid::from_u128(salt << 64 | n);
        let project = id(1);
        vec![
            operation("system", machine, 0, json!({ "hostname": "x" })),
            operation(
                "project",
                project,
                1,
                json!({ "system_id": machine, "name": "p" }),
            ),
            operation("task", id(2), 2, pinned(project, "first")),
            operation("report", id(2), 3, json!({ "state": "queued" })),
            json!({ "uuid": Uuid::new_v4(), "kind": "noop" }),
            operation(
                "run",
                id(3),
                4,
                json!({ "task_id": id(2), "state": "running" }),
            ),
            operation("report", id(2), 5, json!({ "state": "running" })),
            operation("task", id(2), 6, pinned(project, "second")),
            operation(
                "transcript",
                id(4),
                7,
                json!({ "task_id": id(2), "run_id": id(3) }),
            ),
            operation(
                "run",
                id(3),
                8,
                json!({ "task_id": id(2), "state": "ended" }),
            ),
            operation("report", id(2), 9, json!({ "state": "succeeded" })),
            operation("wish", id(5), 10, json!({ "what": "retry" })),
        ]
    };
    let answer = fast.push(batch(fast.id, 1)).await;
    assert!(
        (0..12).all(|place| fate(&answer, place) == "taken"),
        "{answer}"
    );
    // A refused one at the end makes the other batch go one by one.
    let mut operations = batch(slow.id, 2);
    operations.push(operation("wish", Uuid::new_v4(), 11, json!(["no object"])));
    let answer = slow.push(operations).await;
    assert!(
        (0..12).all(|place| fate(&answer, place) == "taken"),
        "{answer}"
    );

    let all = fast.all().await;
    let of = |machine: &crate::support::Machine| -> Vec<_> {
        let mine = all.iter().filter(|row| row["origin"] == json!(machine.id));
        let mut mine: Vec<_> = mine
            .map(|row| {
                (
                    row["kind"].clone(),
                    row["body"]["state"].clone(),
                    row["hlc_time"].clone(),
                    row["body"]["title"].clone(),
                )
            })
            .collect();
        mine.sort_by_key(|row| format!("{row:?}"));
        mine
    };
    assert_eq!(of(&fast).len(), 7);
    assert_eq!(of(&fast), of(&slow));
}

/// Statistics of before a user came say that it has next to nothing, so that an index over all that it has looks as good as
/// the one by name. A push that took it would read everything for each operation.
#[tokio::test]
async fn a_push_reads_no_more_when_statistics_are_old() {
    const BATCH: usize = 500;
    const BATCHES: usize = 6;
    let place = Place::new().await;
    place.machine().await.push(wishes(BATCH)).await;
    let admin = place.database.admin().await;
    admin.run("analyze").await;
    let user = place.database.user().await;
    let mut machine = Machine::new(place.database.sign_in(user).await);
    machine.register().await.unwrap();
    let read = async |machine: &mut Machine| {
        let told = machine
            .caller
            .query("select pg_stat_force_next_flush()", &[]);
        told.await.unwrap();
        let query = "select idx_tup_fetch from pg_stat_user_tables where relname = 'ccm_entities'";
        admin.number(query).await
    };
    let before = read(&mut machine).await;
    for _ in 0..BATCHES {
        machine.push(wishes(BATCH)).await;
    }
    let rows = read(&mut machine).await - before;
    let operations = (BATCH * BATCHES) as i64;
    assert!(
        rows <= 4 * operations,
        "{rows} rows for {operations} operations"
    );
    // All is there, and in its order.
    assert_eq!(machine.pull(0, 1000).await.unwrap()["cursor"], 1000);
}
