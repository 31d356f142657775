//! The config over HTTP: read, changed with care, and taken in.

use ccm_core::api::{Config, ConfigApplied, ConfigOrigin, Reload, SyncState};
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
}
