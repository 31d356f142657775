//! The lines that Claude Code writes, as far as CCM looks at them.

use std::collections::BTreeMap;

use ccm_core::Reason;
use ccm_core::run::Usage;
use ccm_core::task::Setback;
use ccm_core::time::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// One line.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Line {
    System(System),
    Assistant(Assistant),
    User(User),
    Result(Box<TurnResult>),
    ControlRequest(ControlRequest),
    ControlResponse(ControlResponse),
    ControlCancelRequest {
        request_id: String,
    },
    CommandLifecycle {
        command_uuid: String,
        state: String,
    },
    RateLimitEvent {
        rate_limit_info: RateLimit,
    },
    #[serde(other)]
    Other,
}

/// News about the program itself.
#[derive(Debug, Deserialize)]
#[serde(tag = "subtype", rename_all = "snake_case")]
pub(super) enum System {
    Init {
        session_id: String,
        model: Option<String>,
        claude_code_version: Option<String>,
    },
    /// A request to the API failed and is tried again.
    ApiRetry(ApiRetry),
    /// What runs in the background now: all of it.
    BackgroundTasksChanged {
        tasks: Vec<Value>,
    },
    TaskNotification {
        summary: Option<String>,
    },
    /// The conversation was shortened.
    CompactBoundary,
    #[serde(other)]
    Other,
}

/// Why, and how it goes on.
#[derive(Debug, Deserialize)]
pub(super) struct ApiRetry {
    pub(super) attempt: Option<u32>,
    pub(super) max_retries: Option<u32>,
    pub(super) retry_delay_ms: Option<f64>,
    pub(super) error_status: Option<u16>,
    pub(super) error: Option<String>,
}

/// What the model said. One message may come in several lines, each with a part of its content.
#[derive(Debug, Deserialize)]
pub(super) struct Assistant {
    pub(super) message: Message,
    pub(super) timestamp: Option<Timestamp>,
    /// A sentence of Claude Code's own in place of an answer that the API refused.
    #[serde(default)]
    pub(super) is_api_error_message: bool,
    pub(super) error: Option<String>,
    pub(super) api_error_status: Option<u16>,
}

/// What people, and tools for them, said to the model.
#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) message: Message,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) uuid: Option<String>,
    /// The program repeats what it was given.
    #[serde(default, rename = "isReplay")]
    pub(super) is_replay: bool,
    pub(super) parent_tool_use_id: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) id: Option<String>,
    pub(super) content: Content,
    pub(super) usage: Option<ApiUsage>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Blocks(Vec<Block>),
    Other(#[allow(dead_code, reason = "only that it is something else counts")] IgnoredAny),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block {
    Text {
        text: String,
    },
    Thinking {
        thinking: String,
    },
    ToolUse {
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    ToolResult {
        tool_use_id: String,
        #[serde(default)]
        content: Value,
        #[serde(default)]
        is_error: Option<bool>,
    },
    #[serde(other)]
    Other,
}

/// The end of a turn.
#[derive(Debug, Deserialize)]
pub(super) struct TurnResult {
    #[serde(default)]
    pub(super) subtype: String,
    #[serde(default)]
    pub(super) is_error: bool,
    pub(super) api_error_status: Option<u16>,
    pub(super) result: Option<String>,
    #[serde(default)]
    pub(super) errors: Vec<Value>,
    #[serde(default)]
    pub(super) permission_denials: Vec<Value>,
    /// Of this conversation since it began, earlier programs included.
    pub(super) total_cost_usd: Option<f64>,
    /// Of this turn.
    #[serde(default)]
    pub(super) usage: ApiUsage,
    /// Of this turn, by model, subagents included. Older versions don't say it.
    pub(super) model_usage_since_last_result: Option<BTreeMap<String, ModelUsage>>,
    pub(super) duration_ms: Option<u64>,
    pub(super) terminal_reason: Option<String>,
}

/// Tokens, as the API counts them.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct ApiUsage {
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) cache_creation_input_tokens: u64,
    pub(super) cache_read_input_tokens: u64,
}

impl From<ApiUsage> for Usage {
    fn from(usage: ApiUsage) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cache_read_tokens: usage.cache_read_input_tokens,
            cache_write_tokens: usage.cache_creation_input_tokens,
        }
    }
}

/// Tokens and their price, as Claude Code counts them.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ModelUsage {
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) cache_read_input_tokens: u64,
    pub(super) cache_creation_input_tokens: u64,
    #[serde(rename = "costUSD")]
    pub(super) cost_usd: f64,
}

impl TurnResult {
    /// What the turn used, and what that cost if it is known for the turn alone.
    pub(super) fn used(&self) -> (Usage, Option<f64>) {
        let Some(models) = &self.model_usage_since_last_result else {
            return (self.usage.into(), None);
        };
        let mut usage = Usage::default();
        for model in models.values() {
            usage.input_tokens += model.input_tokens;
            usage.output_tokens += model.output_tokens;
            usage.cache_read_tokens += model.cache_read_input_tokens;
            usage.cache_write_tokens += model.cache_creation_input_tokens;
        }
        let cost = models.values().map(|model| model.cost_usd).sum();
        (usage, Some(cost))
    }

    /// Whether somebody ended the turn.
    pub(super) fn was_interrupted(&self) -> bool {
        let reason = self.terminal_reason.as_deref().unwrap_or_default();
        reason.starts_with("aborted")
    }

    /// What it says of a failure.
    pub(super) fn complaint(&self) -> String {
        let errors: Vec<&str> = self.errors.iter().filter_map(Value::as_str).collect();
        match (&self.result, &errors[..]) {
            (Some(text), _) if !text.is_empty() => text.clone(),
            (_, []) => self.subtype.replace('_', " "),
            (_, errors) => errors.join("; "),
        }
    }
}

/// The program wants something of whoever started it.
#[derive(Debug, Deserialize)]
pub(super) struct ControlRequest {
    pub(super) request_id: String,
    pub(super) request: Value,
}

/// An answer that it repeats.
#[derive(Debug, Deserialize)]
pub(super) struct ControlResponse {
    pub(super) response: Response,
}

#[derive(Debug, Deserialize)]
pub(super) struct Response {
    pub(super) request_id: String,
    #[serde(default)]
    pub(super) response: Value,
    pub(super) error: Option<String>,
}

/// How the account stands with its limits.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RateLimit {
    #[serde(default)]
    pub(super) status: String,
    /// In seconds since 1970.
    pub(super) resets_at: Option<f64>,
    pub(super) rate_limit_type: Option<String>,
}

impl RateLimit {
    /// Why the account may not go on, if it may not.
    pub(super) fn rejection(&self) -> Option<Setback> {
        if self.status != "rejected" {
            return None;
        }
        let which = self.rate_limit_type.as_deref().unwrap_or("usage");
        Some(Setback::new(
            Reason::RateLimited,
            format!(
                "the account's limit ({}) is reached",
                which.replace('_', " ")
            ),
        ))
    }

    pub(super) fn until(&self) -> Option<Timestamp> {
        let seconds = self.resets_at?;
        seconds
            .is_finite()
            .then(|| Timestamp::from_micros((seconds * 1e6) as i64))
    }
}
