//! CCM's programs, and the typed client they are built on.
//!
//! Without the default features the package is the client alone.

pub mod client;
