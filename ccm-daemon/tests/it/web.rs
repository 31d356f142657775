//! The web page's files, as a browser and as others take them. What the page does is tested in `ccm-cli/tests/web`.

use std::io::Read;

use reqwest::Method;

use crate::harness::{Reply, Server};

async fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Reply {
    let client = reqwest::Client::new();
    let mut request = client.request(Method::GET, format!("http://{}{path}", server.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request).await
}

fn text(answer: &Reply) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

/// What its policy and the page itself name, which is another number each time.
fn nonce(page: &str) -> String {
    let after = page.split("nonce=\"").nth(1).unwrap();
    after.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn every_view_is_the_same_page() {
    let server = Server::start().await;
    let page = text(&get(&server, "/", &[]).await);
    for path in [
        "/tasks",
        "/tasks/new",
        "/tasks/0?state=failed",
        "/agents/a/b",
        "/settings",
    ] {
        let view = text(&get(&server, path, &[]).await);
        let same = |text: &str| text.replace(&nonce(text), "");
        assert_eq!(same(&view), same(&page), "{path}");
    }
    // What is none is asked who asks, like every other path.
    for path in [
        "/task",
        "/assets/none.js",
        "/index.html",
        "/assets/../token",
    ] {
        let answer = get(&server, path, &[]).await;
        assert_eq!(answer.status, 401, "{path}");
    }
}

#[tokio::test]
async fn a_style_needs_the_number_of_its_page() {
    let server = Server::start().await;
    let (one, other) = (get(&server, "/", &[]).await, get(&server, "/", &[]).await);
    let (first, second) = (nonce(&text(&one)), nonce(&text(&other)));
    assert_ne!(first, second);
    assert_eq!(first.len(), 32);
    let policy = one.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.contains(&format!("style-src 'self' 'nonce-{first}';")),
        "{policy}"
    );
    assert!(policy.contains("script-src 'self';"), "{policy}");
    assert_eq!(one.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn files_are_small_for_browsers_and_plain_for_others() {
    let server = Server::start().await;
    let page = text(&get(&server, "/", &[]).await);
    let script = page.split('"').find(|text| text.ends_with(".js")).unwrap();
    let plain = get(&server, script, &[]).await;
    assert_eq!(plain.headers.get("content-encoding"), None);
    let packed = get(&server, script, &[("accept-encoding", "gzip, br")]).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(packed.body.len() < plain.body.len());
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&*packed.body)
        .read_to_end(&mut unpacked)
        .unwrap();
    assert_eq!(unpacked, plain.body);
    for answer in [&plain, &packed] {
        assert_eq!(
            answer.headers["content-type"],
            "text/javascript; charset=utf-8"
        );
        assert_eq!(answer.headers["vary"], "accept-encoding");
        let kept = answer.headers["cache-control"].to_str().unwrap();
        assert!(
            kept.contains("immutable"),
            "its name changes with its content: {kept}"
        );
    }
}
