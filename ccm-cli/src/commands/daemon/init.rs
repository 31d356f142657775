use clap::Args;

use super::super::Outcome;
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Set this machine up
#[derive(Debug, Args)]
pub(crate) struct Machine {}

pub(crate) fn run(_args: &Machine, _context: &Context) -> Outcome {
    Err(Failure::new(Code::Failed, "not yet"))
}
