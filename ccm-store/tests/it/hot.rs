//! Paths that people and the engine wait for.

use ccm_core::Store;

use crate::support::{Place, at, create, project, request, spec};

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
