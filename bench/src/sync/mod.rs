//! Machines that share one queue: how fast what one does comes to another, and what it costs to wait for that.
//!
//! The server is a PostgreSQL of the measurement's own, with the migration, on whose disk each commit is before it is
//! answered; in front of it is the double of Supabase that the tests use. Whatever is measured through the double has
//! bare requests through the same double beside it.

mod claims;
mod exchange;
mod rest;
mod server;
mod starts;

use std::path::Path;
use std::time::Duration;

use crate::figure::Report;
use crate::machine::Build;
use server::Server;

pub(crate) fn measure(build: &Build, folder: &Path, idle: Duration, report: &mut Report) {
    let server = Server::new();
    claims::measure(&server, report);
    exchange::measure(&server, build, folder, report);
    starts::measure(&server, build, folder, report);
    rest::measure(&server, build, folder, idle, report);
}
