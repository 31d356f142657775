//! The config over HTTP: read, changed with care, and taken in.

use std::path::PathBuf;

use ccm_core::api::{
    Config, ConfigApplied, ConfigOrigin, EditedProjectConfig, Reload, SyncCondition, SyncState,
    Trust,
};
use ccm_core::id::ProjectId;
use ccm_daemon::machine::{Home, InitOptions, ProjectDir};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Reply, Server};

async fn edit(server: &Server, etag: Option<&str>, changes: Value) -> Reply {
    let mut request = server.request(Method::PATCH, "/api/v1/config");
    if let Some(etag) = etag {
        request = request.header("if-match", etag);
    }
    server
        .send(request.json(&json!({"changes": changes})))
        .await
}

async fn config(server: &Server) -> (Config, String) {
    let reply = server.get("/api/v1/config").await;
    let etag = reply.headers["etag"].to_str().unwrap().to_owned();
    (reply.ok(200), etag)
}

fn value(config: &Config, key: &str) -> (Value, ConfigOrigin) {
    let key = config.keys.iter().find(|one| one.key == key).unwrap();
    (key.value.clone(), key.origin)
}

#[tokio::test]
async fn the_config_is_shown_and_changed_in_one_step() {
    let server = Server::start().await;
    let (before, etag) = config(&server).await;
    assert_eq!(
        value(&before, "web_ui.allowed_hosts"),
        (json!(["box.example"]), ConfigOrigin::File)
    );
    assert_eq!(
        value(&before, "agents.max_concurrent"),
        (json!(10), ConfigOrigin::Default)
    );
    let secret = before.keys.iter().find(|key| key.key == "supabase.key");
    assert!(secret.unwrap().secret);
    for key in &before.keys {
        assert!(!key.doc.is_empty() && !key.allowed.is_empty(), "{key:?}");
    }

    let changes = json!([
        {"key": "agents.max_concurrent", "value": "3"},
        {"key": "web_ui.allowed_hosts", "value": "[\"box.example\", \"other.example\"]"},
        {"key": "web_ui.port", "value": "0"},
    ]);
    let reply = edit(&server, Some(&etag), changes.clone()).await;
    let new = reply.headers["etag"].to_str().unwrap().to_owned();
    let report: Reload = reply.ok(200);
    let keys = |changes: &[ccm_core::api::ConfigChange]| -> Vec<String> {
        changes.iter().map(|change| change.key.clone()).collect()
    };
    assert_eq!(
        keys(&report.applied),
        ["web_ui.allowed_hosts", "agents.max_concurrent"]
    );
    assert_eq!(keys(&report.restart), ["web_ui.port"]);
    let (after, shown) = config(&server).await;
    assert_eq!(new, shown);
    assert_eq!(
        value(&after, "agents.max_concurrent"),
        (json!(3), ConfigOrigin::File)
    );
    let port = after
        .keys
        .iter()
        .find(|key| key.key == "web_ui.port")
        .unwrap();
    assert_eq!(port.applied, ConfigApplied::Restart);
    // It counts: the name is one of this daemon's now.
    let url = format!("http://{}/health", server.address);
    let named = reqwest::Client::new()
        .get(url)
        .header("host", "other.example");
    assert_eq!(named.send().await.unwrap().status(), 200);

    // Who saw the old one is told.
    edit(&server, Some(&etag), changes.clone())
        .await
        .problem("stale_revision");
    edit(&server, Some("no tag"), changes.clone())
        .await
        .problem("bad_request");
    edit(&server, None, changes)
        .await
        .problem("precondition_required");
    let undone = json!([{"key": "agents.max_concurrent", "value": null}]);
    let report: Reload = edit(&server, Some("*"), undone).await.ok(200);
    assert_eq!(report.applied[0].to, json!(10));
}

#[tokio::test]
async fn a_change_that_is_not_allowed_changes_nothing() {
    let server = Server::start().await;
    let (before, etag) = config(&server).await;
    let fine = json!({"key": "agents.max_concurrent", "value": "3"});
    for (wrong, told) in [
        (
            json!({"key": "agents.max_concurent", "value": "3"}),
            "agents.max_concurrent",
        ),
        (json!({"key": "agents.max_concurrent", "value": "0"}), "1"),
        (json!({"key": "agents", "value": "x"}), "section"),
        (
            json!({"key": "web_ui.host", "value": "0.0.0.0"}),
            "web_ui.tls.cert",
        ),
        (
            json!({"key": "web_ui.tls.cert", "value": "cert.pem"}),
            "both",
        ),
        (
            json!({"key": "daemon.log_level", "value": "x\nweb_ui: {}"}),
            "log_level",
        ),
    ] {
        let reply = edit(&server, Some(&etag), json!([fine, wrong])).await;
        let problem = reply.problem("invalid");
        assert!(problem.detail.contains(told), "{wrong}: {}", problem.detail);
    }
    let long = json!([{"key": "daemon.log_file", "value": "x".repeat(4097)}]);
    edit(&server, Some(&etag), long).await.problem("invalid");
    edit(&server, Some(&etag), json!([]))
        .await
        .problem("invalid");
    let (after, same) = config(&server).await;
    assert_eq!((after, same), (before, etag));
}

#[tokio::test]
async fn schema_project_and_sync_can_be_read() {
    let server = Server::start().await;
    let schema: Value = server.get("/api/v1/config/schema").await.ok(200);
    assert!(schema["properties"]["agents"].is_object(), "{schema}");
    let project = server.project("repo").await;
    let own: Config = server
        .get(&format!("/api/v1/projects/{project}/config"))
        .await
        .ok(200);
    assert!(own.path.ends_with("repo/.ccm/config.yaml"), "{}", own.path);
    assert!(
        own.keys.iter().any(|key| key.key == "agent.driver"),
        "{own:?}"
    );
    let sync: SyncState = server.get("/api/v1/sync").await.ok(200);
    assert!(!sync.enabled && !sync.detail.is_empty());
    assert_eq!(sync.condition, SyncCondition::Off);
}

/// A project that was set up and registered, its folder, and the path of its config.
async fn own_project(server: &Server) -> (ProjectId, PathBuf, String) {
    let folder = server.home.path().join("own");
    std::fs::create_dir(&folder).unwrap();
    let home = Home::at(server.home.path().join("ccm"));
    let id = ProjectDir::init(&folder, &home, &InitOptions::default())
        .unwrap()
        .id;
    let made = server
        .post("/api/v1/projects", &json!({"path": folder}))
        .await;
    assert_eq!(made.status, 201);
    (id, folder, format!("/api/v1/projects/{id}/config"))
}

async fn edit_at(server: &Server, path: &str, etag: Option<&str>, changes: &Value) -> Reply {
    let mut request = server.request(Method::PATCH, path);
    if let Some(etag) = etag {
        request = request.header("if-match", etag);
    }
    let body = json!({"changes": changes});
    server.send(request.json(&body)).await
}

fn tag(reply: &Reply) -> String {
    reply.headers["etag"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_projects_config_is_changed_in_one_step() {
    let server = Server::start().await;
    let (_, folder, path) = own_project(&server).await;
    let file = folder.join(".ccm/config.yaml");
    std::fs::write(&file, "# ours\nagent:\n  driver: claude # for now\n").unwrap();
    let first = tag(&server.get(&path).await);
    let changes = json!([
        {"key": "agent.env.LANG", "value": "C"},
        {"key": "agent.driver", "value": "command"},
        {"key": "agent.command", "value": "[\"cat\"]"},
    ]);
    for (etag, code) in [
        (None, "precondition_required"),
        (Some("\"x\""), "stale_revision"),
        (Some("x"), "bad_request"),
    ] {
        let reply = edit_at(&server, &path, etag, &changes).await;
        reply.problem(code);
    }
    let reply = edit_at(&server, &path, Some(&first), &changes).await;
    let second = tag(&reply);
    let edited: EditedProjectConfig = reply.ok(200);
    assert!(edited.project.path.ends_with("own"));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.starts_with("# ours\nagent:\n  driver: command # for now\n"),
        "{text}"
    );
    let shown = server.get(&path).await;
    assert_eq!(tag(&shown), second);
    let shown: Config = shown.ok(200);
    assert_eq!(
        value(&shown, "agent.command"),
        (json!(["cat"]), ConfigOrigin::File)
    );
    let reply = edit_at(&server, &path, Some(&first), &changes).await;
    reply.problem("stale_revision");
    for wrong in [
        json!([{"key": "agent.driver", "value": "claude"}, {"key": "agent.diver", "value": "x"}]),
        json!([{"key": "agent.driver", "value": "nobody"}]),
        json!([{"key": "web_ui.port", "value": "1"}]),
        json!([]),
    ] {
        let reply = edit_at(&server, &path, Some("*"), &wrong).await;
        reply.problem("invalid");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    let bare = server.project("bare").await;
    let reply = edit_at(
        &server,
        &format!("/api/v1/projects/{bare}/config"),
        Some("*"),
        &changes,
    )
    .await;
    reply.problem("project_unusable");
}

#[tokio::test]
async fn who_sets_what_runs_code_trusts_that_and_no_more() {
    let server = Server::start().await;
    let (id, folder, path) = own_project(&server).await;
    let file = folder.join(".ccm/config.yaml");
    let set = async |key: &str, value: &str| -> bool {
        let changes = json!([{"key": key, "value": value}]);
        let reply = edit_at(&server, &path, Some("*"), &changes).await;
        reply.ok::<EditedProjectConfig>(200).trusted
    };
    let trusted = async || -> bool {
        let path = format!("/api/v1/projects/{id}/trust");
        server.get(&path).await.ok::<Trust>(200).trusted
    };
    std::fs::write(&file, "").unwrap();
    assert!(set("agent.command", "[cat]").await);
    assert!(trusted().await);
    // Somebody else's change is not trusted by one that is made after it, not even of the same section.
    std::fs::write(&file, "agent: {command: [rm]}\n").unwrap();
    assert!(!trusted().await);
    assert!(!set("agent.env.LANG", "C").await);
    assert!(!set("name", "other").await);
    assert!(!trusted().await);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("LANG") && text.contains("rm"), "{text}");
    // What is as it was trusted counts again.
    let reply = edit_at(
        &server,
        &path,
        Some("*"),
        &json!([{"key": "agent.command", "value": "[cat]"}, {"key": "agent.env.LANG", "value": null}]),
    )
    .await;
    assert!(reply.ok::<EditedProjectConfig>(200).trusted);
}

#[tokio::test]
async fn both_files_have_a_schema() {
    let server = Server::start().await;
    let of = async |query: &str| -> Value {
        let path = format!("/api/v1/config/schema{query}");
        server.get(&path).await.ok(200)
    };
    let machine = of("").await;
    assert_eq!(of("?of=machine").await, machine);
    let project = of("?of=project").await;
    assert!(project["properties"]["agent"].is_object(), "{project}");
    assert_ne!(machine, project);
    server
        .get("/api/v1/config/schema?of=other")
        .await
        .problem("bad_request");
}
