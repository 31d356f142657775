//! CCM's programs, and the typed client they are built on.
//!
//! Without the default features the package is the client alone.

pub mod client;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use client::fuzzing;

#[cfg(feature = "programs")]
mod commands;
#[cfg(feature = "programs")]
mod context;
#[cfg(feature = "programs")]
mod exit;
#[cfg(feature = "programs")]
mod printer;
#[cfg(feature = "programs")]
mod progress;

#[cfg(feature = "programs")]
pub use commands::run;
