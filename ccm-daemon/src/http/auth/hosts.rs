//! Which requests are meant for this daemon: those with a `Host` of its own and no foreign `Origin`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ccm_core::api::ProblemCode;

use super::{Single, single};
use crate::access::Principal;
use crate::app::App;
use crate::http::error::ApiError;

/// The names under which this daemon may be asked, each as it has to stand in `Host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    /// The names of a daemon that listens at `address`, and those that its config adds: `NAME` stands for that name
    /// with and without this daemon's port, `NAME:PORT` for itself.
    pub fn new(address: SocketAddr, configured: &[String]) -> Self {
        let port = address.port();
        let listening = match address {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        let mut names = vec!["127.0.0.1", "localhost", "[::1]"];
        // "Every address" is the name of none, and some browsers take pages of everybody's there.
        if !address.ip().is_unspecified() {
            names.push(&listening);
        }
        let mut hosts = Vec::new();
        for name in names {
            hosts.push(format!("{name}:{port}"));
            // HTTP and HTTPS leave their own ports out.
            if matches!(port, 80 | 443) {
                hosts.push(name.to_owned());
            }
        }
        for name in configured {
            if !has_port(name) {
                hosts.push(format!("{name}:{port}"));
            }
            hosts.push(name.clone());
        }
        hosts.sort();
        hosts.dedup();
        Self(hosts)
    }

    pub(super) fn allow(&self, host: &str) -> bool {
        self.0
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(host))
    }

    pub(super) fn allow_origin(&self, origin: &str) -> bool {
        origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"))
            .is_some_and(|host| self.allow(host))
    }
}

fn has_port(name: &str) -> bool {
    name.rsplit_once(':').is_some_and(|(before, port)| {
        !port.is_empty()
            && port.bytes().all(|b| b.is_ascii_digit())
            && (before.starts_with('[') == before.ends_with(']'))
            && (before.starts_with('[') || !before.contains(':'))
    })
}

/// Refuses what is not meant for this daemon: a page that rebound its name to this address, a proxy's request.
pub(crate) async fn check_host(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    match foreign(&app, &request) {
        Some(detail) => ApiError::new(ProblemCode::Forbidden, detail).into_response(),
        None => next.run(request).await,
    }
}

fn foreign(app: &App, request: &Request) -> Option<String> {
    if request.uri().authority().is_some() || request.uri().scheme().is_some() {
        return Some("this is no proxy: name the path alone, without host".to_owned());
    }
    let hosts = app.allowed_hosts();
    if request.extensions().get::<Principal>().is_some() {
        // No browser gets to the unix socket, whatever names it is made to believe in.
        let is_page = request.headers().contains_key(header::ORIGIN);
        return is_page.then(|| "no page may ask at the socket".to_owned());
    }
    match single(request.headers(), header::HOST) {
        Single::None => return Some("the request has no Host header".to_owned()),
        Single::Many => return Some("the request has more than one Host header".to_owned()),
        Single::One(host) if !hosts.allow(host) => {
            return Some(format!(
                "{host:?} is not a name of this daemon; a name of your own goes into web_ui.allowed_hosts"
            ));
        }
        Single::One(_) => {}
    }
    match single(request.headers(), header::ORIGIN) {
        Single::None => None,
        Single::One(origin) if hosts.allow_origin(origin) => None,
        Single::One(origin) => Some(format!("pages of {origin:?} may not ask this daemon")),
        Single::Many => Some("the request has more than one Origin header".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(address: &str, configured: &[&str]) -> AllowedHosts {
        let configured: Vec<String> = configured.iter().map(|&name| name.to_owned()).collect();
        AllowedHosts::new(address.parse().unwrap(), &configured)
    }

    #[test]
    fn only_own_names_with_the_own_port_are_allowed() {
        let own = hosts("127.0.0.1:8765", &[]);
        for host in [
            "127.0.0.1:8765",
            "localhost:8765",
            "LOCALHOST:8765",
            "[::1]:8765",
        ] {
            assert!(own.allow(host), "{host}");
        }
        for host in [
            "",
            "localhost",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.1:8766",
            "localhost:8765.",
            "localhost.:8765",
            "evil.example:8765",
            "127.0.0.1:8765@evil.example",
            "127.0.0.1.evil.example:8765",
            "0.0.0.0:8765",
            "[::]:8765",
            "localhost:08765",
            " localhost:8765",
        ] {
            assert!(!own.allow(host), "{host}");
        }
    }

    #[test]
    fn configured_names_come_with_and_without_port() {
        let own = hosts(
            "127.0.0.2:1",
            &["Box.example", "t.example:443", "[fd00::1]", "[fd00::2]:9"],
        );
        for host in [
            "127.0.0.2:1",
            "box.example",
            "box.example:1",
            "t.example:443",
            "[fd00::1]",
            "[fd00::1]:1",
            "[fd00::2]:9",
        ] {
            assert!(own.allow(host), "{host}");
        }
        for host in ["t.example", "t.example:1", "[fd00::2]", "box.example:2"] {
            assert!(!own.allow(host), "{host}");
        }
    }

    #[test]
    fn an_origin_is_an_own_name_with_a_scheme() {
        let own = hosts("127.0.0.1:8765", &[]);
        assert!(own.allow_origin("http://localhost:8765"));
        for origin in [
            "null",
            "localhost:8765",
            "http://localhost",
            "http://evil.example",
            "file://localhost:8765",
        ] {
            assert!(!own.allow_origin(origin), "{origin}");
        }
    }
}
