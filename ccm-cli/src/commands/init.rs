use clap::Args;

use super::Outcome;
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Set a folder up as a project
#[derive(Debug, Args)]
pub(super) struct Project {}

pub(super) fn run(_args: &Project, _context: &Context) -> Outcome {
    Err(Failure::new(Code::Failed, "not yet"))
}
