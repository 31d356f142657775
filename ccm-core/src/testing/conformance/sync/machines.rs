//! Registering, other lives of a machine, restored servers, and shutting machines out.

use super::*;

fn taken<T: std::fmt::Debug>(answer: crate::Result<T>) {
    assert_eq!(refused(answer), ErrorKind::Taken(Noun::System));
}

/// "Tells the server of this machine ... Idempotent": what the server knows of it comes back each time.
pub async fn a_machine_registers_again(place: &dyn SyncPlace) {
    let mut first = Machine::of(place).await;
    let mut renamed = registration(first.me);
    let welcome = first.register(&renamed).await.unwrap();
    assert_eq!((welcome.last_number, welcome.last_uuid), (0, None));
    assert_eq!(welcome.clock, Hlc::default(), "there is no document");
    let operations = [
        first.new_document(unknown(), Uuid::now_v7(), Some(json!({}))),
        first.new_document(unknown(), Uuid::now_v7(), Some(json!({}))),
    ];
    first.push(&operations).await.unwrap();
    renamed.hostname = "größe".to_owned();
    for _ in 0..2 {
        let welcome = first.register(&renamed).await.unwrap();
        assert_eq!(welcome.last_number, 2);
        assert_eq!(welcome.last_uuid, Some(operations[1].uuid));
        let latest = operations[1].change.as_ref().unwrap().hlc;
        assert_eq!(welcome.clock, latest);
        assert!(welcome.now >= first.began);
    }
    let devices = first.backend.devices(first.me).await.unwrap();
    let [device] = devices.as_slice() else {
        panic!("one machine: {devices:?}");
    };
    assert_eq!(
        (device.id, device.hostname.as_str()),
        (first.me.system, "größe")
    );
    assert_eq!(device.revoked_at, None);
    assert!(device.registered_at <= device.last_seen);
}

/// "`Taken(System)` when the machine is there with another incarnation": a copy of a machine's home can do nothing.
pub async fn a_copy_of_a_machine_is_refused(place: &dyn SyncPlace) {
    let mut first = Machine::of(place).await;
    let (_, line) = place.machine().await;
    let copy = Identity {
        incarnation: Uuid::now_v7(),
        ..first.me
    };
    taken(line.register(&registration(copy)).await);
    let guessed = Registration {
        previous: Some(Uuid::now_v7()),
        ..registration(copy)
    };
    taken(line.register(&guessed).await);
    let operation = first.new_document(unknown(), Uuid::now_v7(), Some(json!({})));
    let batch = [operation];
    taken(line.push(copy, &batch, ConflictRule::Manual).await);
    let query = PullQuery::after(SyncCursor::default(), 10);
    taken(line.pull(copy, &query).await);
    taken(line.claim(copy, &wish(TaskId::new())).await);
    assert_eq!(first.push(&batch).await.unwrap().acknowledged, 1);
}

/// "The incarnation that this one takes the place of, if older data were put back on purpose": numbers begin anew, what
/// was shared stays, and the life before is over.
pub async fn an_older_state_goes_on_as_another_life(place: &dyn SyncPlace) {
    let mut first = Machine::of(place).await;
    let before = first.me;
    let operation = first.new_document(unknown(), Uuid::now_v7(), Some(json!({ "life": 1 })));
    let old = [operation];
    first.push(&old).await.unwrap();
    first.me.incarnation = Uuid::now_v7();
    let restored = Registration {
        previous: Some(before.incarnation),
        ..registration(first.me)
    };
    for _ in 0..2 {
        let welcome = first.register(&restored).await.unwrap();
        assert_eq!((welcome.last_number, welcome.last_uuid), (0, None));
        assert_eq!(welcome.clock, old[0].change.as_ref().unwrap().hlc);
    }
    taken(first.backend.push(before, &old, ConflictRule::Manual).await);
    taken(first.register(&registration(before)).await);
    first.number = 0;
    first
        .tell(unknown(), Uuid::now_v7(), json!({ "life": 2 }))
        .await;
    assert_eq!(first.pull_all(10).await.len(), 2);
    // What it knew of its own document before is no news.
    let known = old[0].change.clone().unwrap();
    let stale = Change {
        body: Some(json!({ "life": 0 })),
        hlc: first.at(-1000),
        ..known.clone()
    };
    let (fate, row) = first.say(stale, ConflictRule::LastWriteWins).await;
    assert_eq!(fate, Fate::Overruled);
    assert_eq!(row.and_then(|row| row.body), known.body);
}

/// "`OutOfStep` when the server does not know what it once acknowledged": a machine that never registered, as far as the
/// server remembers.
pub async fn an_unknown_machine_is_out_of_step(place: &dyn SyncPlace) {
    let (_, line) = place.machine().await;
    let me = Identity {
        system: crate::id::SystemId::new(),
        incarnation: Uuid::now_v7(),
    };
    let query = PullQuery::after(SyncCursor::default(), 10);
    let kinds = [
        refused(line.push(me, &[], ConflictRule::Manual).await),
        refused(line.pull(me, &query).await),
        refused(line.claim(me, &wish(TaskId::new())).await),
        refused(line.devices(me).await),
    ];
    assert_eq!(kinds, [ErrorKind::OutOfStep; 4]);
    line.register(&registration(me)).await.unwrap();
    line.pull(me, &query).await.unwrap();
}

/// "It was restored": by the mark that the copy does not have, and by a cursor beyond what it has; and a new life goes on
/// from there.
pub async fn a_restored_server_is_noticed(place: &dyn SyncPlace) {
    let mut first = Machine::of(place).await;
    let marks = [Uuid::now_v7(), Uuid::now_v7()];
    first.tell(unknown(), Uuid::now_v7(), json!({})).await;
    let query = |after, known: &[Uuid], mark| PullQuery {
        known_marks: known.to_vec(),
        mark,
        ..PullQuery::after(after, 10)
    };
    let marked = query(SyncCursor::default(), &[], Some(marks[0]));
    let page = first.backend.pull(first.me, &marked).await.unwrap();
    place.back_up().await;
    let marked = query(page.cursor, &marks[..1], Some(marks[1]));
    first.backend.pull(first.me, &marked).await.unwrap();
    let known = query(page.cursor, &marks[1..], None);
    first.backend.pull(first.me, &known).await.unwrap();
    first.tell(unknown(), Uuid::now_v7(), json!({})).await;
    let beyond = first.page_with(&known).await;
    place.restore().await;
    let gone = ErrorKind::OutOfStep;
    assert_eq!(refused(first.backend.pull(first.me, &known).await), gone);
    let late = query(beyond, &marks, None);
    assert_eq!(refused(first.backend.pull(first.me, &late).await), gone);

    let before = first.me.incarnation;
    first.me.incarnation = Uuid::now_v7();
    let anew = Registration {
        previous: Some(before),
        ..registration(first.me)
    };
    first.register(&anew).await.unwrap();
    first.number = 0;
    first.tell(unknown(), Uuid::now_v7(), json!({})).await;
    assert_eq!(first.pull_all(10).await.len(), 2);
}

impl Machine {
    /// The cursor of the answer to `query`.
    async fn page_with(&self, query: &PullQuery) -> SyncCursor {
        self.backend.pull(self.me, query).await.unwrap().cursor
    }
}

/// A mark whose answer, or whose question, was lost: both are among those that this machine may have left, whichever the
/// server has.
pub async fn a_lost_mark_does_no_harm(place: &dyn SyncPlace) {
    let first = Machine::of(place).await;
    let marks = [Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7()];
    let query = |known: &[Uuid], mark| PullQuery {
        known_marks: known.to_vec(),
        mark,
        ..PullQuery::after(SyncCursor::default(), 10)
    };
    for (known, mark) in [
        // The first one never came to the server.
        (&marks[..1], Some(marks[1])),
        // The answer to that was lost.
        (&marks[..2], None),
        (&marks[..2], Some(marks[2])),
        (&marks[1..], None),
    ] {
        first
            .backend
            .pull(first.me, &query(known, mark))
            .await
            .unwrap();
    }
}

/// "Nothing that it sends is taken from now on, and it can't register again with the sign-in that it has. Idempotent."
pub async fn a_revoked_machine_is_shut_out(place: &dyn SyncPlace) {
    let mut first = Machine::of(place).await;
    let mut second = Machine::of(place).await;
    let system = second.me.system;
    let body = json!({ "hostname": "box", "type": "developer", "tags": [], "version": "1" });
    let shown = second.tell(Kind::System, *system.as_uuid(), body).await;
    let project = first.project().await;
    let task = first.task(project, true).await;
    for _ in 0..2 {
        first.backend.revoke(first.me, system).await.unwrap();
    }
    let late = second.new_document(unknown(), Uuid::now_v7(), Some(json!({})));
    let query = PullQuery::after(SyncCursor::default(), 10);
    let kinds = [
        refused(second.push(&[late]).await),
        refused(second.backend.pull(second.me, &query).await),
        refused(second.claim(task).await),
        refused(second.backend.devices(second.me).await),
        refused(second.register(&registration(second.me)).await),
    ];
    assert_eq!(kinds, [ErrorKind::Revoked; 5]);
    let devices = first.backend.devices(first.me).await.unwrap();
    assert_eq!(devices.len(), 2);
    for device in devices {
        assert_eq!(device.revoked_at.is_some(), device.id == system);
    }
    let row = first.row(Kind::System, *system.as_uuid()).await;
    let row = row.expect("the machine");
    assert!(row.seq > shown.seq, "the others are told");
    let body = row.body.expect("a machine");
    let shown: crate::sync::documents::SystemReport =
        crate::sync::documents::read(&Kind::System, row.id, &body).unwrap();
    assert!(shown.revoked_at.is_some());
}

/// "`NotFound(System)`; `Invalid` for this machine itself".
pub async fn nobody_revokes_itself(place: &dyn SyncPlace) {
    let first = Machine::of(place).await;
    let own = first.backend.revoke(first.me, first.me.system).await;
    assert_eq!(refused(own), ErrorKind::Invalid);
    let nobody = crate::id::SystemId::new();
    let unknown = first.backend.revoke(first.me, nobody).await;
    assert_eq!(refused(unknown), ErrorKind::NotFound(Noun::System));
    first.pull_all(10).await;
}
