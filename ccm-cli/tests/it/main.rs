//! Everything that is tested from outside.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod asks;
mod backup;
mod claude;
mod client;
mod crash;
mod doctor;
mod faults;
mod help;
mod mistakes;
mod offline;
mod online;
mod overview;
mod places;
mod runs;
mod server;
mod storm;
#[path = "../stub/mod.rs"]
mod stub;
mod support;
mod terminal;
