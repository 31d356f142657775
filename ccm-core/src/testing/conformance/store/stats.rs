//! What happened over a time.

use super::*;
use crate::reason::Reason;
use crate::stats::{Bucket, Span, StatsQuery};
use crate::task::Setback;

fn span(from: i64, to: i64, buckets: u32) -> Span {
    Span::new(at(from), at(to), buckets).expect("a good span")
}

async fn stats(bench: &Bench, span: Span, project: Option<ProjectId>) -> Vec<Bucket> {
    let query = StatsQuery { span, project };
    bench.store.stats(&query).await.expect("stats")
}

/// "What happened in each part": every figure in the part that its moment is in, and in no other.
pub async fn stats_tell_when_what_happened(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let (one, two) = (bench.project("one").await.id, bench.project("two").await.id);
    let create = async |project, now: i64, not_before: Option<i64>| {
        let mut wish = spec("do it");
        wish.not_before = not_before.map(at);
        let mut request = order(vec![new_task(project, wish)]);
        request.now = at(now);
        bench.create(request).await.remove(0)
    };
    // In parts of ten seconds.
    let good = create(one, 100, None).await;
    let bad = create(one, 109, Some(111)).await;
    let off = create(two, 110, None).await;
    create(two, 119, None).await;
    create(two, 99, None).await;
    create(two, 140, None).await;
    bench.done(&good, Verdict::Succeeded, at(115)).await;
    let cause = Setback::new(Reason::ExitCode, "no");
    bench.done(&bad, Verdict::Failed { cause }, at(121)).await;
    let cancelled = bench.store.cancel_task(off.id, "me", at(139)).await;
    cancelled.expect("cancel");

    let used = Usage {
        input_tokens: 1,
        output_tokens: 2,
        cache_read_tokens: 3,
        cache_write_tokens: 4,
    };
    let (run, seconds) = ((1, 0.25, used), Duration::from_secs);
    let ended = |bucket: Bucket| Bucket {
        runs: run.0,
        cost_usd: run.1,
        usage: run.2,
        ..bucket
    };
    let expected = [
        Bucket {
            created: 2,
            ..Bucket::default()
        },
        ended(Bucket {
            created: 2,
            succeeded: 1,
            started: 1,
            waited: seconds(15),
            waited_most: seconds(15),
            ..Bucket::default()
        }),
        ended(Bucket {
            failed: 1,
            started: 1,
            waited: seconds(10),
            waited_most: seconds(10),
            ..Bucket::default()
        }),
        Bucket {
            cancelled: 1,
            ..Bucket::default()
        },
    ];
    assert_eq!(stats(&bench, span(100, 140, 4), None).await, expected);
    let of_one = stats(&bench, span(100, 140, 4), Some(one)).await;
    assert_eq!((of_one[1].created, of_one[1].runs), (0, 1));
    assert_eq!(of_one[3], Bucket::default());
    let whole = stats(&bench, span(100, 140, 1), None).await;
    assert_eq!(
        (whole[0].created, whole[0].started, whole[0].runs),
        (4, 2, 2)
    );
    assert_eq!(
        (whole[0].waited, whole[0].waited_most),
        (seconds(25), seconds(15))
    );
    let nothing = stats(&bench, span(1000, 1001, 1000), None).await;
    assert_eq!(nothing, vec![Bucket::default(); 1000]);
    let nobody = stats(&bench, span(0, 1000, 1), Some(ProjectId::new())).await;
    assert_eq!(nobody, [Bucket::default()]);
}

/// "Tasks count as what they are now", and only their first start ends their waiting.
pub async fn stats_count_a_task_once(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await.id;
    let task = bench.task(project, "x").await;
    let cause = || Setback::new(Reason::ExitCode, "no");
    bench
        .done(&task, Verdict::Failed { cause: cause() }, at(10))
        .await;
    let query = span(0, 100, 10);
    assert_eq!(stats(&bench, query, None).await[1].failed, 1);
    let retried = bench.store.retry_task(task.id, "me", at(20)).await;
    let task = retried.expect("retry");
    let buckets = stats(&bench, query, None).await;
    assert_eq!((buckets[1].failed, buckets[1].runs), (0, 1));
    bench.done(&task, Verdict::Succeeded, at(30)).await;
    let buckets = stats(&bench, query, None).await;
    let (starts, runs): (Vec<u64>, Vec<u64>) = buckets.iter().map(|b| (b.started, b.runs)).unzip();
    assert_eq!(starts, [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(runs, [0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(buckets[3].succeeded, 1);
}
