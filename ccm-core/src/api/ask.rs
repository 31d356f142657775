use serde::{Deserialize, Serialize};

use super::Machine;
use crate::ask::{self, Answer, AskKind, AskState, Choice};
use crate::id::{AgentId, AskId, InputId, ProjectId, RunId, TaskId};
use crate::input::{self, InputBody, InputState};
use crate::store;
use crate::time::Timestamp;

/// A question from a run to a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ask {
    /// Its id.
    pub id: AskId,
    /// The run that asks.
    pub run_id: RunId,
    /// That run's task.
    pub task_id: TaskId,
    /// That task's project.
    pub project_id: ProjectId,
    /// The agent that asks.
    pub agent_id: AgentId,
    /// What kind of answer is wanted.
    pub kind: AskKind,
    /// What is asked, in one line.
    pub title: String,
    /// All that is needed to decide: the command, the file and its new text.
    pub detail: String,
    /// What can be chosen, if there is one question: the labels.
    pub options: Vec<String>,
    /// The questions with their options, if it is a choice.
    pub questions: Vec<Choice>,
    /// Where it stands.
    pub state: AskStateName,
    /// The answer that counts.
    pub answer: Option<Answer>,
    /// Who gave it.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<super::shapes::ClientName>))]
    pub answered_by: Option<String>,
    /// When it was asked.
    pub created_at: Timestamp,
    /// When it was answered.
    pub answered_at: Option<Timestamp>,
    /// The machine whose agent asks, if that is another one than the one that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub machine: Option<Machine>,
    /// The answer that was given on the machine that answers, and that the agent's machine has not said to have yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub sent_answer: Option<Answer>,
}

/// Where an ask stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AskStateName {
    /// It waits for a person.
    Open,
    /// It was answered.
    Answered,
    /// It waited too long.
    Expired,
    /// No answer is wanted any more.
    Void,
}

impl AskStateName {
    /// The name used in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Answered => "answered",
            Self::Expired => "expired",
            Self::Void => "void",
        }
    }
}

/// An open ask as it is shown with its task and its agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OpenAsk {
    /// Its id.
    pub id: AskId,
    /// What kind of answer is wanted.
    pub kind: AskKind,
    /// What is asked, in one line.
    pub title: String,
    /// Since when.
    pub created_at: Timestamp,
}

/// A message to a running agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SendMessage {
    /// What it says: 1 byte to 1 MiB of UTF-8 without NUL.
    #[cfg_attr(
        feature = "openapi",
        schema(min_length = 1, max_length = 1_048_576, pattern = "^[^\\u0000]*$")
    )]
    pub text: String,
}

/// A wish that a running agent stops what it does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct InterruptTask {
    /// What it is to do instead: 1 byte to 1 MiB of UTF-8 without NUL. Without it the agent waits for a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(min_length = 1, max_length = 1_048_576, pattern = "^[^\\u0000]*$")
    )]
    pub text: Option<String>,
}

/// An interrupt that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Interrupted {
    /// The interrupt.
    pub interrupt: Input,
    /// The message that follows it, if there is one.
    pub message: Option<Input>,
}

impl From<store::Interrupted> for Interrupted {
    fn from(interrupted: store::Interrupted) -> Self {
        Self {
            interrupt: interrupted.interrupt.into(),
            message: interrupted.message.map(Input::from),
        }
    }
}

/// Something that a running agent was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Input {
    /// Its id.
    pub id: InputId,
    /// The run that it was for.
    pub run_id: RunId,
    /// Its place among the run's inputs; the prompt is number 1.
    pub number: u32,
    /// What kind of input it is.
    pub kind: InputKind,
    /// The text of a message.
    pub text: Option<String>,
    /// The ask that it answers.
    pub ask_id: Option<AskId>,
    /// What became of it.
    pub state: InputState,
    /// Who sent it.
    #[cfg_attr(feature = "openapi", schema(value_type = super::shapes::ClientName))]
    pub by: String,
    /// When it was accepted.
    pub created_at: Timestamp,
}

/// What kind of input something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[allow(missing_docs, reason = "the names say it")]
pub enum InputKind {
    Message,
    Interrupt,
    Answer,
}

impl From<ask::Ask> for Ask {
    fn from(ask: ask::Ask) -> Self {
        let options = match &ask.question.choices[..] {
            [only] => &only.options[..],
            _ => &[],
        };
        let mut wire = Self {
            id: ask.id,
            run_id: ask.run_id,
            task_id: ask.task_id,
            project_id: ask.project_id,
            agent_id: ask.agent_id,
            kind: ask.question.kind,
            options: options.iter().map(|option| option.label.clone()).collect(),
            title: ask.question.title,
            detail: ask.question.detail,
            questions: ask.question.choices,
            state: AskStateName::Open,
            answer: None,
            answered_by: None,
            created_at: ask.created_at,
            answered_at: None,
            machine: None,
            sent_answer: None,
        };
        match ask.state {
            AskState::Open => {}
            AskState::Void { .. } => wire.state = AskStateName::Void,
            AskState::Answered { answer, by, at } => {
                wire.state = AskStateName::Answered;
                wire.answer = Some(answer);
                wire.answered_by = Some(by);
                wire.answered_at = Some(at);
            }
        }
        wire
    }
}

impl From<&ask::Ask> for OpenAsk {
    fn from(ask: &ask::Ask) -> Self {
        Self {
            id: ask.id,
            kind: ask.question.kind,
            title: ask.question.title.clone(),
            created_at: ask.created_at,
        }
    }
}

impl From<input::Input> for Input {
    fn from(input: input::Input) -> Self {
        let (kind, text, ask_id) = match input.body {
            InputBody::Message { text } => (InputKind::Message, Some(text.into()), None),
            InputBody::Interrupt { .. } => (InputKind::Interrupt, None, None),
            InputBody::Answer { ask_id, .. } => (InputKind::Answer, None, Some(ask_id)),
        };
        Self {
            id: input.id,
            run_id: input.run_id,
            number: input.number,
            kind,
            text,
            ask_id,
            state: input.state,
            by: input.by,
            created_at: input.created_at,
        }
    }
}
