//! What a JSON web token says of itself. Whether it is true, only the server can know.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use uuid::Uuid;

/// What is read of a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Claims {
    /// Whose it is.
    pub(super) sub: Option<Uuid>,
    /// What it may do: `anon`, `authenticated`, `service_role`.
    pub(super) role: Option<String>,
    /// How sure the server is of who it is: `aal1`, or `aal2` after a second factor.
    pub(super) aal: Option<String>,
    /// The sign-in that it comes from.
    pub(super) session_id: Option<Uuid>,
    /// When it ends, in seconds since 1970 UTC by the server's clock.
    pub(super) exp: Option<i64>,
}

/// Reads a token; `None` for a text that is none.
pub(super) fn claims(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let json = BASE64_URL_SAFE_NO_PAD
        .decode(payload.trim_end_matches('='))
        .ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A token that says `payload`, with a signature that nobody checks here.
    pub(in crate::supabase) fn token(payload: &serde_json::Value) -> String {
        let part = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
        format!(
            "{}.{}.c2ln",
            part("{\"alg\":\"HS256\"}".to_owned()),
            part(payload.to_string())
        )
    }

    #[test]
    fn a_token_is_read_and_anything_else_is_none() {
        let said = serde_json::json!({ "role": "anon", "exp": 7, "iss": "supabase" });
        let read = claims(&token(&said)).unwrap();
        assert_eq!((read.role.as_deref(), read.exp), (Some("anon"), Some(7)));
        assert_eq!((read.sub, read.aal), (None, None));
        for bad in [
            "",
            "a.b.c",
            "..",
            "sb_publishable_x",
            "a.e30.c.d",
            "a.bnVsbA.c",
        ] {
            assert_eq!(claims(bad), None, "{bad}");
        }
        assert_eq!(claims("a.e30.c"), Some(Claims::default()));
    }
}
