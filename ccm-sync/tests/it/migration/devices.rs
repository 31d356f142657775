//! Machines: registering, copies, restored data, shutting one out.

use serde_json::json;
use uuid::Uuid;

use crate::support::{Machine, Place, code, fate, operation, pinned};

#[tokio::test]
async fn a_machine_registers_and_is_told_where_it_was() {
    let place = Place::new().await;
    let mut machine = place.stranger().await;
    assert_eq!(code(machine.pull(0, 1).await), "PT403 not_registered");
    let welcome = machine.register().await.unwrap();
    assert_eq!(
        (&welcome["last_number"], &welcome["last_uuid"]),
        (&json!(0), &json!(null))
    );
    assert_eq!(
        (&welcome["min_protocol"], &welcome["schema_version"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(welcome["clock"], json!({ "time": 0, "count": 0 }));
    let batch = vec![
        operation("wish", Uuid::new_v4(), 7, json!({})),
        operation("wish", Uuid::new_v4(), 3, json!({})),
    ];
    let last = batch[1]["uuid"].clone();
    machine.push(batch).await;
    let welcome = machine.register().await.unwrap();
    assert_eq!(
        (&welcome["last_number"], &welcome["last_uuid"]),
        (&json!(2), &last)
    );
    assert_eq!(
        welcome["clock"],
        json!({ "time": crate::support::THEN + 7, "count": 0 })
    );
    assert_eq!(welcome["seq"], 2);
    for bad in ["", &"x".repeat(256)] {
        let more = json!({ "p_previous": null, "p_hostname": bad });
        assert_eq!(
            code(machine.call("ccm_register", more).await),
            "PT400 invalid"
        );
    }
}

#[tokio::test]
async fn a_copy_of_a_machine_is_refused_and_a_restore_on_purpose_is_not() {
    let place = Place::new().await;
    let mut machine = place.machine().await;
    machine
        .push(vec![operation("wish", Uuid::new_v4(), 0, json!({}))])
        .await;
    let old = machine.incarnation;
    machine.incarnation = Uuid::new_v4();
    assert_eq!(code(machine.pull(0, 1).await), "PT409 identity_conflict");
    assert_eq!(code(machine.register().await), "PT409 identity_conflict");
    let other = json!({ "p_previous": Uuid::new_v4(), "p_hostname": "x" });
    assert_eq!(
        code(machine.call("ccm_register", other).await),
        "PT409 identity_conflict"
    );
    let restored = json!({ "p_previous": old, "p_hostname": "x" });
    let welcome = machine
        .call("ccm_register", restored.clone())
        .await
        .unwrap();
    assert_eq!(
        (&welcome["last_number"], &welcome["last_uuid"]),
        (&json!(0), &json!(null))
    );
    // Again, because the answer was lost.
    machine.call("ccm_register", restored).await.unwrap();
    machine.sent = 0;
    let answer = machine
        .push(vec![operation("wish", Uuid::new_v4(), 0, json!({}))])
        .await;
    assert_eq!(fate(&answer, 0), "taken", "numbers begin at 1");
    // Whoever still runs with the older data is out.
    machine.incarnation = old;
    assert_eq!(
        code(machine.send("manual", &[]).await),
        "PT409 identity_conflict"
    );
}

#[tokio::test]
async fn a_new_sign_in_has_to_register() {
    let place = Place::new().await;
    let mut machine = place.machine().await;
    machine
        .push(vec![operation("wish", Uuid::new_v4(), 0, json!({}))])
        .await;
    let mut again = machine.over(place.database.sign_in(place.user).await);
    assert_eq!(code(again.pull(0, 1).await), "PT403 not_registered");
    assert_eq!(again.register().await.unwrap()["last_number"], 1);
    again.pull(0, 1).await.unwrap();
    assert_eq!(
        code(machine.pull(0, 1).await),
        "PT403 not_registered",
        "one sign-in at a time"
    );
}

#[tokio::test]
async fn a_revoked_machine_is_out_with_every_sign_in_it_had() {
    let place = Place::new().await;
    let mut keeper = place.machine().await;
    let mut lost = place.machine().await;
    lost.put(operation(
        "system",
        lost.id,
        0,
        json!({ "hostname": "lost" }),
    ))
    .await;
    let mut renewed = lost.over(place.database.sign_in(place.user).await);
    renewed.register().await.unwrap();

    assert_eq!(
        code(
            keeper
                .call("ccm_revoke", json!({ "p_target": keeper.id }))
                .await
        ),
        "PT400 invalid"
    );
    assert_eq!(
        code(
            keeper
                .call("ccm_revoke", json!({ "p_target": Uuid::new_v4() }))
                .await
        ),
        "PT404 no_such_device"
    );
    let seq = place.seq().await;
    for _ in 0..2 {
        keeper
            .call("ccm_revoke", json!({ "p_target": lost.id }))
            .await
            .unwrap();
    }
    assert_eq!(place.seq().await, seq + 1, "the others are told, once");
    let row = keeper.get("system", lost.id).await.unwrap();
    assert_eq!(row["body"]["hostname"], "lost");
    let revoked: ccm_core::time::Timestamp =
        row["body"]["revoked_at"].as_str().unwrap().parse().unwrap();
    assert!(revoked > ccm_core::time::Timestamp::UNIX_EPOCH);

    let wish = json!({ "p_mode": "manual", "p_operations": [] });
    for machine in [&mut lost, &mut renewed] {
        assert_eq!(code(machine.pull(0, 1).await), "PT403 revoked");
        assert_eq!(
            code(machine.call("ccm_push", wish.clone()).await),
            "PT403 revoked"
        );
        assert_eq!(code(machine.register().await), "PT403 revoked");
        assert_eq!(
            code(machine.claim(Uuid::new_v4(), Uuid::new_v4(), 1.0).await),
            "PT403 revoked"
        );
        // Nor as another machine, with the sign-in that it has.
        machine.id = Uuid::new_v4();
        assert_eq!(code(machine.register().await), "PT403 revoked");
    }
    let admin = place.database.admin().await;
    let sessions = format!(
        "select count(*) from auth.sessions where id in ('{}', '{}')",
        lost.caller.session(),
        renewed.caller.session()
    );
    assert_eq!(admin.number(&sessions).await, 0, "its sign-ins are ended");
    let devices = keeper.call("ccm_devices", json!({})).await.unwrap();
    let revoked: Vec<_> = devices["devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|device| !device["revoked_at"].is_null())
        .collect();
    assert_eq!(revoked, [false, true]);

    // Somebody who knows the password lets it in again, and everybody is told.
    let mut same = lost.over(place.database.sign_in(place.user).await);
    same.id = row["id"].as_str().unwrap().parse().unwrap();
    same.register().await.unwrap();
    same.pull(0, 1).await.unwrap();
    let row = keeper.get("system", same.id).await.unwrap();
    assert_eq!(row["body"], json!({ "hostname": "lost" }));
    assert_eq!(place.seq().await, seq + 2);
    let mut new = place.stranger().await;
    new.register().await.unwrap();
    keeper.pull(0, 1).await.unwrap();
}

#[tokio::test]
async fn machines_are_listed_as_they_came() {
    let place = Place::new().await;
    let mut machines: Vec<Machine> = Vec::new();
    for _ in 0..3 {
        machines.push(place.machine().await);
    }
    let devices = machines[2].call("ccm_devices", json!({})).await.unwrap();
    let listed = devices["devices"].as_array().unwrap();
    assert_eq!(
        listed
            .iter()
            .map(|device| device["id"].clone())
            .collect::<Vec<_>>(),
        machines
            .iter()
            .map(|machine| json!(machine.id))
            .collect::<Vec<_>>()
    );
    for device in listed {
        assert_eq!(device["hostname"], "laptop");
        assert_eq!(device["protocol"], 1);
        assert_eq!(device["acknowledged"], 0);
        assert!(device["last_seen"].as_i64() >= device["registered_at"].as_i64());
        assert!(
            device.get("incarnation").is_none(),
            "it is what a machine proves itself with"
        );
    }
}

#[tokio::test]
async fn a_revoked_machine_that_comes_back_as_a_new_one_has_its_projects() {
    let place = Place::new().await;
    let [mut keeper, mut old, mut new] = [
        place.machine().await,
        place.machine().await,
        place.machine().await,
    ];
    let [project, task] = [Uuid::new_v4(), Uuid::new_v4()];
    let of = |machine: Uuid| {
        operation(
            "project",
            project,
            0,
            json!({ "system_id": machine, "name": "p" }),
        )
    };
    old.push(vec![
        of(old.id),
        operation("task", task, 1, pinned(project, "x")),
    ])
    .await;
    assert_eq!(new.put(of(new.id)).await, "refused not_owner");
    keeper
        .call("ccm_revoke", json!({ "p_target": old.id }))
        .await
        .unwrap();
    let report = operation("report", task, 2, json!({ "state": "running" }));
    assert_eq!(new.put(report.clone()).await, "refused not_owner");
    assert_eq!(new.put(of(new.id)).await, "taken");
    assert_eq!(new.put(report.clone()).await, "taken");
    assert_eq!(keeper.put(report).await, "refused not_owner");
}
