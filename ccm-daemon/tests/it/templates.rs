//! Templates over the API: what is listed, what comes of one, and what is kept out.

use std::path::PathBuf;

use ccm_core::api::{Page, RenderedTemplate, Task, Template, TemplateInput};
use ccm_core::id::ProjectId;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Reply, Server};

/// A project with an empty folder of templates.
async fn prompts(server: &Server) -> (ProjectId, PathBuf) {
    let project = server.paused_project("demo").await;
    let folder = server.home.path().join("demo/.ccm/prompts");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.with_file_name("config.yaml"), "").unwrap();
    (project, folder)
}

async fn list(server: &Server, project: ProjectId) -> Page<Template> {
    let path = format!("/api/v1/projects/{project}/templates");
    server.get(&path).await.ok(200)
}

async fn render(server: &Server, project: ProjectId, request: &Value) -> Reply {
    let path = format!("/api/v1/projects/{project}/templates/render");
    server.post(&path, request).await
}

#[tokio::test]
async fn templates_are_listed_and_filled_in() {
    let server = Server::start().await;
    let (project, folder) = prompts(&server).await;
    assert_eq!(list(&server, project).await.items, []);
    let text = "# Review {{file}}\n\nList {{what=mistakes}}.\n\n{{input=}}\n";
    std::fs::write(folder.join("review.md"), text).unwrap();
    std::fs::write(folder.join("fix.txt"), "Fix it.").unwrap();
    let page = list(&server, project).await;
    assert_eq!(page.total, Some(2));
    let [fix, review] = &page.items[..] else {
        panic!("{page:?}")
    };
    assert_eq!(
        (&*fix.name, fix.input),
        ("fix.txt", TemplateInput::Appended)
    );
    assert_eq!(
        (&*review.name, &*review.title),
        ("review", "Review {{file}}")
    );
    assert_eq!(review.input, TemplateInput::Optional);
    assert_eq!(review.text.as_deref(), Some(text));
    let places = review.variables.iter();
    let places: Vec<_> = places
        .map(|one| (&*one.name, one.default.as_deref()))
        .collect();
    assert_eq!(places, [("file", None), ("what", Some("mistakes"))]);

    let values = json!([{"name": "file", "value": "{{what}}.rs"}]);
    let request = json!({"template": "review", "variables": values, "input": "Be brief."});
    let made: RenderedTemplate = render(&server, project, &request).await.ok(200);
    assert_eq!(
        made.text,
        "# Review {{what}}.rs\n\nList mistakes.\n\nBe brief.\n"
    );
    assert_eq!(made.title, "# Review {{what}}.rs");
    let tasks: Page<Task> = server.get("/api/v1/tasks").await.ok(200);
    assert!(tasks.items.is_empty(), "nothing is created by it");
    let made: RenderedTemplate = render(
        &server,
        project,
        &json!({"template": "fix.txt", "input": "Now"}),
    )
    .await
    .ok(200);
    assert_eq!(made.text, "Fix it.\n\nNow");
}

#[tokio::test]
async fn what_does_not_fit_is_told_with_its_place() {
    let server = Server::start().await;
    let (project, folder) = prompts(&server).await;
    std::fs::write(folder.join("t.md"), "{{a}} {{b}} {{input}}").unwrap();
    std::fs::write(folder.join("large.md"), "{{a}}{{a}}").unwrap();
    std::fs::write(folder.join("empty.md"), "").unwrap();
    let parts = async |request: Value| {
        let problem = render(&server, project, &request).await.problem("invalid");
        let pointers = problem.errors.into_iter().map(|part| part.pointer);
        pointers.collect::<Vec<_>>().join(" ")
    };
    let value = |name: &str, value: &str| json!({"name": name, "value": value});
    assert_eq!(
        parts(json!({"template": "t"})).await,
        "/variables /variables /input"
    );
    for name in ["c", "input", "no name"] {
        let values = [value("a", "1"), value(name, "2")];
        let request = json!({"template": "t", "variables": values});
        assert_eq!(parts(request).await, "/variables/1/name", "{name}");
    }
    let twice = [value("a", "1"), value("a", "1")];
    let request = json!({"template": "t", "variables": twice});
    assert_eq!(parts(request).await, "/variables/1/name");
    let much = [value("a", &"x".repeat(600_000))];
    assert_eq!(
        parts(json!({"template": "large", "variables": much})).await,
        ""
    );
    assert_eq!(parts(json!({"template": "empty"})).await, "");
    for field in ["temlate", "project_id"] {
        let request = json!({"template": "t", field: "x"});
        render(&server, project, &request).await.problem("invalid");
    }
    let nowhere = ProjectId::new();
    let request = json!({"template": "t"});
    let reply = render(&server, nowhere, &request).await;
    reply.problem("project_not_found");
    let reply = render(&server, project, &json!({"template": "T2"})).await;
    reply.problem("template_not_found");
}

#[tokio::test]
async fn nothing_outside_of_the_folder_is_a_template() {
    let server = Server::start().await;
    let (project, folder) = prompts(&server).await;
    std::fs::write(server.home.path().join("secret.md"), "secret").unwrap();
    std::fs::write(folder.join(".hidden.md"), "hidden").unwrap();
    std::fs::create_dir(folder.join("deeper")).unwrap();
    std::os::unix::fs::symlink("../../../secret.md", folder.join("link.md")).unwrap();
    let page = list(&server, project).await;
    let [link] = &page.items[..] else {
        panic!("{page:?}")
    };
    assert_eq!((&*link.name, &link.text), ("link", &None));
    assert!(
        link.problem.as_ref().unwrap().contains("symbolic link"),
        "{link:?}"
    );
    for name in [
        "../../../secret",
        "/etc/passwd",
        ".hidden",
        "deeper/x",
        "link",
        "deeper",
        "",
    ] {
        let reply = render(&server, project, &json!({"template": name})).await;
        let problem = reply.problem("invalid");
        assert_eq!(
            problem.errors[0].pointer, "/template",
            "{name}: {problem:?}"
        );
    }
    // Neither may the folder itself lead elsewhere.
    std::fs::remove_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink(server.home.path(), &folder).unwrap();
    let path = format!("/api/v1/projects/{project}/templates");
    server.get(&path).await.problem("project_unusable");
    let reply = render(&server, project, &json!({"template": "secret"})).await;
    reply.problem("project_unusable");
}

#[tokio::test]
async fn a_list_of_templates_has_limits() {
    let server = Server::start().await;
    let (project, folder) = prompts(&server).await;
    for number in 0..205 {
        std::fs::write(folder.join(format!("{number:03}.md")), "x").unwrap();
    }
    std::fs::write(folder.join("000.md"), "y".repeat(65_537)).unwrap();
    std::fs::write(folder.join("001.md"), "z".repeat(1024 * 1024 + 1)).unwrap();
    let page = list(&server, project).await;
    assert_eq!((page.items.len(), page.total), (200, Some(205)));
    assert_eq!(
        (&page.items[0].text, &page.items[0].problem),
        (&None, &None)
    );
    assert!(page.items[1].problem.is_some());
    let made: RenderedTemplate = render(&server, project, &json!({"template": "000"}))
        .await
        .ok(200);
    assert_eq!(made.text.len(), 65_537);
    let many = vec![json!({"name": "a", "value": ""}); 101];
    let request = json!({"template": "002", "variables": many});
    render(&server, project, &request).await.problem("invalid");
    let path = format!("/api/v1/projects/{project}/templates/render");
    server
        .send(server.request(Method::GET, &path))
        .await
        .problem("method_not_allowed");
}
