//! Tasks that other machines run, or are to.

use std::collections::{HashMap, HashSet};

use ccm_core::api::{self, OpenAsk, TaskSharing, WishName};
use ccm_core::id::{ProjectId, TaskId};
use ccm_core::store::{Document, DocumentQuery, Page, TaskFilter, TaskQuery};
use ccm_core::sync::documents::{Definition, Wanted, Wish};
use ccm_core::sync::{Hlc, Kind};
use ccm_core::task::Task;
use ccm_core::{Error, ErrorKind, Noun, Result};

use super::projects::Projects;
use super::shown::{Told, View};
use super::{Elsewhere, known, only_there, readable};
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
            let told = definitions.iter().filter_map(|definition| {
                let report = reports.get(&definition.id).copied();
                Told::new(definition, report).filter(|told| wanted(told) && told.fits(filter))
            });
            let told: Vec<Told> = told.collect();
            let here = self.run_here(&told).await?;
            for told in told.into_iter().filter(|told| !here.contains(&told.id)) {
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

    /// Those that are in this machine's own lists.
    async fn run_here(&self, told: &[Told]) -> Result<HashSet<TaskId>> {
        let ids: Vec<TaskId> = told.iter().map(|told| told.id).collect();
        let here = self.store.tasks_of(&ids).await?;
        Ok(here.into_iter().map(|task| task.id).collect())
    }

    pub(super) async fn view(&self, this: &str) -> Result<View> {
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
