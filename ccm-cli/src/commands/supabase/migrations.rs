use ccm_daemon::machine::supabase::MIGRATIONS;
use clap::Args;
use serde_json::json;

use super::super::Outcome;
use crate::context::Context;
use crate::exit::Code;

/// Print the SQL that a Supabase project needs once
///
/// Run it in the project's SQL editor. Running it again is harmless, and after an update of CCM it may be needed again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator supabase migrations > ccm.sql
  ccm-orchestrator supabase migrations | psql \"$DATABASE_URL\"")]
pub(in super::super) struct Migrations {}

pub(super) fn run(context: &Context) -> Outcome {
    if context.printer.json {
        let files = MIGRATIONS
            .iter()
            .map(|(name, sql)| json!({"name": name, "sql": sql}));
        context.printer.object(&files.collect::<Vec<_>>())?;
        return Ok(Code::Done);
    }
    for (_, sql) in MIGRATIONS {
        context.printer.line(sql.trim_end())?;
    }
    Ok(Code::Done)
}
