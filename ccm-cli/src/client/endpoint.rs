use std::fmt;

use reqwest::Url;
use reqwest::header::HeaderValue;

use super::{Error, Result};

/// Where a daemon listens, and the token it asks for.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address, such as `http://127.0.0.1:8765`.
    pub url: String,
    /// The API token.
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

/// An endpoint that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Without a slash at its end.
    pub(super) base: String,
    pub(super) authorization: HeaderValue,
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
        let url = Url::parse(text).map_err(|e| bad(&e.to_string()))?;
        if url.scheme() != "http" {
            return Err(bad("it must begin with http://"));
        }
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            return Err(bad("only scheme, host, port and path are allowed"));
        }
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", endpoint.token.trim()))
            .map_err(|_| {
                Error::Endpoint("the token has a character that no token has".to_owned())
            })?;
        authorization.set_sensitive(true);
        Ok(Self {
            base: url.as_str().trim_end_matches('/').to_owned(),
            authorization,
        })
    }
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
        for bad in ["", "127.0.0.1:8765", "ftp://x", "http://u@x", "http://x?y"] {
            assert!(matches!(place(bad), Err(Error::Endpoint(_))), "{bad}");
        }
        assert!(Place::try_from(&Endpoint::new("http://x", "a\u{7f}b")).is_err());
        assert!(!format!("{:?}", place("http://x").unwrap()).contains("secret"));
        assert!(!format!("{:?}", Endpoint::new("http://x", "secret")).contains("secret"));
    }
}
