use std::fmt;
use std::path::Path;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderValue;

use super::{Error, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Where a daemon listens, and the token it asks for.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address, such as `http://127.0.0.1:8765`, or `unix:/PATH` for a socket.
    pub url: String,
    /// The API token. Empty for none: a socket knows its own user.
    pub token: String,
}

impl Endpoint {
    /// The endpoint with this address and token.
    pub fn new(url: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            token: token.into(),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// An endpoint that was checked, and what speaks to it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// What people are told, without a slash at its end.
    pub(super) url: String,
    /// What paths are put behind.
    pub(super) base: String,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) http: reqwest::Client,
}

impl TryFrom<&Endpoint> for Place {
    type Error = Error;

    fn try_from(endpoint: &Endpoint) -> Result<Self> {
        let text = &endpoint.url;
        let bad = |why: &str| {
            Error::Endpoint(format!(
                "{text:?} is not the address of a daemon: {why} (such as http://127.0.0.1:8765)"
            ))
        };
        let authorization = authorization(endpoint.token.trim())?;
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path.strip_prefix("//").unwrap_or(path));
            if !path.is_absolute() {
                return Err(bad("a socket's path begins with a slash"));
            }
            return Ok(Self {
                url: text.clone(),
                // HTTP wants a host; at a socket it means nothing.
                base: "http://localhost".to_owned(),
                authorization,
                http: client(Some(path))?,
            });
        }
        let url = Url::parse(text).map_err(|e| bad(&e.to_string()))?;
        if url.scheme() != "http" {
            return Err(bad("it must begin with http:// or unix:"));
        }
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            return Err(bad("only scheme, host, port and path are allowed"));
        }
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self {
            url: base.clone(),
            base,
            authorization,
            http: client(None)?,
        })
    }
}

fn authorization(token: &str) -> Result<Option<HeaderValue>> {
    if token.is_empty() {
        return Ok(None);
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| Error::Endpoint("the token has a character that no token has".to_owned()))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn client(socket: Option<&Path>) -> Result<reqwest::Client> {
    // A proxy or a redirect would be handed the token.
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT);
    if let Some(socket) = socket {
        builder = builder.unix_socket(socket);
    }
    builder
        .build()
        .map_err(|e| Error::Endpoint(format!("no HTTP client can be made: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_checked_and_never_shows_its_token() {
        let place = |url: &str| Place::try_from(&Endpoint::new(url, "secret\n"));
        assert_eq!(
            place("http://127.0.0.1:8765/").unwrap().base,
            "http://127.0.0.1:8765"
        );
        assert_eq!(place("http://host/ccm/").unwrap().base, "http://host/ccm");
        for socket in ["unix:/a/b", "unix:///a/b"] {
            let place = place(socket).unwrap();
            assert_eq!((&*place.url, &*place.base), (socket, "http://localhost"));
        }
        for bad in [
            "",
            "127.0.0.1:8765",
            "ftp://x",
            "http://u@x",
            "http://x?y",
            "unix:a",
        ] {
            assert!(matches!(place(bad), Err(Error::Endpoint(_))), "{bad}");
        }
        assert!(Place::try_from(&Endpoint::new("http://x", "a\u{7f}b")).is_err());
        assert!(!format!("{:?}", place("http://x").unwrap()).contains("secret"));
        assert!(!format!("{:?}", Endpoint::new("http://x", "secret")).contains("secret"));
    }
}
