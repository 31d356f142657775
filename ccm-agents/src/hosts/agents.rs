//! Giving agents their hosts, and taking them away.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ccm_core::agent::{AgentFacts, AgentPlace};
use ccm_core::id::AgentId;
use ccm_core::runtime::Resources;
use ccm_core::{Error, ErrorKind, Noun, Result, chain};
use nix::sys::signal::Signal;
use tokio::process::Command;

use super::connection::{Connection, Greeting};
use super::{Hosts, RuntimeConfig, blocking, ids_in};
use crate::descriptors;
use crate::host::ALREADY_THERE;
use crate::record::{self, AgentDir, HostFile, PlaceFile, lock_is_free, socket_path};
use crate::scope::{OF_SERVICE, Prefix};
use crate::sys::durable;
use crate::sys::proc::{self, ProcessId};
use crate::wire::{Answer, Request, VERSION};

/// How long a host may take until it listens.
const STARTING: Duration = Duration::from_secs(15);
/// How long a host with a scope of its own may take to be started, before it is started without.
const SCOPING: Duration = Duration::from_secs(5);
/// How long a host that was told to quit may take.
const QUITTING: Duration = Duration::from_secs(5);
/// The time between two looks while waiting for one of these.
const PAUSE: Duration = Duration::from_millis(10);
/// After so many of them a host that is not to be found is called.
const CALL_AFTER: u32 = 20;
/// What a host does not get from the daemon: secrets, and the marks of a run that the daemon may have been started in.
const KEPT_BACK: &[&str] = &[
    "CCM_RUN_ID",
    "CCM_TASK_ID",
    "CCM_PROJECT_ID",
    "CCM_TOKEN",
    "SUPABASE_KEY",
    "SUPABASE_URL",
];

/// What there is of an agent's host.
#[derive(Debug)]
enum Presence {
    /// It answers.
    Up(Connection),
    /// It holds its lock and says nothing.
    Silent(HostFile),
    /// It holds its lock and can't be found: it is just being started or ended, or its socket was deleted.
    Between(Option<HostFile>),
    /// There is none.
    Absent,
}

impl Hosts {
    /// See [`AgentRuntime::start_agent`](ccm_core::AgentRuntime::start_agent).
    pub async fn start_agent(&self, place: &AgentPlace) -> Result<AgentFacts> {
        Ok(self.ensure_host(place).await?.0)
    }

    /// The host of an agent, started if there is none; the connection is there if it answers.
    pub(super) async fn ensure_host(
        &self,
        place: &AgentPlace,
    ) -> Result<(AgentFacts, Option<Connection>)> {
        self.write_place(place).await?;
        let until = Instant::now() + STARTING;
        let mut replaced = false;
        let mut between = 0;
        while Instant::now() < until {
            match presence(&self.config, place.id).await? {
                Presence::Up(mut host) => {
                    let outdated = host.status.version != VERSION && host.status.run.is_none();
                    // Only once: if what is started is of another version too, then that is what there is.
                    if outdated && !replaced {
                        replaced = true;
                        host.ask(&Request::Quit, QUITTING).await?;
                        self.wait_until_gone(place.id).await?;
                        continue;
                    }
                    return Ok((facts_of(place.id, &host), Some(host)));
                }
                Presence::Silent(file) => return Ok((silent(place.id, &file), None)),
                Presence::Between(file) => {
                    between += 1;
                    if between == CALL_AFTER
                        && let Some(file) = &file
                    {
                        call(file.process);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Presence::Absent => self.start_host(place).await?,
            }
        }
        Err(Error::unavailable(format!(
            "the host of agent {} did not come up; see {}",
            place.name,
            self.agent(place.id).host_log().display()
        )))
    }

    async fn write_place(&self, place: &AgentPlace) -> Result<()> {
        let dir = self.agent(place.id);
        let file = PlaceFile {
            epoch: self.config.epoch,
            socket: socket_path(&self.config.home, place.id),
            place: place.clone(),
        };
        blocking(move || {
            durable::make_dir(dir.path())
                .map_err(|error| durable::error("make", dir.path(), error))?;
            match dir.place() {
                Ok(Some(old)) if old == file => return Ok(()),
                Ok(Some(old)) if old.epoch > file.epoch => {
                    return Err(Error::new(
                        ErrorKind::Superseded,
                        format!("a newer daemon (epoch {}) has this agent", old.epoch),
                    ));
                }
                _ => {}
            }
            let path = dir.place_file();
            durable::replace(&path, &record::json(&file)?)
                .map_err(|error| durable::error("write", &path, error))
        })
        .await
    }

    /// Runs the program that becomes a host. That there was one already is as good.
    async fn start_host(&self, place: &AgentPlace) -> Result<()> {
        if let Some(scopes) = &self.config.scopes {
            let name = format!("agent-{}", place.id);
            let prefix = scopes.before(&name, &format!("CCM agent {}", place.name));
            let started = self.run_host(place.id, Some(prefix));
            let started = tokio::time::timeout(SCOPING, started).await;
            match started.unwrap_or_else(|_| Err(Error::unavailable("systemd does not answer"))) {
                Ok(()) => return Ok(()),
                // It may be the host that can't be started; then that is what is told.
                Err(error) => tracing::warn!(
                    agent = %place.id,
                    error = %chain(&error),
                    "the agent's host gets no scope of its own and is started in the daemon's service"
                ),
            }
        }
        self.run_host(place.id, None).await
    }

    async fn run_host(&self, agent: AgentId, prefix: Option<Prefix>) -> Result<()> {
        let in_scope = prefix.is_some();
        let (before, env) = match prefix {
            Some(prefix) => (prefix.words, prefix.env),
            None => (Vec::new(), None),
        };
        let mut argv = before.iter().chain(&self.config.host.argv);
        let Some(program) = argv.next() else {
            return Err(Error::invalid("the command that starts a host is empty"));
        };
        let mut command = Command::new(program);
        command
            .args(argv)
            .arg(crate::HOST_ARGUMENT)
            .arg(self.agent_dir(agent))
            .args(descriptors::given().map(|limit| limit.to_string()))
            .envs(env)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // One that waits for systemd is given up.
            .kill_on_drop(in_scope);
        for name in KEPT_BACK.iter().chain(OF_SERVICE) {
            command.env_remove(name);
        }
        let failed = |what: String| {
            Error::unavailable(format!(
                "could not start the agent's host with {}: {what}",
                program.display()
            ))
        };
        let output = command
            .output()
            .await
            .map_err(|error| failed(error.to_string()))?;
        match output.status.code() {
            Some(0) => Ok(()),
            Some(code) if code == i32::from(ALREADY_THERE) => Ok(()),
            _ => Err(failed(format!(
                "{} ({})",
                String::from_utf8_lossy(&output.stderr).trim(),
                output.status
            ))),
        }
    }

    /// See [`AgentRuntime::stop_agent`](ccm_core::AgentRuntime::stop_agent).
    pub async fn stop_agent(&self, agent: AgentId) -> Result<()> {
        self.end_host(agent, false).await
    }

    /// See [`AgentRuntime::kill_agent`](ccm_core::AgentRuntime::kill_agent).
    pub async fn kill_agent(&self, agent: AgentId) -> Result<()> {
        self.end_host(agent, true).await
    }

    /// Ends an agent's host; one that says nothing only with `force`.
    async fn end_host(&self, agent: AgentId, force: bool) -> Result<()> {
        let until = Instant::now() + STARTING;
        let mut between = 0;
        while Instant::now() < until {
            match presence(&self.config, agent).await? {
                Presence::Absent => return Ok(()),
                Presence::Between(file) => {
                    between += 1;
                    if between == CALL_AFTER
                        && let Some(file) = &file
                    {
                        call(file.process);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Presence::Up(mut host) => match host.ask(&Request::Quit, QUITTING).await? {
                    Answer::Busy { run } => return Err(busy(run)),
                    _ => return self.wait_until_gone(agent).await,
                },
                Presence::Silent(file) if force => {
                    // What its run leaves behind is ended by whoever looks at the run next.
                    if let Err(error) = file.process.signal(Signal::SIGKILL) {
                        return Err(no_answer(file.process.pid).with_source(error));
                    }
                    return self.wait_until_gone(agent).await;
                }
                Presence::Silent(file) => return Err(no_answer(file.process.pid)),
            }
        }
        Err(Error::unavailable(
            "the agent's host neither answers nor ends",
        ))
    }

    async fn wait_until_gone(&self, agent: AgentId) -> Result<()> {
        let lock = self.agent(agent).host_lock();
        let until = Instant::now() + QUITTING;
        while !lock_is_free(&lock)? {
            if Instant::now() > until {
                return Err(Error::unavailable("the agent's host does not end"));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// See [`AgentRuntime::agents`](ccm_core::AgentRuntime::agents).
    pub async fn agents(&self) -> Result<Vec<AgentFacts>> {
        let dir = self.config.home.join("agents");
        let ids: Vec<AgentId> = blocking(move || ids_in(&dir)).await?;
        // At the same time, because one that doesn't answer takes its while.
        let mut looks = tokio::task::JoinSet::new();
        for id in ids {
            let config = self.config.clone();
            looks.spawn(async move { facts(&config, id).await });
        }
        let mut found = Vec::new();
        while let Some(look) = looks.join_next().await {
            let look = look.map_err(|error| {
                Error::internal("the look at an agent was cut").with_source(error)
            })?;
            found.extend(look?);
        }
        found.sort_unstable_by_key(|facts| facts.id);
        Ok(found)
    }

    /// See [`AgentRuntime::resources`](ccm_core::AgentRuntime::resources).
    pub async fn resources(&self, agent: AgentId) -> Result<Option<Resources>> {
        let run = match presence(&self.config, agent).await? {
            Presence::Up(host) => host.status.run,
            _ => None,
        };
        let dir = self.agent(agent);
        let run = run.map(|run| self.run(run));
        blocking(move || {
            let Some(host) = dir.host()?.filter(|host| host.process.is_alive()) else {
                return Ok(None);
            };
            let set = match &run {
                Some(run) => super::settle::stop_set_of(dir.home(), run)?,
                None => None,
            };
            let all = match set {
                Some(set) => set
                    .scan()
                    .map(|scan| [vec![host.process], scan.alive].concat()),
                None => tree_of(host.process),
            };
            let all = all.map_err(|error| {
                Error::unavailable("could not look at the processes").with_source(error)
            })?;
            Ok(Some(proc::resources_of(&all)))
        })
        .await
    }
}

/// A process and all that descend from it.
fn tree_of(root: ProcessId) -> std::io::Result<Vec<ProcessId>> {
    let mut children: HashMap<u32, Vec<ProcessId>> = HashMap::new();
    for process in proc::all()?.iter().filter(|process| !process.gone) {
        children.entry(process.parent).or_default().push(process.id);
    }
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(process) = tree.get(next) {
        // Each has one parent and is taken out with it, so this ends.
        tree.extend(children.remove(&process.pid).unwrap_or_default());
        next += 1;
    }
    Ok(tree)
}

async fn facts(config: &RuntimeConfig, agent: AgentId) -> Result<Option<AgentFacts>> {
    Ok(match presence(config, agent).await? {
        Presence::Up(host) => Some(facts_of(agent, &host)),
        Presence::Silent(file) => Some(silent(agent, &file)),
        Presence::Between(Some(file)) => Some(silent(agent, &file)),
        Presence::Between(None) | Presence::Absent => None,
    })
}

async fn presence(config: &RuntimeConfig, agent: AgentId) -> Result<Presence> {
    let dir = AgentDir::new(&config.home, agent);
    let (file, free) = blocking(move || Ok((dir.host()?, lock_is_free(&dir.host_lock())?))).await?;
    match (file, free) {
        (_, true) => Ok(Presence::Absent),
        (None, false) => Ok(Presence::Between(None)),
        (Some(file), false) => {
            Ok(match Connection::open(&file.socket, config.epoch).await? {
                Greeting::Up(host) => Presence::Up(host),
                Greeting::Silent => Presence::Silent(file),
                // The file may be of the one before.
                Greeting::Nobody => {
                    Presence::Between(Some(file).filter(|file| file.process.is_alive()))
                }
            })
        }
    }
}

fn facts_of(id: AgentId, host: &Connection) -> AgentFacts {
    AgentFacts {
        id,
        pid: Some(host.status.pid),
        window: None,
        answers: true,
        run: host.status.run,
        watched: false,
    }
}

fn silent(id: AgentId, file: &HostFile) -> AgentFacts {
    AgentFacts {
        id,
        pid: Some(file.process.pid),
        window: None,
        answers: false,
        run: None,
        watched: false,
    }
}

/// Has a host listen anew, whose socket somebody may have deleted with other temporary files.
pub(super) fn call(host: ProcessId) {
    // One that is gone hears nothing, and one that listens loses nothing.
    let _ = host.signal(Signal::SIGUSR1);
}

/// The agent has another run in hand.
pub(super) fn busy(run: ccm_core::id::RunId) -> Error {
    Error::new(
        ErrorKind::WrongState(Noun::Agent),
        format!("the agent has run {run} in hand; stop that first"),
    )
}

/// The agent's host holds its lock and says nothing.
pub(super) fn no_answer(pid: u32) -> Error {
    Error::unavailable(format!(
        "the agent's host (process {pid}) does not answer; `kill {pid}` ends it, and a run of it with it"
    ))
}
