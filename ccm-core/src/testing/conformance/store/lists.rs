//! Lists of tasks: what is in them, how many, and where they begin.

use std::num::NonZeroU32;

use super::*;
use crate::store::{QueueQuery, TaskFilter};
use crate::task::{TaskStateName, Words};

/// The places of what a filter lists among `newest`, after a look at whether the count is right.
async fn listed(bench: &Bench, newest: &[Task], filter: &TaskFilter) -> Vec<usize> {
    let query = TaskQuery {
        filter: filter.clone(),
        ..all_tasks()
    };
    let items = bench.store.tasks(&query).await.expect("tasks").items;
    let count = bench.store.count_tasks(filter).await.expect("count_tasks");
    assert_eq!(count, items.len() as u64, "{filter:?}");
    let place = |task: &Task| newest.iter().position(|other| other.id == task.id);
    items
        .iter()
        .map(|task| place(task).expect("known"))
        .collect()
}

/// "Only ...": every condition of a filter counts, in the list and in the count.
pub async fn a_list_is_what_its_filter_says(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let (one, two) = (bench.project("one").await, bench.project("two").await);
    let mut newest = Vec::new();
    for (project, tags, by) in [
        (one.id, &["gpu"][..], "cli"),
        (one.id, &["gpu/x", "büro"], "api"),
        (two.id, &["gpu", "büro"], "agent:1"),
        (two.id, &[], "cli"),
    ] {
        let mut wish = spec("do it");
        wish.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let mut request = order(vec![new_task(project, wish)]);
        request.created_by = by.to_owned();
        newest.insert(0, bench.create(request).await.remove(0));
    }
    bench
        .store
        .cancel_task(newest[0].id, "me", at(3))
        .await
        .expect("cancel");
    let cancelled = vec![TaskStateName::Cancelled];
    let filter = |project, tag: Option<&str>, by: Option<&str>, states: &[_]| TaskFilter {
        project,
        states: states.to_vec(),
        words: None,
        tag: tag.map(str::to_owned),
        created_by: by.map(str::to_owned),
        held: false,
    };
    let (gpu, cli) = (Some("gpu"), Some("cli"));
    for (filter, expected) in [
        (filter(None, None, None, &[]), &[0, 1, 2, 3][..]),
        (filter(Some(one.id), None, None, &[]), &[2, 3]),
        (filter(None, gpu, None, &[]), &[1, 3]),
        (filter(None, Some("GPU"), None, &[]), &[]),
        (filter(None, Some("büro"), None, &[]), &[1, 2]),
        (filter(None, Some("gp"), None, &[]), &[]),
        (filter(Some(two.id), gpu, None, &[]), &[1]),
        (filter(None, None, cli, &[]), &[0, 3]),
        (filter(None, None, Some("agent"), &[]), &[]),
        (filter(None, gpu, cli, &[]), &[3]),
        (filter(None, None, cli, &cancelled), &[0]),
        (filter(None, gpu, None, &cancelled), &[]),
        (filter(None, None, None, TaskStateName::ALL), &[0, 1, 2, 3]),
    ] {
        let found = listed(&bench, &newest, &filter).await;
        assert_eq!(found, expected, "{filter:?}");
    }
}

/// "With each of these words in title or text", as [`Words`] has it.
pub async fn words_are_found_as_they_are_written(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await.id;
    let mut newest = Vec::new();
    for text in [
        "Title\n\nAnd then 100% of A_B, C:\\path [x]? *",
        "Mehr ÄPFEL für die Straße",
        "mehr äpfel; 100 aXb",
        "日本語 и Русский",
        "100%",
    ] {
        newest.insert(0, bench.task(project, text).await);
    }
    let all = || ["title", "100%", "a_b", "c:\\PATH", "[X]?", "*"].join(" ");
    for (words, expected) in [
        ("100%", &[0, 4][..]),
        ("100", &[0, 2, 4]),
        ("a_b", &[4]),
        ("AXB", &[2]),
        ("\\path", &[4]),
        ("[x]", &[4]),
        ("*", &[4]),
        (&all(), &[4]),
        ("äpfel MEHR", &[2, 3]),
        ("ÄPFEL strasse", &[]),
        ("straße ä", &[3]),
        ("[äx", &[]),
        ("本 русский", &[1]),
        ("100 mehr", &[2]),
        ("äpfel%", &[]),
        ("äpfel;", &[2]),
        ("nowhere", &[]),
    ] {
        let filter = TaskFilter {
            words: Some(Words::new(words).expect("words")),
            ..TaskFilter::default()
        };
        let found = listed(&bench, &newest, &filter).await;
        assert_eq!(found, expected, "{words}");
        let of_project = TaskFilter {
            project: Some(project),
            ..filter
        };
        let found = listed(&bench, &newest, &of_project).await;
        assert_eq!(found, expected, "{words} of a project");
    }
}

/// "Without the first so many", whatever else is asked for.
pub async fn a_list_can_begin_further_on(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await.id;
    let mut newest = Vec::new();
    for number in 0..20 {
        newest.insert(0, bench.task(project, &format!("task {number}")).await.id);
    }
    for id in newest.iter().step_by(2) {
        let cancelled = bench.store.cancel_task(*id, "me", at(3)).await;
        cancelled.expect("cancel");
    }
    let words = Words::new("task").expect("words");
    let filters = [
        TaskFilter::default(),
        of_project(project),
        TaskFilter {
            states: vec![TaskStateName::Queued, TaskStateName::Cancelled],
            ..TaskFilter::default()
        },
        TaskFilter {
            words: Some(words),
            ..TaskFilter::default()
        },
    ];
    for filter in filters {
        for (before, skip, limit) in [(0, 0, 5), (0, 7, 5), (3, 7, 5), (0, 18, 5), (0, 15, 5)] {
            let query = TaskQuery {
                filter: filter.clone(),
                before: (before > 0).then(|| newest[before - 1]),
                skip: u32::try_from(skip).expect("small"),
                limit,
                cut: None,
            };
            let page = bench.store.tasks(&query).await.expect("tasks");
            let found: Vec<TaskId> = page.items.iter().map(|task| task.id).collect();
            let from = before + skip;
            let to = (from + limit as usize).min(newest.len());
            assert_eq!(found, newest[from..to], "{query:?}");
            assert_eq!(page.more, to < newest.len(), "{query:?}");
        }
        let query = TaskQuery {
            filter,
            skip: 20,
            ..all_tasks()
        };
        let page = bench.store.tasks(&query).await.expect("tasks");
        assert!(page.items.is_empty() && !page.more, "{query:?}");
    }
}

/// "Only so much of each": of text and result, in characters, and nothing else of the task.
pub async fn a_list_can_be_cut(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await.id;
    bench.task(project, "short").await;
    let long = bench.task(project, &"ä€🦀x".repeat(1000)).await;
    let done = bench.task(project, "to be done").await;
    bench.done(&done, Verdict::Succeeded, at(5)).await;
    let whole = bench.store.tasks(&all_tasks()).await.expect("tasks").items;
    for (chars, words) in [(1, None), (6, None), (6, Some("O")), (10_000, None)] {
        let cut = NonZeroU32::new(chars);
        let query = TaskQuery {
            filter: TaskFilter {
                words: words.map(|words| Words::new(words).expect("words")),
                ..TaskFilter::default()
            },
            cut,
            ..all_tasks()
        };
        let page = bench.store.tasks(&query).await.expect("tasks");
        let expected = whole.iter().filter(|task| query.filter.holds(task));
        let chars = cut.expect("not 0");
        let expected: Vec<Task> = expected.map(|task| task.clone().cut(chars)).collect();
        assert_eq!(page.items, expected);
        assert!(!expected.is_empty());
    }
    let query = QueueQuery {
        project,
        after: None,
        limit: 10,
        cut: NonZeroU32::new(3),
    };
    let queue = bench.store.queue(&query).await.expect("queue").items;
    assert_eq!(queue[1].spec.text.as_str(), "ä€🦀");
    assert_eq!(bench.store.task(long.id).await.expect("task"), long);
}
