//! Whose fault a failed turn is.
//!
//! Claude Code says it in a field of its own (`error` of the sentence that stands for the answer), never to be guessed
//! from that sentence:
//!
//! | `error` | what it means here |
//! | --- | --- |
//! | `authentication_failed`, `oauth_org_not_allowed`, `account_on_hold`, `verification_required`, `cloud_credential_error` | not logged in, or the account is refused: the task waits |
//! | `rate_limit` | the provider asks to wait, until `rate_limit_info.resetsAt` if that was told |
//! | `billing_error` | the account's quota is used up: the task waits |
//! | `overloaded`, `server_error` | the provider's own trouble: a failure of the attempt |
//! | `invalid_request`, `model_not_found`, `max_output_tokens`, `unknown` | a failure of the attempt |

use ccm_core::Reason;
use ccm_core::run::Refusal;
use ccm_core::task::Setback;
use ccm_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::words::{ApiRetry, TurnResult};

/// The words with which it says that the conversation to go on with is not there.
const NO_CONVERSATION: &str = "No conversation found";

/// Why the API did not answer, as Claude Code put it last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ApiError {
    pub(super) error: String,
    pub(super) status: Option<u16>,
}

/// Whether the agent was not let work, by the end of its last turn.
pub(super) fn refusal(
    result: &TurnResult,
    api: Option<&ApiError>,
    resets_at: Option<Timestamp>,
) -> Option<Refusal> {
    let said = result.complaint();
    if said.contains(NO_CONVERSATION) {
        return Some(Refusal {
            cause: Setback::new(
                Reason::NotStarted,
                "the conversation that this task was to go on with is gone; it begins a new one",
            ),
            until: None,
            lost_session: true,
        });
    }
    let api = api?;
    let (cause, until) = match class(&api.error) {
        Class::Account => (account(api, &said), None),
        Class::RateLimit => (Setback::new(Reason::RateLimited, said), resets_at),
        Class::Quota => {
            let detail = format!("the account's quota is used up: {said}");
            (Setback::new(Reason::RateLimited, detail), resets_at)
        }
        Class::Trouble => return None,
    };
    Some(Refusal {
        cause,
        until,
        lost_session: false,
    })
}

/// Why the agent waits while a request to the API is tried again.
pub(super) fn retrying(retry: &ApiRetry) -> Setback {
    let error = retry.error.as_deref().unwrap_or("unknown");
    let (reason, what) = match class(error) {
        Class::RateLimit | Class::Quota => (Reason::RateLimited, "the provider asks to wait"),
        Class::Account => (Reason::NotStarted, "the account was refused"),
        Class::Trouble if error == "overloaded" => {
            (Reason::AgentError, "the provider is overloaded")
        }
        Class::Trouble => (Reason::AgentError, "a request to the provider failed"),
    };
    let mut detail = what.to_owned();
    if let Some(status) = retry.error_status {
        detail.push_str(&format!(" ({status})"));
    }
    if let Some(ms) = retry.retry_delay_ms {
        detail.push_str(&format!("; tried again in {:.0} s", (ms / 1000.0).ceil()));
    }
    if let (Some(attempt), Some(most)) = (retry.attempt, retry.max_retries) {
        detail.push_str(&format!(", for the {attempt}. of {most} times"));
    }
    Setback::new(reason, detail)
}

enum Class {
    Account,
    RateLimit,
    Quota,
    Trouble,
}

fn class(error: &str) -> Class {
    match error {
        "authentication_failed"
        | "oauth_org_not_allowed"
        | "account_on_hold"
        | "verification_required"
        | "cloud_credential_error" => Class::Account,
        "rate_limit" => Class::RateLimit,
        "billing_error" => Class::Quota,
        _ => Class::Trouble,
    }
}

fn account(api: &ApiError, said: &str) -> Setback {
    let what = match api.status {
        // No request was made: there is nothing to log in with.
        None if api.error == "authentication_failed" => {
            "Claude Code is not logged in on this machine".to_owned()
        }
        Some(status) => format!("Claude Code's account or key was refused ({status}: {said})"),
        None => format!("Claude Code's account was refused ({said})"),
    };
    Setback::new(
        Reason::NotStarted,
        format!(
            "{what}; run `claude` in a terminal here and log in with /login, or set ANTHROPIC_API_KEY where the daemon \
             is started or in agent.env. The task waits until then"
        ),
    )
}
