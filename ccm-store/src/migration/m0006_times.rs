//! Schema 6: what happened in a time is found by that time.

use sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0006_times"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    #[allow(
        elided_lifetimes_in_paths,
        reason = "the trait leaves it out, and the two must be the same"
    )]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        db.execute_unprepared(SCHEMA).await?;
        Ok(())
    }
}

const SCHEMA: &str = "
CREATE INDEX task_created ON task (created_at, project_id);
CREATE INDEX task_ended ON task (ended_at, state, project_id) WHERE ended_at IS NOT NULL;
CREATE INDEX run_started ON run (started_at, task_id, id, project_id) WHERE started_at IS NOT NULL;
CREATE INDEX run_finished ON run (finished_at) WHERE finished_at IS NOT NULL;

PRAGMA user_version = 6;
";
