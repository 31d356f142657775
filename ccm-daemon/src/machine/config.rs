//! The machine's `config.yaml`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ccm_core::id::SystemId;
use ccm_core::system::SystemKind;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::files;
use super::home::Home;
use super::schema::MACHINE;
use super::values::{Checked, ConfigErrors, Problem};

/// Everything that `config.yaml` says, with defaults for what it doesn't say and with absolute paths.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Config {
    /// What the daemon serves.
    pub profile: ProfileName,
    /// Which machine this is.
    pub system: SystemSettings,
    /// The local database.
    pub database: DatabaseSettings,
    /// The account that machines share.
    pub supabase: SupabaseSettings,
    /// How this machine and its account are kept equal.
    pub sync: SyncSettings,
    /// Where the API and the web UI listen.
    pub web_ui: WebUiSettings,
    /// How agents are run.
    pub agents: AgentSettings,
    /// The daemon itself.
    pub daemon: DaemonSettings,
    /// What bounds it all.
    pub resources: ResourceSettings,
    /// What is kept how long.
    pub retention: RetentionSettings,
}

/// What the daemon serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileName {
    /// API, event stream and web UI.
    #[default]
    Full,
    /// API and event stream.
    Minimal,
}

impl ProfileName {
    /// The name used in the config.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Minimal => "minimal",
        }
    }
}

/// Keys below `system`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SystemSettings {
    /// The machine's id. Set-up writes one.
    pub id: Option<SystemId>,
    /// What the machine is called.
    #[serde(deserialize_with = "hostname")]
    pub hostname: String,
    /// What it is for.
    #[serde(rename = "type")]
    pub kind: SystemKind,
    /// What tasks can ask for.
    pub tags: Vec<String>,
}

/// Keys below `database`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DatabaseSettings {
    /// The SQLite database.
    pub sqlite_path: PathBuf,
}

/// Keys below `supabase`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SupabaseSettings {
    /// Whether projects and tasks are shared.
    pub enabled: bool,
    /// The project's address.
    pub url: Option<String>,
    /// The project's publishable key.
    pub key: Option<String>,
    /// The encrypted sign-in.
    pub auth_file: PathBuf,
}

/// Keys below `sync`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SyncSettings {
    /// Counts only with `supabase.enabled`.
    pub enabled: bool,
    /// The longest time between two rounds.
    #[serde(rename = "interval_seconds", deserialize_with = "seconds")]
    pub interval: Duration,
    /// Failed tries in a row before it is tried rarely.
    pub max_retries: u32,
    /// Who decides when two machines changed the same.
    pub conflict_resolution: ConflictResolution,
}

/// Who decides when two machines changed the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictResolution {
    /// The later change wins.
    #[default]
    LastWriteWins,
    /// A person decides.
    Manual,
}

/// Keys below `web_ui`. They say where the API listens, too.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct WebUiSettings {
    /// Whether the web UI is served; never in the minimal profile.
    pub enabled: bool,
    /// The address to listen at.
    #[serde(deserialize_with = "address")]
    pub host: IpAddr,
    /// The port; 0 takes any free one.
    pub port: u16,
    /// Further host names that requests may be for.
    pub allowed_hosts: Vec<String>,
    /// Whether other machines may be served.
    pub allow_remote: bool,
    /// Certificate and key, if TLS is on.
    #[serde(deserialize_with = "tls")]
    pub tls: Option<TlsFiles>,
    /// A unix socket to listen at besides.
    pub socket: Option<PathBuf>,
}

impl WebUiSettings {
    /// Where to listen.
    pub const fn listen_address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Keys below `agents`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AgentSettings {
    /// Runs at once. [`Config::max_concurrent`] is what counts.
    pub max_concurrent: usize,
    /// How long an agent stays without work; zero is for good.
    #[serde(deserialize_with = "seconds")]
    pub max_idle_time: Duration,
    /// The tmux session with a window per agent.
    pub tmux_session_name: String,
    /// The tmux server, as in `tmux -L`.
    pub tmux_socket: String,
    /// What agents live in.
    pub runtime: RuntimeName,
}

/// What agents live in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeName {
    /// Windows of a tmux server.
    #[default]
    Tmux,
    /// Processes without a terminal.
    Process,
}

/// Keys below `daemon`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DaemonSettings {
    /// What is logged.
    pub log_level: LogLevel,
    /// Where to.
    pub log_file: PathBuf,
    /// How often it looks after itself.
    #[serde(deserialize_with = "seconds")]
    pub health_check_interval: Duration,
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Debug,
    #[default]
    Info,
    Warning,
    Error,
}

impl LogLevel {
    /// The name that log filters use.
    pub const fn as_filter(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warn",
            Self::Error => "error",
        }
    }
}

/// Keys below `resources`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ResourceSettings {
    /// Runs at once. [`Config::max_concurrent`] is what counts.
    pub max_agents: usize,
    /// The most memory of an agent's process tree, in MiB.
    pub max_agent_memory_mb: u64,
    /// The most windows.
    pub max_tmux_windows: usize,
    /// The most waiting tasks.
    pub max_queue_size: u64,
    /// The most requests under way to Supabase.
    pub max_supabase_connections: usize,
    /// The most database connections.
    pub connection_pool_size: u32,
}

/// Keys below `retention`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RetentionSettings {
    /// How many days data of ended runs are kept.
    pub days: u32,
}

/// A config that can be used, and what is odd about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The config.
    pub config: Config,
    /// To be told to people, not worth stopping for.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Reads the config of `home` as the daemon does: unknown keys are warnings.
    ///
    /// # Errors
    /// Every problem at once. `missing` is set if there is no file.
    pub fn load(home: &Home) -> Result<Loaded, ConfigErrors> {
        let text = read(home)?;
        Self::from_text(home, &text, Unknown::Warned)
    }

    /// Reads the config of `home` as `config validate` does: unknown keys are errors.
    ///
    /// # Errors
    /// Every problem at once. `missing` is set if there is no file.
    pub fn validate(home: &Home) -> Result<Loaded, ConfigErrors> {
        let text = read(home)?;
        Self::from_text(home, &text, Unknown::Refused)
    }

    /// The config that `text` would be in the config file of `home`.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn from_text(home: &Home, text: &str, unknown: Unknown) -> Result<Loaded, ConfigErrors> {
        Self::checked(home, text, unknown).map(|(loaded, _)| loaded)
    }

    /// The same with what the text says, key by key.
    pub(crate) fn checked(
        home: &Home,
        text: &str,
        unknown: Unknown,
    ) -> Result<(Loaded, Checked), ConfigErrors> {
        let mut checked = Checked::new(&MACHINE, text);
        let mut warnings = Vec::new();
        cross_check(&mut checked, &mut warnings);
        warnings.append(&mut checked.not_yet());
        match unknown {
            Unknown::Refused => checked.errors.append(&mut checked.unknown),
            Unknown::Warned => warnings.append(&mut checked.unknown),
        }
        let errors = |mut problems: Vec<Problem>| {
            problems.sort_by_key(|problem| problem.line);
            ConfigErrors {
                path: home.config_file().to_owned(),
                problems,
                missing: false,
            }
        };
        if !checked.errors.is_empty() {
            return Err(errors(checked.errors));
        }
        let config = Self::of_values(home, |key| checked.get(key))?;
        warnings.sort_by_key(|problem| problem.line);
        Ok((Loaded { config, warnings }, checked))
    }

    /// The config in which each key has this value.
    pub(crate) fn of_values(
        home: &Home,
        value: impl Fn(&'static str) -> Value,
    ) -> Result<Self, ConfigErrors> {
        let nested = super::values::nested(&MACHINE, value);
        let mut config: Self = serde_json::from_value(nested).map_err(|e| {
            ConfigErrors::whole(
                home.config_file(),
                MACHINE.file,
                format!("can't be used: {e}"),
            )
        })?;
        config.resolve(home);
        Ok(config)
    }

    /// Runs at once: the smaller one of the two keys that say it.
    pub fn max_concurrent(&self) -> usize {
        self.agents.max_concurrent.min(self.resources.max_agents)
    }

    /// Whether projects and tasks are to be shared with other machines.
    pub fn shares(&self) -> bool {
        self.supabase.enabled && self.sync.enabled
    }

    fn resolve(&mut self, home: &Home) {
        let absolute = |path: &mut PathBuf| *path = home.resolve(path);
        absolute(&mut self.database.sqlite_path);
        absolute(&mut self.supabase.auth_file);
        absolute(&mut self.daemon.log_file);
        if let Some(tls) = &mut self.web_ui.tls {
            absolute(&mut tls.cert);
            absolute(&mut tls.key);
        }
        if let Some(socket) = &mut self.web_ui.socket {
            absolute(socket);
        }
        if self.profile == ProfileName::Minimal {
            self.web_ui.enabled = false;
        }
    }
}

/// What becomes of keys that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// They are errors.
    Refused,
    /// They are warnings.
    Warned,
}

pub(crate) fn read(home: &Home) -> Result<String, ConfigErrors> {
    let path = home.config_file();
    files::read_text(path, files::Links::Followed).map_err(|e| {
        let missing = e.kind() == std::io::ErrorKind::NotFound;
        let message = if missing {
            format!(
                "there is no {}; run `ccm-orchestrator init` to set this machine up",
                path.display()
            )
        } else {
            format!("{} can't be read: {e}", path.display())
        };
        ConfigErrors {
            missing,
            ..ConfigErrors::whole(path, MACHINE.file, message)
        }
    })
}

/// What no key can tell by itself.
fn cross_check(checked: &mut Checked, warnings: &mut Vec<Problem>) {
    let number = |checked: &Checked, key| checked.get(key).as_i64().unwrap_or(0);
    let set = |checked: &Checked, key: &str| !checked.get(key).is_null();
    let mut errors = Vec::new();

    let (runs, agents) = ("agents.max_concurrent", "resources.max_agents");
    let (most_runs, most_agents) = (number(checked, runs), number(checked, agents));
    if most_runs != most_agents {
        let key = if checked.line(runs).is_some() {
            runs
        } else {
            agents
        };
        let least = most_runs.min(most_agents);
        warnings.push(checked.at(
            key,
            format!("{runs} is {most_runs} and {agents} is {most_agents}: the smaller one counts, {least}"),
        ));
    }

    let (cert, key) = ("web_ui.tls.cert", "web_ui.tls.key");
    if set(checked, cert) != set(checked, key) {
        let there = if set(checked, cert) { cert } else { key };
        errors.push(checked.at(
            there,
            format!("{cert} and {key} must both be set, or neither"),
        ));
    }
    let host = checked.get("web_ui.host");
    let address = host.as_str().and_then(super::check::address);
    if address.is_some_and(|address| !address.is_loopback()) {
        let tls = set(checked, cert) && set(checked, key);
        let allowed = checked.get("web_ui.allow_remote") == Value::Bool(true);
        if !(tls && allowed) {
            errors.push(checked.at(
                "web_ui.host",
                format!(
                    "{} is not an address of this machine alone; that needs {cert}, {key} and web_ui.allow_remote: true",
                    host.as_str().unwrap_or_default()
                ),
            ));
        }
    }

    if checked.get("supabase.enabled") == Value::Bool(true) {
        let missing = ["supabase.url", "supabase.key"]
            .into_iter()
            .find(|key| !set(checked, key));
        if let Some(missing) = missing {
            warnings.push(checked.at(
                "supabase.enabled",
                format!("nothing is shared without {missing}; `ccm supabase connect` asks for it"),
            ));
        }
    }
    let secret = checked
        .get("supabase.key")
        .as_str()
        .is_some_and(|key| key.starts_with("sb_secret_"));
    if secret {
        errors.push(checked.at(
            "supabase.key",
            "expected the publishable key (sb_publishable_...), found a secret one, which must never be on a user's machine",
        ));
    }
    checked.errors.append(&mut errors);
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_secs)
}

fn hostname<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_else(super::setup::hostname))
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    super::check::address(&text).ok_or_else(|| serde::de::Error::custom("not an address"))
}

fn tls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TlsFiles>, D::Error> {
    #[derive(Deserialize)]
    struct Both {
        cert: Option<PathBuf>,
        key: Option<PathBuf>,
    }
    let both = Both::deserialize(deserializer)?;
    Ok(both
        .cert
        .zip(both.key)
        .map(|(cert, key)| TlsFiles { cert, key }))
}
