//! Tasks and asks of other machines, as their documents tell of them.

use std::time::Duration;

use crate::api::AskStateName;
use crate::ask::{Answer, Ask, AskState, Question};
use crate::id::{Revision, RunId, TaskId};
use crate::reason::Reason;
use crate::store::Replica;
use crate::sync::Kind;
use crate::sync::documents::{self, Definition, Report};
use crate::task::{Rank, Setback, Task, TaskSpec, TaskState, TaskStateName, TaskText, Title};
use crate::time::Timestamp;
use crate::{Error, Result, api};

/// A task that another machine runs, or nobody yet.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    pub(super) definition: Definition,
    /// Which version of the definition this is, as this machine counts them: the place of its document.
    revision: Revision,
    /// What happens to it, once a machine has it.
    pub(super) report: Option<Report>,
}

impl Remote {
    /// What is known of a task of another machine.
    ///
    /// # Errors
    /// `NotFound(Task)`.
    pub(super) async fn read(replica: &dyn Replica, id: TaskId) -> Result<Self> {
        let (definition, revision) = body(replica, &Kind::Task, id)
            .await?
            .ok_or_else(|| Error::no_task(id))?;
        let report = body(replica, &Kind::Report, id).await?;
        Ok(Self {
            definition,
            revision,
            report: report.map(|(report, _)| report),
        })
    }

    pub(super) fn state(&self) -> TaskStateName {
        let report = self.report.as_ref();
        report.map_or(TaskStateName::Queued, |report| report.task.state)
    }

    /// The task in the form of one of this machine.
    pub(super) fn task(&self, id: TaskId) -> Result<Task> {
        let spec = spec(&self.definition)?;
        let created_at = self.definition.created_at;
        let mut task = Task {
            id,
            project_id: self.definition.project_id,
            project: String::new(),
            due_at: spec.not_before,
            spec,
            state: TaskState::Queued { last: None },
            rank: Rank::of(created_at),
            attempts: 0,
            false_starts: 0,
            latest_run: None,
            result: None,
            cost_usd: None,
            hold: None,
            yielded: false,
            created_by: self.definition.created_by.clone(),
            created_at,
            updated_at: created_at,
            revision: self.revision,
        };
        if let Some(report) = &self.report {
            let told = &report.task;
            task.project.clone_from(&told.project);
            task.state = state(told);
            task.due_at = told.not_before;
            task.attempts = told.attempts;
            task.latest_run = told.run_id;
            task.result.clone_from(&told.result);
            task.cost_usd = told.cost_usd;
            task.updated_at = told.updated_at;
        }
        Ok(task)
    }
}

async fn body<T: serde::de::DeserializeOwned>(
    replica: &dyn Replica,
    kind: &Kind,
    id: TaskId,
) -> Result<Option<(T, Revision)>> {
    let Some(document) = replica.document(kind, *id.as_uuid()).await? else {
        return Ok(None);
    };
    let revision = Revision(document.place);
    let body = document.body.as_ref();
    body.map(|body| Ok((documents::read(kind, *id.as_uuid(), body)?, revision)))
        .transpose()
}

/// What a definition asks for, checked.
///
/// # Errors
/// `Invalid` for what breaks a rule here.
pub(in crate::engine) fn spec(definition: &Definition) -> Result<TaskSpec> {
    let spec = TaskSpec {
        title: Title::new(definition.title.clone())?,
        text: TaskText::new(definition.text.clone())?,
        priority: definition.priority,
        not_before: definition.not_before,
        blocked_by: definition.blocked_by.clone(),
        max_retries: definition.max_retries,
        timeout: definition.timeout_us.map(Duration::from_micros),
        session: definition.session,
        tags: definition.tags.clone(),
        system_type: definition.system_type,
    };
    spec.validate()?;
    Ok(spec)
}

/// Writes what a task asks for into its definition.
pub(in crate::engine) fn write_spec(definition: &mut Definition, spec: TaskSpec) {
    definition.title = spec.title.into();
    definition.text = spec.text.into();
    definition.priority = spec.priority;
    definition.not_before = spec.not_before;
    definition.blocked_by = spec.blocked_by;
    definition.max_retries = spec.max_retries;
    definition.timeout_us = spec
        .timeout
        .map(|timeout| u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX));
    definition.session = spec.session;
    definition.tags = spec.tags;
    definition.system_type = spec.system_type;
}

fn state(told: &api::Task) -> TaskState {
    let setback = told.reason.map(|reason| Setback {
        reason,
        detail: told.detail.clone(),
    });
    let run = told.run_id.unwrap_or(RunId::from_uuid(uuid::Uuid::nil()));
    let at = told.finished_at.unwrap_or(told.updated_at);
    match told.state {
        TaskStateName::Queued => TaskState::Queued { last: setback },
        TaskStateName::Running => TaskState::Running { run, stop: None },
        TaskStateName::Succeeded => TaskState::Succeeded { run, at },
        TaskStateName::Failed => TaskState::Failed {
            run: told.run_id,
            cause: setback.unwrap_or(Setback::bare(Reason::Lost)),
            at,
        },
        TaskStateName::Cancelled => TaskState::Cancelled {
            run: told.run_id,
            by: told
                .detail
                .as_deref()
                .and_then(|detail| detail.strip_prefix("cancelled by "))
                .unwrap_or("sync")
                .to_owned(),
            at,
        },
    }
}

/// An ask of another machine in the form of one of this machine. `by` and `at` are of the answer that is just sent.
pub(super) fn ask(told: api::Ask, sent: Option<(&Answer, &str, Timestamp)>) -> Ask {
    let question = question(&told);
    let state = match (told.state, told.answer, sent) {
        (AskStateName::Open, _, Some((answer, by, at))) => AskState::Answered {
            answer: answer.clone(),
            by: by.to_owned(),
            at,
        },
        (AskStateName::Open, ..) => AskState::Open,
        (AskStateName::Answered, Some(answer), _) => AskState::Answered {
            answer,
            by: told.answered_by.unwrap_or_else(|| "sync".to_owned()),
            at: told.answered_at.unwrap_or(told.created_at),
        },
        _ => AskState::Void {
            at: told.answered_at.unwrap_or(told.created_at),
        },
    };
    Ask {
        id: told.id,
        run_id: told.run_id,
        task_id: told.task_id,
        project_id: told.project_id,
        agent_id: told.agent_id,
        request_id: String::new(),
        question,
        state,
        created_at: told.created_at,
    }
}

pub(super) fn question(told: &api::Ask) -> Question {
    Question {
        kind: told.kind,
        title: told.title.clone(),
        detail: told.detail.clone(),
        choices: told.questions.clone(),
        payload: String::new(),
    }
}
