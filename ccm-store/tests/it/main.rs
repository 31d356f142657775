//! What the SQLite store promises beyond the contract, and the contract itself.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod contract;
mod crash;
mod file;
mod full;
mod group;
mod hot;
mod open;
mod schemas;
mod support;
