//! Everything that is tested from outside.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod asks;
mod claude;
mod client;
mod config;
mod crash;
mod faults;
mod help;
mod mistakes;
mod offline;
mod online;
mod overview;
mod places;
mod reload;
mod runs;
mod server;
mod set_up;
mod storm;
#[path = "../stub/mod.rs"]
mod stub;
mod support;
mod terminal;
