//! Schema 3: what agents are to be.

use sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0003_wishes"
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
ALTER TABLE agent ADD COLUMN wanted TEXT NOT NULL DEFAULT 'up';
ALTER TABLE agent ADD COLUMN wanted_by TEXT NOT NULL DEFAULT 'engine';
ALTER TABLE agent ADD COLUMN wanted_at INTEGER NOT NULL DEFAULT 0;
UPDATE agent SET wanted_at = project.created_at FROM project WHERE project.id = agent.project_id;

PRAGMA user_version = 3;
";
