//! All that works with no daemon: which home, config files, trust, setting up machines and projects.
//!
//! Nothing here talks to a terminal. Paths of a user's own files are followed through symbolic links, those of a
//! project's `.ccm/` never: a repository can be somebody else's work.

pub mod backup;
mod check;
pub mod config;
pub mod config_file;
pub mod doctor;
mod edit;
mod files;
pub mod home;
pub mod profiles;
pub mod project_config;
pub mod project_dir;
mod render;
pub mod running;
pub mod schema;
pub mod setup;
mod tables;
mod template;
pub mod trust;
mod values;
mod worktree;
mod yaml;

pub(crate) use check::is_name;
pub use config::{Config, Loaded};
pub use config_file::{ConfigFile, Edited, Got};
pub use home::{Home, HomeChoice, Token};
pub use profiles::ProjectProfiles;
pub use project_config::{LoadedProject, ProjectConfig};
pub use project_dir::{Identity, InitOptions, Initialised, ProjectDir};
pub use running::{DaemonInfo, DaemonLock};
pub use trust::TrustStore;
pub use values::{ConfigErrors, Problem};
