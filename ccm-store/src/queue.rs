//! Changing what waiting tasks ask for, and their order.

use ccm_core::event::EventKind;
use ccm_core::store::{Page, QueueQuery, TaskEdit, TaskMove};
use ccm_core::task::Task;
use ccm_core::time::Timestamp;
use ccm_core::{Error, Result};
use sea_orm::sea_query::Value;
use serde_json::json;

use crate::lists::page;
use crate::reader::Reader;
use crate::tasks::{self, TaskRecord};
use crate::values::Id;
use crate::writer::{About, Change, Needs, Work};

/// Changes what a waiting task asks for.
pub(crate) struct Edit(pub(crate) TaskEdit);

impl Change for Edit {
    type Answer = Task;
    // What it looks at, the graph of blockers, must not change in the same group.
    const ALONE: bool = true;

    fn weight(&self) -> usize {
        let text = self.0.edit.text.as_ref();
        1 + text.map_or(0, |text| text.as_str().len()) / 1024
    }

    fn needs(&self, needs: &mut Needs) {
        needs.system();
        needs.task(self.0.id);
        if let Some(blockers) = &self.0.edit.blocked_by {
            for blocker in blockers {
                needs.known_task(*blocker);
            }
            needs.circles(self.0.id, blockers);
        }
    }

    fn apply(&self, work: &mut Work) -> Result<Task> {
        let edit = &self.0;
        let task = &work.task(edit.id)?.get().task;
        let Some((next, changes)) = task.edited(edit.revision, edit.edit.clone(), edit.now)? else {
            return Ok(task.clone());
        };
        edit_to(work, edit, next, &changes)
    }
}

/// Keeps a task as it was changed to be, if it can wait for what it is to wait for.
pub(crate) fn edit_to(
    work: &mut Work,
    edit: &TaskEdit,
    next: Task,
    changes: &[&str],
) -> Result<Task> {
    for (place, blocker) in edit.edit.blocked_by.iter().flatten().enumerate() {
        let refused = if !work.knows(blocker) {
            Error::no_task(*blocker)
        } else if work.circles.contains(blocker) {
            Error::invalid(format!(
                "the task {blocker} waits for this one, so this one can't wait for it"
            ))
        } else {
            continue;
        };
        return Err(refused.at(format_args!("/blocked_by/{place}")));
    }
    replace(work, next, changes, &edit.by, edit.now)
}

/// Gives a waiting task another place.
pub(crate) struct Move(pub(crate) TaskMove);

impl Change for Move {
    type Answer = Task;
    // Its neighbours must not change in the same group.
    const ALONE: bool = true;

    fn needs(&self, needs: &mut Needs) {
        needs.system();
        needs.gap(&self.0);
    }

    fn apply(&self, work: &mut Work) -> Result<Task> {
        let wish = &self.0;
        let task = work.task(wish.id)?.get().task.clone();
        task.waits("moved")?;
        if let Some((other, part)) = wish.place.neighbour() {
            let other = work.task(other).map(|row| &row.get().task);
            let fits = other.and_then(|other| task.may_be_next_to(other));
            fits.map_err(|error| error.at(part))?;
        }
        let Some(gap) = work.gap.take().filter(|gap| !gap.holds(task.spot())) else {
            return Ok(task);
        };
        let fit = gap.fit();
        let fit = fit.ok_or_else(|| Error::internal("too little of a queue was looked up"))?;
        work.shift(fit.shifted);
        let (next, changes) = task.moved(gap.priority, fit.rank, wish.now);
        replace(work, next, &changes, &wish.by, wish.now)
    }
}

fn replace(
    work: &mut Work,
    next: Task,
    changes: &[&str],
    by: &str,
    now: Timestamp,
) -> Result<Task> {
    let machine = work.machine()?;
    work.replace_task(next.clone(), &machine)?;
    let data = json!({ "fields": changes, "by": by });
    work.event(now, EventKind::TaskUpdated, About::task(&next), &data);
    Ok(next)
}

impl Reader {
    pub(crate) async fn queue(&self, query: &QueueQuery) -> Result<Page<Task>> {
        let (sql, values) = queue_page(query);
        let rows = self.all(&sql, values).await?;
        page(&rows, query.limit, |row| Ok(TaskRecord::read(row)?.task))
    }
}

/// A part of a queue, along its index: from a place on, first the rest of its priority, then those of lower ones.
pub(crate) fn queue_page(query: &QueueQuery) -> (String, Vec<Value>) {
    const ORDER: &str = "priority DESC, rank, id";
    let take = i64::from(query.limit) + 1;
    let mut values: Vec<Value> = Vec::new();
    let mut part = |beyond: &str, place: Vec<Value>| {
        values.push(query.project.bytes().into());
        values.extend(place);
        values.push(take.into());
        format!(
            "SELECT id FROM (SELECT id FROM task WHERE project_id = ? AND state = 'queued'{beyond} \
             ORDER BY {ORDER} LIMIT ?)"
        )
    };
    let ids = match query.after {
        None => part("", vec![]),
        Some(after) => {
            let priority = Value::from(after.priority);
            let (rank, task) = (after.rank.as_number().into(), after.task.bytes().into());
            let same = part(
                " AND priority = ? AND (rank, id) > (?, ?)",
                vec![priority.clone(), rank, task],
            );
            let lower = part(" AND priority < ?", vec![priority]);
            format!("{same} UNION ALL {lower}")
        }
    };
    values.push(take.into());
    let condition = format!("task.id IN ({ids})");
    let sql = format!(
        "{} ORDER BY task.priority DESC, task.rank, task.id LIMIT ?",
        match query.cut {
            None => tasks::select(&condition),
            Some(chars) => tasks::select_cut(&condition, chars),
        }
    );
    (sql, values)
}
