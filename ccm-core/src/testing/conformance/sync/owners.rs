//! Who may write what.

use super::*;

const WINS: ConflictRule = ConflictRule::LastWriteWins;
/// What another machine's document is refused with, by whichever rule is looked at first.
const OTHERS: &[&str] = &["not_owner", "lease_lost"];

/// A machine says who it is, and what projects it has; another one can't say it. "One operation that the server can never
/// take uses up its number and is reported; the others are taken."
pub async fn a_machine_writes_its_own_documents(place: &dyn SyncPlace) {
    let mut first = Machine::of(place).await;
    let mut second = Machine::of(place).await;
    let system = *first.me.system.as_uuid();
    let body = json!({ "hostname": "box", "type": "developer", "tags": [], "version": "1" });
    let shown = first.tell(Kind::System, system, body.clone()).await;
    let project = *first.project().await.as_uuid();
    let theirs = first
        .row(Kind::Project, project)
        .await
        .expect("the project");
    let stolen = json!({ "id": project, "name": "mine", "system_id": second.me.system });
    let forged = json!({ "id": project, "name": "mine", "system_id": first.me.system });
    let new = Uuid::now_v7();
    let batch = [
        second.new_document(Kind::System, system, Some(body.clone())),
        second.new_document(Kind::Project, project, Some(stolen)),
        second.new_document(Kind::Project, project, Some(forged)),
        second.new_document(Kind::System, system, None),
        second.new_document(unknown(), new, Some(body)),
    ];
    let pushed = second.push(&batch).await.unwrap();
    assert_eq!(pushed.acknowledged, 5);
    let (last, refusals) = pushed.results.split_last().expect("five results");
    for result in refusals {
        assert_refused(&result.fate, &["not_owner"]);
    }
    assert_eq!(last.fate, Fate::Taken);
    assert!(pushed.rows.contains(&shown) && pushed.rows.contains(&theirs));
    assert_eq!(second.row(Kind::System, system).await, Some(shown));
    assert_eq!(second.row(Kind::Project, project).await, Some(theirs));
    // What was refused is over with: it is skipped like anything else that was sent before, or the refusal is repeated.
    let again = second.push(&batch).await.unwrap();
    assert_eq!(again.acknowledged, 5);
    for (again, before) in again.results.iter().zip(&pushed.results) {
        assert!(again.fate == Fate::Skipped || again.fate == before.fate);
        assert_ne!(again.fate, Fate::Taken);
    }
}

/// What happens to a task is said by the machine of its project.
pub async fn a_pinned_task_is_its_machines(place: &dyn SyncPlace) {
    let mut first = Machine::of(place).await;
    let mut second = Machine::of(place).await;
    let project = first.project().await;
    // Written anywhere, run there.
    let task = second.task(project, false).await;
    assert_refused(&second.reported(task, "running", None).await, OTHERS);
    assert_eq!(first.reported(task, "running", None).await, Fate::Taken);
    assert_refused(&second.reported(task, "failed", None).await, OTHERS);
    for kind in [Kind::Run, Kind::Ask, Kind::Transcript] {
        let id = Uuid::now_v7();
        for (machine, ours) in [(&mut second, false), (&mut first, true)] {
            let body = json!({ "id": id, "task_id": task, "system_id": machine.me.system });
            let said = change(kind.clone(), id, Some(body), machine.at(500));
            let (fate, row) = machine.say(said, WINS).await;
            if ours {
                assert_eq!(fate, Fate::Taken, "{kind}");
            } else {
                assert_refused(&fate, OTHERS);
            }
            assert_eq!(row.is_some(), ours, "{kind}");
        }
    }
    let row = second.row(Kind::Report, *task.as_uuid()).await.unwrap();
    assert_eq!(row.origin, first.me.system);
    assert_eq!(row.body.as_ref().unwrap()["state"], "running");
    assert_eq!(first.reported(task, "succeeded", None).await, Fate::Taken);
    let row = second.row(Kind::Report, *task.as_uuid()).await.unwrap();
    assert_eq!(row.body.unwrap()["state"], "succeeded");
}

/// What happens to a shared task is said by the holder of its lease, under its token: nobody else, and not under a token of
/// before.
pub async fn a_shared_task_is_its_holders(place: &dyn SyncPlace) {
    let mut first = Machine::of(place).await;
    let mut second = Machine::of(place).await;
    let project = first.project().await;
    let task = first.task(project, true).await;
    let before = second.reported(task, "running", None).await;
    assert_refused(&before, OTHERS);
    let lease = second.claim(task).await.unwrap();
    let wrong = FencingToken(lease.token.0 + 1);
    for (machine, epochs) in [
        (&mut first, [None, Some(lease.token)]),
        (&mut second, [None, Some(wrong)]),
    ] {
        for epoch in epochs {
            assert_refused(&machine.reported(task, "running", epoch).await, OTHERS);
        }
    }
    let report = second.report(task, "running", Some(lease.token));
    let (fate, row) = second.say(report, WINS).await;
    assert_eq!(fate, Fate::Taken);
    assert_eq!(row.expect("the report").epoch, Some(lease.token));
    // Another machine takes over: what the first one says late does not count any more.
    second.finish(task, lease.token).await.unwrap();
    let next = first.claim(task).await.unwrap();
    let late = second.reported(task, "failed", Some(lease.token)).await;
    assert_refused(&late, OTHERS);
    let report = first.report(task, "running", Some(next.token));
    let (fate, row) = first.say(report, WINS).await;
    assert_eq!(fate, Fate::Taken);
    let row = row.expect("the report");
    assert_eq!((row.origin, row.epoch), (first.me.system, Some(next.token)));
    assert_eq!(second.row(Kind::Report, row.id).await, Some(row));
}

/// "Never changes": the same wish again is nothing new, and another one under its id is refused.
pub async fn a_wish_never_changes(place: &dyn SyncPlace) {
    let mut first = Machine::of(place).await;
    let mut second = Machine::of(place).await;
    let project = first.project().await;
    let task = first.task(project, false).await;
    let id = Uuid::now_v7();
    let wish = json!({
        "task_id": task, "what": "cancel", "by": "cli", "system_id": second.me.system, "at": second.began,
    });
    let kept = second.tell(Kind::Wish, id, wish.clone()).await;
    let again = change(Kind::Wish, id, Some(wish.clone()), second.at(900));
    let (fate, row) = second.say(again, WINS).await;
    assert!(matches!(fate, Fate::Taken | Fate::Skipped), "{fate:?}");
    assert_eq!(row.as_ref(), Some(&kept));
    let mut other = wish;
    other["what"] = json!("retry");
    for machine in [&mut second, &mut first] {
        let other = change(Kind::Wish, id, Some(other.clone()), machine.at(950));
        let (fate, row) = machine.say(other, WINS).await;
        assert!(matches!(fate, Fate::Refused { .. }), "{fate:?}");
        assert_eq!(row.as_ref(), Some(&kept));
    }
}
