//! Schema 1.

use ccm_core::id::LogId;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0001_initial"
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
        db.execute_raw(Statement::from_sql_and_values(
            DbBackend::Sqlite,
            "INSERT INTO meta (id, log_id, epoch, last_seq, pruned_seq, queued, running) VALUES (1, ?, 0, 0, 0, 0, 0)",
            [LogId::new().as_uuid().as_bytes().to_vec().into()],
        ))
        .await?;
        Ok(())
    }
}

const SCHEMA: &str = "
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    log_id BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    pruned_seq INTEGER NOT NULL,
    queued INTEGER NOT NULL CHECK (queued >= 0),
    running INTEGER NOT NULL CHECK (running >= 0)
) STRICT;

CREATE TABLE system (
    id BLOB PRIMARY KEY NOT NULL,
    hostname TEXT NOT NULL,
    kind TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;

CREATE TABLE project (
    id BLOB PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    path BLOB NOT NULL,
    system_id BLOB NOT NULL REFERENCES system (id),
    agent_id BLOB NOT NULL,
    paused INTEGER NOT NULL,
    hold_reason TEXT,
    hold_detail TEXT,
    queued INTEGER NOT NULL CHECK (queued >= 0),
    running INTEGER NOT NULL CHECK (running >= 0),
    last_started INTEGER,
    created_at INTEGER NOT NULL,
    removed_at INTEGER
) STRICT;
CREATE UNIQUE INDEX project_name ON project (name) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX project_path ON project (path) WHERE removed_at IS NULL;

CREATE TABLE agent (
    id BLOB PRIMARY KEY NOT NULL,
    project_id BLOB NOT NULL REFERENCES project (id),
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    since INTEGER NOT NULL,
    source TEXT NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT;
CREATE INDEX agent_project ON agent (project_id);

-- What is long comes last, so that the rest is read without it.
CREATE TABLE task (
    id BLOB PRIMARY KEY NOT NULL,
    project_id BLOB NOT NULL REFERENCES project (id),
    state TEXT NOT NULL,
    priority INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    due_at INTEGER,
    dated INTEGER NOT NULL,
    open_blockers INTEGER NOT NULL CHECK (open_blockers >= 0),
    fits INTEGER NOT NULL,
    token INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    false_starts INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    run_id BLOB,
    latest_run BLOB,
    reason TEXT,
    detail TEXT,
    ended_at INTEGER,
    ended_by TEXT,
    stop TEXT,
    cost_usd REAL,
    not_before INTEGER,
    max_retries INTEGER NOT NULL,
    timeout INTEGER,
    session TEXT NOT NULL,
    tags TEXT NOT NULL,
    system_type TEXT,
    blocked_by BLOB NOT NULL,
    created_by TEXT NOT NULL,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    result TEXT
) STRICT;
CREATE INDEX task_list ON task (project_id, state, id);
CREATE INDEX task_state ON task (state, id);
CREATE INDEX task_urgent ON task (project_id, priority DESC, created_at, id)
    WHERE state = 'queued' AND open_blockers = 0 AND fits = 1 AND dated = 0;
CREATE INDEX task_oldest ON task (project_id, created_at, id)
    WHERE state = 'queued' AND open_blockers = 0 AND fits = 1 AND dated = 0;
CREATE INDEX task_dated ON task (project_id, due_at)
    WHERE state = 'queued' AND open_blockers = 0 AND fits = 1 AND dated = 1;
CREATE INDEX task_due ON task (project_id, due_at)
    WHERE state = 'queued' AND open_blockers = 0 AND fits = 1 AND due_at IS NOT NULL;

CREATE TABLE task_blocker (
    blocker_id BLOB NOT NULL REFERENCES task (id),
    task_id BLOB NOT NULL REFERENCES task (id),
    PRIMARY KEY (blocker_id, task_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE run (
    id BLOB PRIMARY KEY NOT NULL,
    task_id BLOB NOT NULL REFERENCES task (id),
    project_id BLOB NOT NULL REFERENCES project (id),
    agent_id BLOB NOT NULL,
    system_id BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    token INTEGER NOT NULL,
    lease_until INTEGER,
    state TEXT NOT NULL,
    claimed_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    held TEXT,
    stop TEXT,
    out_offset INTEGER NOT NULL,
    err_offset INTEGER NOT NULL,
    parser_version INTEGER,
    parser_data TEXT,
    session_id TEXT,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    cost_usd REAL,
    outcome TEXT
) STRICT;
CREATE INDEX run_task ON run (task_id, id);
CREATE INDEX run_agent ON run (agent_id, id);
CREATE INDEX run_open ON run (id) WHERE state <> 'ended';

CREATE TABLE event (
    seq INTEGER PRIMARY KEY NOT NULL,
    time INTEGER NOT NULL,
    kind TEXT NOT NULL,
    project_id BLOB,
    task_id BLOB,
    run_id BLOB,
    agent_id BLOB,
    data TEXT NOT NULL
) STRICT;
CREATE INDEX event_project ON event (project_id) WHERE project_id IS NOT NULL;
CREATE INDEX event_task ON event (task_id) WHERE task_id IS NOT NULL;

CREATE TABLE idempotency_key (
    principal TEXT NOT NULL,
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    task_ids BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (principal, route, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_key_age ON idempotency_key (created_at);

PRAGMA application_id = 1128484145;
PRAGMA user_version = 1;
";
