//! What came of a run, decided by evidence alone.

use serde::{Deserialize, Serialize};

use super::Interruption;
use crate::reason::Reason;
use crate::runtime::{Exit, MemoryCut, RunEnd};
use crate::task::{Setback, StopIntent};
use crate::time::Timestamp;

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
        /// Mostly [`Reason::Lost`] or [`Reason::LostOutput`], and what is known.
        cause: Setback,
    },
    /// Another claim of the task counts; what this one did is kept and not applied.
    Superseded,
    /// No program was started, so it was no attempt.
    NotStarted {
        /// Why, and how to mend it.
        cause: Setback,
    },
    /// The program was started, but the agent was not let work: its account or its provider refused. That is no attempt
    /// either, and the task goes on in the same conversation.
    Refused {
        /// Why, and how to mend it.
        cause: Setback,
        /// Until when its provider asks to wait.
        until: Option<Timestamp>,
        /// Whether the conversation is gone, so that a new one has to be begun.
        lost_session: bool,
    },
}

impl Verdict {
    /// Whether it was no attempt: the task has as many left as before.
    pub const fn is_no_attempt(&self) -> bool {
        matches!(self, Self::NotStarted { .. } | Self::Refused { .. })
    }

    /// What a task says of it when it is no success.
    pub fn setback(&self) -> Setback {
        match self {
            Self::Succeeded => Setback::bare(Reason::NoResult),
            Self::Failed { cause }
            | Self::Lost { cause }
            | Self::NotStarted { cause }
            | Self::Refused { cause, .. } => cause.clone(),
            Self::Cancelled => Setback::bare(Reason::Cancelled),
            Self::Superseded => Setback::bare(Reason::Lost),
        }
    }
}

/// What a driver read up to the end of a run's output.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Reported {
    /// The program did not say how it went.
    #[default]
    Nothing,
    /// It did not, and part of its output is missing.
    Cut,
    /// It did.
    Whole(Report),
}

/// How a program says that it went.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// The agent's final answer.
    pub text: String,
    /// Whether these are the agent's own words that it is done, so that an end that was forced upon it afterwards
    /// changes nothing. A driver that merely shows the last output can't know that.
    pub conclusive: bool,
    /// Whether the agent itself called it a failure, and its words.
    pub error: Option<String>,
    /// Whether the agent was not let work: no fault of the task.
    pub refusal: Option<Refusal>,
    /// How many permissions were denied.
    pub denied: u32,
    /// What the run used.
    pub usage: Usage,
    /// What the run cost, if the agent says so.
    pub cost_usd: Option<f64>,
    /// What was still under way when it reported, in words.
    pub unfinished: Option<String>,
}

impl Report {
    /// Whether it tells of a success.
    pub const fn is_good(&self) -> bool {
        self.error.is_none() && self.refusal.is_none() && self.unfinished.is_none()
    }
}

/// Why an agent was not let work.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// Why, and how to mend it.
    pub cause: Setback,
    /// Until when its provider asks to wait.
    pub until: Option<Timestamp>,
    /// Whether the conversation that it was to go on with is gone.
    pub lost_session: bool,
}

/// How a run ended, for the one who judges it.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    /// What the runtime saw.
    pub end: &'a RunEnd,
    /// What the program said.
    pub reported: &'a Reported,
    /// The last line that it wrote to standard error.
    pub last_words: Option<&'a str>,
    /// Who interrupted it, if nobody has said how it goes on: what it reported is not its last word then.
    pub interrupted: Option<&'a Interruption>,
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
/// any stop reached the program. A conclusive report that came before the program was ended by force counts as well:
/// the work was done and told. After an interruption only a person says that it goes on, so a run that ends before has
/// not succeeded, and is not repeated by itself. Where nothing was started there was no attempt, and only a person's stop makes it one.
pub fn judge(ending: &Ending<'_>, stop: Option<&StopIntent>) -> Outcome {
    let report = match ending.reported {
        Reported::Whole(report) => Some(report),
        Reported::Nothing | Reported::Cut => None,
    };
    let mut outcome = Outcome {
        verdict: Verdict::Succeeded,
        exit_code: None,
        result: report.map(|report| report.text.clone()),
        denied: report.map_or(0, |report| report.denied),
    };
    let concluded = ending.interrupted.is_none()
        && report.is_some_and(|report| report.conclusive && report.is_good());
    outcome.verdict = match ending.end {
        RunEnd::NeverStarted(cause) => match stop {
            Some(stop) if stop.is_final() => by_intent(stop),
            _ => Verdict::NotStarted {
                cause: cause.clone(),
            },
        },
        RunEnd::Gone if concluded => Verdict::Succeeded,
        RunEnd::Gone => match (stop, ending.interrupted, report) {
            // The host died after it had been told to stop the run: the wish is fulfilled.
            (Some(stop), ..) => by_intent(stop),
            (None, Some(interruption), _) => Verdict::Lost {
                cause: ended_for_good(interruption),
            },
            (None, None, Some(report)) if report.is_good() => Verdict::Succeeded,
            (None, None, _) => Verdict::Lost {
                cause: Setback::bare(Reason::Lost),
            },
        },
        RunEnd::Exited(exit) => {
            outcome.exit_code = exit.code;
            match stop.filter(|_| exit.stopped) {
                _ if concluded && (exit.stopped || exit.signal.is_some()) => Verdict::Succeeded,
                Some(stop) => by_intent(stop),
                // A stop that nobody decided: what the program did after it says nothing about its work.
                None if exit.stopped
                    && !exit.output_cut
                    && exit.memory_cut.is_none()
                    && !exit.deadline_cut =>
                {
                    Verdict::Lost {
                        cause: Setback::new(
                            Reason::Lost,
                            "the run was stopped, and nothing says why",
                        ),
                    }
                }
                None => by_exit(exit, ending),
            }
        }
    };
    outcome
}

fn by_exit(exit: &Exit, ending: &Ending<'_>) -> Verdict {
    let failed = |reason, detail: String| Verdict::Failed {
        cause: Setback::new(reason, detail),
    };
    if let Some(cut) = exit.memory_cut {
        return failed(Reason::MemoryLimit, too_much_memory(cut));
    }
    if exit.deadline_cut {
        return failed(
            Reason::LeaseLost,
            "nobody renewed the lease of the shared task in time, and another machine may run it"
                .to_owned(),
        );
    }
    if exit.output_cut {
        return failed(
            Reason::OutputLimit,
            "the run wrote more output than it may".to_owned(),
        );
    }
    if let Some(interruption) = ending.interrupted {
        return Verdict::Failed {
            cause: ended_for_good(interruption),
        };
    }
    if let Reported::Whole(report) = ending.reported {
        if let Some(refusal) = &report.refusal {
            return Verdict::Refused {
                cause: refusal.cause.clone(),
                until: refusal.until,
                lost_session: refusal.lost_session,
            };
        }
        if let Some(error) = &report.error {
            return failed(Reason::AgentError, error.clone());
        }
    }
    let with_last_words = |text: String| match ending.last_words {
        Some(words) => format!("{text}; its last words: {words}"),
        None => text,
    };
    match (exit.code, exit.signal, ending.reported) {
        (Some(0), _, Reported::Whole(report)) => match &report.unfinished {
            Some(unfinished) => failed(Reason::NoResult, unfinished.clone()),
            None => Verdict::Succeeded,
        },
        (Some(0), _, Reported::Nothing) => failed(
            Reason::NoResult,
            with_last_words("the program ended well but without a result".to_owned()),
        ),
        (Some(0), _, Reported::Cut) => failed(
            Reason::LostOutput,
            with_last_words(
                "the program ended well, but the end of what it wrote is missing".to_owned(),
            ),
        ),
        (Some(code), ..) => failed(
            Reason::ExitCode,
            with_last_words(format!("the program ended with exit code {code}")),
        ),
        (None, Some(signal), _) => failed(
            Reason::ExitCode,
            with_last_words(format!("the program was ended by signal {signal}")),
        ),
        (None, None, _) => Verdict::Lost {
            cause: Setback::bare(Reason::Lost),
        },
    }
}

fn ended_for_good(interruption: &Interruption) -> Setback {
    Setback::new(
        Reason::Interrupted,
        format!(
            "{} interrupted the agent, and it ended before anybody said how it goes on",
            interruption.by
        ),
    )
}

fn too_much_memory(MemoryCut { used_mb, limit_mb }: MemoryCut) -> String {
    let what = if used_mb > limit_mb {
        format!(
            "the agent took {used_mb} MiB of memory with everything that it started, and it may take {limit_mb} MiB"
        )
    } else {
        format!(
            "the agent wanted more than the {limit_mb} MiB of memory that it may take with everything that it started"
        )
    };
    format!(
        "{what}; limits.memory_mb in .ccm/config.yaml raises that for this project, resources.max_agent_memory_mb for \
         all projects of the machine"
    )
}

fn by_intent(stop: &StopIntent) -> Verdict {
    match stop.reason {
        Reason::Cancelled => Verdict::Cancelled,
        Reason::Lost => Verdict::Lost {
            cause: Setback::new(Reason::Lost, format!("stopped by {}", stop.by)),
        },
        reason => Verdict::Failed {
            cause: Setback::new(reason, format!("stopped by {}", stop.by)),
        },
    }
}
