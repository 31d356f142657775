//! The same arbitrary changes here and in memory come to the same.

use super::super::random::Random;
use super::*;
use crate::store::{DocumentQuery, SetAside};
use crate::sync::{Fate, PushResult};
use crate::task::{SpecEdit, TaskState};
use crate::testing::memory::MemoryStore;

const SEEDS: u64 = 6;
const STEPS: u32 = 120;

/// An operation's number and uuid, and the document that it is of with its content.
type Sent = (u64, Uuid, Option<(Key, Option<Value>)>);
/// A document with its content, its number, whether it waits, and its place.
type Kept = (Key, Option<Value>, Option<u64>, bool, u64);
type Key = (Kind, Uuid);

/// What a store knows, as far as it must be the same in every one: moments may differ where many changes are one.
#[derive(Debug, PartialEq)]
struct View {
    marks: Vec<(Kind, Uuid, Option<u64>, Option<Value>)>,
    operations: Vec<Sent>,
    documents: Vec<Kept>,
    unsettled: Vec<(Kind, Uuid)>,
    aside: Vec<SetAside>,
    sharing: Option<(u64, u64, SyncCursor, bool, crate::store::Pending)>,
    tasks: Vec<Task>,
    ready: Vec<TaskId>,
    head: u64,
}

async fn view(bench: &Bench) -> View {
    let replica = bench.replica();
    let query = DocumentQuery {
        limit: 10_000,
        ..DocumentQuery::default()
    };
    let documents = replica.documents(&query).await.unwrap();
    let mut tasks = Vec::new();
    for document in &documents {
        if let Ok(task) = bench.store.task(TaskId::from_uuid(document.id)).await {
            tasks.push(task);
        }
    }
    let sharing = replica.sharing().await.unwrap();
    View {
        marks: bench
            .marks()
            .await
            .into_iter()
            .map(|mark| (mark.kind, mark.id, mark.base, mark.base_body))
            .collect(),
        operations: bench
            .outbox()
            .await
            .into_iter()
            .map(|one| {
                let change = one.change;
                let change = change.map(|change| ((change.kind, change.id), change.body));
                (one.number, one.uuid, change)
            })
            .collect(),
        documents: documents
            .into_iter()
            .map(|one| {
                let key = (one.kind, one.id);
                (key, one.body, one.seq, one.pending, one.place)
            })
            .collect(),
        unsettled: bench
            .unsettled()
            .await
            .into_iter()
            .map(|document| (document.kind, document.id))
            .collect(),
        aside: replica.set_aside(100).await.unwrap(),
        sharing: sharing.map(|known| {
            let Sharing {
                sealed,
                acknowledged,
                cursor,
                complete,
                pending,
                ..
            } = known;
            (sealed, acknowledged, cursor, complete, pending)
        }),
        tasks,
        ready: sorted(bench.ready().await),
        head: bench.head().await,
    }
}

/// Everything that arbitrary steps choose from.
struct Scene {
    projects: Vec<Registered>,
    tasks: Vec<TaskId>,
    seq: u64,
    life: u128,
}

/// One step, the same for both.
#[derive(Debug, Clone)]
enum Step {
    Create(CreateTasks),
    Edit(TaskId, i32),
    Cancel(TaskId),
    Retry(TaskId),
    Run(TaskId, RunId, bool),
    Put(Kind, Uuid, Value, bool),
    Adopt(Vec<Row>, bool),
    Seal(Vec<Uuid>),
    Push(u64, bool, u64),
    SetAside(u64),
    Dismiss(u64, bool),
    Settle(u32, TaskId, bool),
    Yield(TaskId),
    Resync(Option<u64>),
    Share(u128),
    Unshare,
}

fn definition(scene: &Scene, random: &mut Random) -> Value {
    let project = match random.once_in(3) {
        true => ProjectId::from_uuid(Uuid::from_u128(99)),
        false => random.pick(&scene.projects).project.id,
    };
    json!({ "project_id": project, "v": random.below(3) })
}

fn row(bench: &Bench, scene: &mut Scene, random: &mut Random) -> Row {
    let task = *random.pick(&scene.tasks);
    scene.seq += u64::from(random.below(3));
    let states = ["queued", "running", "succeeded"];
    let (kind, id, body) = match random.below(4) {
        0 => (
            Kind::Wish,
            Uuid::from_u128(500 + u128::from(random.below(4))),
            json!({ "task_id": task }),
        ),
        1 => {
            let state = random.pick(&states);
            (Kind::Report, *task.as_uuid(), json!({ "state": state }))
        }
        _ => (Kind::Task, *task.as_uuid(), definition(scene, random)),
    };
    let origin = match random.once_in(3) {
        true => bench.system.id,
        false => bench.other,
    };
    Row {
        origin,
        body: (!random.once_in(12)).then_some(body),
        ..bench.row(kind, id, scene.seq, json!({}))
    }
}

fn step(bench: &Bench, scene: &mut Scene, random: &mut Random) -> Step {
    let task = *random.pick(&scene.tasks);
    match random.below(24) {
        0 | 1 => {
            let mut wanting = spec("x");
            if random.once_in(2) {
                wanting.blocked_by = vec![*random.pick(&scene.tasks)];
            }
            let project = random.pick(&scene.projects).project.id;
            Step::Create(order(task, project, wanting))
        }
        2 => Step::Edit(task, random.below(3) as i32),
        3 => Step::Cancel(task),
        4 => Step::Retry(task),
        5 | 6 => Step::Run(task, RunId::new(), random.once_in(2)),
        7 | 8 => {
            let body = definition(scene, random);
            Step::Put(Kind::Task, *task.as_uuid(), body, random.once_in(2))
        }
        9 => {
            let id = Uuid::from_u128(600 + u128::from(random.below(3)));
            Step::Put(Kind::Wish, id, json!({ "task_id": task }), false)
        }
        10..=13 => {
            let count = random.below(4);
            let rows = (0..count).map(|_| row(bench, scene, random)).collect();
            Step::Adopt(rows, random.once_in(3))
        }
        14 | 15 => Step::Seal((0..random.below(5)).map(|_| Uuid::now_v7()).collect()),
        16 | 17 => {
            scene.seq += 10;
            Step::Push(u64::from(random.below(4)), random.once_in(3), scene.seq)
        }
        18 => Step::SetAside(u64::from(random.below(3))),
        19 => Step::Dismiss(u64::from(random.below(4)), random.once_in(2)),
        20 | 21 => Step::Settle(random.below(4), task, random.once_in(2)),
        22 => Step::Yield(task),
        _ => match random.below(8) {
            0 | 1 => Step::Resync(None),
            2 => Step::Resync(Some(u64::from(random.below(20)))),
            3 => {
                scene.life += 1;
                Step::Share(scene.life)
            }
            4 => Step::Unshare,
            _ => Step::Adopt(Vec::new(), true),
        },
    }
}

/// Takes a step, and says how it ended.
async fn walk(bench: &Bench, scene: &Scene, step: Step) -> String {
    let (store, replica) = (&bench.store, bench.replica());
    let now = at(50);
    let done = match step {
        Step::Create(request) => store.create_tasks(request).await.map(drop),
        Step::Edit(id, priority) => {
            let edit = SpecEdit {
                priority: Some(priority),
                ..SpecEdit::default()
            };
            let edit = crate::store::TaskEdit {
                id,
                revision: None,
                edit,
                by: "me".to_owned(),
                now,
            };
            store.edit_task(edit).await.map(drop)
        }
        Step::Cancel(id) => store.cancel_task(id, "me", now).await.map(drop),
        Step::Retry(id) => store.retry_task(id, "me", now).await.map(drop),
        Step::Run(task, run, well) => run_once(bench, scene, task, run, well).await,
        Step::Put(kind, id, body, settled) => {
            let mut new = new_document(kind, id, body);
            new.settled = settled;
            replica.put(vec![new], None, now).await.map(drop)
        }
        Step::Adopt(rows, complete) => {
            let cursor = SyncCursor(rows.iter().map(|row| row.seq).max().unwrap_or(1));
            let adoption = Adoption {
                rows,
                cursor,
                mark: None,
                complete,
            };
            replica.adopt(adoption, now).await.map(drop)
        }
        Step::Seal(uuids) => {
            let marks = bench.marks().await;
            let sealed = marks.into_iter().zip(uuids).map(|(mark, uuid)| {
                let body = Some(json!({ "of": mark.id }));
                SealedOperation {
                    uuid,
                    ..sealed(mark, body)
                }
            });
            replica.seal(sealed.collect(), now).await
        }
        Step::Push(count, refused, seq) => push(bench, count, refused, seq).await,
        Step::SetAside(place) => {
            let outbox = bench.outbox().await;
            let number = outbox.get(place as usize).map_or(0, |one| one.number);
            replica.set_operation_aside(number, "x", now).await
        }
        Step::Dismiss(place, again) => {
            let aside = replica.set_aside(10).await.unwrap();
            let number = aside.get(place as usize).map_or(0, |one| one.number);
            replica.dismiss_set_aside(number, again, now).await
        }
        Step::Settle(place, task, create_it) => {
            let unsettled = bench.unsettled().await;
            match unsettled.get(place as usize) {
                None => Ok(()),
                Some(one) => {
                    let id = TaskId::from_uuid(one.id);
                    let wish = one.kind == Kind::Wish;
                    let project = scene.projects[0].project.id;
                    let act = match create_it {
                        true if wish => Act::Cancel {
                            task,
                            by: "them".to_owned(),
                        },
                        true => create(order(id, project, spec("from afar"))),
                        false => Act::Nothing,
                    };
                    replica.settle(settle(one, act)).await
                }
            }
        }
        Step::Yield(task) => {
            match replica
                .document(&Kind::Task, *task.as_uuid())
                .await
                .unwrap()
            {
                None => Ok(()),
                Some(document) => replica.settle(settle(&document, Act::Yield { task })).await,
            }
        }
        Step::Resync(last) => replica.resync(last, now).await,
        Step::Share(life) => replica.share(bench.identity(life), now).await.map(drop),
        Step::Unshare => replica.unshare(now).await,
    };
    match done {
        Ok(()) => "done".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

async fn run_once(
    bench: &Bench,
    scene: &Scene,
    task: TaskId,
    run: RunId,
    well: bool,
) -> crate::Result<()> {
    let now = bench.store.task(task).await?;
    if let TaskState::Running { run, .. } = now.state {
        let run = bench.store.run(run).await?;
        let cause = crate::task::Setback::bare(crate::Reason::ExitCode);
        let verdict = match well {
            true => Verdict::Succeeded,
            false => Verdict::Failed { cause },
        };
        let finish = end(verdict);
        return bench
            .store
            .finish(run.id, run.token, finish, at(51))
            .await
            .map(drop);
    }
    let claim = Claim {
        task,
        run,
        agent: scene.projects[0].agent.id,
        system: bench.system.id,
        lease_until: None,
        now: at(50),
    };
    bench.store.claim(claim).await.map(drop)
}

/// The server takes the first operations, or refuses them.
async fn push(bench: &Bench, count: u64, refused: bool, seq: u64) -> crate::Result<()> {
    let outbox = bench.outbox().await;
    let known = bench.replica().sharing().await?;
    let sent: Vec<Operation> = outbox.into_iter().take(count as usize).collect();
    let last = sent.last().map(|one| one.number);
    let last = last.or(known.map(|known| known.acknowledged)).unwrap_or(0);
    let fate = match refused {
        true => Fate::Refused {
            code: "invalid".to_owned(),
            message: "no".to_owned(),
        },
        false => Fate::Taken,
    };
    let results = sent.iter().map(|one| PushResult {
        number: one.number,
        fate: fate.clone(),
    });
    let results: Vec<PushResult> = results.collect();
    let rows = sent.into_iter().filter_map(|one| one.change).zip(seq..);
    let rows = rows.map(|(change, seq)| Row {
        origin: match refused {
            true => bench.other,
            false => bench.system.id,
        },
        body: change.body,
        ..bench.row(change.kind, change.id, seq, json!({}))
    });
    let mut rows: Vec<Row> = rows.collect();
    // One row of each.
    rows.reverse();
    rows.sort_by(|a, b| (&a.kind, a.id).cmp(&(&b.kind, b.id)));
    rows.dedup_by(|a, b| (&a.kind, a.id) == (&b.kind, b.id));
    bench.replica().pushed(last, &results, rows, at(50)).await
}

/// The store does what the one in memory does, whatever comes in whichever order.
pub async fn it_does_what_the_one_in_memory_does(place: &dyn StorePlace) {
    let system = System {
        id: SystemId::new(),
        hostname: "a".to_owned(),
        kind: SystemKind::Developer,
        tags: Vec::new(),
    };
    let own = Bench::of(place.store(), system.clone()).await;
    let model: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let model = Bench {
        other: own.other,
        ..Bench::of(model, system).await
    };
    let mut projects = Vec::new();
    for name in ["p", "q"] {
        let new = NewProject {
            id: ProjectId::new(),
            agent_id: AgentId::new(),
            name: name.to_owned(),
            exact_name: true,
            path: PathBuf::from("/projects").join(name),
            now: at(2),
        };
        projects.push(own.store.register_project(new.clone()).await.unwrap());
        model.store.register_project(new).await.unwrap();
    }
    let mut scene = Scene {
        projects,
        tasks: Vec::new(),
        seq: 0,
        life: 1,
    };
    for bench in [&own, &model] {
        bench.share(1).await;
    }
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        scene.tasks = (0..6).map(|_| TaskId::new()).collect();
        let mut story = Vec::new();
        for _ in 0..STEPS {
            let next = step(&model, &mut scene, &mut random);
            story.push(format!("{next:?}"));
            let ends = [
                walk(&own, &scene, next.clone()).await,
                walk(&model, &scene, next).await,
            ];
            let last = story.iter().rev().take(12).rev().cloned();
            let last = last.collect::<Vec<_>>().join("\n");
            assert_eq!(ends[0], ends[1], "seed {seed}, after\n{last}");
            let (here, there) = (view(&own).await, view(&model).await);
            assert_eq!(here, there, "seed {seed}, after\n{last}");
        }
    }
}
