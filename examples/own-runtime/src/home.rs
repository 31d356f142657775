//! The folders of a home, and the protocol between the daemon and the wrappers: who starts, who gives up, what is known.

use std::fs::{self, File};
use std::io::{self, ErrorKind as Io, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ccm_core::agent::{AgentFacts, AgentPlace};
use ccm_core::id::{AgentId, RunId};
use ccm_core::runtime::{
    Exit, LaunchOrder, MemoryCut, Resources, RunEnd, RunProcess, RunStatus, Stopped,
};
use ccm_core::task::Setback;
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Noun, Reason, Result};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::files::{failed, first, names, read, replace, time};
use crate::processes::{self, ProcessId, StopSet};

const WRAPPER: &str = include_str!("wrapper.sh");
/// How long what a program left behind has between TERM and KILL.
const GRACE: Duration = Duration::from_secs(5);
/// How long a wrapper has to write its record once its program is gone.
const RECORD: Duration = Duration::from_secs(5);

/// `agents/ID/` has `place` and the number of the agent's latest `run`; `runs/ID/` what `wrapper.sh` tells, and `over`:
/// how the run ended, once nothing of it is left.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    /// Processes are known by it; those of another boot are gone.
    machine: String,
}

/// What the link `gate` leads to.
enum Gate {
    /// The program, its wrapper, and since when.
    Started(ProcessId, ProcessId, Timestamp),
    Never(Setback),
}

/// The file `over`.
#[derive(Serialize, Deserialize)]
enum Over {
    Exited(Exit),
    Gone,
}

impl Home {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        for name in ["agents", "runs"] {
            let mut folder = fs::DirBuilder::new();
            folder.recursive(true).mode(0o700).create(path.join(name))?;
        }
        Ok(Self {
            path: path.canonicalize()?,
            machine: processes::machine()?,
        })
    }

    pub(crate) fn run(&self, run: RunId) -> PathBuf {
        self.path.join("runs").join(run.to_string())
    }

    fn agent(&self, agent: AgentId) -> PathBuf {
        self.path.join("agents").join(agent.to_string())
    }

    /// Holds whatever must not be done by two at once until the file is closed. The wrappers don't inherit it.
    fn lock(&self) -> io::Result<File> {
        let lock = File::create(self.path.join("lock"))?;
        lock.lock()?;
        Ok(lock)
    }

    // --- agents: without a host of their own they are no more than a folder ---

    pub(crate) fn start_agent(&self, place: &AgentPlace) -> Result<AgentFacts> {
        let folder = self.agent(place.id);
        fs::create_dir_all(&folder).map_err(failed)?;
        let text = serde_json::to_vec(place).map_err(io::Error::from);
        text.and_then(|text| replace(&folder, "place", &text))
            .map_err(failed)?;
        self.facts(place.id).map_err(failed)
    }

    pub(crate) fn stop_agent(&self, agent: AgentId) -> Result<()> {
        let _lock = self.lock().map_err(failed)?;
        self.must_be_free(agent, None)?;
        match fs::remove_dir_all(self.agent(agent)) {
            Err(error) if error.kind() != Io::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }

    pub(crate) fn agents(&self) -> Result<Vec<AgentFacts>> {
        let ids = names(&self.path.join("agents")).map_err(failed)?;
        let facts = ids.into_iter().map(|id| self.facts(id));
        facts.collect::<io::Result<_>>().map_err(failed)
    }

    fn facts(&self, id: AgentId) -> io::Result<AgentFacts> {
        let run = self.latest_run(id)?;
        let busy = match run {
            Some(run) => self.wrapper_of(run)?,
            None => None,
        };
        Ok(AgentFacts {
            id,
            pid: busy.map(|wrapper| wrapper.pid),
            window: None,
            answers: true,
            run: run.filter(|_| busy.is_some()),
            watched: false,
        })
    }

    fn latest_run(&self, agent: AgentId) -> io::Result<Option<RunId>> {
        let text = read(&self.agent(agent).join("run"))?;
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// The wrapper that is at work on a run now.
    fn wrapper_of(&self, run: RunId) -> io::Result<Option<ProcessId>> {
        let folder = self.run(run);
        Ok(match self.gate(&folder)? {
            Some(Gate::Started(_, wrapper, _)) if wrapper.is_alive() => {
                Some(wrapper).filter(|_| !folder.join("exit").exists())
            }
            _ => None,
        })
    }

    fn must_be_free(&self, agent: AgentId, for_run: Option<RunId>) -> Result<()> {
        let latest = self.latest_run(agent).map_err(failed)?;
        if let Some(run) = latest.filter(|run| Some(*run) != for_run)
            && !matches!(self.inspect(run)?, RunStatus::Ended { .. })
        {
            let message = format!("the agent has run {run} in hand; stop that first");
            return Err(Error::new(ErrorKind::WrongState(Noun::Agent), message));
        }
        Ok(())
    }

    pub(crate) fn resources(&self, agent: AgentId) -> Result<Option<Resources>> {
        let Some(run) = self.latest_run(agent).map_err(failed)? else {
            return Ok(None);
        };
        let Some(Gate::Started(program, wrapper, _)) = self.gate(&self.run(run)).map_err(failed)?
        else {
            return Ok(None);
        };
        if !wrapper.is_alive() {
            return Ok(None);
        }
        let used = StopSet::new(run, Some(program)).resources();
        used.map(Some).map_err(failed)
    }

    // --- starting ---

    pub(crate) fn launch(&self, order: &LaunchOrder) -> Result<RunStatus> {
        let _lock = self.lock().map_err(failed)?;
        self.start_agent(&order.place)?;
        let run = self.run(order.run);
        if self.gate(&run).map_err(failed)?.is_none() {
            self.must_be_free(order.place.id, Some(order.run))?;
            self.start(&run, order).map_err(failed)?;
        }
        self.inspect(order.run)
    }

    fn start(&self, run: &Path, order: &LaunchOrder) -> io::Result<()> {
        fs::create_dir_all(run)?;
        replace(run, "order", &serde_json::to_vec(order)?)?;
        replace(run, "prompt", order.prompt.as_str().as_bytes())?;
        let agent = self.agent(order.place.id);
        replace(&agent, "run", order.run.to_string().as_bytes())?;
        let started = program(order).and_then(|()| {
            self.spawn_wrapper(run, order).map_err(|error| {
                let folder = order.place.folder.display();
                format!("nothing can be started in {folder}: {error}")
            })
        });
        match started {
            Ok(()) => Ok(()),
            Err(why) => never(run, &Setback::new(Reason::NotStarted, why)),
        }
    }

    /// Starts the wrapper as a child of nobody here, and waits until the gate is decided.
    fn spawn_wrapper(&self, run: &Path, order: &LaunchOrder) -> io::Result<()> {
        let profile = &order.profile;
        let mut child = Command::new("setsid")
            .args(["--fork", "sh", "-c", WRAPPER, "ccm-run"])
            .arg(run)
            .arg(order.run.to_string())
            .arg(&self.machine)
            .arg(order.limits.memory_mb.unwrap_or(0).to_string())
            .args(profile.command.iter().chain(&profile.args))
            .current_dir(&order.place.folder)
            .env_remove("CCM_RUN_ID")
            .envs(&profile.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let decided = child.stdout.take();
        child.wait()?;
        // A byte, or the end because the wrapper is gone: in both cases the gate tells the rest.
        decided
            .map_or(Ok(0), |mut pipe| pipe.read(&mut [0]))
            .map(drop)
    }

    // --- looking ---

    fn gate(&self, run: &Path) -> io::Result<Option<Gate>> {
        let path = run.join("gate");
        let Some(text) = read(&path)? else {
            return Ok(None);
        };
        if let Some(why) = text.strip_prefix("never ") {
            return Ok(Some(Gate::Never(serde_json::from_str(why)?)));
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let here = words.get(4) == Some(&self.machine.as_str());
        let process = |at: usize| ProcessId {
            pid: words
                .get(at)
                .filter(|_| here)
                .map_or(0, |word| word.parse().unwrap_or(0)),
            born: words
                .get(at + 1)
                .map_or(0, |word| word.parse().unwrap_or(0)),
        };
        let since = time(fs::metadata(path)?.modified()?);
        Ok(Some(Gate::Started(process(0), process(2), since)))
    }

    pub(crate) fn inspect(&self, id: RunId) -> Result<RunStatus> {
        let run = self.run(id);
        // Whoever asks about a run that has no gate shuts it. If a wrapper is quicker, there is one to read.
        let gate = match self.gate(&run).map_err(failed)? {
            Some(gate) => gate,
            None => {
                let nobody = Setback::new(Reason::NotStarted, "it was never started");
                fs::create_dir_all(&run)
                    .and_then(|()| never(&run, &nobody))
                    .map_err(failed)?;
                let gate = self.gate(&run).map_err(failed)?;
                gate.ok_or_else(|| Error::unavailable("a run's gate vanished"))?
            }
        };
        let (program, wrapper, started_at) = match gate {
            Gate::Started(program, wrapper, started_at) => (program, wrapper, started_at),
            Gate::Never(why) => {
                return Ok(RunStatus::Ended {
                    end: RunEnd::NeverStarted(why),
                    started_at: None,
                });
            }
        };
        if read(&run.join("over")).map_err(failed)?.is_none() {
            // In this order: a wrapper that ends in between has left its record.
            let alive = wrapper.is_alive();
            let exit = read_exit(&run).map_err(failed)?;
            if alive && exit.is_none() {
                return Ok(RunStatus::Running(RunProcess {
                    pid: program.pid,
                    started_at,
                    age: None,
                    answers: true,
                }));
            }
            let left = StopSet::new(id, Some(program)).end(GRACE).map_err(failed)?;
            if !left.is_empty() {
                return Ok(RunStatus::Unstoppable(left));
            }
            let over = exit.map_or(Over::Gone, Over::Exited);
            let text = serde_json::to_vec(&over).map_err(io::Error::from);
            text.and_then(|text| first(&run, "over", &text))
                .map_err(failed)?;
        }
        let over = read(&run.join("over")).map_err(failed)?.unwrap_or_default();
        let over = serde_json::from_str(&over).map_err(|error| failed(error.into()))?;
        Ok(RunStatus::Ended {
            end: match over {
                Over::Exited(exit) => RunEnd::Exited(exit),
                Over::Gone => RunEnd::Gone,
            },
            started_at: Some(started_at),
        })
    }

    /// Every run that was ordered and not discarded.
    pub(crate) fn runs(&self) -> Result<Vec<RunId>> {
        let mut runs: Vec<RunId> = names(&self.path.join("runs")).map_err(failed)?;
        runs.retain(|run| self.run(*run).join("order").exists());
        runs.sort_unstable();
        Ok(runs)
    }

    // --- ending ---

    pub(crate) fn stop(&self, id: RunId, grace: Duration) -> Result<Stopped> {
        let run = self.run(id);
        if !run.exists() {
            return Ok(Stopped::Empty);
        }
        match self.inspect(id)? {
            RunStatus::Ended { .. } => return Ok(Stopped::Empty),
            RunStatus::Unstoppable(left) => return Ok(Stopped::Unstoppable(left)),
            RunStatus::Running(_) => {}
        }
        let Some(Gate::Started(program, wrapper, _)) = self.gate(&run).map_err(failed)? else {
            return Ok(Stopped::Empty);
        };
        replace(&run, "stop", b"").map_err(failed)?;
        let left = StopSet::new(id, Some(program)).end(grace).map_err(failed)?;
        if !left.is_empty() {
            return Ok(Stopped::Unstoppable(left));
        }
        // What is left to do for the wrapper is to write its record. One that can't is ended without.
        let began = Instant::now();
        while wrapper.is_alive() && !run.join("exit").exists() {
            if began.elapsed() > RECORD {
                wrapper.signal(Signal::SIGKILL);
            }
            if began.elapsed() > RECORD * 2 {
                return Ok(Stopped::Unstoppable(vec![wrapper.pid]));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(Stopped::Empty)
    }

    /// Deletes what a run wrote. What decides that it never runs again stays: a few bytes.
    pub(crate) fn discard(&self, id: RunId) -> Result<()> {
        let run = self.run(id);
        if !run.join("order").exists() {
            return Ok(());
        }
        if !matches!(self.inspect(id)?, RunStatus::Ended { .. }) {
            let message = "the run is alive; stop it first";
            return Err(Error::new(ErrorKind::WrongState(Noun::Run), message));
        }
        let kept = ["gate", "over", "order"].map(|name| run.join(name));
        let discarded = || {
            for entry in fs::read_dir(&run)? {
                let path = entry?.path();
                if !kept.contains(&path) {
                    fs::remove_file(path)?;
                }
            }
            // Last, because without it there is nothing to discard.
            fs::remove_file(run.join("order"))
        };
        discarded().map_err(failed)
    }
}

/// Why an order's program can't be started, for a person.
fn program(order: &LaunchOrder) -> std::result::Result<(), String> {
    let profile = &order.profile;
    let Some(name) = profile
        .command
        .first()
        .filter(|_| profile.driver == "command")
    else {
        return Err("this runtime only knows the driver \"command\" with a program".to_owned());
    };
    let own_path = std::env::var_os("PATH").unwrap_or_default();
    let path = profile.env.get("PATH").map_or(own_path, Into::into);
    let is_program = |path: PathBuf| {
        let found = order.place.folder.join(path).metadata();
        found.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let found = match name.contains('/') {
        true => is_program(name.into()),
        false => std::env::split_paths(&path).any(|folder| is_program(folder.join(name))),
    };
    match found {
        true => Ok(()),
        false => Err(format!("there is no program {name:?} here: install it")),
    }
}

/// Shuts the gate of a run, unless it is decided already.
fn never(run: &Path, why: &Setback) -> io::Result<()> {
    let text = format!("never {}", serde_json::to_string(why)?);
    first(run, "gate", text.as_bytes())
}

fn read_exit(run: &Path) -> io::Result<Option<Exit>> {
    let path = run.join("exit");
    let Some(text) = read(&path)? else {
        return Ok(None);
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |at: usize| {
        words
            .get(at)
            .and_then(|word| word.parse().ok())
            .unwrap_or(0)
    };
    // A shell tells of a signal as 128 and its number. A program that ends itself with such a code looks the same.
    let code = i32::try_from(number(0)).unwrap_or(0);
    let signal = Some(code - 128).filter(|signal| (1..=64).contains(signal));
    Ok(Some(Exit {
        code: Some(code).filter(|_| signal.is_none()),
        signal,
        stopped: words.get(1) == Some(&"true"),
        output_cut: false,
        memory_cut: words.get(5).map(|_| MemoryCut {
            used_mb: number(4),
            limit_mb: number(5),
        }),
        deadline_cut: false,
        out_bytes: number(2),
        err_bytes: number(3),
        ended_at: time(fs::metadata(path)?.modified()?),
    }))
}
