//! What a server's refusal means.
//!
//! Nothing of what a server says goes into an error but the sentences of CCM's own functions: anything else may repeat
//! what was sent to it.

use ccm_core::{Error, ErrorKind, Noun};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::http::Reply;

/// What to do when a sign-in is over.
pub(super) const SIGN_IN: &str = "sign in again with `ccm supabase connect`";
/// What to do when the functions are not there.
const APPLY: &str = "run the SQL that `ccm supabase migrations` prints in its SQL editor";
/// The longest sentence of a server that is shown.
const MAX_SENTENCE: usize = 300;

/// Why a call of a function was refused.
#[derive(Debug)]
pub(super) enum Failure {
    /// The token is not accepted, or not any more. With another one the call may be.
    Token(Error),
    /// The server does not know this machine, or not under this sign-in.
    NotRegistered(Error),
    /// The project does not have the functions.
    NoFunctions(Error),
    /// Anything else.
    Other(Error),
}

impl Failure {
    /// What a caller is told.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Token(error)
            | Self::NotRegistered(error)
            | Self::NoFunctions(error)
            | Self::Other(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// An error of PostgREST, or of the gateway before it. Fields of another type are as good as not there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    code: Value,
    message: Value,
    details: Value,
    hint: Value,
}

/// What the refusal of a function means.
pub(super) fn of_function(function: &str, reply: &Reply) -> Failure {
    let said: Said = serde_json::from_slice(&reply.body).unwrap_or_default();
    let status = reply.status;
    if let Some(failure) = said
        .details
        .as_str()
        .and_then(|code| by_detail(code, &said))
    {
        return failure;
    }
    let code = said.code.as_str().unwrap_or_default();
    if let Some(failure) = by_code(function, code) {
        return failure;
    }
    // A code is a word that the server made, and never repeats what it was sent.
    let code = match code {
        "" => String::new(),
        code if is_word(code) => format!(", {code}"),
        _ => ", with an unknown code".to_owned(),
    };
    let refused = format!(
        "the server refused {function} (HTTP {}{code})",
        status.as_u16()
    );
    by_status(status, refused)
}

/// The codes of CCM's own functions.
fn by_detail(code: &str, said: &Said) -> Option<Failure> {
    let kind = match code {
        "unauthenticated" | "aal_required" => ErrorKind::Unauthenticated,
        "revoked" => ErrorKind::Revoked,
        "not_registered" | "restored" | "resync" => ErrorKind::OutOfStep,
        "identity_conflict" => ErrorKind::Taken(Noun::System),
        "gap" | "invalid" => ErrorKind::Invalid,
        "lease_held" | "task_ended" => ErrorKind::WrongState(Noun::Task),
        "lease_lost" => ErrorKind::Superseded,
        "no_such_task" => ErrorKind::NotFound(Noun::Task),
        "no_such_device" => ErrorKind::NotFound(Noun::System),
        "upgrade" => ErrorKind::TooOld,
        "too_large" => ErrorKind::TooLarge,
        _ => return None,
    };
    let what = sentence(&said.message).unwrap_or_else(|| code.replace('_', " "));
    let hint = match code {
        "unauthenticated" => Some(SIGN_IN.to_owned()),
        "aal_required" => Some(format!("{SIGN_IN} and give its code")),
        _ => sentence(&said.hint),
    };
    let text = match hint {
        Some(hint) => format!("{what}: {hint}"),
        None => what,
    };
    let error = Error::new(kind, text);
    Some(match code {
        "unauthenticated" => Failure::Token(error),
        "not_registered" => Failure::NotRegistered(error),
        _ => Failure::Other(error),
    })
}

/// The codes of PostgREST and of PostgreSQL.
fn by_code(function: &str, code: &str) -> Option<Failure> {
    let other = |kind, text: String| Some(Failure::Other(Error::new(kind, text)));
    match code {
        "PGRST301" | "PGRST302" | "PGRST303" => Some(Failure::Token(Error::new(
            ErrorKind::Unauthenticated,
            format!("the server does not accept the sign-in any more: {SIGN_IN}"),
        ))),
        "PGRST000" | "PGRST001" | "PGRST002" | "PGRST003" => other(
            ErrorKind::Unavailable,
            "the server's database can't be reached now".to_owned(),
        ),
        "PGRST202" | "PGRST203" | "PGRST205" | "PGRST106" | "42883" | "42P01" | "3F000" => {
            Some(Failure::NoFunctions(Error::new(
                ErrorKind::Unsupported,
                format!("the Supabase project has no function {function}: {APPLY}"),
            )))
        }
        // No right to call it: the sign-in is not that of a user.
        "42501" => Some(Failure::Token(Error::new(
            ErrorKind::Unauthenticated,
            format!("the server lets nobody but signed-in users call {function}: {SIGN_IN}"),
        ))),
        // Too much at once; more than one row or answer may have.
        "54000" | "54001" | "54023" => other(
            ErrorKind::TooLarge,
            format!("the server can't take so much in one call of {function}"),
        ),
        _ if is_transient(code) => other(
            ErrorKind::Unavailable,
            format!("the server's database was busy ({code}) when {function} was called"),
        ),
        _ => None,
    }
}

/// SQLSTATEs after which the same call can succeed: serialisation, deadlock, time-out, lock, resources, a connection that
/// broke, a server that stops.
fn is_transient(code: &str) -> bool {
    matches!(code, "40001" | "40P01" | "57014" | "55P03" | "25006")
        || code.len() == 5
            && ["53", "08", "57P", "58"]
                .iter()
                .any(|class| code.starts_with(class))
}

fn by_status(status: StatusCode, text: String) -> Failure {
    let kind = match status.as_u16() {
        401 => {
            return Failure::Token(Error::new(
                ErrorKind::Unauthenticated,
                format!("{text}: {SIGN_IN}"),
            ));
        }
        413 => ErrorKind::TooLarge,
        400 | 406 | 409 | 415 | 422 => ErrorKind::Invalid,
        // 404 and the rest come from something between, which will be mended or goes away: nothing is given up for it.
        _ => ErrorKind::Unavailable,
    };
    Failure::Other(Error::new(kind, text))
}

/// A sentence to be shown: one line, not too long.
fn sentence(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| !text.is_empty())?;
    let shown = text.chars().take(MAX_SENTENCE);
    Some(
        shown
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect(),
    )
}

fn is_word(code: &str) -> bool {
    code.len() <= 40
        && code
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The code of a refusal of the auth server, in whichever of its shapes.
pub(super) fn auth_code(reply: &Reply) -> String {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Shapes {
        code: Value,
        error_code: Value,
        error: Value,
    }
    let said: Shapes = serde_json::from_slice(&reply.body).unwrap_or_default();
    let words = [&said.error_code, &said.code, &said.error];
    let word = words.into_iter().find_map(|value| value.as_str());
    let code = reply.code.as_deref().or(word).unwrap_or_default();
    if is_word(code) { code } else { "" }.to_owned()
}

/// What the refusal of the auth server means.
pub(super) fn of_auth(reply: &Reply) -> Error {
    let code = auth_code(reply);
    let status = reply.status.as_u16();
    let signed_out = |why: &str| Error::new(ErrorKind::Unauthenticated, why.to_owned());
    match code.as_str() {
        "invalid_credentials" | "invalid_grant" => {
            signed_out("the e-mail address or the password is wrong")
        }
        "email_not_confirmed" => signed_out(
            "the e-mail address is not confirmed yet: open the link in the mail from Supabase, then sign in",
        ),
        "user_banned" => signed_out("this account is blocked in the Supabase project"),
        "email_provider_disabled" => signed_out(
            "the Supabase project does not allow signing in with a password: switch the e-mail provider on in its dashboard",
        ),
        "captcha_failed" => signed_out(
            "the Supabase project asks for a captcha, which a program can't answer: switch that off in its dashboard",
        ),
        "mfa_verification_failed" | "mfa_verification_rejected" => {
            signed_out("the code of the second factor is wrong or too old")
        }
        "mfa_challenge_expired" => signed_out("the code of the second factor came too late"),
        "mfa_totp_verify_not_enabled" => signed_out(
            "the Supabase project does not allow codes of an authenticator app: switch them on in its dashboard",
        ),
        "refresh_token_already_used"
        | "refresh_token_not_found"
        | "session_not_found"
        | "session_expired"
        | "user_not_found"
        | "bad_jwt"
        | "no_authorization"
        | "insufficient_aal" => signed_out(&format!("the sign-in is over ({code}): {SIGN_IN}")),
        "over_request_rate_limit" | "conflict" | "request_timeout" | "hook_timeout" => {
            Error::unavailable(format!("the auth server is busy ({code})"))
        }
        _ => by_auth_status(status, &code),
    }
}

fn by_auth_status(status: u16, code: &str) -> Error {
    let code = match code {
        "" => String::new(),
        code => format!(", {code}"),
    };
    let text = format!("the auth server refused (HTTP {status}{code})");
    match status {
        401 => Error::new(
            ErrorKind::Unauthenticated,
            format!("{text}: check the publishable key of the Supabase project"),
        ),
        400 | 403 | 422 => Error::new(ErrorKind::Unauthenticated, format!("{text}: {SIGN_IN}")),
        _ => Error::unavailable(text),
    }
}

/// An answer that is not what was asked for.
pub(super) fn unreadable(what: &str) -> Error {
    Error::unavailable(format!(
        "the answer to {what} can't be read: something else than Supabase answers there, or only half of it came"
    ))
}

#[cfg(test)]
mod tests {
    use ccm_core::Retry;
    use serde_json::json;

    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            code: None,
            body: body.to_owned().into(),
        }
    }

    fn function(status: u16, body: &Value) -> Failure {
        of_function("ccm_push", &reply(status, &body.to_string()))
    }

    #[test]
    fn details_decide_first() {
        use ErrorKind as K;
        for (status, code, kind) in [
            (401, "unauthenticated", K::Unauthenticated),
            (403, "aal_required", K::Unauthenticated),
            (403, "revoked", K::Revoked),
            (403, "not_registered", K::OutOfStep),
            (409, "identity_conflict", K::Taken(Noun::System)),
            (409, "gap", K::Invalid),
            (409, "restored", K::OutOfStep),
            (409, "resync", K::OutOfStep),
            (409, "lease_held", K::WrongState(Noun::Task)),
            (409, "task_ended", K::WrongState(Noun::Task)),
            (409, "lease_lost", K::Superseded),
            (404, "no_such_task", K::NotFound(Noun::Task)),
            (404, "no_such_device", K::NotFound(Noun::System)),
            (426, "upgrade", K::TooOld),
            (400, "invalid", K::Invalid),
            (413, "too_large", K::TooLarge),
        ] {
            let body = json!({ "code": format!("PT{status}"), "message": "a sentence\nof two lines",
                "details": code, "hint": "do this" });
            let error = function(status, &body).into_error();
            assert_eq!(error.kind(), kind, "{code}");
            assert!(
                error.to_string().starts_with("a sentence of two lines: "),
                "{error}"
            );
        }
        let body = json!({ "details": "aal_required" });
        let error = function(403, &body).into_error();
        assert!(
            error.to_string().contains("ccm supabase connect"),
            "{error}"
        );
    }

    #[test]
    fn codes_decide_before_the_status() {
        use ErrorKind as K;
        for (status, code, kind) in [
            (401, "PGRST301", K::Unauthenticated),
            (401, "PGRST303", K::Unauthenticated),
            (503, "PGRST001", K::Unavailable),
            (504, "PGRST003", K::Unavailable),
            (404, "PGRST202", K::Unsupported),
            (403, "42501", K::Unauthenticated),
            (500, "40001", K::Unavailable),
            (500, "40P01", K::Unavailable),
            (500, "57014", K::Unavailable),
            (500, "53300", K::Unavailable),
            (503, "57P03", K::Unavailable),
            (400, "54000", K::TooLarge),
            (400, "22P05", K::Invalid),
            (409, "23505", K::Invalid),
        ] {
            let body = json!({ "code": code, "message": "secret", "details": null, "hint": null });
            let error = function(status, &body).into_error();
            assert_eq!(error.kind(), kind, "{code}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let missing = function(404, &json!({ "code": "PGRST202" }));
        assert!(matches!(missing, Failure::NoFunctions(_)));
        let text = missing.into_error().to_string();
        assert!(text.contains("ccm supabase migrations"), "{text}");
        let expired = function(401, &json!({ "code": "PGRST303" }));
        assert!(matches!(expired, Failure::Token(_)));
    }

    #[test]
    fn anything_else_is_by_status_and_repeats_nothing() {
        use ErrorKind as K;
        let bodies = [
            "",
            "<html>secret</html>",
            "[1]",
            "{\"code\": 7, \"message\": \"secret\"}",
            "{\"details\":{}}",
        ];
        for (status, kind) in [
            (302, K::Unavailable),
            (400, K::Invalid),
            (401, K::Unauthenticated),
            (403, K::Unavailable),
            (404, K::Unavailable),
            (408, K::Unavailable),
            (413, K::TooLarge),
            (422, K::Invalid),
            (429, K::Unavailable),
            (500, K::Unavailable),
            (502, K::Unavailable),
            (540, K::Unavailable),
        ] {
            for body in bodies {
                let error = of_function("ccm_push", &reply(status, body)).into_error();
                assert_eq!(error.kind(), kind, "{status} {body}");
                assert!(!error.to_string().contains("secret"), "{error}");
                let transient = kind == K::Unavailable;
                assert_eq!(error.retry() == Retry::Transient, transient);
            }
        }
        let error = function(400, &json!({ "code": "my secret" })).into_error();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn every_shape_of_the_auth_servers_errors_is_read() {
        use ErrorKind as K;
        for (status, body, kind) in [
            (
                400,
                r#"{"code":"invalid_credentials","message":"secret"}"#,
                K::Unauthenticated,
            ),
            (
                400,
                r#"{"code":400,"error_code":"invalid_credentials","msg":"secret"}"#,
                K::Unauthenticated,
            ),
            (
                400,
                r#"{"error":"invalid_grant","error_description":"secret"}"#,
                K::Unauthenticated,
            ),
            (
                400,
                r#"{"code":"refresh_token_already_used","message":"secret"}"#,
                K::Unauthenticated,
            ),
            (
                403,
                r#"{"code":403,"error_code":"session_not_found","msg":"secret"}"#,
                K::Unauthenticated,
            ),
            (
                409,
                r#"{"code":"conflict","message":"secret"}"#,
                K::Unavailable,
            ),
            (429, r#"{"code":"over_request_rate_limit"}"#, K::Unavailable),
            (
                401,
                r#"{"message":"secret","hint":"secret"}"#,
                K::Unauthenticated,
            ),
            (
                422,
                r#"{"code":"mfa_verification_failed"}"#,
                K::Unauthenticated,
            ),
            (404, "secret", K::Unavailable),
            (
                500,
                r#"{"code":500,"error_code":"unexpected_failure"}"#,
                K::Unavailable,
            ),
            (503, "", K::Unavailable),
        ] {
            let error = of_auth(&reply(status, body));
            assert_eq!(error.kind(), kind, "{body}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let mut told = reply(400, "{}");
        told.code = Some("email_not_confirmed".to_owned());
        assert!(of_auth(&told).to_string().contains("confirmed"));
        assert_eq!(auth_code(&reply(400, r#"{"code":"a b"}"#)), "");
    }
}
