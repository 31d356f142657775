//! Everything that is tested from outside.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod offline;
mod online;
mod server;
mod support;
mod terminal;
