//! Calls of the migration's functions, as PostgREST makes them.

use std::collections::HashMap;

use serde_json::{Value, json};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use crate::sql::Sql;

/// A user's sign-in, which calls functions over a connection of its own.
#[derive(Debug)]
pub struct Caller {
    sql: Sql,
    /// What its token says of it.
    pub claims: Value,
    /// What it is for PostgreSQL.
    pub role: &'static str,
    /// What functions take.
    signatures: HashMap<String, String>,
}

/// An error that a function answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The SQLSTATE. `PTnnn` becomes the HTTP status `nnn`.
    pub state: String,
    /// The code for programs, or what else the details say.
    pub code: String,
    /// A sentence.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Refusal {
    fn of(error: &Error) -> Self {
        let error = error.as_db_error().unwrap_or_else(|| panic!("{error}"));
        Self {
            state: error.code().code().to_owned(),
            code: error.detail().unwrap_or_default().to_owned(),
            message: error.message().to_owned(),
            hint: error.hint().unwrap_or_default().to_owned(),
        }
    }
}

impl Caller {
    pub(crate) fn new(sql: Sql, user: Uuid, session: Uuid) -> Self {
        Self {
            sql,
            claims: json!({ "sub": user, "session_id": session, "aal": "aal1", "role": "authenticated" }),
            role: "authenticated",
            signatures: HashMap::new(),
        }
    }

    /// Whoever comes without a sign-in.
    #[must_use]
    pub fn anonymous(sql: Sql) -> Self {
        Self {
            sql,
            claims: json!({ "role": "anon" }),
            role: "anon",
            signatures: HashMap::new(),
        }
    }

    /// The id of its sign-in.
    pub fn session(&self) -> Uuid {
        let text = self.claims["session_id"].as_str().expect("a session");
        text.parse().expect("a uuid")
    }

    /// Calls a function with arguments by name.
    ///
    /// # Errors
    /// What the function answered.
    pub async fn rpc(&mut self, function: &str, arguments: &Value) -> Result<Value, Refusal> {
        if !self.signatures.contains_key(function) {
            let look = "select pg_get_function_arguments(oid) from pg_proc where proname = $1 and pronamespace = 'public'::regnamespace";
            let found = self
                .sql
                .query_one(look, &[&function])
                .await
                .expect("the function");
            self.signatures.insert(function.to_owned(), found.get(0));
        }
        let signature = &self.signatures[function];
        let names = signature
            .split(", ")
            .filter_map(|part| part.split(' ').next());
        let passed: Vec<_> = names.map(|name| format!("{name} := a.{name}")).collect();
        let call = format!(
            "select to_jsonb(public.{function}({})) from json_to_record($1::json) as a ({signature})",
            passed.join(", ")
        );
        let rows = self
            .query(&call, &[&tokio_postgres::types::Json(arguments)])
            .await?;
        Ok(rows[0].get(0))
    }

    /// Runs one statement as whoever this is.
    ///
    /// # Errors
    /// What PostgreSQL answered.
    pub async fn query(
        &mut self,
        statement: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<Row>, Refusal> {
        self.sql
            .batch_execute("begin")
            .await
            .expect("a transaction");
        let who = "select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)";
        self.sql
            .query(who, &[&self.role, &self.claims.to_string()])
            .await
            .expect("claims");
        let done = self.sql.query(statement, parameters).await;
        // The end of a transaction can fail as well.
        let end = if done.is_ok() { "commit" } else { "rollback" };
        let ended = self.sql.batch_execute(end).await;
        let rows = done.map_err(|error| Refusal::of(&error))?;
        ended.map_err(|error| Refusal::of(&error))?;
        Ok(rows)
    }

    /// Whether a statement is refused for want of privileges.
    pub async fn may_not(&mut self, statement: &str) -> bool {
        let done = self.query(statement, &[]).await;
        done.is_err_and(|refusal| refusal.state == SqlState::INSUFFICIENT_PRIVILEGE.code())
    }
}
