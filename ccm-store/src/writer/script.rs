//! Statements that run as one command: the way to the driver's thread and back costs more than most statements.

use futures_util::TryStreamExt;
use sea_orm::sea_query::Value;
use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::sqlite::SqliteArguments;
use sea_orm::sqlx::{self, Arguments, AssertSqlSafe, Column, Row, Sqlite};
use sea_orm::{EntityTrait, IdenStatic, Iterable, ModelTrait, QueryResult};

use crate::error::Failure;

/// Names the row that comes just before a commit.
const COMMITTING: &str = "committing";

/// SQLite allows 32766 parameters a statement.
const MAX_PARAMETERS: usize = 30_000;

/// Longer scripts are rarely the same twice, so their prepared form is not worth keeping.
const MAX_KEPT_SQL: usize = 3_000;

/// Statements with their values.
#[derive(Debug, Default)]
pub(crate) struct Script {
    sql: String,
    arguments: SqliteArguments,
    failed: Option<sqlx::error::BoxDynError>,
}

impl Script {
    /// Opens a write transaction.
    pub(crate) fn begin() -> Self {
        let mut script = Self::default();
        script.push("BEGIN IMMEDIATE", []);
        script
    }

    /// Commits. Nothing may follow.
    pub(crate) fn commit(&mut self) {
        self.push(&format!("SELECT 1 AS {COMMITTING}"), []);
        self.push("COMMIT", []);
    }

    /// Whether there is nothing to run.
    pub(crate) fn is_empty(&self) -> bool {
        self.sql.is_empty()
    }

    /// Adds a statement with `?` for each value.
    pub(crate) fn push(&mut self, sql: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(sql);
        self.sql.push_str(";\n");
        for value in values {
            self.bind(value);
        }
    }

    /// Adds the insertion of `models`, many rows a statement.
    pub(crate) fn insert<E: EntityTrait>(&mut self, models: &[E::Model]) {
        let columns: Vec<E::Column> = E::Column::iter().collect();
        let names: Vec<&str> = columns.iter().map(IdenStatic::as_str).collect();
        let head = format!(
            "INSERT INTO {} ({}) VALUES ",
            E::default().table_name(),
            names.join(", ")
        );
        for chunk in models.chunks(MAX_PARAMETERS / columns.len()) {
            self.sql.push_str(&head);
            self.rows::<E>(&columns, chunk);
            self.sql.push_str(";\n");
        }
    }

    /// Adds the update of `columns` in the rows of `models`, found by their column `id`, many rows a statement.
    pub(crate) fn update<E: EntityTrait>(
        &mut self,
        id: E::Column,
        columns: &[E::Column],
        models: &[E::Model],
    ) {
        let entity = E::default();
        let table = entity.table_name();
        let all: Vec<E::Column> = std::iter::once(id).chain(columns.iter().copied()).collect();
        let sets: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(at, column)| format!("{} = new.column{}", column.as_str(), at + 2))
            .collect();
        for chunk in models.chunks(MAX_PARAMETERS / all.len()) {
            self.sql.push_str(&format!(
                "UPDATE {table} SET {} FROM (VALUES ",
                sets.join(", ")
            ));
            self.rows::<E>(&all, chunk);
            self.sql.push_str(&format!(
                ") AS new WHERE {table}.{} = new.column1;\n",
                id.as_str()
            ));
        }
    }

    fn rows<E: EntityTrait>(&mut self, columns: &[E::Column], models: &[E::Model]) {
        let row = format!("({})", vec!["?"; columns.len()].join(", "));
        for (at, model) in models.iter().enumerate() {
            if at > 0 {
                self.sql.push_str(", ");
            }
            self.sql.push_str(&row);
            for column in columns {
                self.bind(model.get(*column));
            }
        }
    }

    fn bind(&mut self, value: Value) {
        let arguments = &mut self.arguments;
        let bound = match value {
            Value::Bool(value) => arguments.add(value),
            Value::Int(value) => arguments.add(value),
            Value::BigInt(value) => arguments.add(value),
            Value::Double(value) => arguments.add(value),
            Value::String(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
            other => Err(format!("no column has the type of {other:?}").into()),
        };
        if let Err(error) = bound {
            self.failed.get_or_insert(error);
        }
    }

    /// Runs the statements in order up to the first that fails, and returns their rows.
    ///
    /// All rows are read, because an error of a statement that was not read to its end would be lost. The future must
    /// not be dropped before it is done.
    pub(crate) async fn run(
        self,
        connection: &mut PoolConnection<Sqlite>,
    ) -> Result<Vec<QueryResult>, Failure> {
        if let Some(error) = self.failed {
            return Err(Failure {
                error: sqlx::Error::Encode(error),
                committing: false,
            });
        }
        let keep = self.sql.len() <= MAX_KEPT_SQL;
        // Safe: the text is made of literals and of names of tables and columns; every value is bound.
        let sql = AssertSqlSafe(self.sql);
        let mut rows = Vec::new();
        let mut committing = false;
        let mut stream = sqlx::query_with(sql, self.arguments)
            .persistent(keep)
            .fetch(&mut **connection);
        loop {
            match stream.try_next().await {
                Ok(None) => return Ok(rows),
                Ok(Some(row))
                    if row
                        .columns()
                        .first()
                        .is_some_and(|c| c.name() == COMMITTING) =>
                {
                    committing = true;
                }
                Ok(Some(row)) => rows.push(QueryResult::from(row)),
                Err(error) => return Err(Failure { error, committing }),
            }
        }
    }
}
