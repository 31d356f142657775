//! Figures over time.

use ccm_core::api::{Stats, StatsBucket};
use ccm_core::id::ProjectId;
use ccm_core::time::Timestamp;

use crate::harness::Server;

async fn get(server: &Server, query: &str) -> Stats {
    server.get(&format!("/api/v1/stats?{query}")).await.ok(200)
}

fn sum(stats: &Stats, figure: impl Fn(&StatsBucket) -> u64) -> u64 {
    stats.buckets.iter().map(figure).sum()
}

#[tokio::test]
async fn the_last_day_is_told_in_quarters_of_an_hour() {
    let server = Server::start().await;
    let project = server.project("a").await;
    for text in ["one", "two"] {
        let task = server.task(project, text).await;
        server.task_in(task.id, "succeeded").await;
    }
    let waits = server.paused_project("b").await;
    let task = server.task(waits, "three").await;
    let cancel = format!("/api/v1/tasks/{}/cancel", task.id);
    assert_eq!(server.poke(&cancel).await.status, 200);
    let stats = get(&server, "").await;
    assert_eq!(stats.buckets.len(), 96);
    assert_eq!(stats.to.since(stats.from).as_secs(), 24 * 60 * 60);
    let starts: Vec<Timestamp> = stats.buckets.iter().map(|bucket| bucket.start).collect();
    assert_eq!(starts[0], stats.from);
    assert!(
        starts
            .windows(2)
            .all(|two| two[1].since(two[0]).as_secs() == 900)
    );
    assert_eq!(sum(&stats, |bucket| bucket.created), 3);
    assert_eq!(sum(&stats, |bucket| bucket.succeeded), 2);
    assert_eq!(sum(&stats, |bucket| bucket.cancelled), 1);
    assert_eq!(sum(&stats, |bucket| bucket.started), 2);
    assert_eq!(sum(&stats, |bucket| bucket.runs), 2);
    for bucket in &stats.buckets {
        assert_eq!(bucket.wait_mean_s.is_some(), bucket.started > 0);
        assert!(bucket.wait_mean_s <= bucket.wait_max_s);
    }
    let of_b = get(&server, &format!("project_id={waits}&buckets=1")).await;
    assert_eq!(of_b.buckets.len(), 1);
    assert_eq!(sum(&of_b, |bucket| bucket.created), 1);
    let nobody = get(&server, &format!("project_id={}", ProjectId::new())).await;
    assert_eq!(sum(&nobody, |bucket| bucket.created), 0);
    let past = get(&server, "to=2000-01-01T00:00:00Z&buckets=1000").await;
    assert_eq!(past.from.to_string(), "1999-12-31T00:00:00Z");
    assert_eq!(past.buckets[1].start.to_string(), "1999-12-31T00:01:26.4Z");
    assert_eq!(sum(&past, |bucket| bucket.created), 0);
}

#[tokio::test]
async fn a_time_has_limits() {
    let server = Server::start().await;
    for wrong in [
        "buckets=0",
        "buckets=1001",
        "buckets=x",
        "from=yesterday",
        "from=2000-01-01T00:00:00Z&to=2000-01-01T00:00:00Z",
        "from=2000-01-02T00:00:00Z&to=2000-01-01T00:00:00Z",
        "from=2000-01-01T00:00:00Z&to=2011-01-01T00:00:00Z",
        "from=2000-01-01T00:00:00Z&to=2000-01-01T00:00:00.01Z&buckets=11",
        "project_id=a",
        "colour=red",
    ] {
        let path = format!("/api/v1/stats?{wrong}");
        server.get(&path).await.problem("bad_request");
    }
    get(
        &server,
        "from=2000-01-01T00:00:00Z&to=2000-01-01T00:00:00.01Z&buckets=10",
    )
    .await;
    get(&server, "from=2000-01-01T00:00:00Z&to=2009-12-31T00:00:00Z").await;
}
