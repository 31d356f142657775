//! Which Supabase project, and with which key.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ccm_core::{Error, Result};
use hyper::Uri;
use hyper::header::HeaderValue;

use super::Secret;
use super::jwt;

/// A Supabase project: its address and its publishable key.
#[derive(Clone)]
pub struct Project {
    url: String,
    host: String,
    key: HeaderValue,
}

impl Project {
    /// Checks an address such as `https://PROJECT.supabase.co`, and the project's publishable (or `anon`) key.
    ///
    /// # Errors
    /// `Invalid` for an address that is none or that would send passwords unencrypted through a network, and for a key that
    /// may do everything: a machine must not have one.
    pub fn new(url: &str, key: &Secret) -> Result<Self> {
        let (url, host) = address(url.trim())?;
        Ok(Self {
            url,
            host,
            key: checked_key(key.expose().trim())?,
        })
    }

    /// Its address, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The machine that it is on.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether what is sent there is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.url.starts_with("https:")
    }

    /// The publishable key, as it is sent.
    pub(super) fn key(&self) -> &HeaderValue {
        &self.key
    }

    /// The address of `path`, which begins with a slash.
    pub(super) fn at(&self, path: &str) -> Result<Uri> {
        format!("{}{path}", self.url)
            .parse()
            .map_err(|_| Error::internal("an address can't be made for the Supabase project"))
    }
}

impl fmt::Debug for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Project").field(&self.url).finish()
    }
}

fn address(text: &str) -> Result<(String, String)> {
    let wrong = |why: &str| {
        Error::invalid(format!(
            "the address of the Supabase project {why}; it looks like https://PROJECT.supabase.co"
        ))
    };
    let uri: Uri = text.parse().map_err(|_| wrong("can't be read"))?;
    let scheme = uri.scheme_str().unwrap_or_default();
    let host = uri.host().filter(|host| !host.is_empty());
    let Some(host) = host.filter(|_| matches!(scheme, "http" | "https")) else {
        return Err(wrong("does not begin with https:// and a host"));
    };
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(wrong("has a user in it"));
    }
    if uri.query().is_some() {
        return Err(wrong("has a question mark"));
    }
    if matches!(
        host,
        "supabase.com" | "app.supabase.com" | "www.supabase.com"
    ) {
        return Err(wrong("is that of the dashboard"));
    }
    if scheme == "http" && !is_near(host) {
        return Err(wrong(
            "begins with http://, which would send the password unencrypted",
        ));
    }
    let path = uri.path().trim_end_matches('/');
    // What people copy from the examples of the dashboard.
    let path = path.strip_suffix("/rest/v1").unwrap_or(path);
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    Ok((format!("{scheme}://{authority}{path}"), host.to_owned()))
}

/// Whether a host is this machine or on a network of its user's own.
fn is_near(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => {
            ip == Ipv6Addr::LOCALHOST || ip.is_unique_local() || ip.is_unicast_link_local()
        }
        Err(_) => bare.eq_ignore_ascii_case("localhost"),
    }
}

fn checked_key(key: &str) -> Result<HeaderValue> {
    if key.is_empty() {
        return Err(Error::invalid(
            "there is no key of the Supabase project; the publishable one is on its page \"API keys\"",
        ));
    }
    let role = jwt::claims(key).map(|claims| claims.role.unwrap_or_default());
    if key.starts_with("sb_secret_") || role.is_some_and(|role| role != "anon") {
        return Err(Error::invalid(
            "this key may do everything with the Supabase project, so no machine must have it: use the publishable key \
             (sb_publishable_... or the older anon key), and make a new secret key in the dashboard if this one was stored",
        ));
    }
    let value = Some(key)
        .filter(|key| key.len() <= 4096 && key.bytes().all(|byte| byte.is_ascii_graphic()))
        .and_then(|key| HeaderValue::from_str(key).ok());
    let mut value = value.ok_or_else(|| {
        Error::invalid("the key of the Supabase project has a character that no key has")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use ccm_core::ErrorKind;
    use serde_json::json;

    use super::*;

    const KEY: &str = "sb_publishable_abc";

    fn project(url: &str, key: &str) -> Result<Project> {
        Project::new(url, &Secret::new(key))
    }

    #[test]
    fn addresses_are_checked_and_trimmed() {
        for (text, url) in [
            ("https://abc.supabase.co", "https://abc.supabase.co"),
            (" https://abc.supabase.co/ \n", "https://abc.supabase.co"),
            (
                "https://abc.supabase.co/rest/v1/",
                "https://abc.supabase.co",
            ),
            (
                "https://db.example.org:8443/a/",
                "https://db.example.org:8443/a",
            ),
            ("http://127.0.0.1:54321", "http://127.0.0.1:54321"),
            ("http://[::1]:54321", "http://[::1]:54321"),
            ("http://192.168.1.9:8000", "http://192.168.1.9:8000"),
            ("http://localhost:54321", "http://localhost:54321"),
        ] {
            let project = project(text, KEY).unwrap();
            assert_eq!(project.url(), url);
            assert_eq!(project.is_encrypted(), text.trim().starts_with("https"));
        }
        for bad in [
            "",
            "abc.supabase.co",
            "/a",
            "ftp://abc.supabase.co",
            "https://",
            "http://abc.supabase.co",
            "http://8.8.8.8",
            "https://user@abc.supabase.co",
            "https://abc.supabase.co?x=1",
            "https://supabase.com/dashboard/project/abc",
            "https://a b",
        ] {
            let error = project(bad, KEY).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}");
            assert!(error.to_string().contains("https://PROJECT"), "{error}");
        }
    }

    #[test]
    fn keys_that_may_do_everything_are_refused_and_none_is_shown() {
        let role = |role: &str| jwt::tests::token(&json!({ "role": role, "iss": "supabase" }));
        for good in [
            KEY,
            &role("anon"),
            "opaque-key-of-a-gateway",
            "sb_publishable_a\n",
        ] {
            let project = project("https://a.b", good).unwrap();
            let shown = format!("{project:?} {:?}", project.key());
            assert!(!shown.contains(good.trim()), "{shown}");
        }
        let service = role("service_role");
        for bad in [
            "",
            "sb_secret_abc",
            &service,
            &role("postgres"),
            &role(""),
            "a b",
            "é",
        ] {
            let error = project("https://a.b", bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(
                bad.is_empty() || !error.to_string().contains(bad),
                "{error}"
            );
        }
        let error = project("https://a.b", &service).unwrap_err();
        assert!(error.to_string().contains("sb_publishable_"), "{error}");
    }
}
