//! Databases with the migration, and connections to them.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};
use uuid::Uuid;

use crate::caller::Caller;
use crate::cluster::{Cluster, Durability};

/// The one who may do everything.
pub(crate) const SUPERUSER: &str = "supabase_admin";
/// The database that others are copies of.
pub(crate) const PROJECT: &str = "project";

/// A connection.
#[derive(Debug)]
pub struct Sql {
    client: Client,
    driver: JoinHandle<()>,
}

impl Sql {
    pub(crate) async fn connect(socket: &Path, user: &str, database: &str) -> Self {
        let mut config = Config::new();
        config.host_path(socket).user(user).dbname(database);
        let (client, connection) = config.connect(NoTls).await.expect("a connection");
        let driver = tokio::spawn(async move {
            // Its end is told to whoever asks the client.
            let _ = connection.await;
        });
        Self { client, driver }
    }

    /// Runs statements that have to succeed.
    pub async fn run(&self, statements: &str) {
        if let Err(error) = self.client.batch_execute(statements).await {
            let detail = error.as_db_error().map(ToString::to_string);
            panic!(
                "{}\n{statements}",
                detail.unwrap_or_else(|| error.to_string())
            );
        }
    }

    /// The one number that a query returns.
    pub async fn number(&self, query: &str) -> i64 {
        let row = self.client.query_one(query, &[]).await;
        row.unwrap_or_else(|error| panic!("{error}: {query}"))
            .get(0)
    }
}

impl Deref for Sql {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Sql {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A database with the migration and nothing else in it.
#[derive(Debug)]
pub struct Database {
    cluster: Arc<Cluster>,
    name: String,
}

impl Database {
    /// A new one, on this process's server.
    pub async fn start() -> Self {
        Self::with(Durability::default()).await
    }

    /// A new one, on this process's server of that durability.
    pub async fn with(durability: Durability) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let cluster = Cluster::shared(durability).await;
        let name = format!("place_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let database = Self { cluster, name };
        database.copy(PROJECT, &database.name).await;
        database
    }

    pub(crate) async fn copy(&self, from: &str, to: &str) {
        let admin = Sql::connect(self.socket(), SUPERUSER, "template1").await;
        admin
            .run(&format!("create database {to} template {from}"))
            .await;
        // The owner of a project's database may do so; that is not copied.
        admin
            .run(&format!("grant create on database {to} to postgres"))
            .await;
    }

    /// Puts this database back to what a copy of it has.
    pub(crate) async fn put_back(&self, from: &str) {
        let admin = Sql::connect(self.socket(), SUPERUSER, "template1").await;
        admin
            .run(&format!("drop database {} with (force)", self.name))
            .await;
        self.copy(from, &self.name).await;
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder of the server's socket, for `host=` of other clients.
    pub fn socket(&self) -> &Path {
        self.cluster.socket()
    }

    /// The file that the server writes its log into.
    pub fn log(&self) -> PathBuf {
        self.socket().join("log")
    }

    /// A connection of the superuser, whom no rule binds.
    pub async fn admin(&self) -> Sql {
        Sql::connect(self.socket(), SUPERUSER, &self.name).await
    }

    /// A connection of the owner of what the migration makes.
    pub async fn owner(&self) -> Sql {
        Sql::connect(self.socket(), "postgres", &self.name).await
    }

    /// A connection that calls for users, as PostgREST does.
    pub async fn gate(&self) -> Sql {
        Sql::connect(self.socket(), "supalite", &self.name).await
    }

    /// A new user.
    pub async fn user(&self) -> Uuid {
        let id = Uuid::new_v4();
        let insert = "insert into auth.users (id, email) values ($1, $2)";
        let done = self
            .admin()
            .await
            .execute(insert, &[&id, &format!("{id}@example.com")])
            .await;
        done.expect("a user");
        id
    }

    /// A new sign-in of a user, with the password alone.
    pub async fn sign_in(&self, user: Uuid) -> Caller {
        let session = Uuid::new_v4();
        let insert = "insert into auth.sessions (id, user_id, aal) values ($1, $2, 'aal1')";
        self.admin()
            .await
            .execute(insert, &[&session, &user])
            .await
            .expect("a session");
        Caller::new(self.gate().await, user, session)
    }
}
