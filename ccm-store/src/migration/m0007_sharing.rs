//! Schema 7: what this machine shares with others, and what it knows of theirs.

use sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0007_sharing"
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
-- What every change needs to know of sharing, where every change looks anyway.
ALTER TABLE meta ADD COLUMN sharing INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta ADD COLUMN hlc_time INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta ADD COLUMN hlc_count INTEGER NOT NULL DEFAULT 0;

CREATE TABLE sharing (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    system_id BLOB NOT NULL,
    incarnation BLOB NOT NULL,
    previous BLOB,
    acknowledged INTEGER NOT NULL,
    acknowledged_uuid BLOB,
    sealed INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    complete INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    last_place INTEGER NOT NULL,
    left_marks BLOB NOT NULL
) STRICT;

CREATE TABLE mark (
    place INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    id BLOB NOT NULL,
    hlc_time INTEGER NOT NULL,
    hlc_count INTEGER NOT NULL,
    base INTEGER,
    base_body TEXT
) STRICT;
CREATE UNIQUE INDEX mark_object ON mark (kind, id);
CREATE INDEX mark_kind ON mark (kind, place);

-- What is long comes last, so that the rest is read without it.
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY,
    uuid BLOB NOT NULL,
    kind TEXT,
    id BLOB,
    hlc_time INTEGER,
    hlc_count INTEGER,
    base INTEGER,
    epoch INTEGER,
    bytes INTEGER NOT NULL,
    base_body TEXT,
    body TEXT
) STRICT;
CREATE INDEX outbox_object ON outbox (kind, id, number) WHERE kind IS NOT NULL;

CREATE TABLE set_aside (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    id BLOB NOT NULL,
    at INTEGER NOT NULL,
    why TEXT NOT NULL,
    body TEXT
) STRICT;

CREATE TABLE document (
    kind TEXT NOT NULL,
    id BLOB NOT NULL,
    place INTEGER NOT NULL,
    state INTEGER NOT NULL,
    hlc_time INTEGER NOT NULL,
    hlc_count INTEGER NOT NULL,
    origin BLOB NOT NULL,
    seq INTEGER,
    generation INTEGER NOT NULL,
    project_id BLOB,
    task_id BLOB,
    run_id BLOB,
    open INTEGER NOT NULL,
    shared INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    body TEXT
) STRICT;
CREATE UNIQUE INDEX document_object ON document (kind, id);
CREATE INDEX document_id ON document (id, kind);
CREATE INDEX document_project ON document (project_id, kind, id) WHERE project_id IS NOT NULL;
CREATE INDEX document_task ON document (task_id, kind, id) WHERE task_id IS NOT NULL;
CREATE INDEX document_run ON document (run_id, kind, id) WHERE run_id IS NOT NULL;
CREATE INDEX document_open ON document (kind, id) WHERE open = 1;
CREATE INDEX document_shared ON document (kind, id) WHERE shared = 1;
CREATE INDEX document_elsewhere ON document (kind, id) WHERE state = 2 OR shared = 1;
CREATE INDEX document_generation ON document (generation);
CREATE INDEX document_unsettled ON document (place) WHERE state = 0;

CREATE TABLE beside (
    kind TEXT NOT NULL,
    id BLOB NOT NULL,
    hlc_time INTEGER NOT NULL,
    hlc_count INTEGER NOT NULL,
    origin BLOB NOT NULL,
    seq INTEGER NOT NULL,
    epoch INTEGER,
    body TEXT
) STRICT;
CREATE UNIQUE INDEX beside_object ON beside (kind, id);

CREATE TABLE lease (
    task_id BLOB PRIMARY KEY NOT NULL,
    claim BLOB NOT NULL,
    token INTEGER,
    until INTEGER
) STRICT;

ALTER TABLE task ADD COLUMN hold TEXT;
ALTER TABLE task ADD COLUMN yielded INTEGER NOT NULL DEFAULT 0;
CREATE INDEX task_held ON task (id) WHERE hold IS NOT NULL;
CREATE INDEX task_yielded ON task (id) WHERE yielded = 1;

-- A blocker may be a task of another machine.
CREATE TABLE task_edge (
    blocker_id BLOB NOT NULL,
    task_id BLOB NOT NULL REFERENCES task (id),
    PRIMARY KEY (blocker_id, task_id)
) STRICT, WITHOUT ROWID;
INSERT INTO task_edge (blocker_id, task_id) SELECT blocker_id, task_id FROM task_blocker;
DROP TABLE task_blocker;
ALTER TABLE task_edge RENAME TO task_blocker;

ALTER TABLE idempotency_key ADD COLUMN documents TEXT;

PRAGMA user_version = 7;
";
