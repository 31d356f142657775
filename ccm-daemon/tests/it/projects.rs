use std::path::Path;

use ccm_core::api::{self, Page, ProjectState, RegisteredProject, Trust};
use ccm_core::id::ProjectId;
use ccm_daemon::machine::{Home, InitOptions, ProjectDir};
use serde_json::json;

use crate::harness::{Reply, Server};

fn set_up(server: &Server, name: &str) -> (ProjectDir, ProjectId) {
    let path = server.home.path().join(name);
    std::fs::create_dir_all(&path).unwrap();
    let home = Home::at(server.home.path().join("ccm"));
    let made = ProjectDir::init(&path, &home, &InitOptions::default()).unwrap();
    (made.dir, made.id)
}

async fn register(server: &Server, path: &Path) -> Reply {
    server
        .post("/api/v1/projects", &json!({"path": path}))
        .await
}

#[tokio::test]
async fn a_folder_is_registered_once_and_found_again() {
    let server = Server::start().await;
    let (dir, id) = set_up(&server, "repo-1");
    let reply = register(&server, dir.folder()).await;
    assert_eq!(reply.headers["location"], format!("/api/v1/projects/{id}"));
    let first: RegisteredProject = reply.ok(201);
    assert_eq!((first.created, first.moved), (true, false));
    assert_eq!(first.project.id, id);
    assert_eq!(first.project.name, "repo-1");
    assert_eq!(first.agent.project_id, id);
    assert_eq!(first.agent.driver.as_deref(), Some("command"));
    let again: RegisteredProject = register(&server, dir.folder()).await.ok(200);
    assert_eq!((again.created, again.moved), (false, false));
    assert_eq!(again.project.id, id);

    let link = server.home.path().join("link");
    std::os::unix::fs::symlink(dir.folder(), &link).unwrap();
    let linked: RegisteredProject = register(&server, &link).await.ok(200);
    assert_eq!(linked.project.id, id);

    let one: api::Project = server.get(&format!("/api/v1/projects/{id}")).await.ok(200);
    assert_eq!(one.id, id);
    for (query, count) in [("", 1), ("?name=repo-1", 1), ("?name=repo", 0)] {
        let path = format!("/api/v1/projects{query}");
        let page: Page<api::Project> = server.get(&path).await.ok(200);
        assert_eq!(page.items.len(), count, "{query}");
    }
}

#[tokio::test]
async fn a_name_is_the_wished_one_or_the_request_is_refused() {
    let server = Server::start().await;
    let (a, _) = set_up(&server, "x/repo");
    let (b, _) = set_up(&server, "y/repo");
    let first: RegisteredProject = register(&server, a.folder()).await.ok(201);
    assert_eq!(first.project.name, "repo");
    for (name, code) in [
        ("repo", "project_taken"),
        ("a b", "invalid"),
        ("../x", "invalid"),
        ("", "invalid"),
    ] {
        let body = json!({"path": b.folder(), "name": name});
        server.post("/api/v1/projects", &body).await.problem(code);
    }
    let second: RegisteredProject = register(&server, b.folder()).await.ok(201);
    assert_eq!(second.project.name, "repo-2");
}

#[tokio::test]
async fn folders_that_are_no_projects_are_refused_with_the_way_out() {
    let server = Server::start().await;
    let plain = server.home.path().join("plain");
    std::fs::create_dir(&plain).unwrap();
    let problem = register(&server, &plain).await.problem("project_unusable");
    assert!(problem.detail.contains("ccm init"), "{}", problem.detail);
    for path in ["/nowhere/at/all", "relative", ""] {
        register(&server, Path::new(path))
            .await
            .problem("project_unusable");
    }
    let (dir, _) = set_up(&server, "linked");
    let elsewhere = server.home.path().join("elsewhere");
    std::fs::rename(dir.folder().join(".ccm"), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, dir.folder().join(".ccm")).unwrap();
    register(&server, dir.folder())
        .await
        .problem("project_unusable");
}

#[tokio::test]
async fn a_moved_folder_is_found_and_a_copied_one_refused() {
    let server = Server::start().await;
    let (dir, id) = set_up(&server, "old");
    register(&server, dir.folder())
        .await
        .ok::<RegisteredProject>(201);
    let copy = server.home.path().join("copy");
    std::fs::create_dir_all(copy.join(".ccm")).unwrap();
    std::fs::copy(dir.folder().join(".ccm/id"), copy.join(".ccm/id")).unwrap();
    let problem = register(&server, &copy).await.problem("project_unusable");
    assert!(problem.detail.contains("is a copy"), "{}", problem.detail);
    assert!(problem.detail.contains("ccm init"), "{}", problem.detail);

    let new = server.home.path().join("new");
    std::fs::rename(dir.folder(), &new).unwrap();
    let moved: RegisteredProject = register(&server, &new).await.ok(200);
    assert_eq!((moved.created, moved.moved), (false, true));
    assert_eq!(moved.project.id, id);
    assert_eq!(
        moved.project.path,
        new.canonicalize().unwrap().display().to_string()
    );
}

#[tokio::test]
async fn an_id_that_was_lost_is_written_again() {
    let server = Server::start().await;
    let (dir, id) = set_up(&server, "repo");
    register(&server, dir.folder())
        .await
        .ok::<RegisteredProject>(201);
    std::fs::remove_file(dir.folder().join(".ccm/id")).unwrap();
    let again: RegisteredProject = register(&server, dir.folder()).await.ok(200);
    assert_eq!(again.project.id, id);
    // As `ccm init` leaves it after the loss.
    dir.renew_id().unwrap();
    let again: RegisteredProject = register(&server, dir.folder()).await.ok(200);
    assert_eq!(again.project.id, id);
    assert_eq!(dir.id().unwrap(), Some(id));
}

#[tokio::test]
async fn a_queue_is_paused_and_goes_on() {
    let server = Server::start().await;
    let id = server.project("a").await;
    for (verb, state) in [
        ("pause", ProjectState::Paused),
        ("pause", ProjectState::Paused),
        ("refresh", ProjectState::Paused),
        ("resume", ProjectState::Active),
        ("resume", ProjectState::Active),
    ] {
        let path = format!("/api/v1/projects/{id}/{verb}");
        let project: api::Project = server.poke(&path).await.ok(200);
        assert_eq!(project.state, state, "{verb}");
    }
}

#[tokio::test]
async fn a_project_with_work_is_removed_by_force_only() {
    let server = Server::start().await;
    let id = server.paused_project("a").await;
    let task = server.task(id, "x").await;
    let path = format!("/api/v1/projects/{id}");
    server.delete(&path).await.problem("wrong_state");
    server
        .delete(&format!("{path}?force=maybe"))
        .await
        .problem("bad_request");
    let removed = server.delete(&format!("{path}?force=true")).await;
    assert_eq!((removed.status.as_u16(), removed.body.len()), (204, 0));
    server.get(&path).await.problem("project_not_found");
    let task = server.task_in(task.id, "failed").await;
    assert_eq!(task.reason, Some(ccm_core::Reason::ProjectRemoved));
    server
        .poke(&format!("/api/v1/tasks/{}/retry", task.id))
        .await
        .problem("wrong_state");
}

#[tokio::test]
async fn trust_is_given_to_what_was_shown_and_to_nothing_else() {
    let server = Server::start().await;
    let (dir, id) = set_up(&server, "repo");
    let config = dir.config_path();
    std::fs::write(&config, "agent:\n  driver: command\n  command: [make]\n").unwrap();
    register(&server, dir.folder())
        .await
        .ok::<RegisteredProject>(201);
    let path = format!("/api/v1/projects/{id}/trust");
    let shown: Trust = server.get(&path).await.ok(200);
    assert!(!shown.trusted);
    assert!(
        shown.settings.iter().any(|line| line.contains("make")),
        "{shown:?}"
    );
    assert_eq!(shown.trusted_settings, None);

    std::fs::write(&config, "agent:\n  driver: command\n  command: [rm]\n").unwrap();
    let digest = |trust: &Trust| json!({"digest": trust.digest});
    server
        .post(&path, &digest(&shown))
        .await
        .problem("trust_changed");
    let now: Trust = server.get(&path).await.ok(200);
    assert!(!now.trusted);
    let trusted: Trust = server.post(&path, &digest(&now)).await.ok(200);
    assert!(trusted.trusted);
    let looked: Trust = server.get(&path).await.ok(200);
    assert!(looked.trusted);
    assert_eq!(looked.trusted_settings.as_ref(), Some(&now.settings));

    let removed = server.delete(&format!("/api/v1/projects/{id}")).await;
    assert_eq!(removed.status.as_u16(), 204);
    register(&server, dir.folder())
        .await
        .ok::<RegisteredProject>(201);
    let forgotten: Trust = server.get(&path).await.ok(200);
    assert!(!forgotten.trusted && forgotten.trusted_settings.is_none());
    let looked: Trust = server.post(&path, &digest(&now)).await.ok(200);

    std::fs::write(&config, "agent: [broken\n").unwrap();
    let problem = server.get(&path).await.problem("project_unusable");
    assert!(
        problem.detail.contains("config.yaml:"),
        "{}",
        problem.detail
    );
    server
        .post(&path, &digest(&looked))
        .await
        .problem("project_unusable");
}
