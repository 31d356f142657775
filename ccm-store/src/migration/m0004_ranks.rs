//! Schema 4: tasks have a place in their queue, and what they ask for can change.

use sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0004_ranks"
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
ALTER TABLE task ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;
-- What is long comes last, so that the rest is read without it.
ALTER TABLE task ADD COLUMN text_after TEXT NOT NULL DEFAULT '';
ALTER TABLE task ADD COLUMN result_after TEXT;
ALTER TABLE task ADD COLUMN first_spec TEXT;
-- A rank is a moment in 1/1024 of a microsecond.
UPDATE task SET rank = created_at * 1024, text_after = text, result_after = result;
ALTER TABLE task DROP COLUMN text;
ALTER TABLE task DROP COLUMN result;
ALTER TABLE task RENAME COLUMN text_after TO text;
ALTER TABLE task RENAME COLUMN result_after TO result;

DROP INDEX task_urgent;
DROP INDEX task_oldest;
CREATE INDEX task_urgent ON task (project_id, priority DESC, rank, id)
    WHERE state = 'queued' AND open_blockers = 0 AND fits = 1 AND dated = 0;
CREATE INDEX task_oldest ON task (project_id, rank, id)
    WHERE state = 'queued' AND open_blockers = 0 AND fits = 1 AND dated = 0;
CREATE INDEX task_queue ON task (project_id, priority DESC, rank, id) WHERE state = 'queued';

PRAGMA user_version = 4;
";
