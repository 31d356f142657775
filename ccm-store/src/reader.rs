//! Reads, on connections of their own that no writer ever holds up.

use ccm_core::Result;
use sea_orm::sea_query::Value;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, QueryResult, Statement};

use crate::error::from_db;

/// The pool of connections that only read.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) pool: DatabaseConnection,
}

impl Reader {
    /// All rows of one statement, with `?` for each value.
    pub(crate) async fn all(&self, sql: &str, values: Vec<Value>) -> Result<Vec<QueryResult>> {
        let statement = Statement::from_sql_and_values(DbBackend::Sqlite, sql, values);
        self.pool.query_all_raw(statement).await.map_err(from_db)
    }

    /// The first row of one statement, if there is one.
    pub(crate) async fn first(&self, sql: &str, values: Vec<Value>) -> Result<Option<QueryResult>> {
        Ok(self.all(sql, values).await?.into_iter().next())
    }
}
