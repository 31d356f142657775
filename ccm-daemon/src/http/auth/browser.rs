//! Browsers that were signed in.
//!
//! A cookie proves the browser: `HttpOnly`, so that no script reads it, `SameSite=Strict`, so that no other site's page
//! sends it. But cookies know no ports: a server at another port of this machine is sent it too when somebody looks at
//! its pages. So the cookie alone opens nothing. What opens is the cookie together with a second secret, which the page
//! keeps in storage that belongs to its origin, and sends in a header that no form and no other origin can set.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use ccm_core::api::ProblemCode;

use super::{Single, single, unauthorized, wrong};
use crate::access::{Principal, SignedIn};
use crate::app::App;
use crate::http::error::{Answer, ApiError};

/// The header in which the page sends its secret.
const CSRF: header::HeaderName = header::HeaderName::from_static("x-ccm-csrf");
const FETCH_SITE: header::HeaderName = header::HeaderName::from_static("sec-fetch-site");
/// What the name of a subprotocol begins with that carries the secret: a page can set no header of a WebSocket.
const CSRF_PROTOCOL: &str = "ccm.csrf.";
/// How long the browser keeps the cookie, in seconds.
const MAX_AGE: u64 = crate::access::SESSION_VALID.as_secs();

/// What a signed-in page has to send besides the cookie.
pub(crate) struct PageKey(pub(crate) String);

/// The cookie's name, different for each port, because browsers share cookies among the ports of a host.
fn cookie_name(app: &App) -> String {
    format!("ccm_session_{}", app.address().port())
}

/// What a browser is told to keep once it is signed in.
pub(crate) fn signed_in(app: &App, session: SignedIn) -> (String, PageKey) {
    let secure = if app.is_tls() { "; Secure" } else { "" };
    let cookie = format!(
        "{}={}; Path=/; Max-Age={MAX_AGE}; HttpOnly; SameSite=Strict{secure}",
        cookie_name(app),
        session.cookie
    );
    (cookie, PageKey(session.csrf))
}

/// Who asks with a cookie; `None` if there is no cookie of ours.
pub(super) fn session(app: &App, request: &Parts) -> Option<Answer<Principal>> {
    let headers = &request.headers;
    let cookie = cookie(headers, &cookie_name(app))?;
    let sessions = &app.access().sessions;
    Some(match sessions.of_cookie(cookie, app.now()) {
        None => Err(wrong(
            app,
            "this browser is no longer signed in; run `ccm ui`",
        )),
        Some(id) if page_key(headers).is_some_and(|key| sessions.is_csrf(cookie, key)) => {
            match foreign(&request.method, headers) {
                None => Ok(Principal::Browser(id)),
                Some(why) => Err(ApiError::new(ProblemCode::Forbidden, why)),
            }
        }
        Some(_) => Err(unauthorized(
            "a browser has to send X-CCM-CSRF besides its cookie; open the page with `ccm ui`",
        )),
    })
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter();
    let pairs = all
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    let mut own = pairs.filter_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    });
    own.next()
}

fn page_key(headers: &HeaderMap) -> Option<&str> {
    if let Single::One(key) = single(headers, CSRF) {
        return Some(key);
    }
    let Single::One(protocols) = single(headers, header::SEC_WEBSOCKET_PROTOCOL) else {
        return None;
    };
    let mut names = protocols.split(',');
    names.find_map(|name| name.trim().strip_prefix(CSRF_PROTOCOL))
}

/// Why a request with a cookie is not the page's own.
fn foreign(method: &Method, headers: &HeaderMap) -> Option<&'static str> {
    match single(headers, FETCH_SITE) {
        Single::None => {}
        Single::One("same-origin") => {}
        _ => return Some("only the page itself may ask with its cookie (Sec-Fetch-Site)"),
    }
    let is_upgrade = headers.contains_key(header::UPGRADE);
    let reads = matches!(*method, Method::GET | Method::HEAD) && !is_upgrade;
    let Single::One(host) = single(headers, header::HOST) else {
        return Some("the request has not one Host header");
    };
    match single(headers, header::ORIGIN) {
        Single::One(origin) if is_origin(origin, host) => None,
        Single::None if reads => None,
        Single::None => Some("what changes something has to name its Origin"),
        _ => Some("the request's Origin is not the address that the page is at"),
    }
}

/// Whether a page at `host` has this origin.
fn is_origin(origin: &str, host: &str) -> bool {
    let at = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    at.is_some_and(|at| at.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: header::HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let all = headers(&[
            ("cookie", "a=1; ccm_session_80=x;ccm_session_8=y"),
            ("cookie", "b=2"),
        ]);
        assert_eq!(cookie(&all, "ccm_session_8"), Some("y"));
        assert_eq!(cookie(&all, "ccm_session_80"), Some("x"));
        assert_eq!(cookie(&all, "b"), Some("2"));
        assert_eq!(cookie(&all, "ccm_session_"), None);
        assert_eq!(cookie(&headers(&[("cookie", "")]), "b"), None);
    }

    #[test]
    fn the_page_sends_its_key_in_a_header_or_a_subprotocol() {
        assert_eq!(page_key(&headers(&[("x-ccm-csrf", "k")])), Some("k"));
        let socket = headers(&[("sec-websocket-protocol", "ccm.terminal.v1, ccm.csrf.k")]);
        assert_eq!(page_key(&socket), Some("k"));
        assert_eq!(page_key(&headers(&[])), None);
        let twice = headers(&[("x-ccm-csrf", "k"), ("x-ccm-csrf", "k")]);
        assert_eq!(page_key(&twice), None);
    }

    #[test]
    fn only_the_pages_own_requests_pass() {
        let (get, post) = (Method::GET, Method::POST);
        let own = ("host", "localhost:1");
        let origin = ("origin", "http://localhost:1");
        let same = ("sec-fetch-site", "same-origin");
        assert_eq!(foreign(&get, &headers(&[own])), None);
        assert_eq!(foreign(&get, &headers(&[own, same])), None);
        assert_eq!(foreign(&post, &headers(&[own, origin, same])), None);
        // Some browsers send no Sec-Fetch-Site where there is no TLS.
        assert_eq!(foreign(&post, &headers(&[own, origin])), None);
        for wrong in [
            &[own][..],
            &[own, same],
            &[own, origin, ("sec-fetch-site", "same-site")],
            &[own, origin, ("sec-fetch-site", "cross-site")],
            &[own, origin, ("sec-fetch-site", "none")],
            &[own, ("origin", "null")],
            &[own, ("origin", "http://127.0.0.1:1")],
            &[own, ("origin", "http://localhost:2")],
            &[own, origin, origin],
        ] {
            assert!(foreign(&post, &headers(wrong)).is_some(), "{wrong:?}");
        }
        for site in ["same-site", "cross-site", "none"] {
            let wrong = headers(&[own, ("sec-fetch-site", site)]);
            assert!(foreign(&get, &wrong).is_some(), "{site}");
        }
        let socket = headers(&[own, ("upgrade", "websocket")]);
        assert!(
            foreign(&get, &socket).is_some(),
            "a WebSocket names its origin"
        );
    }
}
