//! How tasks are told that other machines run.

use std::collections::HashMap;

use ccm_core::Reason;
use ccm_core::api::{self, OpenAsk, TaskSharing, WishName};
use ccm_core::id::{ProjectId, Revision, SystemId, TaskId};
use ccm_core::store::{Document, TaskFilter};
use ccm_core::sync::Hlc;
use ccm_core::sync::documents::{Definition, Report};
use ccm_core::task::TaskStateName;
use ccm_core::time::Timestamp;

use super::projects::Projects;
use super::{Machines, known};

/// What is needed to show tasks of other machines.
pub(super) struct View {
    pub(super) machines: Machines,
    pub(super) projects: Projects,
    /// The names of this machine's own.
    pub(super) own: HashMap<ProjectId, String>,
    pub(super) this: SystemId,
    pub(super) asks: HashMap<TaskId, Vec<OpenAsk>>,
}

impl View {
    /// The machine of a project.
    fn machine_of(&self, project: ProjectId) -> Option<SystemId> {
        if self.own.contains_key(&project) {
            return Some(self.this);
        }
        let report = self.projects.get(&project)?;
        Some(report.project.system_id)
    }

    fn name_of(&self, project: ProjectId) -> String {
        let report = self.projects.get(&project);
        let name = self.own.get(&project);
        let name = name.or(report.map(|report| &report.project.name));
        name.cloned().unwrap_or_else(|| project.to_string())
    }
}

/// A task as documents tell it.
pub(super) struct Told {
    pub(super) id: TaskId,
    pub(super) definition: Definition,
    /// The definition's place here, which grows with every change of it.
    place: u64,
    hlc: Hlc,
    pending: bool,
    pub(super) report: Option<(Report, Hlc)>,
}

impl Told {
    pub(super) fn new(definition: &Document, report: Option<&Document>) -> Option<Self> {
        Some(Self {
            id: TaskId::from_uuid(definition.id),
            place: definition.place,
            hlc: definition.hlc,
            pending: definition.pending,
            definition: known(definition)?,
            report: report.and_then(|document| Some((known(document)?, document.hlc))),
        })
    }

    pub(super) fn state(&self) -> TaskStateName {
        let report = self.report.as_ref();
        report.map_or(TaskStateName::Queued, |(report, _)| report.task.state)
    }

    /// The machine that runs it or is to, given that of its project.
    pub(super) fn runs_on(&self, of_project: Option<SystemId>) -> Option<SystemId> {
        match &self.report {
            Some((report, _)) => Some(report.system_id),
            None if self.definition.is_shared() => None,
            None => of_project,
        }
    }

    /// Why it waits, by what its machine said.
    fn reason(&self) -> Option<Reason> {
        let (report, _) = self.report.as_ref()?;
        report.task.reason
    }

    pub(super) fn fits(&self, filter: &TaskFilter) -> bool {
        let definition = &self.definition;
        let texts = [definition.title.as_str(), definition.text.as_str()];
        filter.project.is_none_or(|id| id == definition.project_id)
            && (!filter.held || self.reason() == Some(Reason::RemoteUnapproved))
            && (filter.states.is_empty() || filter.states.contains(&self.state()))
            && filter
                .tag
                .as_ref()
                .is_none_or(|tag| definition.tags.contains(tag))
            && filter
                .created_by
                .as_ref()
                .is_none_or(|by| *by == definition.created_by)
            && filter
                .words
                .as_ref()
                .is_none_or(|words| words.are_in(&texts))
    }

    /// The task as the API has it.
    pub(super) fn show(self, view: &View, wished: Vec<WishName>) -> api::Task {
        let project_id = self.definition.project_id;
        let runs_on = self.runs_on(view.machine_of(project_id));
        let mut machine = runs_on.map(|id| view.machines.get(id));
        if let (Some(machine), Some((_, told))) = (&mut machine, &self.report)
            && !machine.this
        {
            let told = Timestamp::from_micros(told.time);
            machine.last_seen = machine.last_seen.max(Some(told));
        }
        let sharing = TaskSharing {
            created_on: view.machines.get(self.definition.created_on),
            runs_on: machine,
            any_machine: self.definition.is_shared(),
            heard: self.report.is_some(),
            sent: !self.pending,
            wished,
        };
        let changed = Timestamp::from_micros(self.hlc.time);
        let definition = self.definition;
        let mut task = match self.report {
            Some((report, _)) => report.task,
            None => api::Task {
                id: self.id,
                project_id,
                project: view.name_of(project_id),
                title: String::new(),
                text: String::new(),
                state: TaskStateName::Queued,
                reason: None,
                detail: None,
                priority: 0,
                not_before: definition.not_before,
                blocked_by: Vec::new(),
                attempts: 0,
                max_retries: 0,
                timeout_s: None,
                session: definition.session,
                tags: Vec::new(),
                system_type: None,
                created_by: String::new(),
                created_at: definition.created_at,
                updated_at: changed,
                finished_at: None,
                open_asks: Vec::new(),
                run_id: None,
                result: None,
                cut: Vec::new(),
                cost_usd: None,
                revision: Revision(0),
                sharing: None,
            },
        };
        // What it is comes from its definition, which may be newer than what its machine has said.
        if task.state != TaskStateName::Queued {
            task.not_before = definition.not_before;
        }
        task.title = definition.title;
        task.text = definition.text;
        task.priority = definition.priority;
        task.blocked_by = definition.blocked_by;
        task.max_retries = definition.max_retries;
        task.timeout_s = definition.timeout_us.map(|us| us.div_ceil(1_000_000));
        task.session = definition.session;
        task.tags = definition.tags;
        task.system_type = definition.system_type;
        task.created_by = definition.created_by;
        task.created_at = definition.created_at;
        task.updated_at = task.updated_at.max(changed);
        task.revision = Revision(self.place);
        task.open_asks = Vec::new();
        if task.state == TaskStateName::Running {
            task.open_asks = view.asks.get(&task.id).cloned().unwrap_or_default();
        }
        if let Some(said) = waits(&task, &sharing, definition.repository.as_deref()) {
            task.detail = Some(said);
        }
        task.sharing = Some(sharing);
        task
    }
}

/// What a task of another machine waits for, as far as that is not its machine's to say.
fn waits(task: &api::Task, sharing: &TaskSharing, repository: Option<&str>) -> Option<String> {
    let host = sharing.runs_on.as_ref().map(|machine| &machine.hostname);
    match (sharing.wished.first(), host) {
        (Some(WishName::Cancel), Some(host)) => {
            return Some(format!("{host} is asked to call it off"));
        }
        (Some(WishName::Retry), Some(host)) => {
            return Some(format!("{host} is asked to do it again"));
        }
        (Some(WishName::Cancel), None) => {
            return Some("it is to be called off by whichever machine hears of it".to_owned());
        }
        _ => {}
    }
    if !sharing.heard {
        let sent = match sharing.sent {
            true => "",
            false => " (not sent yet)",
        };
        return Some(match host {
            Some(host) => format!("waits for {host} to hear of it{sent}"),
            None => format!(
                "waits for a machine that has {} and takes it{sent}",
                repository.unwrap_or("its repository")
            ),
        });
    }
    match (task.reason, host) {
        (Some(Reason::RemoteUnapproved), Some(host)) => Some(format!(
            "waits for somebody to let it run on {host}: `ccm task approve {}` there",
            task.id
        )),
        _ => None,
    }
}
