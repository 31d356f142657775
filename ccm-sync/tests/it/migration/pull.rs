//! Pull: pages, marks that tell a restored server, deleted documents.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Machine, Place, code, operation, pinned};

fn wish(body: Value) -> Value {
    operation("wish", Uuid::new_v4(), 0, body)
}

async fn pull(
    machine: &mut Machine,
    after: i64,
    known: &[Uuid],
    mark: Option<Uuid>,
) -> Result<Value, supabase_double::Refusal> {
    let more = json!({ "p_after": after, "p_limit": 100, "p_nonces": known, "p_nonce": mark });
    machine.call("ccm_pull", more).await
}

fn seqs(answer: &Value) -> Vec<i64> {
    answer["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["seq"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn pages_follow_on_each_other() {
    let place = Place::new().await;
    let [mut one, mut two] = [place.machine().await, place.machine().await];
    for _ in 0..4 {
        one.push((0..3).map(|n| wish(json!({ "n": n }))).collect())
            .await;
    }
    let first = two.pull(0, 5).await.unwrap();
    assert_eq!(
        (seqs(&first), &first["cursor"], &first["more"]),
        ((1..=5).collect(), &json!(5), &json!(true))
    );
    let second = two.pull(5, 7).await.unwrap();
    assert_eq!(
        (seqs(&second), &second["cursor"], &second["more"]),
        ((6..=12).collect(), &json!(12), &json!(false))
    );
    let end = two.pull(12, 5).await.unwrap();
    assert_eq!(
        (seqs(&end), &end["cursor"], &end["more"]),
        (vec![], &json!(12), &json!(false))
    );
    // Of what changed twice there is the last version only.
    let task = Uuid::new_v4();
    let edit = |n: i64| operation("task", task, n, pinned(Uuid::new_v4(), "x"));
    one.push(vec![edit(1)]).await;
    one.push(vec![edit(2)]).await;
    assert_eq!(seqs(&two.pull(12, 5).await.unwrap()), [14]);
    assert_eq!(one.pull(0, 1).await.unwrap()["last_number"], 14);
    assert_eq!(two.pull(0, 1).await.unwrap()["last_number"], 0);
    assert_eq!(code(two.pull(-1, 5).await), "PT400 invalid");
    assert_eq!(code(two.pull(0, 0).await), "PT400 invalid");
}

#[tokio::test]
async fn a_page_has_four_mebibytes_or_one_document() {
    let place = Place::new().await;
    let mut machine = place.machine().await;
    // Random enough not to become small when it is kept.
    let text = |n: usize| {
        (0..n / 32)
            .map(|_| Uuid::new_v4().simple().to_string())
            .collect::<String>()
    };
    for size in [3_000_000, 3_000_000, 6_000_000, 500_000, 500_000] {
        machine
            .push(vec![wish(json!({ "text": text(size) }))])
            .await;
    }
    // What becomes small counts as it is read.
    machine
        .push(vec![wish(json!({ "text": "x".repeat(6_000_000) }))])
        .await;
    let mut after = 0;
    let mut pages = Vec::new();
    loop {
        let answer = machine.pull(after, 1000).await.unwrap();
        pages.push(seqs(&answer));
        after = answer["cursor"].as_i64().unwrap();
        if answer["more"] == false {
            break;
        }
    }
    assert_eq!(pages, [vec![1], vec![2], vec![3], vec![4, 5], vec![6]]);
}

#[tokio::test]
async fn a_restored_server_or_machine_is_noticed() {
    let place = Place::new().await;
    let mut machine = place.machine().await;
    machine.push(vec![wish(json!({}))]).await;
    let marks: Vec<_> = (0..4).map(|_| Uuid::new_v4()).collect();
    pull(&mut machine, 0, &[], Some(marks[0])).await.unwrap();
    // Answered, in flight, lost on the way there and lost on the way back.
    pull(&mut machine, 1, &marks[..2], Some(marks[1]))
        .await
        .unwrap();
    pull(&mut machine, 1, &marks[..3], None).await.unwrap();
    pull(&mut machine, 1, &marks[1..3], Some(marks[2]))
        .await
        .unwrap();
    // The server has a mark that this machine does not know of: one of them is an older copy.
    assert_eq!(
        code(pull(&mut machine, 1, &marks[..2], None).await),
        "PT409 restored"
    );
    assert_eq!(
        code(pull(&mut machine, 1, &[], None).await),
        "PT409 restored"
    );
    assert_eq!(
        code(pull(&mut machine, 1, &marks[..2], Some(marks[3])).await),
        "PT409 restored"
    );
    pull(&mut machine, 1, &marks[2..], None).await.unwrap();
    // A number that the server has not come to.
    assert_eq!(
        code(pull(&mut machine, 2, &marks[2..], None).await),
        "PT409 restored"
    );
    // The server was put back to before this machine's first mark.
    place
        .database
        .admin()
        .await
        .run("update ccm_devices set nonce = null")
        .await;
    assert_eq!(
        code(pull(&mut machine, 1, &marks[2..], None).await),
        "PT409 restored"
    );
    pull(&mut machine, 0, &marks[2..], Some(marks[3]))
        .await
        .unwrap();
}

#[tokio::test]
async fn deleted_documents_are_removed_when_all_machines_know() {
    let place = Place::new().await;
    let [mut one, mut two, mut dead] = [
        place.machine().await,
        place.machine().await,
        place.machine().await,
    ];
    let admin = place.database.admin().await;
    let tasks: Vec<_> = (0..3).map(|_| Uuid::new_v4()).collect();
    let project = Uuid::new_v4();
    one.push(
        tasks
            .iter()
            .map(|id| operation("task", *id, 0, pinned(project, "x")))
            .collect(),
    )
    .await;
    let marks: Vec<_> = (0..8).map(|_| Uuid::new_v4()).collect();
    pull(&mut one, 3, &[], Some(marks[0])).await.unwrap();
    pull(&mut two, 3, &[], Some(marks[1])).await.unwrap();
    pull(&mut dead, 3, &[], Some(marks[2])).await.unwrap();
    // Two are deleted: numbers 4 and 5.
    one.push(
        tasks[..2]
            .iter()
            .map(|id| operation("task", *id, 9, Value::Null))
            .collect(),
    )
    .await;
    let page = two
        .call(
            "ccm_pull",
            json!({ "p_after": 3, "p_limit": 9, "p_nonces": [marks[1]], "p_nonce": null }),
        )
        .await
        .unwrap();
    assert_eq!(seqs(&page), [4, 5]);
    assert_eq!(page["rows"][0]["deleted"], true);
    assert_eq!(page["rows"][0]["body"], Value::Null);
    let tombstones = "select count(*) from ccm_entities where body is null";
    pull(&mut one, 5, &[marks[0]], Some(marks[3]))
        .await
        .unwrap();
    pull(&mut two, 5, &[marks[1]], Some(marks[4]))
        .await
        .unwrap();
    one.push(vec![wish(json!({}))]).await;
    assert_eq!(
        admin.number(tombstones).await,
        2,
        "one machine has not been told"
    );
    // It does not come for longer than a month, and the others don't wait for it.
    admin
        .execute(
            "update ccm_devices set last_seen = now() - interval '31 days' where device_id = $1",
            &[&dead.id],
        )
        .await
        .unwrap();
    one.push(vec![wish(json!({}))]).await;
    assert_eq!(admin.number(tombstones).await, 0);
    assert_eq!(admin.number("select purged from ccm_sequences").await, 5);

    // It has to begin anew, and can do so page by page.
    assert_eq!(
        code(pull(&mut dead, 3, &[marks[2]], None).await),
        "PT409 resync"
    );
    let mut after = 0;
    let mut left = Vec::new();
    loop {
        let more = json!({ "p_after": after, "p_limit": 1, "p_nonces": [marks[2], marks[5]], "p_nonce": marks[5] });
        let page = dead.call("ccm_pull", more).await.unwrap();
        left.extend(seqs(&page));
        after = page["cursor"].as_i64().unwrap();
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(left, [3, 6, 7]);
    // The others are above what was removed, and a new machine begins at 0.
    pull(&mut two, 5, &[marks[4]], None).await.unwrap();
    let mut new = place.machine().await;
    assert_eq!(seqs(&new.pull(0, 2).await.unwrap()), [3, 6]);
    assert_eq!(seqs(&new.pull(3, 2).await.unwrap()), [6, 7]);
}

#[tokio::test]
async fn a_machine_that_is_just_reading_from_the_start_holds_removals_up() {
    let place = Place::new().await;
    let [mut one, mut slow] = [place.machine().await, place.machine().await];
    let tasks: Vec<_> = (0..4).map(|_| Uuid::new_v4()).collect();
    one.push(
        tasks
            .iter()
            .map(|id| operation("task", *id, 0, pinned(Uuid::new_v4(), "x")))
            .collect(),
    )
    .await;
    slow.pull(0, 2).await.unwrap();
    one.push(vec![operation("task", tasks[0], 9, Value::Null)])
        .await;
    pull(&mut one, 5, &[], Some(Uuid::new_v4())).await.unwrap();
    one.push(vec![wish(json!({}))]).await;
    assert_eq!(
        seqs(&slow.pull(2, 9).await.unwrap()),
        [3, 4, 5, 6],
        "the deletion is among them"
    );
}
