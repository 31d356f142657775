//! What SQLite gives on this disk, with nothing around it: the limits that the daemon is held against.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use rusqlite::{Connection, params};

const TEXT: &str = "Fix the failing test in the parser.";

fn open(path: &Path) -> Connection {
    let database = Connection::open(path).unwrap();
    database
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS task (
                 id BLOB PRIMARY KEY, project BLOB, state TEXT, priority INTEGER, text TEXT, created INTEGER
             ) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS ready ON task (priority, id) WHERE state = 'queued';
             -- The log has its full length from the first figure on: a file that grows costs more to sync.
             CREATE TABLE IF NOT EXISTS filler (text BLOB);
             INSERT INTO filler VALUES (zeroblob(8388608));
             DELETE FROM filler;
             PRAGMA wal_checkpoint(RESTART);",
        )
        .unwrap();
    database
}

fn insert(database: &Connection, number: u64) {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    database
        .prepare_cached("INSERT INTO task VALUES (?1, ?2, 'queued', 0, ?3, ?4)")
        .unwrap()
        .execute(params![id, [1_u8; 16], TEXT, number.cast_signed()])
        .unwrap();
}

/// A database into which one row after another goes, each of them durable before the next.
pub(crate) struct OneByOne {
    database: Connection,
    next: u64,
}

impl OneByOne {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            database: open(path),
            next: 0,
        }
    }

    /// How many seconds one durable row takes.
    pub(crate) fn one(&mut self) -> f64 {
        self.next += 1;
        let begun = Instant::now();
        self.database.execute_batch("BEGIN IMMEDIATE").unwrap();
        insert(&self.database, self.next);
        self.database.execute_batch("COMMIT").unwrap();
        begun.elapsed().as_secs_f64()
    }
}

/// Rows a second of one writer that commits for as many producers at once as wait for it.
pub(crate) fn grouped(path: &Path, producers: usize, each: usize) -> f64 {
    let database = open(path);
    let (wishes, wished) = sync_channel::<SyncSender<()>>(producers);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..producers {
            let wishes = wishes.clone();
            scope.spawn(move || {
                let (done, told) = sync_channel(1);
                for _ in 0..each {
                    wishes.send(done.clone()).unwrap();
                    told.recv().unwrap();
                }
            });
        }
        drop(wishes);
        write(&database, &wished);
    });
    (producers * each) as f64 / begun.elapsed().as_secs_f64()
}

fn write(database: &Connection, wished: &Receiver<SyncSender<()>>) {
    let base: u64 = database
        .query_row("SELECT count(*) FROM task", [], |row| row.get::<_, i64>(0))
        .unwrap()
        .cast_unsigned();
    let mut next = base;
    while let Ok(first) = wished.recv() {
        let group: Vec<_> = std::iter::once(first).chain(wished.try_iter()).collect();
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        for _ in &group {
            next += 1;
            insert(database, next);
        }
        database.execute_batch("COMMIT").unwrap();
        for done in group {
            let _ = done.send(());
        }
    }
}
