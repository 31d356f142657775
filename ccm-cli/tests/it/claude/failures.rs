//! What Claude Code makes of an API that fails.
//!
//! Measured with 2.1.330 and `CLAUDE_CODE_MAX_RETRIES=1`. Every one of these turns ends with a `result` that has
//! `is_error: true`, `subtype: success` and what people should read in `result`; the process goes on, and exits with 1 if
//! its last turn was one of them. The `assistant` line before it has `is_api_error_message: true` and the word under
//! `error`.
//!
//! | failure | requests | told retries | `error` | `api_error_status` | `api_error_type` | `terminal_reason` |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | 400 | 6 | 0 | `unknown` | 400 | `invalid_request_error` | `api_error` |
//! | 400, prompt is too long | 1 | 0 | `invalid_request` | 400 | `invalid_request_error` | `prompt_too_long` |
//! | 400, credit balance is too low | 1 | 0 | `billing_error` | 400 | `invalid_request_error` | `api_error` |
//! | 401 | 2 | 1 | `authentication_failed` | 401 | `authentication_error` | `api_error` |
//! | 403 | 1 | 0 | `authentication_failed` | 403 | `permission_error` | `api_error` |
//! | 404 | 2 | 0 | `model_not_found` | 404 | `not_found_error` | `api_error` |
//! | 413 | 1 | 0 | `invalid_request` | 413 | `request_too_large` | `image_error` |
//! | 429 | 2 | 1 | `rate_limit` | 429 | `rate_limit_error` | `api_error` |
//! | 500 | 2 | 1 | `server_error` | 500 | `api_error` | `api_error` |
//! | 529 | 2 | 1 | `server_error` | 529 | `overloaded_error` | `api_error` |
//! | cut | 3 | 1 | `server_error` | null | none; `api_error` is `connection_failed` | `api_error` |
//!
//! - A told retry is a line `system/api_retry` with `attempt`, `max_retries`, `retry_delay_ms`, `error_status` (null when
//!   the connection was cut) and `error`. The other repeated requests are told by nothing: after 400 it leaves out what
//!   an API may not know, after 404 and a cut stream it asks once more without a stream.
//! - By default there are 10 retries with pauses that double from half a second to half a minute, three minutes in all;
//!   529 is given up after the third request. A `retry-after` of up to a minute is obeyed. With a longer one, or with
//!   `x-should-retry: false`, the turn fails at once.
//! - The words of a stream that was cut are in no line. Whether its input is in the cost is left to chance.
//! - What a user says after a turn that failed is sent in one message with what was said before.

use serde_json::{Value, json};

use crate::stub::Stub;
use crate::support::Machine;

use super::Claude;

/// A script, the requests it leads to, the told retries, `error`, `api_error_status`, `api_error_type`, `api_error`,
/// `terminal_reason`.
type Failure = (
    &'static str,
    usize,
    usize,
    &'static str,
    Option<u16>,
    Option<&'static str>,
    Option<&'static str>,
    &'static str,
);

#[track_caller]
fn fails(failures: &[Failure]) {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let claude = Claude::new(&machine, &stub);
    for (script, requests, retries, error, status, kind, detail, reason) in failures {
        let mut session = claude.start(&machine.folder("demo"), "acceptEdits");
        let before = stub.requests().len();
        let result = session.turn(script);
        let told: Vec<&Value> = session
            .seen()
            .iter()
            .filter(|line| line["is_api_error_message"] == true)
            .collect();
        assert_eq!(told.len(), 1, "{script}");
        let found = json!({
            "requests": stub.requests().len() - before,
            "retries": session.count("system", "api_retry"),
            "error": told[0]["error"],
            "status": result["api_error_status"],
            "kind": result["api_error_type"],
            "detail": result["api_error"],
            "reason": result["terminal_reason"],
            "is_error": result["is_error"],
            "subtype": result["subtype"],
            "exit": session.end(),
        });
        let expected = json!({
            "requests": requests, "retries": retries, "error": error, "status": status, "kind": kind,
            "detail": detail, "reason": reason, "is_error": true, "subtype": "success",
            "exit": 1,
        });
        assert_eq!(found, expected, "{script}");
    }
}

#[test]
#[rustfmt::skip]
fn what_the_request_is_to_blame_for() {
    let kind = Some("invalid_request_error");
    fails(&[
        ("@fail 400", 6, 0, "unknown", Some(400), kind, None, "api_error"),
        ("@fail 400 : prompt is too long: 210000 tokens > 200000 maximum", 1, 0, "invalid_request", Some(400), kind, None,
            "prompt_too_long"),
        ("@fail 404", 2, 0, "model_not_found", Some(404), Some("not_found_error"), None, "api_error"),
        ("@fail 413", 1, 0, "invalid_request", Some(413), Some("request_too_large"), None, "image_error"),
    ]);
}

#[test]
#[rustfmt::skip]
fn what_the_account_is_to_blame_for() {
    fails(&[
        ("@fail 400 : Your credit balance is too low to access the Anthropic API.", 1, 0, "billing_error", Some(400),
            Some("invalid_request_error"), None, "api_error"),
        ("@fail 401", 2, 1, "authentication_failed", Some(401), Some("authentication_error"), None, "api_error"),
        ("@fail 403", 1, 0, "authentication_failed", Some(403), Some("permission_error"), None, "api_error"),
        ("@fail 429", 2, 1, "rate_limit", Some(429), Some("rate_limit_error"), None, "api_error"),
        ("@fail 429 retry-after=600", 1, 0, "rate_limit", Some(429), Some("rate_limit_error"), None, "api_error"),
    ]);
}

#[test]
#[rustfmt::skip]
fn what_the_api_is_to_blame_for() {
    fails(&[
        ("@fail 500", 2, 1, "server_error", Some(500), Some("api_error"), None, "api_error"),
        ("@fail 529", 2, 1, "server_error", Some(529), Some("overloaded_error"), None, "api_error"),
        ("@fail 529 x-should-retry=false", 1, 0, "server_error", Some(529), Some("overloaded_error"), None, "api_error"),
        ("@cut half a sent", 3, 1, "server_error", None, None, Some("connection_failed"), "api_error"),
    ]);
}

#[test]
fn a_failure_that_passes_is_got_over() {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let claude = Claude::new(&machine, &stub);
    let mut session = claude.start(&machine.folder("demo"), "acceptEdits");
    let script =
        "@fail 529 x1\n@tool Bash {\"command\":\"echo a\"}\n@fail 500 x1\n@cut x1 lost\n@say over";
    session.say(script);
    let retry = session.line("system", "api_retry");
    assert_eq!(retry["error_status"], 529);
    assert_eq!(retry["error"], "overloaded");
    assert_eq!(
        (&retry["attempt"], &retry["max_retries"]),
        (&json!(1), &json!(1))
    );
    let result = session.result();
    assert_eq!(result["result"], "over");
    assert_eq!(result["is_error"], false);
    // The cut stream is asked for again, without a stream.
    assert_eq!(session.count("system", "api_retry"), 2);
    let streamed: Vec<bool> = stub
        .turns()
        .iter()
        .map(|turn| turn.body["stream"] == true)
        .collect();
    assert_eq!(streamed, [true, true, true, true, false]);
    assert!(!json!(session.seen()).to_string().contains("lost\""));
    assert_eq!(session.end(), 0);
}

#[test]
fn a_turn_that_failed_is_followed_by_another() {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let claude = Claude::new(&machine, &stub);
    let mut session = claude.start(&machine.folder("demo"), "acceptEdits");
    assert_eq!(session.turn("@fail 403")["is_error"], true);
    assert_eq!(session.turn("go on")["is_error"], true);
    assert_eq!(session.turn("@say fine")["result"], "fine");
    assert_eq!(session.end(), 0);
}

/// Nothing listens any more.
#[test]
fn an_api_that_is_gone_is_told() {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let mut claude = Claude::new(&machine, &stub);
    claude.set("CLAUDE_CODE_MAX_RETRIES", "0");
    let mut session = claude.start(&machine.folder("demo"), "acceptEdits");
    session.turn("@say one");
    drop(stub);
    let result = session.turn("@say two");
    assert_eq!(result["is_error"], true);
    assert_eq!(result["api_error_status"], Value::Null);
    assert_eq!(result["api_error"], "connection_failed");
    assert_eq!(session.end(), 1);
}
