//! Schema 2: what runs ask people, and what they are given after their prompt.

use sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0002_asks"
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
ALTER TABLE run ADD COLUMN open_asks INTEGER NOT NULL DEFAULT 0 CHECK (open_asks >= 0);
ALTER TABLE run ADD COLUMN asked_since INTEGER;
ALTER TABLE run ADD COLUMN waited INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN parked TEXT;
-- The prompt is number 1.
ALTER TABLE run ADD COLUMN last_input INTEGER NOT NULL DEFAULT 1;
ALTER TABLE run ADD COLUMN inputs_closed INTEGER NOT NULL DEFAULT 0;
UPDATE run SET inputs_closed = 1 WHERE state = 'ended';

-- What is long comes last, so that the rest is read without it.
CREATE TABLE ask (
    id BLOB PRIMARY KEY NOT NULL,
    run_id BLOB NOT NULL REFERENCES run (id),
    task_id BLOB NOT NULL REFERENCES task (id),
    project_id BLOB NOT NULL REFERENCES project (id),
    agent_id BLOB NOT NULL,
    request_id TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    ended_at INTEGER,
    answered_by TEXT,
    answer TEXT,
    question TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX ask_request ON ask (run_id, request_id);
CREATE INDEX ask_run ON ask (run_id, id);
CREATE INDEX ask_task ON ask (task_id, id);
CREATE INDEX ask_project ON ask (project_id, id);
CREATE INDEX ask_open ON ask (id) WHERE state = 'open';

CREATE TABLE input (
    id BLOB PRIMARY KEY NOT NULL,
    run_id BLOB NOT NULL REFERENCES run (id),
    number INTEGER NOT NULL,
    state TEXT NOT NULL,
    sent_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX input_number ON input (run_id, number);
CREATE INDEX input_open ON input (run_id) WHERE state IN ('accepted', 'written');

PRAGMA user_version = 2;
";
