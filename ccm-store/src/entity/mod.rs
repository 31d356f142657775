//! The tables, one a file.
//!
//! Ids are 16 bytes, dates are microseconds since 1970 in UTC, lists and enums with data are JSON.
#![allow(
    unreachable_pub,
    reason = "the entity macro wants its model public; the modules are not"
)]

pub(crate) mod agent;
pub(crate) mod ask;
pub(crate) mod event;
pub(crate) mod idempotency_key;
pub(crate) mod input;
pub(crate) mod meta;
pub(crate) mod project;
pub(crate) mod run;
pub(crate) mod sharing;
pub(crate) mod system;
pub(crate) mod task;
pub(crate) mod task_blocker;
