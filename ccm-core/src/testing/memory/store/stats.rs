//! What happened over a time.

use super::State;
use crate::run::RunState;
use crate::stats::{Bucket, StatsQuery};
use crate::task::TaskState;
use crate::time::Timestamp;

impl State {
    pub(super) fn stats(&self, query: &StatsQuery) -> Vec<Bucket> {
        let mut buckets = vec![Bucket::default(); query.span.buckets() as usize];
        let mut note = |time: Timestamp, what: &dyn Fn(&mut Bucket)| {
            if let Some(at) = query.span.bucket(time) {
                what(&mut buckets[at]);
            }
        };
        let is_wanted = |project| query.project.is_none_or(|wanted| wanted == project);
        let tasks = self.tasks.values().map(|row| &row.task);
        for task in tasks.filter(|task| is_wanted(task.project_id)) {
            note(task.created_at, &|bucket| bucket.created += 1);
            match &task.state {
                TaskState::Succeeded { at, .. } => note(*at, &|bucket| bucket.succeeded += 1),
                TaskState::Failed { at, .. } => note(*at, &|bucket| bucket.failed += 1),
                TaskState::Cancelled { at, .. } => note(*at, &|bucket| bucket.cancelled += 1),
                TaskState::Queued { .. } | TaskState::Running { .. } => {}
            }
            let runs = self.runs.values().filter(|run| run.task_id == task.id);
            if let Some(started) = runs.filter_map(|run| run.state.started_at()).next() {
                let since = task
                    .created_at
                    .max(task.spec.not_before.unwrap_or(task.created_at));
                let waited = started.since(since);
                note(started, &|bucket| {
                    bucket.started += 1;
                    bucket.waited += waited;
                    bucket.waited_most = bucket.waited_most.max(waited);
                });
            }
        }
        for run in self.runs.values().filter(|run| is_wanted(run.project_id)) {
            let RunState::Ended { finished_at, .. } = &run.state else {
                continue;
            };
            note(*finished_at, &|bucket| {
                bucket.runs += 1;
                bucket.cost_usd += run.cost_usd.unwrap_or_default();
                bucket.usage.input_tokens += run.usage.input_tokens;
                bucket.usage.output_tokens += run.usage.output_tokens;
                bucket.usage.cache_read_tokens += run.usage.cache_read_tokens;
                bucket.usage.cache_write_tokens += run.usage.cache_write_tokens;
            });
        }
        buckets
    }
}
