//! Lists of tasks: parts of them, by key or by place, how many there are, and looking into the tasks themselves.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use ccm_core::Result;
use ccm_core::id::TaskId;
use ccm_core::store::{Page, TaskFilter, TaskQuery};
use ccm_core::task::{Task, TaskStateName, cases};
use sea_orm::QueryResult;
use sea_orm::sea_query::Value;

use crate::error::{corrupt, from_db};
use crate::lists::page;
use crate::reader::Reader;
use crate::tasks::{self, TaskRecord};
use crate::values::{Id, count};

/// How many tasks are looked up by one statement.
const TOGETHER: usize = 200;

/// A statement with a value for each `?`.
type Statement = (String, Vec<Value>);

impl Reader {
    pub(crate) async fn tasks(&self, query: &TaskQuery) -> Result<Page<Task>> {
        let (sql, values) = if looks_inside(&query.filter) {
            let found = self.find(query).await?;
            if found.is_empty() {
                return page(&[], query.limit, read);
            }
            these(found, query.cut)
        } else {
            task_page(query)
        };
        page(&self.all(&sql, values).await?, query.limit, read)
    }

    pub(crate) async fn tasks_of(&self, ids: &[TaskId]) -> Result<Vec<Task>> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(TOGETHER) {
            let ids = ids.iter().map(|id| id.bytes().into()).collect();
            let (sql, values) = these(ids, None);
            for row in &self.all(&sql, values).await? {
                found.push(read(row)?);
            }
        }
        Ok(found)
    }

    pub(crate) async fn count_tasks(&self, filter: &TaskFilter) -> Result<u64> {
        if !looks_inside(filter) {
            return self.count(count_in(filter, Stretch::default())).await;
        }
        let (mut all, mut walk) = (0, Walk::from(None));
        while let Some(stretch) = walk.next(self).await? {
            all += self.count(count_in(filter, stretch)).await?;
        }
        Ok(all)
    }

    async fn count(&self, (sql, values): Statement) -> Result<u64> {
        let row = self.first(&sql, values).await?;
        let row = row.ok_or_else(|| corrupt("number of tasks"))?;
        count(row.try_get("", "tasks").map_err(from_db)?)
    }

    /// The ids of the tasks that a part has, and of one more if there is one.
    async fn find(&self, query: &TaskQuery) -> Result<Vec<Value>> {
        let wanted = query.limit as usize + 1;
        let mut skip = query.skip as usize;
        let mut found: Vec<Value> = Vec::new();
        let mut walk = Walk::from(query.before);
        while found.len() < wanted
            && let Some(stretch) = walk.next(self).await?
        {
            let (sql, values) = found_in(&query.filter, stretch);
            let rows = self.all(&sql, values).await?;
            for row in rows.iter().rev().skip(skip).take(wanted - found.len()) {
                let id: Vec<u8> = row.try_get("", "id").map_err(from_db)?;
                found.push(id.into());
            }
            skip = skip.saturating_sub(rows.len());
        }
        Ok(found)
    }
}

fn read(row: &QueryResult) -> Result<Task> {
    Ok(TaskRecord::read(row)?.task)
}

/// Whether tasks must be looked at one by one to know whether they are among those of `filter`.
fn looks_inside(filter: &TaskFilter) -> bool {
    filter.words.is_some() || filter.tag.is_some() || filter.created_by.is_some()
}

/// Tasks between two.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stretch {
    /// Only older than this one.
    pub(crate) before: Option<TaskId>,
    /// Not older than this one.
    pub(crate) from: Option<TaskId>,
}

/// The most tasks of a stretch, and so the most ids that are taken from one.
const LONGEST: u32 = 8192;

/// A way through all tasks, the newest first, in stretches that take about equally long. Between two of them others have
/// their turn, the log of what was written can be tidied up, and whoever no longer wants to know can stop.
struct Walk {
    before: Option<TaskId>,
    tasks: u32,
    begun: Option<Instant>,
    over: bool,
}

impl Walk {
    fn from(before: Option<TaskId>) -> Self {
        Self {
            before,
            tasks: 1024,
            begun: None,
            over: false,
        }
    }

    async fn next(&mut self, reader: &Reader) -> Result<Option<Stretch>> {
        if self.over {
            return Ok(None);
        }
        match self.begun.map(|begun| begun.elapsed()) {
            Some(took) if took < Duration::from_millis(8) => {
                self.tasks = (self.tasks * 2).min(LONGEST);
            }
            Some(took) if took > Duration::from_millis(25) => self.tasks = (self.tasks / 2).max(16),
            _ => {}
        }
        let (sql, values) = further(self.before, self.tasks);
        let end = match reader.first(&sql, values).await? {
            None => None,
            Some(row) => {
                let id: Vec<u8> = row.try_get("", "id").map_err(from_db)?;
                Some(TaskId::read(&id)?)
            }
        };
        let stretch = Stretch {
            before: self.before,
            from: end,
        };
        self.over = end.is_none();
        self.before = end;
        self.begun = Some(Instant::now());
        Ok(Some(stretch))
    }
}

/// The last of the next so many tasks, if there are as many.
pub(crate) fn further(before: Option<TaskId>, tasks: u32) -> Statement {
    let mut values: Vec<Value> = Vec::new();
    let condition = before.map_or("TRUE", |before| {
        values.push(before.bytes().into());
        "id < ?"
    });
    values.push(i64::from(tasks.saturating_sub(1)).into());
    let sql = format!("SELECT id FROM task WHERE {condition} ORDER BY id DESC LIMIT 1 OFFSET ?");
    (sql, values)
}

/// A part of a list that needs no looking into tasks.
pub(crate) fn task_page(query: &TaskQuery) -> Statement {
    let stretch = Stretch {
        before: query.before,
        from: None,
    };
    let (ids, mut values) = ids(&query.filter, stretch);
    values.push((i64::from(query.limit) + 1).into());
    values.push(i64::from(query.skip).into());
    let condition = format!("task.id IN ({ids} ORDER BY id DESC LIMIT ? OFFSET ?)");
    (in_order(&condition, query.cut), values)
}

/// The tasks of a filter in a stretch, the oldest first: in the order of the table it takes a fifth of the time.
pub(crate) fn found_in(filter: &TaskFilter, stretch: Stretch) -> Statement {
    let (ids, values) = ids(filter, stretch);
    (format!("{ids} ORDER BY id"), values)
}

/// How many tasks of a filter are in a stretch.
pub(crate) fn count_in(filter: &TaskFilter, stretch: Stretch) -> Statement {
    let (ids, values) = ids(filter, stretch);
    (format!("SELECT COUNT(*) AS tasks FROM ({ids})"), values)
}

fn these(ids: Vec<Value>, cut: Option<NonZeroU32>) -> Statement {
    let marks = vec!["?"; ids.len()].join(", ");
    (in_order(&format!("task.id IN ({marks})"), cut), ids)
}

fn in_order(condition: &str, cut: Option<NonZeroU32>) -> String {
    let tasks = match cut {
        None => tasks::select(condition),
        Some(chars) => tasks::select_cut(condition, chars),
    };
    format!("{tasks} ORDER BY task.id DESC")
}

/// The ids of tasks. Each state has its own index, so several are read one beside the other and merged.
fn ids(filter: &TaskFilter, stretch: Stretch) -> Statement {
    let states: &[TaskStateName] = match (filter.states.is_empty(), filter.project) {
        (true, None) => &[],
        (true, Some(_)) => TaskStateName::ALL,
        (false, _) => &filter.states,
    };
    let mut distinct: Vec<TaskStateName> = Vec::new();
    for state in states {
        if !distinct.contains(state) {
            distinct.push(*state);
        }
    }
    let mut values: Vec<Value> = Vec::new();
    let mut part = |state: Option<TaskStateName>| {
        let mut conditions = vec!["TRUE"];
        let mut such = |condition, given: &[Value]| {
            conditions.push(condition);
            values.extend_from_slice(given);
        };
        // Few are held, so that their own index is the one to walk along.
        let (of_project, in_state) = match filter.held {
            true => ("+project_id = ?", "+state = ?"),
            false => ("project_id = ?", "state = ?"),
        };
        if let Some(project) = filter.project {
            such(of_project, &[project.bytes().into()]);
        }
        if let Some(state) = state {
            such(in_state, &[state.as_str().into()]);
        }
        if let Some(before) = stretch.before {
            such("id < ?", &[before.bytes().into()]);
        }
        if let Some(from) = stretch.from {
            such("id >= ?", &[from.bytes().into()]);
        }
        if filter.held {
            such("hold IS NOT NULL", &[]);
        }
        if let Some(by) = &filter.created_by {
            such("created_by = ?", &[by.as_str().into()]);
        }
        if let Some(tag) = &filter.tag {
            // The column is a list of JSON, and no tag has a quotation mark in it.
            such("instr(tags, ?) > 0", &[format!("\"{tag}\"").into()]);
        }
        for word in filter.words.iter().flat_map(|words| words.iter()) {
            let (condition, patterns) = holding(word);
            such(condition, &patterns);
        }
        format!("SELECT id FROM task WHERE {}", conditions.join(" AND "))
    };
    let parts: Vec<String> = match distinct.as_slice() {
        [] => vec![part(None)],
        some => some.iter().map(|state| part(Some(*state))).collect(),
    };
    (parts.join(" UNION ALL "), values)
}

/// The condition that a task has a word, with its values.
///
/// `LIKE` is fast and knows both cases of ASCII's letters. Of a word with others it finds what is like it but for those, and
/// `GLOB`, which is slow, looks at that: to it each letter is the set of its cases.
fn holding(word: &str) -> (&'static str, Vec<Value>) {
    let is_plain = |c: char| c.is_ascii() || cases(c).count() == 1;
    let mut like = String::from("%");
    for c in word.chars() {
        match c {
            '%' | '_' | '\\' => like.extend(['\\', c]),
            c if is_plain(c) => like.push(c),
            _ => like.push('_'),
        }
    }
    like.push('%');
    if word.chars().all(is_plain) {
        let condition = r"(title LIKE ? ESCAPE '\' OR text LIKE ? ESCAPE '\')";
        return (condition, vec![like.as_str().into(), like.into()]);
    }
    let mut glob = String::from("*");
    for c in word.chars() {
        if cases(c).count() > 1 || matches!(c, '*' | '?' | '[') {
            glob.push('[');
            glob.extend(cases(c));
            glob.push(']');
        } else {
            glob.push(c);
        }
    }
    glob.push('*');
    let condition =
        r"((title LIKE ? ESCAPE '\' AND title GLOB ?) OR (text LIKE ? ESCAPE '\' AND text GLOB ?))";
    let (like, glob) = (Value::from(like), Value::from(glob));
    (condition, vec![like.clone(), glob.clone(), like, glob])
}
