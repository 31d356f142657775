//! What came of a run, decided by evidence alone.

use serde::{Deserialize, Serialize};

use crate::reason::Reason;
use crate::runtime::{Exit, RunEnd};
use crate::task::{Setback, StopIntent};

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Good or bad, and why.
    pub verdict: Verdict,
    /// The program's exit code, if it ended by itself.
    pub exit_code: Option<i32>,
    /// What the agent answered in the end.
    pub result: Option<String>,
    /// How many permissions were denied.
    pub denied: u32,
}

/// Whether a run did what it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Verdict {
    /// It did.
    Succeeded,
    /// It did not.
    Failed {
        /// Why.
        cause: Setback,
    },
    /// It was called off.
    Cancelled,
    /// It was cut; how far it came is not known.
    Lost {
        /// [`Reason::Lost`] or [`Reason::LostOutput`], and what is known.
        cause: Setback,
    },
    /// Another claim of the task counts; what this one did is kept and not applied.
    Superseded,
    /// No program was started, so it was no attempt.
    NotStarted {
        /// Why, and how to mend it.
        cause: Setback,
    },
}

impl Verdict {
    /// What a task says of it when it is no success.
    pub fn setback(&self) -> Setback {
        match self {
            Self::Succeeded => Setback::bare(Reason::NoResult),
            Self::Failed { cause } | Self::Lost { cause } | Self::NotStarted { cause } => {
                cause.clone()
            }
            Self::Cancelled => Setback::bare(Reason::Cancelled),
            Self::Superseded => Setback::bare(Reason::Lost),
        }
    }
}

/// What a driver read at the end of a run's output.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// The agent's final answer.
    pub text: String,
    /// Whether the agent itself called it a failure, and its words.
    pub error: Option<String>,
    /// How many permissions were denied.
    pub denied: u32,
    /// What the run used.
    pub usage: Usage,
    /// What the run cost, if the agent says so.
    pub cost_usd: Option<f64>,
    /// Work of the agent's own that was still under way when it reported.
    pub unfinished: bool,
}

/// Tokens that a run used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[allow(missing_docs, reason = "the names say it")]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cache_read_tokens: u64,
    pub cache_write_tokens: u64,
}

/// Decides what came of a run from how it ended, what it reported and who wanted it stopped.
///
/// Success needs all of it: exit code 0, a whole report without error, nothing unfinished, and an end that came before
/// any stop reached the program. Where nothing was started there was no attempt, and only a person's stop makes it one.
pub fn judge(end: &RunEnd, report: Option<&Report>, stop: Option<&StopIntent>) -> Outcome {
    let mut outcome = Outcome {
        verdict: Verdict::Succeeded,
        exit_code: None,
        result: report.map(|report| report.text.clone()),
        denied: report.map_or(0, |report| report.denied),
    };
    outcome.verdict = match end {
        RunEnd::NeverStarted(cause) => match stop {
            Some(stop) if stop.is_final() => by_intent(stop),
            _ => Verdict::NotStarted {
                cause: cause.clone(),
            },
        },
        RunEnd::Gone => match (stop, report) {
            // The host died after it had been told to stop the run: the wish is fulfilled.
            (Some(stop), _) => by_intent(stop),
            (None, Some(report)) if report.error.is_none() && !report.unfinished => {
                Verdict::Succeeded
            }
            (None, _) => Verdict::Lost {
                cause: Setback::bare(Reason::Lost),
            },
        },
        RunEnd::Exited(exit) => {
            outcome.exit_code = exit.code;
            match stop.filter(|_| exit.stopped) {
                Some(stop) => by_intent(stop),
                // A stop that nobody decided: what the program did after it says nothing about its work.
                None if exit.stopped && !exit.output_cut => Verdict::Lost {
                    cause: Setback::new(Reason::Lost, "the run was stopped, and nothing says why"),
                },
                None => by_exit(exit, report),
            }
        }
    };
    outcome
}

fn by_exit(exit: &Exit, report: Option<&Report>) -> Verdict {
    let failed = |reason, detail: String| Verdict::Failed {
        cause: Setback::new(reason, detail),
    };
    if exit.output_cut {
        return failed(
            Reason::OutputLimit,
            "the run wrote more output than it may".to_owned(),
        );
    }
    if let Some(error) = report.and_then(|report| report.error.as_deref()) {
        return failed(Reason::AgentError, error.to_owned());
    }
    match (exit.code, exit.signal) {
        (Some(0), _) => match report {
            Some(report) if report.unfinished => failed(
                Reason::NoResult,
                "the agent ended with work of its own still under way".to_owned(),
            ),
            Some(_) => Verdict::Succeeded,
            None => failed(
                Reason::NoResult,
                "the program ended well but without a result".to_owned(),
            ),
        },
        (Some(code), _) => failed(
            Reason::ExitCode,
            format!("the program ended with exit code {code}"),
        ),
        (None, Some(signal)) => failed(
            Reason::ExitCode,
            format!("the program was ended by signal {signal}"),
        ),
        (None, None) => Verdict::Lost {
            cause: Setback::bare(Reason::Lost),
        },
    }
}

fn by_intent(stop: &StopIntent) -> Verdict {
    match stop.reason {
        Reason::Cancelled => Verdict::Cancelled,
        Reason::Lost => Verdict::Lost {
            cause: Setback::new(Reason::Lost, format!("stopped by {}", stop.by)),
        },
        reason => Verdict::Failed {
            cause: Setback::bare(reason),
        },
    }
}
