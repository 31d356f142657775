//! Machines of one user, as the migration's functions see them.

use serde_json::{Value, json};
use supabase_double::{Caller, Database, Refusal};
use uuid::Uuid;

/// A moment long ago, in microseconds.
pub(crate) const THEN: i64 = 1_700_000_000_000_000;

/// A database and a user in it.
pub(crate) struct Place {
    pub(crate) database: Database,
    pub(crate) user: Uuid,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let database = Database::start().await;
        let user = database.user().await;
        Self { database, user }
    }

    /// A machine of the user that has registered.
    pub(crate) async fn machine(&self) -> Machine {
        let mut machine = self.stranger().await;
        machine.register().await.unwrap();
        machine
    }

    /// A machine that has signed in, and no more.
    pub(crate) async fn stranger(&self) -> Machine {
        Machine::new(self.database.sign_in(self.user).await)
    }

    /// How many documents of a kind there are.
    pub(crate) async fn count(&self, kind: &str) -> i64 {
        let query = format!("select count(*) from ccm_entities where kind = '{kind}'");
        self.database.admin().await.number(&query).await
    }

    /// The user's sequence.
    pub(crate) async fn seq(&self) -> i64 {
        let query = format!(
            "select seq from ccm_sequences where user_id = '{}'",
            self.user
        );
        self.database.admin().await.number(&query).await
    }
}

/// One machine, which counts its operations.
pub(crate) struct Machine {
    pub(crate) caller: Caller,
    pub(crate) id: Uuid,
    pub(crate) incarnation: Uuid,
    pub(crate) sent: i64,
}

impl Machine {
    pub(crate) fn new(caller: Caller) -> Self {
        Self {
            caller,
            id: Uuid::new_v4(),
            incarnation: Uuid::new_v4(),
            sent: 0,
        }
    }

    /// The same machine over another sign-in.
    pub(crate) fn over(&self, caller: Caller) -> Self {
        Self {
            caller,
            id: self.id,
            incarnation: self.incarnation,
            sent: self.sent,
        }
    }

    pub(crate) async fn call(&mut self, function: &str, more: Value) -> Result<Value, Refusal> {
        let mut arguments =
            json!({ "p_device": self.id, "p_incarnation": self.incarnation, "p_protocol": 1 });
        for (name, value) in more.as_object().unwrap() {
            arguments[name] = value.clone();
        }
        self.caller.rpc(function, &arguments).await
    }

    pub(crate) async fn register(&mut self) -> Result<Value, Refusal> {
        let more = json!({ "p_previous": null, "p_hostname": "laptop" });
        self.call("ccm_register", more).await
    }

    /// Numbers operations.
    pub(crate) fn number(&mut self, mut operations: Vec<Value>) -> Vec<Value> {
        for operation in &mut operations {
            self.sent += 1;
            operation["number"] = json!(self.sent);
        }
        operations
    }

    /// Sends operations that are numbered already.
    pub(crate) async fn send(
        &mut self,
        mode: &str,
        operations: &[Value],
    ) -> Result<Value, Refusal> {
        let more = json!({ "p_mode": mode, "p_operations": operations });
        self.call("ccm_push", more).await
    }

    /// Numbers operations and sends them, with the later one of two edits counting.
    pub(crate) async fn push(&mut self, operations: Vec<Value>) -> Value {
        let operations = self.number(operations);
        self.send("last_write_wins", &operations).await.unwrap()
    }

    /// Like `push`, for one; what became of it.
    pub(crate) async fn put(&mut self, operation: Value) -> String {
        fate(&self.push(vec![operation]).await, 0)
    }

    pub(crate) async fn pull(&mut self, after: i64, limit: i64) -> Result<Value, Refusal> {
        let more = json!({ "p_after": after, "p_limit": limit, "p_nonces": [], "p_nonce": null });
        self.call("ccm_pull", more).await
    }

    /// All documents there are.
    pub(crate) async fn all(&mut self) -> Vec<Value> {
        let answer = self.pull(0, 1000).await.unwrap();
        assert_eq!(answer["more"], false);
        answer["rows"].as_array().unwrap().clone()
    }

    /// The document, as it is on the server.
    pub(crate) async fn get(&mut self, kind: &str, id: Uuid) -> Option<Value> {
        let all = self.all().await;
        all.into_iter()
            .find(|row| row["kind"] == kind && row["id"] == json!(id))
    }

    pub(crate) async fn claim(
        &mut self,
        claim: Uuid,
        task: Uuid,
        seconds: f64,
    ) -> Result<Value, Refusal> {
        let more = json!({ "p_claim": claim, "p_task": task, "p_seconds": seconds });
        self.call("ccm_claim", more).await
    }

    pub(crate) async fn renew(
        &mut self,
        task: Uuid,
        token: &Value,
        seconds: f64,
    ) -> Result<Value, Refusal> {
        let more = json!({ "p_task": task, "p_token": token, "p_seconds": seconds });
        self.call("ccm_renew", more).await
    }

    pub(crate) async fn finish(&mut self, task: Uuid, token: &Value) -> Result<Value, Refusal> {
        self.call("ccm_finish", json!({ "p_task": task, "p_token": token }))
            .await
    }
}

/// What became of an operation: its status, and its code if it has one.
pub(crate) fn fate(answer: &Value, place: usize) -> String {
    let result = &answer["results"][place];
    match (result["status"].as_str().unwrap(), result["code"].as_str()) {
        (status, None) => status.to_owned(),
        (status, Some(code)) => format!("{status} {code}"),
    }
}

/// The code of a refusal.
pub(crate) fn code<T: std::fmt::Debug>(answer: Result<T, Refusal>) -> String {
    let refusal = answer.unwrap_err();
    assert!(
        !refusal.message.is_empty() && !refusal.hint.is_empty(),
        "{refusal:?}"
    );
    format!("{} {}", refusal.state, refusal.code)
}

/// An operation without a number, at `THEN` and `after` microseconds.
pub(crate) fn operation(kind: &str, id: Uuid, after: i64, body: Value) -> Value {
    json!({ "uuid": Uuid::new_v4(), "kind": kind, "id": id, "body": body, "hlc_time": THEN + after, "hlc_count": 0,
        "base": null, "base_body": null, "epoch": null })
}

/// The same with some keys set otherwise.
pub(crate) fn with(mut operation: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        operation[name] = value.clone();
    }
    operation
}

/// A definition that the machine of `project` runs.
pub(crate) fn pinned(project: Uuid, title: &str) -> Value {
    json!({ "project_id": project, "title": title, "any_machine": false, "tags": [] })
}

/// A definition that any machine may run.
pub(crate) fn shared(project: Uuid, title: &str) -> Value {
    json!({ "project_id": project, "title": title, "any_machine": true, "repository": "example.com/x" })
}
