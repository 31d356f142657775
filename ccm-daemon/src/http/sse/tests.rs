//! The tail and the log give the same, whoever reads what from where.

use std::sync::Arc;

use ccm_core::Store;
use ccm_core::api::EventKind;
use ccm_core::event::Event;
use ccm_core::id::{LogId, ProjectId, RunId, Seq, TaskId};
use ccm_core::store::EventQuery;
use ccm_core::testing::memory::MemoryStore;
use ccm_core::time::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::Streams;
use super::segment::{SEGMENT_BYTES, Segment, write_event};
use super::shelf::{Found, Past, Tail};
use crate::http::Capacity;

/// Who events are about, and a log about them.
#[derive(Debug, Clone)]
struct Log {
    id: LogId,
    projects: [ProjectId; 2],
    tasks: [TaskId; 3],
    runs: [RunId; 2],
    events: Vec<Event>,
}

const KINDS: [EventKind; 3] = [
    EventKind::TaskCreated,
    EventKind::RunOutput,
    EventKind::RunEnded,
];

/// One event: whom of each kind it is about, its kind, and how long its data are.
type Shape = (Option<usize>, Option<usize>, Option<usize>, usize, usize);

impl Log {
    fn of(shapes: &[Shape]) -> Self {
        let mut log = Self {
            id: LogId::new(),
            projects: std::array::from_fn(|_| ProjectId::new()),
            tasks: std::array::from_fn(|_| TaskId::new()),
            runs: std::array::from_fn(|_| RunId::new()),
            events: Vec::new(),
        };
        for (project, task, run, kind, length) in shapes {
            log.events.push(Event {
                seq: Seq(log.events.len() as u64 + 1),
                time: Timestamp::from_micros(0),
                kind: KINDS[*kind],
                project_id: project.map(|n| log.projects[n]),
                task_id: task.map(|n| log.tasks[n]),
                run_id: run.map(|n| log.runs[n]),
                agent_id: None,
                data: json!("x".repeat(*length)),
            });
        }
        log
    }

    fn query(&self, shape: &Wish) -> EventQuery {
        let (project, task, run, kinds) = shape;
        EventQuery {
            project: project.map(|n| self.projects[n]),
            task: task.map(|n| self.tasks[n]),
            run: run.map(|n| self.runs[n]),
            kinds: kinds.iter().map(|n| KINDS[*n]).collect(),
            ..EventQuery::default()
        }
    }

    /// What the log alone gives, as the contract of stores has it.
    fn text(&self, after: u64, query: &EventQuery) -> Vec<u8> {
        let mut text = Vec::new();
        for event in &self.events[after as usize..] {
            let fits = query.project.is_none_or(|id| event.project_id == Some(id))
                && query.task.is_none_or(|id| event.task_id == Some(id))
                && query.run.is_none_or(|id| event.run_id == Some(id))
                && (query.kinds.is_empty() || query.kinds.contains(&event.kind));
            if fits {
                write_event(&mut text, self.id, event);
            }
        }
        text
    }
}

type Wish = (Option<usize>, Option<usize>, Option<usize>, Vec<usize>);

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let of = proptest::option::of;
    let length = prop_oneof![9 => 0..200_usize, 1 => 0..3 * SEGMENT_BYTES];
    prop::collection::vec(
        (
            of(0..2_usize),
            of(0..3_usize),
            of(0..2_usize),
            0..3_usize,
            length,
        ),
        1..150,
    )
}

fn wish() -> impl Strategy<Value = Wish> {
    let of = proptest::option::weighted;
    let kinds = prop::collection::vec(0..3_usize, 0..2);
    (
        of(0.3, 0..2_usize),
        of(0.3, 0..3_usize),
        of(0.2, 0..2_usize),
        kinds,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_tail_gives_what_the_log_gives(
        shapes in shapes(),
        wish in wish(),
        begin in 0.0..1.0_f64,
        base in 0.0..1.0_f64,
        commits in prop::collection::vec(1..20_usize, 1..20),
        rooms in prop::collection::vec(1..2 * SEGMENT_BYTES, 1..20),
    ) {
        let log = Log::of(&shapes);
        let query = log.query(&wish);
        let length = log.events.len() as f64;
        let begin = (begin * length) as u64;
        let base = (base * length) as u64;
        let tail = Tail::after(Seq(base));
        let mut commits = commits.iter().cycle();
        let mut rooms = rooms.iter().cycle();
        let (mut at, mut text) = (Seq(begin), Vec::new());
        loop {
            let room = *rooms.next().unwrap();
            match tail.find(at, &query, room) {
                Found::Part(part) => {
                    prop_assert!(part.upto > at);
                    let events = part.text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"id: ")).count();
                    prop_assert!(part.text.len() <= room || events == 1);
                    text.extend_from_slice(&part.text);
                    at = part.upto;
                }
                Found::Behind => {
                    prop_assert!(at.0 < base);
                    // As far as the tail, as a reader of the log comes there.
                    let passed = &log.text(at.0, &query);
                    let rest = log.text(base, &query).len();
                    text.extend_from_slice(&passed[..passed.len() - rest]);
                    at = Seq(base);
                }
                Found::Nothing => {
                    prop_assert!(at >= tail.head());
                    let head = tail.head().0 as usize;
                    if head == log.events.len() {
                        break;
                    }
                    let next = (head + commits.next().unwrap()).min(log.events.len());
                    tail.push(Segment::of(log.id, &log.events[head..next]));
                    prop_assert_eq!(tail.head(), Seq(next as u64));
                }
                Found::Ended => prop_assert!(false, "nobody ended it"),
            }
        }
        prop_assert_eq!(text, log.text(begin, &query));
    }

    #[test]
    fn what_others_have_read_is_what_the_log_gives(shapes in shapes(), begin in 0.0..1.0_f64, room in 1..SEGMENT_BYTES) {
        let log = Log::of(&shapes);
        let everything = EventQuery::default();
        let begin = (begin * log.events.len() as f64) as u64;
        let past = Past::default();
        past.keep(Segment::of(log.id, &log.events));
        let (mut at, mut text) = (Seq(begin), Vec::new());
        while let Some(part) = past.find(at, &everything, room) {
            text.extend_from_slice(&part.text);
            at = part.upto;
        }
        prop_assert_eq!(text, log.text(begin, &everything));
    }
}

fn plain(count: usize, length: usize) -> Log {
    Log::of(&vec![(None, None, None, 0, length); count])
}

#[test]
fn the_tail_is_bounded_and_sends_who_is_behind_to_the_log() {
    let log = plain(3000, 1000);
    let tail = Tail::after(Seq(0));
    let everything = EventQuery::default();
    for commit in log.events.chunks(7) {
        tail.push(Segment::of(log.id, commit));
    }
    assert_eq!(tail.find(Seq(0), &everything, 1), Found::Behind);
    let oldest = (0..3000).find(|at| tail.find(Seq(*at), &everything, 1) != Found::Behind);
    let kept = log.text(oldest.unwrap(), &everything).len();
    assert!((900_000..=1 << 20).contains(&kept), "{kept}");
    assert_eq!(tail.find(Seq(3000), &everything, 1), Found::Nothing);
}

#[test]
fn a_gap_that_pruning_left_sends_readers_to_the_log() {
    let log = plain(30, 10);
    let tail = Tail::after(Seq(0));
    let everything = EventQuery::default();
    tail.push(Segment::of(log.id, &log.events[..10]));
    tail.push(Segment::of(log.id, &log.events[20..]));
    assert_eq!(tail.find(Seq(10), &everything, 1), Found::Behind);
    assert!(matches!(tail.find(Seq(20), &everything, 1), Found::Part(_)));
}

#[test]
fn small_commits_become_one_slice() {
    let log = plain(50, 10);
    let tail = Tail::after(Seq(0));
    for event in &log.events {
        tail.push(Segment::of(log.id, std::slice::from_ref(event)));
    }
    let everything = EventQuery::default();
    let Found::Part(part) = tail.find(Seq(10), &everything, SEGMENT_BYTES) else {
        panic!("there is something");
    };
    assert_eq!(part.upto, Seq(50));
    assert_eq!(part.text, log.text(10, &everything));
}

#[test]
fn everybody_gets_the_same_bytes() {
    let log = plain(10, 10);
    let tail = Tail::after(Seq(0));
    tail.push(Segment::of(log.id, &log.events));
    let everything = EventQuery::default();
    let slice = || match tail.find(Seq(3), &everything, SEGMENT_BYTES) {
        Found::Part(part) => part.text,
        found => panic!("{found:?}"),
    };
    assert_eq!(slice().as_ptr(), slice().as_ptr());
}

#[test]
fn an_ended_tail_says_so() {
    let tail = Tail::after(Seq(0));
    assert_eq!(tail.find(Seq(0), &EventQuery::default(), 1), Found::Nothing);
    tail.end();
    assert_eq!(tail.find(Seq(0), &EventQuery::default(), 1), Found::Ended);
}

#[tokio::test]
async fn readers_share_one_task_which_ends_with_the_last_of_them() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let streams = Streams::new(Capacity {
        connections: 64,
        streams: 2,
    });
    let log = store.log().await.unwrap();
    let (one, other) = (streams.admit().unwrap(), streams.admit());
    assert!(other.is_some() && streams.admit().is_none());
    let first = streams.join(&store, log, log.head);
    let second = streams.join(&store, log, log.head);
    assert!(Arc::ptr_eq(&first, &second));
    let tail = Arc::downgrade(&first.tail);
    drop((first, one));
    assert!(tail.upgrade().is_some());
    assert_eq!(streams.open(), 1);
    drop((second, other));
    assert_eq!(streams.open(), 0);
    // The task has it, too, until it is gone.
    while tail.upgrade().is_some() {
        tokio::task::yield_now().await;
    }
}
