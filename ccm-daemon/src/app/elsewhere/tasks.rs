//! Tasks that other machines run, or are to.

use std::collections::HashMap;

use ccm_core::api::{self, OpenAsk, TaskSharing, WishName};
use ccm_core::id::{ProjectId, Revision, SystemId, TaskId};
use ccm_core::store::{Document, DocumentQuery, Page, TaskFilter, TaskQuery};
use ccm_core::sync::documents::{Definition, Report, Wanted, Wish};
use ccm_core::sync::{Hlc, Kind};
use ccm_core::task::{Task, TaskStateName};
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Noun, Reason, Result};

use super::projects::Projects;
use super::{Elsewhere, Machines, known, only_there, readable};
use crate::app::App;

/// How many definitions are looked through at once.
const PART: u32 = 200;
/// How many tasks are passed over at once.
const SKIPPED: u32 = 1000;
/// The most wishes about one task that are looked at.
const WISHES: u32 = 100;
/// The most open questions of other machines that are looked at for one answer.
const ASKS: u32 = 1000;

impl App {
    /// The task, whichever machine runs it.
    pub(in crate::app) async fn task_elsewhere(&self, id: TaskId) -> Result<Option<api::Task>> {
        let Some(elsewhere) = self.elsewhere() else {
            return Ok(None);
        };
        let Some(told) = elsewhere.told(id).await? else {
            return Ok(None);
        };
        let view = elsewhere.view(&self.engine().system().hostname).await?;
        let wished = elsewhere.wished(&told).await?;
        Ok(Some(told.show(&view, wished)))
    }

    /// The task of another machine as an error that says where something can be done with it, unless it is this one's or
    /// nobody's.
    pub(in crate::app) async fn not_this_task(&self, error: Error, id: TaskId, how: &str) -> Error {
        if error.kind() != ErrorKind::NotFound(Noun::Task) {
            return error;
        }
        match self.task_elsewhere(id).await {
            Ok(Some(task)) => match task.sharing.and_then(|sharing| sharing.runs_on) {
                Some(machine) if !machine.this => only_there(Noun::Task, &machine, how),
                _ => Error::new(
                    ErrorKind::WrongState(Noun::Task),
                    "no machine has taken the task yet",
                ),
            },
            Ok(None) => error,
            Err(error) => error,
        }
    }

    /// Tasks of these machines, newest first, a part of them.
    pub(crate) async fn tasks_of(
        &self,
        machines: api::Machines,
        query: &TaskQuery,
    ) -> Result<Page<api::Task>> {
        let (local, elsewhere) = self.whose(machines).await?;
        let Some(elsewhere) = elsewhere else {
            return match local {
                true => self.tasks(query).await,
                false => Ok(nothing()),
            };
        };
        let mut query = query.clone();
        let mut skip = std::mem::take(&mut query.skip);
        while skip > 0 {
            let part = skip.min(SKIPPED);
            let passed = TaskQuery {
                limit: part,
                cut: std::num::NonZeroU32::new(1),
                ..query.clone()
            };
            let here = match local {
                true => self.engine().store().tasks(&passed).await?,
                false => nothing(),
            };
            let here = map(here, |task| task.id);
            let there = elsewhere.told_of(machines, &passed.filter, passed.before, part);
            let there = map(there.await?, |told| told.id);
            let passed = newest(here, there, part, |id| *id);
            query.before = passed.items.last().copied();
            if !passed.more {
                return Ok(nothing());
            }
            skip -= part;
        }
        let here = match local {
            true => self.tasks(&query).await?,
            false => nothing(),
        };
        let there = elsewhere.told_of(machines, &query.filter, query.before, query.limit);
        let there = there.await?;
        if there.items.is_empty() {
            return Ok(here);
        }
        let view = elsewhere.view(&self.engine().system().hostname).await?;
        let there = map(there, |told| told.show(&view, Vec::new()));
        Ok(newest(here, there, query.limit, |task| task.id))
    }

    /// How many tasks of these machines there are.
    pub(crate) async fn count_tasks_of(
        &self,
        machines: api::Machines,
        filter: &TaskFilter,
    ) -> Result<u64> {
        let (local, elsewhere) = self.whose(machines).await?;
        let mut count = match local {
            true => self.count_tasks(filter).await?,
            false => 0,
        };
        if let Some(elsewhere) = elsewhere {
            let there = elsewhere.told_of(machines, filter, None, u32::MAX).await?;
            count += there.items.len() as u64;
        }
        Ok(count)
    }

    /// Whether this machine's own are meant, and the others if they are and something is shared.
    pub(super) async fn whose(
        &self,
        machines: api::Machines,
    ) -> Result<(bool, Option<Elsewhere<'_>>)> {
        Ok(match machines {
            api::Machines::Local => (true, None),
            api::Machines::One(id) if id == self.engine().system().id => (true, None),
            api::Machines::One(_) => (false, self.elsewhere()),
            api::Machines::Mine | api::Machines::All => (true, self.elsewhere()),
        })
    }

    /// The project that a task is of, whichever machine runs it.
    pub(crate) async fn project_of_task(&self, id: TaskId) -> Result<Option<ProjectId>> {
        match self.engine().store().task(id).await {
            Ok(task) => Ok(Some(task.project_id)),
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Task) => {
                let Some(elsewhere) = self.elsewhere() else {
                    return Ok(None);
                };
                let told = elsewhere.told(id).await?;
                Ok(told.map(|told| told.definition.project_id))
            }
            Err(error) => Err(error),
        }
    }

    /// What other machines have to do with tasks of this one. Those that are this machine's alone are left out.
    pub(in crate::app) async fn sharing_of(
        &self,
        tasks: &[Task],
    ) -> Result<HashMap<TaskId, TaskSharing>> {
        if tasks.is_empty() {
            return Ok(HashMap::new());
        }
        let Some(elsewhere) = self.elsewhere() else {
            return Ok(HashMap::new());
        };
        let ids: Vec<_> = tasks.iter().map(|task| *task.id.as_uuid()).collect();
        let definitions = elsewhere.replica.documents_of(&Kind::Task, &ids).await?;
        let shared: Vec<(&Document, Definition)> = definitions
            .iter()
            .filter_map(|document| Some((document, known::<Definition>(document)?)))
            .filter(|(_, definition)| {
                !elsewhere.is_this(definition.created_on) || definition.is_shared()
            })
            .collect();
        if shared.is_empty() {
            return Ok(HashMap::new());
        }
        let machines = elsewhere.machines(&self.engine().system().hostname).await?;
        let sharing = shared.into_iter().map(|(document, definition)| {
            let sharing = TaskSharing {
                created_on: machines.get(definition.created_on),
                runs_on: Some(machines.get(elsewhere.this)),
                any_machine: definition.is_shared(),
                heard: true,
                sent: !document.pending,
                wished: Vec::new(),
            };
            (TaskId::from_uuid(document.id), sharing)
        });
        Ok(sharing.collect())
    }
}

/// What is needed to show tasks of other machines.
struct View {
    machines: Machines,
    projects: Projects,
    /// The names of this machine's own.
    own: HashMap<ProjectId, String>,
    this: SystemId,
    asks: HashMap<TaskId, Vec<OpenAsk>>,
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
    id: TaskId,
    definition: Definition,
    /// The definition's place here, which grows with every change of it.
    place: u64,
    hlc: Hlc,
    pending: bool,
    report: Option<(Report, Hlc)>,
}

impl Told {
    fn new(definition: &Document, report: Option<&Document>) -> Option<Self> {
        Some(Self {
            id: TaskId::from_uuid(definition.id),
            place: definition.place,
            hlc: definition.hlc,
            pending: definition.pending,
            definition: known(definition)?,
            report: report.and_then(|document| Some((known(document)?, document.hlc))),
        })
    }

    fn state(&self) -> TaskStateName {
        let report = self.report.as_ref();
        report.map_or(TaskStateName::Queued, |(report, _)| report.task.state)
    }

    /// The machine that runs it or is to, given that of its project.
    fn runs_on(&self, of_project: Option<SystemId>) -> Option<SystemId> {
        match &self.report {
            Some((report, _)) => Some(report.system_id),
            None if self.definition.is_shared() => None,
            None => of_project,
        }
    }

    /// Whether some machine has said anything of it.
    pub(super) fn is_heard(&self) -> bool {
        self.report.is_some()
    }

    /// Why it waits, by what its machine said.
    fn reason(&self) -> Option<Reason> {
        let (report, _) = self.report.as_ref()?;
        report.task.reason
    }

    fn fits(&self, filter: &TaskFilter) -> bool {
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
    fn show(self, view: &View, wished: Vec<WishName>) -> api::Task {
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

impl Elsewhere<'_> {
    /// The task, if it is known and this machine does not run it.
    async fn told(&self, id: TaskId) -> Result<Option<Told>> {
        let definition = self.replica.document(&Kind::Task, *id.as_uuid()).await?;
        let Some(definition) = definition else {
            return Ok(None);
        };
        if readable::<Definition>(&definition)?.is_none() {
            return Ok(None);
        }
        let report = self.replica.document(&Kind::Report, definition.id).await?;
        Ok(Told::new(&definition, report.as_ref()))
    }

    /// Tasks that this machine does not run, newest first.
    pub(super) async fn told_of(
        &self,
        machines: api::Machines,
        filter: &TaskFilter,
        before: Option<TaskId>,
        limit: u32,
    ) -> Result<Page<Told>> {
        let projects = match machines {
            api::Machines::One(_) => self.projects().await?,
            _ => Projects::new(),
        };
        let wanted = |told: &Told| match machines {
            api::Machines::Local => false,
            api::Machines::Mine => self.is_this(told.definition.created_on),
            api::Machines::All => true,
            api::Machines::One(id) => {
                let of_project = projects.get(&told.definition.project_id);
                told.runs_on(of_project.map(|report| report.project.system_id)) == Some(id)
            }
        };
        let mut query = DocumentQuery {
            kinds: vec![Kind::Task],
            project: filter.project,
            elsewhere: true,
            after: before.map(|id| *id.as_uuid()),
            newest_first: true,
            limit: PART,
            ..DocumentQuery::default()
        };
        let mut page = nothing();
        loop {
            let definitions = self.replica.documents(&query).await?;
            let last = definitions.len() < PART as usize;
            query.after = definitions.last().map(|document| document.id);
            let ids: Vec<_> = definitions.iter().map(|document| document.id).collect();
            let reports = self.replica.documents_of(&Kind::Report, &ids).await?;
            let reports: HashMap<_, _> = reports.iter().map(|one| (one.id, one)).collect();
            for definition in &definitions {
                let report = reports.get(&definition.id).copied();
                let Some(told) = Told::new(definition, report) else {
                    continue;
                };
                if !wanted(&told) || !told.fits(filter) || self.runs_here(&told).await? {
                    continue;
                }
                if page.items.len() == limit as usize {
                    page.more = true;
                    return Ok(page);
                }
                page.items.push(told);
            }
            if last {
                return Ok(page);
            }
        }
    }

    /// Whether it is in this machine's own lists.
    async fn runs_here(&self, told: &Told) -> Result<bool> {
        match self.store.task(told.id).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Task) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn view(&self, this: &str) -> Result<View> {
        let open = DocumentQuery {
            kinds: vec![Kind::Ask],
            not_origin: Some(self.this),
            open: true,
            limit: ASKS,
            ..DocumentQuery::default()
        };
        let mut asks: HashMap<TaskId, Vec<OpenAsk>> = HashMap::new();
        for document in self.replica.documents(&open).await? {
            let Some(ask) = known::<api::Ask>(&document) else {
                continue;
            };
            asks.entry(ask.task_id).or_default().push(OpenAsk {
                id: ask.id,
                kind: ask.kind,
                title: ask.title,
                created_at: ask.created_at,
            });
        }
        let own = self.store.projects().await?.into_iter();
        Ok(View {
            machines: self.machines(this).await?,
            projects: self.projects().await?,
            own: own.map(|project| (project.id, project.name)).collect(),
            this: self.this,
            asks,
        })
    }

    /// What was asked of the task's machine from here, and is not seen to be done yet.
    async fn wished(&self, told: &Told) -> Result<Vec<WishName>> {
        let wishes = self.wishes(told.id).await?;
        let heard = told.report.as_ref().map(|(_, hlc)| *hlc);
        let newer = |hlc: Hlc| heard.is_none_or(|heard| heard < hlc);
        let ended = told.state().is_final();
        let mut wished = Vec::new();
        // The last of two that contradict each other is what is wanted.
        for (hlc, wish) in wishes {
            let name = match wish.what {
                Wanted::Cancel if !ended => WishName::Cancel,
                Wanted::Retry if ended => WishName::Retry,
                Wanted::Answer { .. } if !ended => WishName::Answer,
                _ => continue,
            };
            if newer(hlc) && !wished.contains(&name) {
                wished.push(name);
            }
        }
        wished.sort_by_key(|name| *name == WishName::Answer);
        Ok(wished)
    }

    /// What was asked of a task's machine from here, the latest first.
    pub(super) async fn wishes(&self, task: TaskId) -> Result<Vec<(Hlc, Wish)>> {
        let query = DocumentQuery {
            kinds: vec![Kind::Wish],
            task: Some(task),
            origin: Some(self.this),
            newest_first: true,
            limit: WISHES,
            ..DocumentQuery::default()
        };
        let documents = self.replica.documents(&query).await?;
        let mut wishes: Vec<_> = documents
            .iter()
            .filter_map(|document| Some((document.hlc, known::<Wish>(document)?)))
            .collect();
        wishes.sort_by_key(|(hlc, _)| std::cmp::Reverse(*hlc));
        Ok(wishes)
    }
}

const fn nothing<T>() -> Page<T> {
    Page {
        items: Vec::new(),
        more: false,
    }
}

fn map<T, U>(page: Page<T>, to: impl FnMut(T) -> U) -> Page<U> {
    Page {
        items: page.items.into_iter().map(to).collect(),
        more: page.more,
    }
}

/// One part of a list made of the same parts of two, both newest first.
pub(super) fn newest<T, K: Ord>(
    here: Page<T>,
    there: Page<T>,
    limit: u32,
    id: impl Fn(&T) -> K,
) -> Page<T> {
    let mut more = here.more || there.more;
    let mut items = here.items;
    items.extend(there.items);
    items.sort_by_key(|item| std::cmp::Reverse(id(item)));
    more |= items.len() > limit as usize;
    items.truncate(limit as usize);
    Page { items, more }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lists_are_one_without_gaps() {
        let page = |items: &[u32], more| Page {
            items: items.to_vec(),
            more,
        };
        let one = |here, there, limit| newest(here, there, limit, |id| *id);
        assert_eq!(
            one(page(&[9, 7, 5], true), page(&[8, 2], false), 3),
            page(&[9, 8, 7], true)
        );
        assert_eq!(
            one(page(&[9], false), page(&[8], false), 2),
            page(&[9, 8], false)
        );
        assert_eq!(
            one(page(&[9], false), page(&[8], true), 2),
            page(&[9, 8], true)
        );
    }
}
