//! The server, people on it, and machines that are signed in as one of them.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use supabase_double::{Durability, Fault, Options, Supabase, Wrong};
use tokio::runtime::{Builder, Runtime};

use crate::http::Connection;
use crate::machine::{Build, Machine, until};

const PASSWORD: &str = "correct horse battery staple";
/// How often it is looked whether something has come.
pub(super) const LOOK: Duration = Duration::from_millis(2);

pub(super) struct Server {
    // Dropped first, because its end may need the runtime.
    supabase: Supabase,
    runtime: Runtime,
    users: Cell<u32>,
}

impl Server {
    pub(super) fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let options = Options {
            durability: Durability::On,
            ..Options::default()
        };
        Self {
            supabase: runtime.block_on(Supabase::with(options)),
            runtime,
            users: Cell::new(0),
        }
    }

    pub(super) fn run<T>(&self, work: impl AsyncFnOnce(&Supabase) -> T) -> T {
        self.runtime.block_on(work(&self.supabase))
    }

    /// Runs statements as the superuser.
    pub(super) fn sql(&self, statements: &str) {
        self.run(async |supabase| supabase.sql(statements).await);
    }

    /// The one number that a query of the superuser returns.
    pub(super) fn number(&self, query: &str) -> i64 {
        self.run(async |supabase| supabase.number(query).await)
    }

    /// Calls of this function are refused, as by a server that is overloaded, or are not any more.
    pub(super) fn refuse(&self, call: Option<&str>) {
        self.run(async |supabase| match call {
            Some(call) => {
                let fault = Fault::of(&format!("/rest/v1/rpc/{call}"), Wrong::Status(503, None));
                supabase.fault(fault).await;
            }
            None => supabase.heal().await,
        });
    }

    /// A new user, by the name that is an address.
    pub(super) fn user(&self) -> String {
        let number = self.users.get() + 1;
        self.users.set(number);
        let email = format!("user-{number}@example.com");
        self.run(async |supabase| supabase.create_user(&email, PASSWORD).await);
        email
    }

    /// A bare connection to the gateway that is signed in as the user, as a client in some page would be.
    pub(super) fn client(&self, email: &str) -> Connection {
        let address = self
            .supabase
            .url()
            .trim_start_matches("http://")
            .parse()
            .unwrap();
        let key = self.supabase.anon_key();
        let open = |token: &str| {
            let connection = Connection::open(address, token).unwrap();
            connection.with_header("apikey", key)
        };
        let body = json!({ "email": email, "password": PASSWORD }).to_string();
        let path = "/auth/v1/token?grant_type=password";
        let (status, session) = open(key).post(path, &body).unwrap();
        assert_eq!(status, 200, "{session}");
        open(session["access_token"].as_str().unwrap())
    }

    /// A machine that shares its queue with all others of the user.
    pub(super) fn machine<'a>(
        &self,
        build: &'a Build,
        folder: &Path,
        email: &str,
        interval: Duration,
    ) -> Machine<'a> {
        let mut machine = Machine::new(build, folder);
        let interval = interval.as_secs().to_string();
        machine.run(
            "ccm",
            &["config", "set", "sync.interval_seconds", &interval],
        );
        machine.start();
        let url = self.supabase.url();
        let args = [
            "supabase",
            "connect",
            "--supabase-url",
            &url,
            "--supabase-key",
            self.supabase.anon_key(),
            "--email",
            email,
            "--password-stdin",
        ];
        machine.run_with("ccm-orchestrator", &args, PASSWORD);
        machine
    }
}

/// A project of a machine that others may give work to; its id, once `others` know it.
pub(super) fn project(
    machine: &Machine<'_>,
    name: &str,
    command: &[&str],
    others: &[&Machine<'_>],
) -> String {
    let id = machine.project(name, command);
    let folder = machine.path("projects").join(name);
    let allow = ["config", "set", "--project", "remote_tasks", "allow"];
    machine.run_in(&folder, "ccm", &allow);
    for other in others {
        let mut connection = other.connection();
        let path = format!("/api/v1/projects/{id}");
        until("others know the project", LOOK, || {
            let (status, _) = connection.get(&path).ok()?;
            (status == 200).then_some(())
        });
    }
    id
}

/// What a machine says of how it shares.
pub(super) fn state(connection: &mut Connection) -> Value {
    let (status, state) = connection.get("/api/v1/sync").unwrap();
    assert_eq!(status, 200, "{state}");
    state
}
