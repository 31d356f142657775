//! All that works with no daemon: which home, config files, trust, setting up machines and projects.
//!
//! Nothing here talks to a terminal. Paths of a user's own files are followed through symbolic links, those of a
//! project's `.ccm/` never: a repository can be somebody else's work.

#![allow(dead_code, reason = "what uses it is being written")]

mod check;
pub mod config;
pub mod config_file;
mod edit;
mod files;
pub mod home;
pub mod project_config;
mod render;
pub mod running;
pub mod schema;
pub mod setup;
mod template;
mod values;
mod yaml;

pub use config::{Config, Loaded};
pub use config_file::{ConfigFile, Edited, Got};
pub use home::{Home, HomeChoice, Token};
pub use project_config::{LoadedProject, ProjectConfig};
pub use running::{DaemonInfo, DaemonLock};
pub use values::{ConfigErrors, Problem};
