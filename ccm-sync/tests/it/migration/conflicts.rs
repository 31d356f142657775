//! Two edits of one definition.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Machine, Place, THEN, fate, operation, pinned, with};

struct Edits {
    place: Place,
    one: Machine,
    two: Machine,
    task: Uuid,
    project: Uuid,
    base: Value,
}

impl Edits {
    /// Two machines that know the same definition.
    async fn new() -> Self {
        let place = Place::new().await;
        let [mut one, two] = [place.machine().await, place.machine().await];
        let [task, project] = [Uuid::new_v4(), Uuid::new_v4()];
        let answer = one
            .push(vec![operation("task", task, 0, pinned(project, "base"))])
            .await;
        let base = answer["rows"][0]["seq"].clone();
        Self {
            place,
            one,
            two,
            task,
            project,
            base,
        }
    }

    fn edit(&self, after: i64, title: &str) -> Value {
        let more = json!({ "base": self.base, "base_body": pinned(self.project, "base") });
        with(
            operation("task", self.task, after, pinned(self.project, title)),
            more,
        )
    }

    async fn conflicts(&mut self) -> Vec<Value> {
        let all = self.one.all().await;
        all.into_iter()
            .filter(|row| row["kind"] == "conflict")
            .collect()
    }

    async fn title(&mut self) -> Value {
        self.one.get("task", self.task).await.unwrap()["body"]["title"].clone()
    }
}

#[tokio::test]
async fn an_edit_of_what_is_known_is_no_conflict() {
    let mut edits = Edits::new().await;
    let edit = edits.edit(5, "edited");
    assert_eq!(edits.two.put(edit).await, "taken");
    // Its clock is behind, but it knew of the last version.
    let seq = edits.one.get("task", edits.task).await.unwrap()["seq"].clone();
    let late = with(edits.edit(1, "again"), json!({ "base": seq }));
    assert_eq!(edits.one.put(late).await, "taken");
    let row = edits.one.get("task", edits.task).await.unwrap();
    assert_eq!(row["body"]["title"], "again");
    assert_eq!(
        (
            row["hlc_time"].as_i64().unwrap(),
            row["hlc_count"].as_i64().unwrap()
        ),
        (THEN + 5, 1)
    );
    assert_eq!(edits.conflicts().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_machine_does_not_conflict_with_itself() {
    let mut edits = Edits::new().await;
    let batch = vec![edits.edit(1, "a"), edits.edit(2, "b")];
    edits.two.push(batch).await;
    let edit = edits.edit(3, "c");
    assert_eq!(edits.two.put(edit).await, "taken");
    assert_eq!(edits.title().await, "c");
    assert_eq!(edits.conflicts().await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_later_edit_counts_and_the_other_is_kept() {
    for (first, second, fate_of_second, title) in
        [(5, 9, "taken", "second"), (9, 5, "overruled", "first")]
    {
        let mut edits = Edits::new().await;
        let mine = edits.edit(first, "first");
        let theirs = edits.edit(second, "second");
        assert_eq!(edits.one.put(mine.clone()).await, "taken");
        assert_eq!(edits.two.put(theirs.clone()).await, fate_of_second);
        assert_eq!(edits.title().await, title);
        let [conflict] = &edits.conflicts().await[..] else {
            panic!("one conflict")
        };
        let (loser, kept, lost) = if title == "second" {
            (&mine, "second", "first")
        } else {
            (&theirs, "first", "second")
        };
        assert_eq!(
            conflict["id"], loser["uuid"],
            "its id is that of the operation that lost"
        );
        let body = &conflict["body"];
        assert_eq!(body["task_id"], json!(edits.task));
        assert_eq!(body["rule"], "last_write_wins");
        assert_eq!(body["kept"]["body"]["title"], kept);
        assert_eq!(body["lost"]["body"]["title"], lost);
        assert_eq!(
            body["lost"]["hlc"],
            json!({ "time": THEN + first.min(second), "count": 0 })
        );
        assert_eq!(body["base"]["title"], "base");
        assert!(body["found_at"].as_i64().unwrap() > THEN);
        let origins = [&body["kept"]["origin"], &body["lost"]["origin"]];
        let machines = if title == "second" {
            [edits.two.id, edits.one.id]
        } else {
            [edits.one.id, edits.two.id]
        };
        assert_eq!(origins.map(Clone::clone), machines.map(|id| json!(id)));
    }
}

#[tokio::test]
async fn of_two_at_the_same_moment_the_greater_id_counts() {
    for _ in 0..2 {
        let mut edits = Edits::new().await;
        let [mine, theirs] = [edits.edit(5, "one"), edits.edit(5, "two")];
        edits.one.put(mine).await;
        edits.two.put(theirs).await;
        let expected = if edits.one.id > edits.two.id {
            "one"
        } else {
            "two"
        };
        assert_eq!(edits.title().await, expected);
        assert_eq!(edits.conflicts().await.len(), 1);
    }
}

#[tokio::test]
async fn by_hand_the_server_s_edit_stays_until_somebody_decides() {
    let mut edits = Edits::new().await;
    let [mine, theirs] = [edits.edit(5, "mine"), edits.edit(9, "theirs")];
    edits.one.put(mine).await;
    let batch = edits.two.number(vec![theirs.clone()]);
    let answer = edits.two.send("manual", &batch).await.unwrap();
    assert_eq!(fate(&answer, 0), "conflict");
    assert_eq!(
        answer["rows"][0]["body"]["title"], "mine",
        "the server's row is adopted"
    );
    let again = edits.two.send("manual", &batch).await.unwrap();
    assert_eq!(
        fate(&again, 0),
        "conflict",
        "an answer that was lost is given again"
    );
    let [conflict] = &edits.conflicts().await[..] else {
        panic!("one conflict")
    };
    assert_eq!(conflict["body"]["rule"], "manual");
    assert_eq!(conflict["body"]["lost"]["body"]["title"], "theirs");

    // Nothing of it can be changed but how it was resolved, and that once.
    let id: Uuid = conflict["id"].as_str().unwrap().parse().unwrap();
    let resolved = with(
        conflict["body"].clone(),
        json!({ "resolution": { "keep": "local", "by": "me", "at": 1 } }),
    );
    let forged = with(resolved.clone(), json!({ "task_id": Uuid::new_v4() }));
    assert_eq!(
        edits.one.put(operation("conflict", id, 20, forged)).await,
        "refused invalid"
    );
    let other = Uuid::new_v4();
    assert_eq!(
        edits
            .one
            .put(operation("conflict", other, 20, resolved.clone()))
            .await,
        "refused invalid"
    );
    assert_eq!(
        edits
            .one
            .put(operation("conflict", id, 20, json!(null)))
            .await,
        "refused invalid"
    );
    assert_eq!(
        edits
            .one
            .put(operation("conflict", id, 20, resolved.clone()))
            .await,
        "taken"
    );
    let late = with(
        conflict["body"].clone(),
        json!({ "resolution": { "keep": "remote", "by": "you", "at": 2 } }),
    );
    assert_eq!(
        edits.two.put(operation("conflict", id, 30, late)).await,
        "overruled"
    );
    assert_eq!(edits.conflicts().await[0]["body"], resolved);

    // To keep the other one is an edit that knows of the one that counts.
    let seq = answer["rows"][0]["seq"].clone();
    let decided = with(theirs, json!({ "uuid": Uuid::new_v4(), "base": seq }));
    assert_eq!(edits.two.put(decided).await, "taken");
    assert_eq!(edits.title().await, "theirs");
    assert_eq!(edits.place.count("conflict").await, 1);
}

#[tokio::test]
async fn the_same_edit_twice_is_no_conflict() {
    let mut edits = Edits::new().await;
    let [mine, theirs] = [edits.edit(5, "same"), edits.edit(9, "same")];
    edits.one.put(mine).await;
    assert_eq!(edits.two.put(theirs).await, "taken");
    assert_eq!(edits.conflicts().await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_edit_and_a_deletion_conflict_too() {
    let mut edits = Edits::new().await;
    let gone = with(edits.edit(5, ""), json!({ "body": null }));
    let theirs = edits.edit(9, "still wanted");
    assert_eq!(edits.one.put(gone).await, "taken");
    assert_eq!(edits.two.put(theirs).await, "taken");
    assert_eq!(edits.title().await, "still wanted");
    let [conflict] = &edits.conflicts().await[..] else {
        panic!("one conflict")
    };
    assert_eq!(conflict["body"]["lost"]["body"], Value::Null);
}

#[tokio::test]
async fn an_older_copy_of_a_machine_does_not_overwrite_what_it_did_later() {
    let mut edits = Edits::new().await;
    let late = edits.edit(50, "later");
    assert_eq!(edits.one.put(late).await, "taken");
    // Put back on purpose: a new incarnation of the same machine, with what it had long ago.
    let previous = edits.one.incarnation;
    edits.one.incarnation = Uuid::new_v4();
    let more = json!({ "p_previous": previous, "p_hostname": "laptop" });
    edits.one.call("ccm_register", more).await.unwrap();
    edits.one.sent = 0;
    let old = with(edits.edit(10, "older"), json!({ "base": null }));
    assert_eq!(edits.one.put(old).await, "overruled");
    assert_eq!(edits.title().await, "later");
    assert_eq!(edits.conflicts().await.len(), 1, "and it is kept");
}
