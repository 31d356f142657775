//! Two edits of one definition.

use std::collections::BTreeSet;

use super::*;
use crate::sync::documents::{Conflict, read};
use crate::testing::conformance::random::Random;

const WINS: ConflictRule = ConflictRule::LastWriteWins;
const MANUAL: ConflictRule = ConflictRule::Manual;

/// Two machines that know one task, and its row.
async fn both(place: &dyn SyncPlace) -> (Machine, Machine, Row) {
    let mut first = Machine::of(place).await;
    let second = Machine::of(place).await;
    let project = first.project().await;
    let task = first.task(project, false).await;
    let row = first.row(Kind::Task, *task.as_uuid()).await;
    (first, second, row.expect("the task"))
}

/// An edit of the version that `row` is.
fn edit(row: &Row, title: &str, hlc: Hlc) -> Change {
    let mut body = row.body.clone().expect("a definition");
    body["title"] = json!(title);
    Change {
        base: Some(row.seq),
        base_body: row.body.clone(),
        ..change(Kind::Task, row.id, Some(body), hlc)
    }
}

fn title(body: Option<&Value>) -> Option<&str> {
    body?.get("title")?.as_str()
}

async fn conflicts(machine: &Machine) -> Vec<(Uuid, Conflict)> {
    let rows = machine.pull_all(100).await;
    rows.iter()
        .filter(|row| row.kind == Kind::Conflict)
        .filter_map(|row| Some((row.id, row.kind.clone(), row.body.as_ref()?)))
        .map(|(id, kind, body)| (id, read(&kind, id, body).unwrap()))
        .collect()
}

/// "The later edit counts, and the other one is kept": whichever comes first, and the machine's id decides between two of
/// the same moment.
pub async fn the_later_edit_counts(place: &dyn SyncPlace) {
    let (mut first, mut second, mut row) = both(place).await;
    // The moments of the two edits; the first machine's comes to the server first.
    for (round, (one, two)) in [(50, 40), (60, 70), (80, 80)].into_iter().enumerate() {
        let hlc = first.at(one);
        let at_two = Hlc {
            time: hlc.time + (two - one),
            ..hlc
        };
        let second_wins = (at_two, second.me.system) > (hlc, first.me.system);
        let (ours, theirs) = (format!("first {round}"), format!("second {round}"));
        let (fate, mine) = first.say(edit(&row, &ours, hlc), WINS).await;
        assert_eq!(fate, Fate::Taken);
        let seq = mine.expect("the task").seq;
        assert!(seq > row.seq);
        let (fate, answered) = second.say(edit(&row, &theirs, at_two), WINS).await;
        let answered = answered.expect("the task");
        let (kept, lost) = if second_wins {
            assert_eq!(fate, Fate::Taken);
            assert!(answered.seq > seq);
            ((second.me.system, &theirs), (first.me.system, &ours))
        } else {
            assert_eq!(fate, Fate::Overruled);
            assert_eq!(answered.seq, seq, "the server's row stays");
            ((first.me.system, &ours), (second.me.system, &theirs))
        };
        assert_eq!(title(answered.body.as_ref()), Some(kept.1.as_str()));
        assert_eq!(answered.origin, kept.0);
        let all = conflicts(&first).await;
        assert_eq!(all.len(), round + 1);
        let (_, conflict) = all.last().unwrap();
        assert_eq!(conflict.task_id, TaskId::from_uuid(row.id));
        assert_eq!((conflict.rule, conflict.is_open()), (WINS, false));
        for (side, (origin, text)) in [(&conflict.kept, kept), (&conflict.lost, lost)] {
            assert_eq!(side.origin, origin);
            assert_eq!(title(side.body.as_ref()), Some(text.as_str()));
        }
        assert_eq!(conflict.base, row.body, "what both began with");
        row = answered;
    }
}

/// An edit of the version that the server has is taken under either rule, from any machine and whatever its clock says.
pub async fn an_edit_of_the_last_version_is_no_conflict(place: &dyn SyncPlace) {
    let (mut first, mut second, mut row) = both(place).await;
    for (round, rule) in [WINS, MANUAL].into_iter().enumerate() {
        for machine in [&mut second, &mut first] {
            let text = format!("{round} of {}", machine.me.system);
            let early = machine.at(-1000 - round as i64);
            let (fate, answered) = machine.say(edit(&row, &text, early), rule).await;
            assert_eq!(fate, Fate::Taken);
            let next = answered.expect("the task");
            assert_eq!(title(next.body.as_ref()), Some(text.as_str()));
            assert!(next.seq > row.seq);
            row = next;
        }
    }
    assert_eq!(conflicts(&first).await, []);
}

/// "The edit that the server has counts until somebody decides", however late the other one is; and then it is resolved
/// for everybody.
pub async fn the_servers_edit_counts_until_somebody_decides(place: &dyn SyncPlace) {
    let (mut first, mut second, row) = both(place).await;
    let (fate, kept) = first.say(edit(&row, "mine", first.at(50)), MANUAL).await;
    assert_eq!(fate, Fate::Taken);
    let (fate, answered) = second.say(edit(&row, "yours", second.at(90)), MANUAL).await;
    assert_eq!(fate, Fate::Conflict);
    assert_eq!(answered, kept);
    let open = first.pull_all(100).await;
    let open = open.into_iter().find(|row| row.kind == Kind::Conflict);
    let open = open.expect("a conflict");
    let mut body = open.body.clone().expect("a conflict");
    let conflict: Conflict = read(&open.kind, open.id, &body).unwrap();
    assert!(conflict.is_open());
    assert_eq!(title(conflict.kept.body.as_ref()), Some("mine"));
    assert_eq!(title(conflict.lost.body.as_ref()), Some("yours"));
    body["resolution"] = json!({ "keep": "local", "by": "cli", "at": second.began });
    let resolved = Change {
        base: Some(open.seq),
        ..change(Kind::Conflict, open.id, Some(body), second.at(100))
    };
    let (fate, _) = second.say(resolved, MANUAL).await;
    assert_eq!(fate, Fate::Taken);
    let all = conflicts(&first).await;
    let [(id, conflict)] = all.as_slice() else {
        panic!("one conflict: {all:?}");
    };
    assert_eq!((*id, conflict.is_open()), (open.id, false));
}

/// "No document is ever later than the server's own time by more than `MAX_SKEW`."
pub async fn a_wrong_clock_does_not_win(place: &dyn SyncPlace) {
    let (mut first, second, row) = both(place).await;
    let ahead = Hlc {
        time: first.began.as_micros() + 86_400_000_000,
        count: 7,
    };
    let operation = first.operation(Some(edit(&row, "tomorrow", ahead)));
    let pushed = first.push(&[operation]).await.unwrap();
    assert_eq!(pushed.results[0].fate, Fate::Taken);
    let latest = pushed.now.after(crate::sync::MAX_SKEW).as_micros();
    let answered = pushed.rows.first().expect("the task");
    assert!(answered.hlc.time <= latest, "{answered:?}");
    let pulled = second.row(Kind::Task, row.id).await;
    assert_eq!(pulled.as_ref(), Some(answered));
    let welcome = second.register(&registration(second.me)).await.unwrap();
    assert_eq!(welcome.clock, answered.hlc, "the latest of all documents");
}

/// Machines that edit the same tasks at once, without knowing of each other, come to the same; each edit that does not
/// count is kept in a conflict.
pub async fn every_machine_comes_to_the_same(place: &dyn SyncPlace) {
    let (first, second, row) = both(place).await;
    let third = Machine::of(place).await;
    let task = row.id;
    let editors = [first, second, third].into_iter().enumerate();
    let mut work = tokio::task::JoinSet::new();
    for (seed, mut machine) in editors {
        let mut known = row.clone();
        work.spawn(async move {
            let mut random = Random::new(seed as u64);
            let mut lost = 0;
            for round in 0..15 {
                // A machine's own clock goes forward, but not in step with the others'.
                let hlc = machine.at(round * 100 + i64::from(random.below(100)));
                let text = format!("{round} of {seed}");
                let (fate, answered) = machine.say(edit(&known, &text, hlc), WINS).await;
                lost += usize::from(fate == Fate::Overruled);
                // Sometimes it goes on from what it knew before.
                if !random.once_in(3) {
                    known = answered.expect("the task");
                }
                tokio::task::yield_now().await;
            }
            (machine, lost)
        });
    }
    let done = soon("the edits", work.join_all()).await;
    let rows = done[0].0.pull_all(7).await;
    for (machine, _) in &done {
        assert_eq!(machine.pull_all(100).await, rows);
    }
    let now = rows.iter().find(|row| row.id == task).expect("the task");
    let all = conflicts(&done[0].0).await;
    let overruled: usize = done.iter().map(|(_, lost)| lost).sum();
    assert!(all.len() >= overruled, "{overruled} of {}", all.len());
    // Every edit is what counts, was edited further by whoever knew it, or is kept.
    let ids: BTreeSet<Uuid> = all.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), all.len());
    for (_, conflict) in &all {
        assert_ne!(conflict.kept.origin, conflict.lost.origin);
        assert_ne!(title(conflict.lost.body.as_ref()), title(now.body.as_ref()));
    }
}
