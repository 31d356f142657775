//! The in-memory implementations pass the suites that they come with, and the suites forget no case.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod agents;
mod conversation;
mod engine;
mod outcome;
mod runtime;
mod schedule;
mod states;
mod store;
mod sync;
mod sync_faults;
mod sync_home;
mod sync_leases;
mod sync_races;
mod sync_simulation;
mod sync_tasks;
mod values;

/// The names of the cases in a suite's sources.
fn cases<'a>(sources: &[&'a str]) -> Vec<&'a str> {
    sources
        .iter()
        .flat_map(|source| source.lines())
        .filter_map(|line| line.strip_prefix("pub async fn "))
        .filter_map(|rest| rest.split('(').next())
        .collect()
}
