//! Everything that is tested from outside.

mod client;
mod server;
