//! For stores: what of a machine has to go out after a change, and what a store looks for in documents.

use serde_json::Value;
use uuid::Uuid;

use super::Kind;
use crate::event::EventKind;
use crate::id::{ProjectId, RunId, SystemId, TaskId};
use crate::task::TaskStateName;

/// A shared object of this machine that changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touched {
    /// The kind of its document.
    pub kind: Kind,
    /// Its id.
    pub id: Uuid,
    /// The task that it is about, whose machine alone tells of it.
    pub task: Option<TaskId>,
}

/// What an event is about, as far as it is of use here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject {
    /// The project.
    pub project: Option<ProjectId>,
    /// The task.
    pub task: Option<TaskId>,
    /// The run.
    pub run: Option<RunId>,
}

/// Changes of a task that its definition does not have.
const NOT_DEFINED: [&str; 2] = ["place", "hold"];

/// What changed with what an event tells: every change has its event, so this is all. What others need to understand
/// the rest comes first.
pub fn touched(event: EventKind, subject: Subject, data: &Value) -> Vec<Touched> {
    use EventKind as E;
    let Subject { project, task, run } = subject;
    let object = |kind, id: Option<Uuid>, task| id.map(|id| Touched { kind, id, task });
    let of_project = || object(Kind::Project, project.map(|id| *id.as_uuid()), None);
    let definition = || object(Kind::Task, task.map(|id| *id.as_uuid()), None);
    let report = || object(Kind::Report, task.map(|id| *id.as_uuid()), task);
    let of_run = || object(Kind::Run, run.map(|id| *id.as_uuid()), task);
    let ask = || object(Kind::Ask, uuid(data, "ask_id"), task);
    let found = match event {
        E::ProjectCreated
        | E::ProjectUpdated
        | E::ProjectRemoved
        | E::AgentUpdated
        | E::AgentWanted => [of_project(), None, None],
        E::TaskCreated => [definition(), report(), None],
        E::TaskUpdated => {
            let fields = data["fields"].as_array().map_or(&[][..], Vec::as_slice);
            let defined = |field: &Value| !field.as_str().is_some_and(|f| NOT_DEFINED.contains(&f));
            let edited = fields.iter().any(defined);
            [edited.then(definition).flatten(), report(), None]
        }
        E::TaskStarted | E::TaskRequeued | E::TaskSucceeded | E::TaskFailed | E::TaskCancelled => {
            [report(), None, None]
        }
        E::TaskStopping => [report(), of_run(), None],
        E::RunCreated
        | E::RunStarted
        | E::RunHeld
        | E::RunOutput
        | E::RunObserved
        | E::InputAccepted
        | E::InputUpdated
        | E::RunEnded => [of_run(), None, None],
        E::AskCreated | E::AskAnswered | E::AskVoided => [report(), of_run(), ask()],
        // The machine itself is marked by who writes it.
        E::DaemonStarted | E::DocumentChanged | E::SharingChanged => [None, None, None],
    };
    found.into_iter().flatten().collect()
}

/// Whether documents of this kind are made of rows that the machine has anyway.
pub fn is_made_here(kind: &Kind) -> bool {
    matches!(kind, Kind::Project | Kind::Report | Kind::Run | Kind::Ask)
}

/// What a store looks for in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// The project that it names or is.
    pub project: Option<ProjectId>,
    /// The task that it names or is of.
    pub task: Option<TaskId>,
    /// The run that it names or is.
    pub run: Option<RunId>,
    /// Whether it is an ask or a conflict that has no `resolution`, and whose `state`, if it has one, is `open`.
    pub open: bool,
    /// Whether it is a definition of a task that any machine may run.
    pub shared: bool,
    /// Whether it is the report of a task that succeeded.
    pub succeeded: bool,
}

impl Facts {
    /// Those of a document; of one that was deleted there is only its name.
    pub fn of(kind: &Kind, id: Uuid, body: Option<&Value>) -> Self {
        let own = |of: &[Kind]| of.contains(kind).then_some(id);
        let named = |key| body.and_then(|body| uuid(body, key));
        let text = |key| body.and_then(|body| body.get(key)?.as_str());
        let state = text("state");
        let succeeded = TaskStateName::Succeeded.as_str();
        Self {
            project: own(&[Kind::Project])
                .or_else(|| named("project_id"))
                .map(ProjectId::from_uuid),
            task: own(&[Kind::Task, Kind::Report])
                .or_else(|| named("task_id"))
                .map(TaskId::from_uuid),
            run: own(&[Kind::Run])
                .or_else(|| named("run_id"))
                .map(RunId::from_uuid),
            open: matches!(kind, Kind::Ask | Kind::Conflict)
                && state.is_none_or(|state| state == "open")
                && body.is_some_and(|body| body.get("resolution").is_none_or(Value::is_null)),
            shared: *kind == Kind::Task && body.is_some_and(is_shared),
            succeeded: *kind == Kind::Report && state == Some(succeeded),
        }
    }
}

/// [`Definition::is_shared`](super::documents::Definition::is_shared), also of what a newer program writes, without taking it apart.
fn is_shared(body: &Value) -> bool {
    let is = |key| {
        body.get(key)
            .is_some_and(|value| *value == Value::Bool(true))
    };
    let has = |key| body.get(key).is_some_and(|value| !value.is_null());
    let tags = body.get("tags").and_then(Value::as_array);
    !is("pinned")
        && has("repository")
        && (is("any_machine") || has("system_type") || tags.is_some_and(|tags| !tags.is_empty()))
}

fn uuid(body: &Value, key: &str) -> Option<Uuid> {
    body.get(key)?.as_str()?.parse().ok()
}

/// The id of a machine as that of its document.
pub fn system_document(system: SystemId) -> Touched {
    Touched {
        kind: Kind::System,
        id: *system.as_uuid(),
        task: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::documents::Definition;
    use super::*;

    #[test]
    fn a_move_is_no_edit_of_the_definition() {
        let subject = Subject {
            task: Some(TaskId::new()),
            ..Subject::default()
        };
        let kinds = |fields: Value| {
            let data = json!({ "fields": fields });
            let touched = touched(EventKind::TaskUpdated, subject, &data);
            touched.into_iter().map(|one| one.kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds(json!(["place"])), [Kind::Report]);
        assert_eq!(kinds(json!(["hold"])), [Kind::Report]);
        let both = [Kind::Task, Kind::Report];
        assert_eq!(kinds(json!(["priority", "place"])), both);
    }

    #[test]
    fn a_shared_definition_is_told_without_being_read() {
        let shared = |body: Value| {
            let facts = Facts::of(&Kind::Task, Uuid::from_u128(1), Some(&body));
            facts.shared
        };
        let mut definition = Definition {
            project_id: ProjectId::new(),
            repository: Some("host/path".to_owned()),
            any_machine: true,
            pinned: false,
            title: "t".to_owned(),
            text: "t".to_owned(),
            priority: 0,
            not_before: None,
            blocked_by: Vec::new(),
            max_retries: 0,
            timeout_us: None,
            session: crate::task::SessionMode::default(),
            tags: Vec::new(),
            system_type: None,
            created_by: "cli".to_owned(),
            created_on: SystemId::new(),
            created_at: crate::time::Timestamp::from_micros(0),
            extra: serde_json::Map::new(),
        };
        let mut check = |change: &dyn Fn(&mut Definition)| {
            change(&mut definition);
            let body = serde_json::to_value(&definition).unwrap();
            assert_eq!(shared(body), definition.is_shared());
            definition.is_shared()
        };
        assert!(check(&|_| {}));
        assert!(!check(&|d| d.any_machine = false));
        assert!(check(&|d| d.tags = vec!["gpu".to_owned()]));
        assert!(!check(&|d| d.tags.clear()));
        assert!(check(
            &|d| d.system_type = Some(crate::system::SystemKind::Devops)
        ));
        assert!(!check(&|d| d.pinned = true));
        assert!(!check(&|d| {
            d.pinned = false;
            d.repository = None;
        }));
    }

    #[test]
    fn what_is_open_is_seen_in_the_content() {
        let open =
            |kind, body: Option<Value>| Facts::of(&kind, Uuid::from_u128(1), body.as_ref()).open;
        let ask = |state| json!({ "state": state, "task_id": Uuid::from_u128(2) });
        assert!(open(Kind::Ask, Some(ask("open"))));
        assert!(!open(Kind::Ask, Some(ask("void"))));
        assert!(open(Kind::Conflict, Some(json!({ "resolution": null }))));
        assert!(!open(Kind::Conflict, Some(json!({ "resolution": {} }))));
        assert!(!open(Kind::Conflict, None));
    }
}
