//! The reference daemon of CCM, as a library: composition, configuration and the HTTP API.

pub mod app;
pub mod http;
pub mod machine;
