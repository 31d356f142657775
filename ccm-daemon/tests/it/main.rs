//! Integration tests of the daemon's library.

#![allow(clippy::unwrap_used, reason = "a test that fails here says where")]

mod access;
mod agents;
mod asks;
mod attacks;
mod bounds;
mod config;
mod docs;
mod doctor;
mod elsewhere;
mod events;
mod harness;
mod interrupt;
mod json_schema;
mod listen;
mod lists;
mod machine_config;
mod machine_draft;
mod machine_edit;
mod machine_home;
mod machine_project;
mod machine_show;
mod machine_trust;
mod metrics;
mod openapi;
mod problems;
mod program;
mod projects;
mod queue;
mod readers;
mod reference;
mod reload;
mod security;
mod stats;
mod tasks;
mod templates;
mod terminal;
mod two_machines;
#[cfg(feature = "web-ui")]
mod web;
