//! Calls of the migration's functions, as PostgREST makes them.

use std::collections::HashMap;

use serde_json::{Value, json};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{Json, ToSql};
use tokio_postgres::{Error, Row, Statement, ToStatement};
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
    /// What the connection was told last of both.
    told: Option<(&'static str, String)>,
    calls: HashMap<String, Statement>,
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
            told: None,
            calls: HashMap::new(),
        }
    }

    /// Whoever comes without a sign-in.
    #[must_use]
    pub fn anonymous(sql: Sql) -> Self {
        Self {
            sql,
            claims: json!({ "role": "anon" }),
            role: "anon",
            told: None,
            calls: HashMap::new(),
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
        let call = match self.calls.get(function) {
            Some(call) => call.clone(),
            None => self.prepare(function).await,
        };
        let rows = self.query(&call, &[&Json(arguments)]).await?;
        Ok(rows[0].get(0))
    }

    async fn prepare(&mut self, function: &str) -> Statement {
        let look = "select pg_get_function_arguments(oid) from pg_proc
            where proname = $1 and pronamespace = 'public'::regnamespace";
        let found = self.sql.query_one(look, &[&function]).await;
        let signature: String = found.expect("the function").get(0);
        let names = signature
            .split(", ")
            .filter_map(|part| part.split(' ').next());
        let passed: Vec<_> = names.map(|name| format!("{name} := a.{name}")).collect();
        let call = format!(
            "select to_jsonb(public.{function}({})) from json_to_record($1::json) as a ({signature})",
            passed.join(", ")
        );
        // Whoever may not call it may still ask for this.
        let call = self.sql.prepare(&call).await.expect("a call");
        self.calls.insert(function.to_owned(), call.clone());
        call
    }

    /// Runs one statement as whoever this is.
    ///
    /// # Errors
    /// What PostgreSQL answered.
    pub async fn query<S: ?Sized + ToStatement + Sync>(
        &mut self,
        statement: &S,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Refusal> {
        let who = (self.role, self.claims.to_string());
        if self.told.as_ref() != Some(&who) {
            let tell =
                "select set_config('role', $1, false), set_config('request.jwt.claims', $2, false)";
            let told = self.sql.query(tell, &[&who.0, &who.1]).await;
            told.expect("claims");
            self.told = Some(who);
        }
        let done = self.sql.query(statement, parameters).await;
        done.map_err(|error| Refusal::of(&error))
    }

    /// Whether a statement is refused for want of privileges.
    pub async fn may_not(&mut self, statement: &str) -> bool {
        let done = self.query(statement, &[]).await;
        done.is_err_and(|refusal| refusal.state == SqlState::INSUFFICIENT_PRIVILEGE.code())
    }
}
