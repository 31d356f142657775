//! One queue on several machines, through a Supabase project of its user's own.
//!
//! - [`SupabaseSync`] is the backend: what the daemon uses.
//! - [`sign_in`], [`sign_out`], [`AuthFile`] and [`check_server`] are for whoever connects a machine.
//!
//! What is sent goes to that project alone, encrypted; a [`Secret`] is never shown, and nothing that a server says gets into
//! an error but the sentences of CCM's own functions.

mod account;
mod auth;
mod backend;
mod connect;
mod crypt;
mod failure;
mod file;
mod frames;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod jwt;
#[cfg(target_os = "macos")]
mod keychain;
mod keys;
mod migrations;
mod project;
mod realtime;
mod rest;
mod secret;
#[cfg(not(target_os = "macos"))]
mod secret_tool;
mod session;
mod tokens;
mod wire;

pub use account::{Server, SignedOut, check_server, sign_out};
pub use auth::{SecondFactor, SignIn, SignedIn, sign_in};
pub use backend::{SupabaseOptions, SupabaseSync};
pub use file::AuthFile;
pub use keys::KeyStorage;
pub use migrations::MIGRATIONS;
pub use project::Project;
pub use secret::Secret;
pub use session::SessionInfo;
