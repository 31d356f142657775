//! CCM's durable store on SQLite.
//!
//! ```no_run
//! # async fn example() -> ccm_core::Result<()> {
//! use ccm_store::{SqliteOptions, SqliteStore};
//!
//! let store = SqliteStore::open("ccm.db", SqliteOptions::default()).await?;
//! // ... hand it to an engine, or use it through `ccm_core::Store` ...
//! store.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! One task owns the one connection that writes, and makes one transaction of everything that waits for it. Readers
//! have connections of their own and see the last commit. Two programs must not use one database at the same time: the
//! epoch keeps the older one from writing, and a lock beside the database is the program's business.

mod agents;
mod asks;
mod config;
mod connect;
mod entity;
mod error;
mod events;
mod file;
mod inputs;
mod lists;
mod migration;
#[cfg(test)]
mod plans;
mod projects;
mod queue;
mod reader;
mod ready;
mod replica;
mod runs;
mod stats;
mod store;
mod systems;
mod task_lists;
mod tasks;
mod values;
mod writer;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use ccm_core::Result;
use ccm_core::id::Seq;
use sea_orm::DatabaseConnection;
use tokio::sync::watch;

use connect::{Place, Schema};
use migration::{Migrations, VERSION};
use reader::Reader;
use writer::{Observer, Reserve, Writer};

pub use config::SqliteOptions;
pub use connect::Migrated;
pub use file::{DatabaseFacts, DatabaseFile, Depth, ProjectPlace};
pub use writer::Commit;

/// A [`Store`](ccm_core::Store) in a SQLite database.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Writer,
    reader: Reader,
    /// The pool of the writer's one connection.
    connection: DatabaseConnection,
    head: watch::Sender<Seq>,
    /// Whether it shares with other machines.
    shares: AtomicBool,
    migrated: Option<Migrated>,
    observer: Observer,
}

impl SqliteStore {
    /// Opens the database at `path`, and makes it, and its folder, if there is none. Both are for their owner alone.
    ///
    /// A database of an older schema is brought to the present one after a checked copy was put beside it
    /// (`NAME.schema-VERSION.backup`; of several only the newest three are kept). Each step is one transaction, and
    /// without a copy there is no step. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// `TooNew` for a database of a newer program and `Corrupt` for a file that is none; the file is left as it is.
    /// `Unavailable` and `DiskFull` when it can't be read, made or brought up to date.
    pub async fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self> {
        Self::at(Place::File(path.as_ref().to_owned()), &options).await
    }

    /// A database in memory, which goes with the last use of this store. For tests and for embedders that keep nothing;
    /// unlike in a file, readers and the writer wait for each other.
    pub async fn in_memory() -> Result<Self> {
        let name = format!("/ccm-{}", uuid::Uuid::now_v7());
        Self::at(Place::Memory(name), &SqliteOptions::default()).await
    }

    async fn at(place: Place, options: &SqliteOptions) -> Result<Self> {
        let schema = Schema {
            version: VERSION,
            migrations: Migrations,
        };
        let (connection, migrated) = connect::writer(&place, options, &schema).await?;
        let observer = Observer::default();
        match Self::on(&connection, &place, options, observer.clone()).await {
            Ok((writer, reader, head)) => {
                let shares = !matches!(reader.sharing().await, Ok(None));
                Ok(Self {
                    writer,
                    reader,
                    connection,
                    head,
                    shares: AtomicBool::new(shares),
                    migrated,
                    observer,
                })
            }
            Err(error) => {
                // The error that led here says more than one of closing.
                let _ = connection.close_by_ref().await;
                Err(error)
            }
        }
    }

    async fn on(
        connection: &DatabaseConnection,
        place: &Place,
        options: &SqliteOptions,
        observer: Observer,
    ) -> Result<(Writer, Reader, watch::Sender<Seq>)> {
        let pool = connect::readers(place, options).await?;
        let reader = Reader { pool };
        let head = watch::Sender::new(reader.log().await?.head);
        let pinned = connection
            .get_sqlite_connection_pool()
            .acquire()
            .await
            .map_err(|error| {
                ccm_core::Error::unavailable("the database's writer can't start").with_source(error)
            })?;
        let reserve = match place {
            Place::File(path) if options.reserve_bytes > 0 => {
                let mut reserve = Reserve::beside(path, options.reserve_bytes);
                reserve.fill().await;
                Some(reserve)
            }
            _ => None,
        };
        let writer = Writer::start(pinned, reserve, head.clone(), observer);
        Ok((writer, reader, head))
    }

    /// What was done to the database when it was opened, if its schema was an older one.
    pub fn migrated(&self) -> Option<&Migrated> {
        self.migrated.as_ref()
    }

    /// Has `observe` told of every commit from now on. It is called by the writer, so it must not take long. Only the first
    /// one that is given is told.
    pub fn observe_commits(&self, observe: impl Fn(Commit) + Send + Sync + 'static) {
        self.observer.set(Box::new(observe));
    }

    /// Refuses further writes, waits until those under way are durable and answered, and closes the database.
    pub async fn close(&self) {
        self.writer.close().await;
        for pool in [&self.reader.pool, &self.connection] {
            if let Err(error) = pool.close_by_ref().await {
                tracing::warn!(%error, "the database was not closed in order");
            }
        }
    }
}
