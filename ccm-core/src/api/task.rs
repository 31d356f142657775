use serde::{Deserialize, Serialize};

use super::{OpenAsk, Problem, TaskSharing};
use crate::id::{ProjectId, Revision, RunId, TaskId};
use crate::reason::Reason;
use crate::system::SystemKind;
use crate::task::{self, Edit, Place, SessionMode, TaskState, TaskStateName};
use crate::time::Timestamp;

/// What someone wants done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The project whose agent does it.
    pub project_id: ProjectId,
    /// That project's name.
    #[cfg_attr(feature = "openapi", schema(value_type = super::shapes::ProjectName))]
    pub project: String,
    /// One line for people.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 200))]
    pub title: String,
    /// What the agent gets. A list that was asked for with a `text_limit` has the beginning of it; the task's own path has
    /// the whole.
    #[cfg_attr(feature = "openapi", schema(max_length = 1_048_576))]
    pub text: String,
    /// Where it stands.
    pub state: TaskStateName,
    /// Why it waits or failed, or what its run is being stopped for.
    pub reason: Option<Reason>,
    /// The reason in a sentence that says what to do, where there is more to say.
    pub detail: Option<String>,
    /// Higher is sooner; 0 is usual.
    pub priority: i32,
    /// It is not started before this.
    pub not_before: Option<Timestamp>,
    /// Tasks that must have succeeded first.
    #[cfg_attr(feature = "openapi", schema(max_items = 100))]
    pub blocked_by: Vec<TaskId>,
    /// How many runs were started for it.
    pub attempts: u32,
    /// How many further attempts may follow a failed one.
    #[cfg_attr(feature = "openapi", schema(maximum = 100))]
    pub max_retries: u32,
    /// The longest that one attempt may take, in seconds.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 31_622_400))]
    pub timeout_s: Option<u64>,
    /// Which conversation it belongs to.
    pub session: SessionMode,
    /// Tags that a machine must all have to run it.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<super::shapes::Tag>, max_items = 32))]
    pub tags: Vec<String>,
    /// The kind of machine it needs.
    pub system_type: Option<SystemKind>,
    /// Who created it.
    #[cfg_attr(feature = "openapi", schema(value_type = super::shapes::ClientName))]
    pub created_by: String,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When anything of it changed last.
    pub updated_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What its run waits for a person to answer.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true, max_items = 1000))]
    pub open_asks: Vec<OpenAsk>,
    /// Its latest run.
    pub run_id: Option<RunId>,
    /// What the agent answered in the end.
    pub result: Option<String>,
    /// What a list left the beginning of, because it was asked to with a `text_limit`. Not there if all is whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(min_items = 1, max_items = 3))]
    pub cut: Vec<CutField>,
    /// What all its runs cost together.
    pub cost_usd: Option<f64>,
    /// Grows with every change.
    pub revision: Revision,
    /// What other machines have to do with it. Not there for a task that is this machine's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub sharing: Option<TaskSharing>,
}

impl Task {
    /// The wire form of `task`. A queued task whose project or agent is held says so: pass that hold. That it waits for a
    /// person's leave comes before that.
    pub fn new(task: task::Task, hold: Option<&task::Setback>) -> Self {
        let (setback, finished_at) = match &task.state {
            TaskState::Queued { last } => {
                let own = task.hold.as_ref();
                (own.or(hold).or(last.as_ref()).cloned(), None)
            }
            TaskState::Running { stop, .. } => (
                stop.as_ref().map(|stop| {
                    task::Setback::new(stop.reason, format!("being stopped by {}", stop.by))
                }),
                None,
            ),
            TaskState::Succeeded { at, .. } => (None, Some(*at)),
            TaskState::Failed { cause, at, .. } => (Some(cause.clone()), Some(*at)),
            TaskState::Cancelled { by, at, .. } => (
                Some(task::Setback::new(
                    Reason::Cancelled,
                    format!("cancelled by {by}"),
                )),
                Some(*at),
            ),
        };
        let (reason, detail) = setback.map_or((None, None), |s| (Some(s.reason), s.detail));
        Self {
            id: task.id,
            project_id: task.project_id,
            project: task.project,
            title: task.spec.title.into(),
            text: task.spec.text.into(),
            state: task.state.name(),
            reason,
            detail,
            priority: task.spec.priority,
            not_before: task.due_at.or(task.spec.not_before),
            blocked_by: task.spec.blocked_by,
            attempts: task.attempts,
            max_retries: task.spec.max_retries,
            timeout_s: task.spec.timeout.map(|timeout| timeout.as_secs()),
            session: task.spec.session,
            tags: task.spec.tags,
            system_type: task.spec.system_type,
            created_by: task.created_by,
            created_at: task.created_at,
            updated_at: task.updated_at,
            finished_at,
            open_asks: Vec::new(),
            run_id: task.latest_run,
            result: task.result,
            cut: Vec::new(),
            cost_usd: task.cost_usd,
            revision: task.revision,
            sharing: None,
        }
    }

    /// Leaves the first `chars` characters of what can be long, and notes what was longer.
    pub fn cut(&mut self, chars: usize) {
        let fields = [
            (CutField::Text, Some(&mut self.text)),
            (CutField::Result, self.result.as_mut()),
            (CutField::Detail, self.detail.as_mut()),
        ];
        for (field, text) in fields {
            let Some(text) = text else { continue };
            if let Some((end, _)) = text.char_indices().nth(chars) {
                text.truncate(end);
                self.cut.push(field);
            }
        }
    }
}

/// A field of a task that a list can have the beginning of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum CutField {
    Text,
    Result,
    Detail,
}

/// A task to accept. What is left out comes from the project's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateTask {
    /// The project whose agent is to do it.
    pub project_id: ProjectId,
    /// What the agent gets: 1 byte to 1 MiB of UTF-8 without NUL.
    #[cfg_attr(
        feature = "openapi",
        schema(
            min_length = 1,
            max_length = 1_048_576,
            pattern = "^[^\\u0000]*$",
            example = "Make the tests pass",
        )
    )]
    pub text: String,
    /// One line for people, not blank; made from the text if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            min_length = 1,
            max_length = 200,
            pattern = "^[^\\u0000-\\u001F\\u007F-\\u009F]*$",
        )
    )]
    pub title: Option<String>,
    /// Higher is sooner; 0 is usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Not to be started before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Tasks that must have succeeded first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(max_items = 100))]
    pub blocked_by: Vec<TaskId>,
    /// How many further attempts may follow a failed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(maximum = 100))]
    pub max_retries: Option<u32>,
    /// The longest that one attempt may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 31_622_400))]
    pub timeout_s: Option<u64>,
    /// Which conversation it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionMode>,
    /// Tags that a machine must all have to run it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<super::shapes::Tag>, max_items = 32))]
    pub tags: Vec<String>,
    /// The kind of machine it needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_type: Option<SystemKind>,
    /// Whether any machine may run it that has the same repository, and not only that of the project.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any_machine: bool,
}

impl CreateTask {
    /// A task with this text, everything else as the project says.
    pub fn new(project_id: ProjectId, text: impl Into<String>) -> Self {
        Self {
            project_id,
            text: text.into(),
            title: None,
            priority: None,
            not_before: None,
            blocked_by: Vec::new(),
            max_retries: None,
            timeout_s: None,
            session: None,
            tags: Vec::new(),
            system_type: None,
            any_machine: false,
        }
    }
}

/// The most tasks that one request may be about.
pub const MAX_BULK: usize = 1000;

/// Tasks to accept together, all of them or none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BulkCreate {
    /// The tasks, in the order of the queue.
    #[cfg_attr(feature = "openapi", schema(min_items = 1, max_items = 1000))]
    pub tasks: Vec<CreateTask>,
}

/// Tasks that were accepted together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BulkCreated {
    /// The tasks, in the order they were asked for.
    pub items: Vec<Task>,
}

/// Tasks to do something with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BulkIds {
    /// Their ids.
    #[cfg_attr(feature = "openapi", schema(min_items = 1, max_items = 1000))]
    pub ids: Vec<TaskId>,
}

/// What came of each of the tasks that a request was about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BulkResults {
    /// One for each id, in their order.
    pub results: Vec<BulkResult>,
}

/// What came of one of several tasks: the task, or what was wrong with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BulkResult {
    /// The id that was asked for.
    pub id: TaskId,
    /// The task as it is now, if it was done.
    pub task: Option<Task>,
    /// Why it was not done, if it was not.
    pub problem: Option<Problem>,
}

/// A change of what a waiting task asks for. What is left out stays; `null` unsets what need not be there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EditTask {
    /// What the agent gets: 1 byte to 1 MiB of UTF-8 without NUL. A title that was made from the old text is made anew.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(
        feature = "openapi",
        schema(
            nullable = false,
            min_length = 1,
            max_length = 1_048_576,
            pattern = "^[^\\u0000]*$"
        )
    )]
    pub text: Option<String>,
    /// One line for people; `null` has it made from the text.
    #[serde(default, skip_serializing_if = "Edit::is_keep")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, required = false, min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001F\\u007F-\\u009F]*$"))]
    pub title: Edit<String>,
    /// Higher is sooner; 0 is usual.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub priority: Option<i32>,
    /// Not to be started before this, also when it waits for another attempt; `null` for at once.
    #[serde(default, skip_serializing_if = "Edit::is_keep")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Timestamp>, required = false))]
    pub not_before: Edit<Timestamp>,
    /// Tasks that must have succeeded first.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(nullable = false, max_items = 100))]
    pub blocked_by: Option<Vec<TaskId>>,
    /// How many further attempts may follow a failed one.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(nullable = false, maximum = 100))]
    pub max_retries: Option<u32>,
    /// The longest that one attempt may take, in seconds; `null` for as long as it takes.
    #[serde(default, skip_serializing_if = "Edit::is_keep")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>, required = false, minimum = 1, maximum = 31_622_400))]
    pub timeout_s: Edit<u64>,
    /// Which conversation it belongs to.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub session: Option<SessionMode>,
    /// Tags that a machine must all have to run it.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<super::shapes::Tag>, required = false, max_items = 32))]
    pub tags: Option<Vec<String>>,
    /// The kind of machine it needs; `null` for any.
    #[serde(default, skip_serializing_if = "Edit::is_keep")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<SystemKind>, required = false))]
    pub system_type: Edit<SystemKind>,
}

/// A value that can be left out, but not be `null`.
fn given<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Where a waiting task is to go among those of its project that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", try_from = "MoveWish")]
pub enum MoveTask {
    /// Just before this one, with its priority.
    Before(TaskId),
    /// Just after this one, with its priority.
    After(TaskId),
    /// To an end of the queue, with the highest or lowest priority of those that wait.
    To(MoveEnd),
}

/// An end of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MoveEnd {
    /// Next to be started.
    First,
    /// Started after all that wait now.
    Last,
}

/// What stands in the request, read as a whole, so that every mistake is told with its place.
#[derive(Default, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
struct MoveWish {
    /// Just before this one, with its priority.
    #[serde(default, deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    before: Option<TaskId>,
    /// Just after this one, with its priority.
    #[serde(default, deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    after: Option<TaskId>,
    /// To an end of the queue, with the highest or lowest priority of those that wait.
    #[serde(default, deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    to: Option<MoveEnd>,
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for MoveTask {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::{RefOr, Schema};
        let mut schema = MoveWish::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            object.description = Some(
                "Where a waiting task is to go among those of its project that wait. Exactly one of these."
                    .to_owned(),
            );
            object.min_properties = Some(1);
            object.max_properties = Some(1);
        }
        schema
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for MoveTask {
    fn schemas(
        schemas: &mut Vec<(
            String,
            utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>,
        )>,
    ) {
        MoveWish::schemas(schemas);
    }
}

impl TryFrom<MoveWish> for MoveTask {
    type Error = &'static str;

    fn try_from(wish: MoveWish) -> Result<Self, Self::Error> {
        match (wish.before, wish.after, wish.to) {
            (Some(task), None, None) => Ok(Self::Before(task)),
            (None, Some(task), None) => Ok(Self::After(task)),
            (None, None, Some(end)) => Ok(Self::To(end)),
            _ => Err("give exactly one of `before`, `after` and `to`"),
        }
    }
}

impl From<MoveTask> for Place {
    fn from(wish: MoveTask) -> Self {
        match wish {
            MoveTask::Before(task) => Self::Before(task),
            MoveTask::After(task) => Self::After(task),
            MoveTask::To(MoveEnd::First) => Self::First,
            MoveTask::To(MoveEnd::Last) => Self::Last,
        }
    }
}

/// What a cancel led to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CancelAnswer {
    /// The task as it is now.
    pub task: Task,
    /// Whether a run of it is still being stopped.
    pub stopping: bool,
}
