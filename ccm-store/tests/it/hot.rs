//! Paths that people and the engine wait for.

use ccm_core::Store;
use sea_orm::ConnectionTrait;

use crate::support::{Place, at, create, key, project, request, spec};

#[tokio::test]
async fn ready_follows_priority_age_and_dates() {
    let place = Place::new();
    let store = place.begin().await;
    let home = project(&store, "home").await;
    let old = create(&store, home.project.id, "old").await;
    let mut urgent = spec("urgent");
    urgent.priority = 5;
    let mut due = spec("due");
    due.priority = 7;
    due.not_before = Some(at(10));
    let mut late = spec("late");
    late.not_before = Some(at(100));
    let made = store
        .create_tasks(request(home.project.id, vec![urgent, due, late]))
        .await
        .unwrap()
        .tasks;
    let ids = |ready: &ccm_core::store::Ready| {
        let tasks = &ready.projects[0].candidates;
        tasks.iter().map(|task| task.task).collect::<Vec<_>>()
    };
    let now = store.ready(at(5), 1).await.unwrap();
    assert_eq!(ids(&now), [made[0].id, old.id]);
    assert_eq!(now.next_due, Some(at(10)));
    // Twice: the second time the writer has tidied up, or not; the answer is the same. And the clock may go back.
    let other = project(&store, "other").await;
    for _ in 0..3 {
        let now = store.ready(at(20), 1).await.unwrap();
        assert_eq!(ids(&now), [made[1].id, old.id]);
        assert_eq!(now.next_due, Some(at(100)));
        create(&store, other.project.id, "x").await;
        let mut back = store.ready(at(5), 1).await.unwrap();
        back.projects
            .retain(|ready| ready.project.id == home.project.id);
        assert_eq!(ids(&back), [made[0].id, old.id]);
        assert_eq!(back.next_due, Some(at(10)));
    }
}

#[tokio::test]
async fn a_queue_full_of_dates_is_tidied_up() {
    let place = Place::new();
    let store = place.begin().await;
    let home = project(&store, "home").await;
    let mut dated = spec("dated");
    dated.not_before = Some(at(10));
    store
        .create_tasks(request(home.project.id, vec![dated; 1500]))
        .await
        .unwrap();
    let index = sea_orm::Database::connect(format!("sqlite://{}", place.path().display()))
        .await
        .unwrap();
    let still = async || -> i64 {
        let count = "SELECT COUNT(*) FROM task WHERE dated = 1";
        let count = sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, count);
        let rows = index.query_all_raw(count).await.unwrap();
        rows[0].try_get_by_index(0).unwrap()
    };
    assert!(store.ready(at(9), 3).await.unwrap().projects.is_empty());
    assert_eq!(still().await, 1500);
    let log = store.log().await.unwrap();
    let mut left = Vec::new();
    for _ in 0..3 {
        let ready = store.ready(at(11), 3).await.unwrap();
        assert_eq!(ready.projects[0].candidates.len(), 3);
        // A write of one's own comes after the one that `ready` asked for.
        store
            .observe_agent(
                home.agent.id,
                home.agent.state.clone(),
                ccm_core::agent::Evidence {
                    source: "engine".to_owned(),
                    seen_at: at(11),
                },
            )
            .await
            .unwrap();
        left.push(still().await);
    }
    assert_eq!(left, [500, 0, 0]);
    assert_eq!(store.log().await.unwrap(), log);
}

#[tokio::test]
async fn keys_are_forgotten_after_a_week() {
    let place = Place::new();
    let store = place.begin().await;
    let home = project(&store, "home").await.project.id;
    let day = 24 * 60 * 60;
    let ask = async |name: &str, days: i64| {
        let mut wish = request(home, vec![spec("x")]);
        wish.key = key(name, "f");
        wish.now = at(days * day);
        store.create_tasks(wish).await.unwrap().replayed
    };
    assert!(!ask("old", 0).await);
    assert!(!ask("other", 7).await);
    assert!(ask("old", 7).await);
    assert!(!ask("another", 8).await);
    assert!(!ask("old", 8).await);
    assert!(ask("other", 8).await);
}
