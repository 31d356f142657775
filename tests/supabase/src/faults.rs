//! What the double can be made to do wrong.

use std::time::Duration;

use serde_json::{Value, json};

/// A fault of requests.
#[derive(Debug, Clone)]
pub struct Fault {
    path: String,
    times: Option<u32>,
    wrong: Wrong,
}

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub enum Wrong {
    /// The line breaks, and nothing is done.
    RequestLost,
    /// It is done, and the line breaks.
    AnswerLost,
    /// It is done, and the line breaks in the middle of the answer.
    AnswerCut,
    /// Nothing is done, and that is the answer.
    Status(u16, Option<Value>),
    /// It is done that much later.
    Delay(Duration),
    /// It is done, and answered that much later.
    SlowAnswer(Duration),
}

impl Fault {
    /// A fault of all requests whose path begins so: `/rest/v1/rpc/ccm_push`.
    pub fn of(path: &str, wrong: Wrong) -> Self {
        Self {
            path: path.to_owned(),
            times: None,
            wrong,
        }
    }

    /// Only of the next `times` ones.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self {
            times: Some(times),
            ..self
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut fault = match &self.wrong {
            Wrong::RequestLost => json!({ "kind": "request_lost" }),
            Wrong::AnswerLost => json!({ "kind": "answer_lost" }),
            Wrong::AnswerCut => json!({ "kind": "answer_cut" }),
            Wrong::Status(status, None) => json!({ "kind": "status", "status": status }),
            Wrong::Status(status, Some(body)) => {
                json!({ "kind": "status", "status": status, "body": body })
            }
            Wrong::Delay(period) => json!({ "kind": "delay", "ms": millis(*period) }),
            Wrong::SlowAnswer(period) => json!({ "kind": "slow_answer", "ms": millis(*period) }),
        };
        fault["path"] = json!(self.path);
        if let Some(times) = self.times {
            fault["times"] = json!(times);
        }
        fault
    }
}

/// What goes wrong with pokes.
#[derive(Debug, Clone, Copy)]
pub enum Pokes {
    /// They don't come.
    Dropped,
    /// Each comes twice.
    Doubled,
    /// Of each two the second comes first.
    Reordered,
    /// They come that much later.
    Late(Duration),
}

impl Pokes {
    pub(crate) fn to_json(self, times: u32) -> Value {
        let (kind, ms) = match self {
            Self::Dropped => ("drop", 0),
            Self::Doubled => ("double", 0),
            Self::Reordered => ("reorder", 0),
            Self::Late(period) => ("delay", millis(period)),
        };
        json!({ "kind": kind, "times": times, "ms": ms })
    }
}

pub(crate) fn millis(period: Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX)
}
