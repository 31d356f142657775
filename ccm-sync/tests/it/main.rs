//! The migration of the Supabase project, and what stands in for one, on real PostgreSQL servers.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod client;
mod double;
mod migration;
mod support;
