//! All that works with no daemon: which home, config files, trust, setting up machines and projects, services.
//!
//! Nothing here talks to a terminal. Paths of a user's own files are followed through symbolic links, those of a
//! project's `.ccm/` never: a repository can be somebody else's work.

pub mod account;
pub mod backup;
mod check;
pub mod config;
pub mod config_file;
pub mod doctor;
pub mod draft;
mod edit;
pub(crate) mod files;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub mod home;
mod json_schema;
pub mod profiles;
pub mod programs;
pub mod project_config;
pub mod project_dir;
pub mod prompts;
mod render;
mod repository;
pub mod running;
pub mod schema;
pub mod service;
pub mod setup;
pub mod show;
pub mod supabase;
mod tables;
mod template;
pub mod trust;
pub mod uninstall;
mod values;
mod web_ui;
mod worktree;
mod yaml;

pub use account::Account;
pub(crate) use check::is_name;
pub use config::{Config, Loaded};
pub use config_file::{ConfigFile, Edited, Got};
pub(crate) use files::random_hex;
pub use home::{Home, HomeChoice, Token};
pub use profiles::ProjectProfiles;
pub use project_config::{LoadedProject, ProjectConfig};
pub use project_dir::{Identity, InitOptions, Initialised, ProjectDir};
pub use prompts::{NoTemplate, Prompts, Template, Unfilled, Variable};
pub use running::{DaemonInfo, DaemonLock};
pub use trust::TrustStore;
pub use values::{ConfigErrors, Problem};
pub use web_ui::WebUi;

/// A value as YAML on one line, as it could stand in a config file.
pub fn yaml_of(value: &serde_json::Value) -> String {
    render::flow(value)
}
