//! A Supabase project: the double in front of a database.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::cluster::Durability;
use crate::faults::{Fault, Pokes, millis};
use crate::sql::{Database, Sql};
use crate::{blocking, double};

/// What a place is like.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Where it listens. Whoever is in another network namespace needs something else than the loopback address.
    pub host: IpAddr,
    /// Whether commits are on disk when they are answered.
    pub durability: Durability,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            durability: Durability::default(),
        }
    }
}

/// A Supabase project of a test's own. It ends when this is dropped.
#[derive(Debug)]
pub struct Supabase {
    database: Database,
    folder: TempDir,
    host: IpAddr,
    http: reqwest::Client,
    server: Mutex<Option<Child>>,
    port: u16,
    keys: Value,
}

/// A copy of a place's data.
#[derive(Debug)]
pub struct Snapshot {
    name: String,
}

impl Supabase {
    /// A new place with nobody in it.
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// A new place with nobody in it.
    pub async fn with(options: Options) -> Self {
        let mut place = Self {
            database: Database::with(options.durability).await,
            folder: tempfile::tempdir().expect("a temporary folder"),
            host: options.host,
            http: reqwest::Client::new(),
            server: Mutex::new(None),
            port: 0,
            keys: Value::Null,
        };
        let said = place.launch().await;
        place.keys = said["keys"].clone();
        place.port = said["port"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
            .expect("a port");
        place
    }

    /// Its address: what a project's `https://PROJECT.supabase.co` is.
    pub fn url(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    /// The key for clients (`sb_publishable_...`).
    pub fn anon_key(&self) -> &str {
        self.key("publishable")
    }

    /// The key for clients in its older form, a token.
    pub fn legacy_anon_key(&self) -> &str {
        self.key("anon")
    }

    /// The keys that no client may have: `sb_secret_...`, and the older `service_role`.
    pub fn secret_keys(&self) -> [&str; 2] {
        [self.key("secret"), self.key("service_role")]
    }

    fn key(&self, name: &str) -> &str {
        self.keys[name].as_str().expect("a key")
    }

    /// The database behind it.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Runs statements as the superuser.
    pub async fn sql(&self, statements: &str) {
        self.database.admin().await.run(statements).await;
    }

    /// The one number that a query of the superuser returns.
    pub async fn number(&self, query: &str) -> i64 {
        self.database.admin().await.number(query).await
    }

    /// A connection of the superuser.
    pub async fn admin(&self) -> Sql {
        self.database.admin().await
    }

    // --- people ---

    /// A new user.
    pub async fn create_user(&self, email: &str, password: &str) -> Uuid {
        let body = json!({ "email": email, "password": password });
        let answer = self.ask("/auth/v1/signup", &body, None).await;
        let id = answer["user"]["id"].as_str().and_then(|id| id.parse().ok());
        id.unwrap_or_else(|| panic!("no user: {answer}"))
    }

    /// Gives a user a second factor and returns its secret. The sign-in that this takes is signed out again.
    pub async fn enrol_totp(&self, email: &str, password: &str) -> String {
        let body = json!({ "email": email, "password": password });
        let session = self
            .ask("/auth/v1/token?grant_type=password", &body, None)
            .await;
        let token = session["access_token"].as_str().expect("a token");
        let body = json!({ "factor_type": "totp", "friendly_name": "phone" });
        let factor = self.ask("/auth/v1/factors", &body, Some(token)).await;
        let id = factor["id"].as_str().expect("a factor");
        let secret = factor["totp"]["secret"]
            .as_str()
            .expect("a secret")
            .to_owned();
        let path = format!("/auth/v1/factors/{id}");
        let challenge = self
            .ask(&format!("{path}/challenge"), &json!({}), Some(token))
            .await;
        let body = json!({ "challenge_id": challenge["id"], "code": self.totp(&secret).await });
        let verified = self
            .ask(&format!("{path}/verify"), &body, Some(token))
            .await;
        let token = verified["access_token"].as_str().expect("a better token");
        self.ask("/auth/v1/logout?scope=local", &json!({}), Some(token))
            .await;
        secret
    }

    /// The code of a second factor now.
    pub async fn totp(&self, secret: &str) -> String {
        let answer = self.tell("totp", &json!({ "secret": secret })).await;
        answer["code"].as_str().expect("a code").to_owned()
    }

    async fn ask(&self, path: &str, body: &Value, token: Option<&str>) -> Value {
        let mut request = self
            .http
            .post(format!("{}{path}", self.url()))
            .header("apikey", self.anon_key());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.json(body).send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("the whole answer");
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    // --- what goes wrong ---

    async fn tell(&self, act: &str, body: &Value) -> Value {
        let url = format!("{}/_double/{act}", self.url());
        let answer = self
            .http
            .post(url)
            .json(body)
            .send()
            .await
            .expect("the double");
        assert!(answer.status().is_success(), "{act}: {}", answer.status());
        answer.json().await.expect("an answer of the double")
    }

    /// Adds a fault of requests.
    pub async fn fault(&self, fault: Fault) {
        self.tell("faults", &fault.to_json()).await;
    }

    /// Takes all faults back, also those of pokes.
    pub async fn heal(&self) {
        self.tell("faults/clear", &json!({})).await;
    }

    /// How many faults of requests were not met yet as often as they were to be.
    pub async fn faults_left(&self) -> u64 {
        self.tell("faults/left", &json!({})).await["left"]
            .as_u64()
            .unwrap_or_default()
    }

    /// What goes wrong with the next `times` pokes.
    pub async fn pokes(&self, wrong: Pokes, times: u32) {
        self.tell("pokes", &wrong.to_json(times)).await;
    }

    /// Breaks all lines of Realtime.
    pub async fn cut_realtime(&self) {
        self.tell("realtime/cut", &json!({})).await;
    }

    /// Whether Realtime refuses new lines.
    pub async fn refuse_realtime(&self, refuse: bool) {
        self.tell("realtime/refuse", &json!({ "refuse": refuse }))
            .await;
    }

    /// How long after the answer to a join pokes begin to come.
    pub async fn settle_realtime_after(&self, period: Duration) {
        self.tell("realtime/settle", &json!({ "ms": millis(period) }))
            .await;
    }

    /// How many channels of Realtime are told of changes.
    pub async fn realtime_channels(&self) -> u64 {
        self.tell("realtime/count", &json!({})).await["settled"]
            .as_u64()
            .unwrap_or_default()
    }

    /// How long access tokens are good from now on.
    pub async fn token_lifetime(&self, period: Duration) {
        self.tell("tokens/lifetime", &json!({ "seconds": period.as_secs() }))
            .await;
    }

    /// Lets all access tokens expire.
    pub async fn expire_tokens(&self) {
        self.tell("tokens/expire", &json!({})).await;
    }

    /// Lets refresh tokens become so much older.
    pub async fn age_refresh_tokens(&self, period: Duration) {
        self.tell("tokens/age", &json!({ "seconds": period.as_secs() }))
            .await;
    }

    /// Lets challenges of second factors become so much older.
    pub async fn age_challenges(&self, period: Duration) {
        self.tell("challenges/age", &json!({ "seconds": period.as_secs() }))
            .await;
    }

    /// How many requests came whose path begins so.
    pub async fn seen(&self, path: &str) -> u64 {
        self.wait_for(path, 0).await
    }

    /// Waits until so many requests came whose path begins so, and no longer than ten seconds. Returns how many came.
    pub async fn wait_for(&self, path: &str, at_least: u64) -> u64 {
        let answer = self
            .tell("seen", &json!({ "path": path, "at_least": at_least }))
            .await;
        answer["count"].as_u64().unwrap_or_default()
    }

    // --- the server as a whole ---

    async fn launch(&self) -> Value {
        let mut command = Command::new("node");
        command
            .arg("main.js")
            .arg(self.database.socket())
            .arg(self.database.name());
        command
            .arg(self.host.to_string())
            .arg(self.port.to_string());
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"));
        command
            .current_dir(double())
            .env("DO_NOT_TRACK", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command.stderr(log.expect("a log"));
        let mut server = command.spawn().expect("node");
        let stdout = server.stdout.take().expect("a pipe");
        let line = blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let line = line.await.expect("the double's first line");
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
        serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("the double did not start:\n{}", self.log()))
    }

    /// What the double had to say.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Ends the server at once. Nobody can reach it until it is started.
    pub async fn stop_server(&self) {
        let server = self
            .server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(server) = server {
            blocking(move || end(server)).await;
        }
    }

    /// Starts it again, where it was. Faults and the like are forgotten.
    pub async fn start_server(&self) {
        self.launch().await;
    }

    /// Both.
    pub async fn restart_server(&self) {
        self.stop_server().await;
        self.start_server().await;
    }

    /// Keeps a copy of the data. The server is restarted for that.
    pub async fn snapshot(&self) -> Snapshot {
        self.stop_server().await;
        let name = format!("copy_{}", Uuid::new_v4().simple());
        self.database.copy(self.database.name(), &name).await;
        self.start_server().await;
        Snapshot { name }
    }

    /// Puts the data back to a copy, as whoever runs a server does from a backup. The server is restarted for that.
    pub async fn restore(&self, snapshot: &Snapshot) {
        self.stop_server().await;
        self.database.put_back(&snapshot.name).await;
        self.start_server().await;
    }
}

fn end(mut server: Child) {
    // It may have ended by itself.
    let _ = server.kill();
    let _ = server.wait();
}

impl Drop for Supabase {
    fn drop(&mut self) {
        let server = self
            .server
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(server) = server {
            end(server);
        }
    }
}
