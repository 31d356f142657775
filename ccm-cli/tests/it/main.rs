//! Everything that is tested from outside.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod agents;
mod api_page;
mod asks;
mod backup;
mod browser;
mod claude;
mod client;
mod config;
mod crash;
#[cfg(target_os = "linux")]
mod descriptors;
mod doctor;
mod every_command;
mod faults;
mod help;
mod limits;
mod logs;
mod mistakes;
mod offline;
mod online;
#[cfg(feature = "otlp")]
mod otlp;
mod overview;
mod panes;
mod places;
mod queue;
mod reload;
mod runs;
mod server;
#[cfg(target_os = "linux")]
mod service;
mod set_up;
mod sharing;
mod shells;
mod storm;
#[path = "../stub/mod.rs"]
mod stub;
mod support;
mod templates;
mod terminal;
mod two_machines;
mod uninstall;
mod upgrade;
mod walk;
