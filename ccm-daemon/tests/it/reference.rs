//! The pages about the API: complete, open, and harmless to look at.

use std::collections::BTreeSet;

use ccm_core::api::ProblemCode;
use reqwest::Method;

use crate::harness::{DOCUMENT, Reply, Server};

/// Asks as a browser does: without the token.
async fn page(server: &Server, path: &str) -> Reply {
    let url = format!("http://{}{path}", server.address);
    let reply = server.send(reqwest::Client::new().get(url)).await;
    assert_eq!(reply.status, 200, "{path}");
    reply
}

fn html(reply: &Reply) -> String {
    assert_eq!(reply.headers["content-type"], "text/html; charset=utf-8");
    let policy = reply.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self';"));
    assert!(policy.ends_with("frame-ancestors 'none'"));
    assert_eq!(reply.headers["referrer-policy"], "no-referrer");
    let html = String::from_utf8(reply.body.clone()).unwrap();
    // The policy would have a browser leave these out.
    for forbidden in ["<script", "<style", " style=", "<img", " onclick"] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    html
}

fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!(" {name}=\"");
    let parts = html.split(&*begin).skip(1);
    parts.map(|part| part.split('"').next().unwrap()).collect()
}

#[tokio::test]
async fn the_reference_has_every_operation_and_schema() {
    let server = Server::start().await;
    let html = html(&page(&server, "/api/v1/reference").await);
    let ids = attributes(&html, "id");
    let unique: BTreeSet<_> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len(), "an id comes twice");
    let mut operations = 0;
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            let id = operation["operationId"].as_str().unwrap();
            let at = html
                .find(&format!("<article id=\"{id}\">"))
                .unwrap_or_else(|| panic!("{id}"));
            let article = &html[at..at + html[at..].find("</article>").unwrap()];
            assert!(article.contains(&format!("<code>{path}</code>")), "{id}");
            assert!(article.contains("\">curl "), "{id} has no line to try");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap();
                assert!(
                    article.contains(&format!("<code>{name}</code>")),
                    "{id} {name}"
                );
            }
            for status in operation["responses"].as_object().unwrap().keys() {
                assert!(
                    article.contains(&format!("<code>{status}</code>")),
                    "{id} {status}"
                );
            }
            operations += 1;
        }
    }
    assert_eq!(html.matches("<article id=\"").count() - operations, {
        let schemas = DOCUMENT["components"]["schemas"].as_object().unwrap();
        for name in schemas.keys() {
            assert!(unique.contains(&*format!("schema-{name}")), "{name}");
        }
        schemas.len()
    });
}

#[tokio::test]
async fn every_link_of_the_pages_leads_somewhere() {
    let server = Server::start().await;
    for path in ["/api/v1/reference", "/problems"] {
        let html = html(&page(&server, path).await);
        let ids: BTreeSet<_> = attributes(&html, "id").into_iter().collect();
        for link in attributes(&html, "href") {
            match link.strip_prefix('#') {
                Some(id) => assert!(ids.contains(id), "{path}: {link}"),
                None => drop(page(&server, link).await),
            }
        }
    }
    let style = page(&server, "/api/v1/reference.css").await;
    assert_eq!(style.headers["content-type"], "text/css; charset=utf-8");
}

#[tokio::test]
async fn a_problem_points_to_where_it_is_described() {
    let server = Server::start().await;
    let html = html(&page(&server, "/problems").await);
    let problem = server.get("/api/v1/nowhere").await.problem("not_found");
    let (path, id) = problem.kind.split_once('#').unwrap();
    assert_eq!(path, "/problems");
    let ids = attributes(&html, "id");
    assert!(ids.contains(&id), "{id}");
    for code in ProblemCode::ALL {
        assert!(ids.contains(&code.as_str()), "{code:?}");
    }
}

/// Open to whoever reads, and to nobody else's pages.
#[tokio::test]
async fn the_pages_answer_to_the_daemons_names_only() {
    let server = Server::start().await;
    for path in ["/api/v1/reference", "/api/v1/reference.css", "/problems"] {
        let request = server
            .request(Method::GET, path)
            .header("host", "evil.example");
        server.send(request).await.problem("forbidden");
        let posted = server.poke(path).await;
        assert_eq!(posted.headers["allow"], "GET,HEAD");
        posted.problem("method_not_allowed");
    }
}
