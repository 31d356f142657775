//! Reading the config again: what can change does, what can't is named, and a broken file changes nothing.

use ccm_core::api::{ConfigChange, Reload, Status};
use serde_json::{Value, json};

use crate::harness::Server;

impl Server {
    fn write_config(&self, text: &str) {
        std::fs::write(self.home.path().join("ccm/config.yaml"), text).unwrap();
    }

    async fn reload(&self) -> Reload {
        self.poke("/api/v1/reload").await.ok(200)
    }

    async fn status(&self) -> Status {
        self.get("/api/v1/status").await.ok(200)
    }
}

fn change(key: &str, from: impl Into<Value>, to: impl Into<Value>) -> ConfigChange {
    ConfigChange {
        key: key.to_owned(),
        from: from.into(),
        to: to.into(),
    }
}

const HOSTS: &str = "web_ui: {allowed_hosts: [box.example]}\n";

#[tokio::test]
async fn what_can_change_does_and_what_can_not_is_named() {
    let server = Server::start().await;
    let same = server.reload().await;
    assert_eq!((same.applied, same.restart), (vec![], vec![]));

    server.write_config(&format!(
        "{HOSTS}agents: {{max_concurrent: 3, tmux_socket: other}}\nresources: {{max_agents: 5, max_queue_size: 7}}\n"
    ));
    let report = server.reload().await;
    assert_eq!(
        report.applied,
        [
            change("agents.max_concurrent", 10, 3),
            change("resources.max_agents", 10, 5),
            change("resources.max_queue_size", 1000, 7),
        ]
    );
    let restart = [change("agents.tmux_socket", "ccm", "other")];
    assert_eq!(report.restart, restart);
    assert!(report.warnings[0].contains("the smaller one counts, 3"));
    let queue = server.status().await.queue;
    assert_eq!((queue.max_running, queue.max_queued), (3, 7));

    // What needs a restart is told for as long as it does.
    let again = server.reload().await;
    assert_eq!((again.applied, again.restart), (vec![], restart.to_vec()));
    server.write_config(HOSTS);
    let back = server.reload().await;
    assert_eq!((back.applied.len(), back.restart), (3, vec![]));
}

#[tokio::test]
async fn a_name_that_is_allowed_now_is_answered_and_one_that_is_not_is_not() {
    let server = Server::start().await;
    let asked_as = async |host: &str| {
        let request = server.request(reqwest::Method::GET, "/api/v1/status");
        server.send(request.header("host", host)).await.status
    };
    assert_eq!(asked_as("box.example").await, 200);
    assert_eq!(asked_as("new.example").await, 403);
    server.write_config("web_ui: {allowed_hosts: [new.example]}\n");
    server.reload().await;
    assert_eq!(asked_as("box.example").await, 403);
    assert_eq!(asked_as("new.example").await, 200);
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_has_all_its_errors_told() {
    let server = Server::start().await;
    let before = server.status().await.queue;
    server.write_config(
        "resources: {max_queue_size: 7}\nagents:\n  max_concurrent: many\nprofile: fast\n",
    );
    let problem = server.poke("/api/v1/reload").await.problem("invalid");
    assert_eq!(
        json!(problem.errors),
        json!([
            {
                "pointer": "/agents/max_concurrent",
                "message": "config.yaml:3: agents.max_concurrent: expected a whole number from 1 to 10000, found \"many\"",
            },
            {
                "pointer": "/profile",
                "message": "config.yaml:4: profile: expected full or minimal, found \"fast\"",
            },
        ])
    );
    assert_eq!(server.status().await.queue, before);
    std::fs::remove_file(server.home.path().join("ccm/config.yaml")).unwrap();
    server.poke("/api/v1/reload").await.problem("invalid");
    assert_eq!(server.status().await.queue, before);
}

#[tokio::test]
async fn many_reloads_at_once_end_with_what_the_file_says() {
    let server = Server::start().await;
    for n in 1..=20 {
        server.write_config(&format!("{HOSTS}resources: {{max_queue_size: {n}}}\n"));
        let (one, other, third) = tokio::join!(server.reload(), server.reload(), server.reload());
        let told = [one, other, third].map(|report| report.applied.len());
        // Exactly one of them changed something.
        assert_eq!(told.iter().sum::<usize>(), 1, "{told:?}");
        assert_eq!(server.status().await.queue.max_queued, n);
    }
}

#[tokio::test]
async fn secrets_are_not_told() {
    let server = Server::start().await;
    server.write_config(&format!("{HOSTS}supabase: {{key: sb_publishable_x}}\n"));
    let reply = server.poke("/api/v1/reload").await;
    assert!(!String::from_utf8_lossy(&reply.body).contains("sb_publishable"));
}
