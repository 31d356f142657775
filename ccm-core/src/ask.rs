//! Asks: what a run wants to know from a person.
//!
//! ```text
//! open ── answer ──▶ answered
//!   └─── taken back, or the run ended ──▶ void
//! ```

use serde::{Deserialize, Serialize};

use crate::id::{AgentId, AskId, ProjectId, RunId, TaskId};
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Noun, Result};

/// No answer to one question is longer, in bytes.
pub const MAX_ANSWER: usize = 64 * 1024;
/// No answer has more texts.
pub const MAX_TEXTS: usize = 100;

/// A question from a run to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// The coding CLI's name for the request, unique within its run.
    pub request_id: String,
    /// What is asked.
    pub question: Question,
    /// Where it stands.
    pub state: AskState,
    /// When it was taken in.
    pub created_at: Timestamp,
}

/// What is asked, as the driver read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// What kind of answer is wanted.
    pub kind: AskKind,
    /// One line: the tool that wants to run, or the question itself.
    pub title: String,
    /// All that a person needs to decide: the command, the file and its new text.
    pub detail: String,
    /// The questions of a [`Choice`](AskKind::Choice), at least one; empty otherwise.
    pub choices: Vec<Choice>,
    /// What the driver needs to write an answer. Only the driver can read it.
    pub payload: String,
}

/// What kind of answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AskKind {
    /// May the agent do this?
    Permission,
    /// Which of these? An answer in words of one's own is fine too.
    Choice,
    /// An answer in words.
    Text,
}

impl AskKind {
    /// The name used in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permission => "permission",
            Self::Choice => "choice",
            Self::Text => "text",
        }
    }
}

/// One question with the answers that the agent thought of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Choice {
    /// The question.
    pub question: String,
    /// A word or two for it.
    pub header: String,
    /// What can be chosen.
    pub options: Vec<ChoiceOption>,
    /// Whether more than one may be chosen.
    pub multiple: bool,
}

/// One answer that can be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChoiceOption {
    /// The answer itself.
    pub label: String,
    /// What it means.
    pub description: String,
}

/// Where an ask stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum AskState {
    /// It waits for a person.
    Open,
    /// It was answered; the first answer counts.
    Answered {
        /// With this.
        answer: Answer,
        /// By whom.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// No answer is wanted any more: the agent took it back, or its run ended.
    Void {
        /// Since when.
        at: Timestamp,
    },
}

impl AskState {
    /// Where it stands, without what is known of that.
    pub const fn kind(&self) -> AskStateKind {
        match self {
            Self::Open => AskStateKind::Open,
            Self::Answered { .. } => AskStateKind::Answered,
            Self::Void { .. } => AskStateKind::Void,
        }
    }
}

/// Where an ask stands, as lists are asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the states say it")]
pub enum AskStateKind {
    Open,
    Answered,
    Void,
}

/// A person's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case", from = "Given")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Answer {
    /// The agent may do it.
    Allow,
    /// The agent may not do it; or the question stays without an answer.
    Deny {
        /// What the agent is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(
            feature = "openapi",
            schema(max_length = 65_536, pattern = "^[^\\u0000]*$")
        )]
        message: Option<String>,
    },
    /// In words, one text for each question.
    Text {
        /// The texts, in the order of the questions, none of them blank.
        #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::api::shapes::AnswerWords>, min_items = 1, max_items = 100))]
        text: Vec<String>,
    },
}

/// An answer as it is read. Beside a variant without fields serde would let unknown ones pass.
#[derive(Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case", deny_unknown_fields)]
enum Given {
    Allow {},
    Deny {
        #[serde(default)]
        message: Option<String>,
    },
    Text {
        text: Vec<String>,
    },
}

impl From<Given> for Answer {
    fn from(given: Given) -> Self {
        match given {
            Given::Allow {} => Self::Allow,
            Given::Deny { message } => Self::Deny { message },
            Given::Text { text } => Self::Text { text },
        }
    }
}

impl Question {
    /// How many texts answer it.
    pub fn questions(&self) -> usize {
        self.choices.len().max(1)
    }

    /// The answer as the agent is to get it: the number of an option stands for its label.
    ///
    /// # Errors
    /// `Invalid` when the answer does not fit the question.
    pub fn resolve(&self, answer: Answer) -> Result<Answer> {
        match (self.kind, answer) {
            (AskKind::Permission, Answer::Text { .. }) => Err(Error::invalid(
                "this asks for a permission: allow or deny it (a denial may have a message)",
            )),
            (AskKind::Choice | AskKind::Text, Answer::Allow) => Err(Error::invalid(
                "this is a question: answer it with a text, or deny it",
            )),
            (_, Answer::Text { text }) => self.resolve_text(text),
            (_, Answer::Deny { message }) => {
                check_text(message.as_deref().unwrap_or_default())?;
                Ok(Answer::Deny { message })
            }
            (AskKind::Permission, Answer::Allow) => Ok(Answer::Allow),
        }
    }

    fn resolve_text(&self, texts: Vec<String>) -> Result<Answer> {
        if texts.len() != self.questions() {
            return Err(Error::invalid(format!(
                "{} in this ask, but {} given",
                counted(self.questions(), "question is", "questions are"),
                counted(texts.len(), "answer was", "answers were"),
            )));
        }
        if texts.len() > MAX_TEXTS {
            return Err(Error::invalid(format!(
                "an answer may have {MAX_TEXTS} texts; deny the question, and the agent asks for less"
            )));
        }
        let mut resolved = Vec::with_capacity(texts.len());
        for (at, text) in texts.into_iter().enumerate() {
            check_text(&text)?;
            if text.trim().is_empty() {
                return Err(Error::invalid("an answer must not be empty"));
            }
            resolved.push(match self.choices.get(at) {
                Some(choice) => choice.resolve(&text),
                None => text,
            });
        }
        Ok(Answer::Text { text: resolved })
    }
}

impl Choice {
    fn resolve(&self, text: &str) -> String {
        let label = |number: &str| {
            let number: usize = number.trim().parse().ok()?;
            let option = self.options.get(number.checked_sub(1)?)?;
            Some(option.label.clone())
        };
        let exact = self.options.iter().any(|option| option.label == text);
        if exact {
            return text.to_owned();
        }
        if self.multiple {
            let labels: Option<Vec<String>> = text.split(',').map(label).collect();
            return labels.map_or_else(|| text.to_owned(), |labels| labels.join(", "));
        }
        label(text).unwrap_or_else(|| text.to_owned())
    }
}

fn check_text(text: &str) -> Result<()> {
    if text.len() > MAX_ANSWER {
        return Err(Error::invalid(format!(
            "an answer may have {MAX_ANSWER} bytes, and this one has {}",
            text.len()
        )));
    }
    if text.contains('\0') {
        return Err(Error::invalid("an answer must not have a NUL character"));
    }
    Ok(())
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

impl AskState {
    /// Whether a person's answer is wanted.
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// Somebody answers. The first answer stays: the second one gets the state unchanged, and has to look whose it is.
    ///
    /// # Errors
    /// `WrongState(Ask)` when no answer is wanted any more.
    pub fn answer(&self, answer: Answer, by: &str, at: Timestamp) -> Result<Self> {
        match self {
            Self::Open => Ok(Self::Answered {
                answer,
                by: by.to_owned(),
                at,
            }),
            Self::Answered { .. } => Ok(self.clone()),
            Self::Void { .. } => Err(Error::new(
                ErrorKind::WrongState(Noun::Ask),
                "nobody waits for the answer any more: the agent took the question back, or its run ended",
            )),
        }
    }

    /// No answer is wanted any more. What was answered stays so.
    #[must_use]
    pub fn void(&self, at: Timestamp) -> Self {
        match self {
            Self::Open => Self::Void { at },
            other => other.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(multiple: bool) -> Question {
        let option = |label: &str| ChoiceOption {
            label: label.to_owned(),
            description: String::new(),
        };
        Question {
            kind: AskKind::Choice,
            title: "Which?".to_owned(),
            detail: String::new(),
            choices: vec![Choice {
                question: "Which?".to_owned(),
                header: "Pick".to_owned(),
                options: vec![option("red"), option("2"), option("blue")],
                multiple,
            }],
            payload: String::new(),
        }
    }

    fn text(texts: &[&str]) -> Answer {
        Answer::Text {
            text: texts.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    #[test]
    fn a_number_is_the_option_unless_an_option_is_called_so() {
        let one = choice(false);
        for (given, meant) in [
            ("1", "red"),
            ("2", "2"),
            ("3", "blue"),
            ("4", "4"),
            ("0", "0"),
            ("green", "green"),
        ] {
            assert_eq!(one.resolve(text(&[given])).unwrap(), text(&[meant]));
        }
        let many = choice(true);
        assert_eq!(many.resolve(text(&["1, 3"])).unwrap(), text(&["red, blue"]));
        assert_eq!(
            many.resolve(text(&["1, green"])).unwrap(),
            text(&["1, green"])
        );
    }

    #[test]
    fn an_answer_fits_its_question() {
        let mut question = choice(false);
        assert!(question.resolve(Answer::Allow).is_err());
        assert!(question.resolve(text(&[])).is_err());
        assert!(question.resolve(text(&["a", "b"])).is_err());
        assert!(question.resolve(text(&[" "])).is_err());
        assert!(question.resolve(text(&["a\0"])).is_err());
        assert!(question.resolve(Answer::Deny { message: None }).is_ok());
        question.kind = AskKind::Permission;
        assert!(question.resolve(Answer::Allow).is_ok());
        assert!(question.resolve(text(&["a"])).is_err());
    }

    #[test]
    fn the_first_answer_stays() {
        let at = Timestamp::from_micros(1);
        let first = AskState::Open.answer(Answer::Allow, "ada", at).unwrap();
        let second = first.answer(text(&["no"]), "bob", at).unwrap();
        assert_eq!(first, second);
        assert_eq!(first.void(at), first);
        assert!(
            AskState::Open
                .void(at)
                .answer(Answer::Allow, "ada", at)
                .is_err()
        );
    }
}
