//! What became of a run, by the evidence in its folder; and ending it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ccm_core::agent::AgentFacts;
use ccm_core::id::RunId;
use ccm_core::runtime::{RunEnd, RunProcess, RunStatus, Stopped};
use ccm_core::task::Setback;
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Reason, Result};

use super::agents::call;
use super::connection::{Connection, Greeting};
use super::{Hosts, blocking};
use crate::cgroup::Group;
use crate::record::{AgentDir, Gate, Passage, RunDir};
use crate::stopset::{Emptier, GRACE, Step, StopSet};
use crate::sys::durable;
use crate::sys::proc::{Machine, ProcessId};
use crate::wire::{Answer, Request};

/// Written once a run was ended without its host, which held its lock and said nothing.
const STOPPED: &str = "stopped";
/// How often evidence that changes while it is looked at is looked at again.
const LOOKS: usize = 20;

/// What a run's folder says.
#[derive(Debug)]
pub(super) enum Evidence {
    /// There is no folder: it was not made yet, or somebody deleted it.
    Nothing,
    /// There is no gate: whether it starts is not settled, or somebody deleted it.
    Open,
    /// It ended, or never starts.
    Ended {
        end: RunEnd,
        started_at: Option<Timestamp>,
    },
    /// It passed its gate, and its host is alive.
    Held { passage: Passage, socket: PathBuf },
    /// It passed its gate, and its host is not alive.
    Cut(Passage),
    /// All this is a copy of another home's run, which is that home's affair.
    Foreign(Passage),
}

impl Hosts {
    /// See [`AgentRuntime::inspect`](ccm_core::AgentRuntime::inspect).
    pub async fn inspect(&self, run: RunId) -> Result<RunStatus> {
        let dir = self.run(run);
        let mut last = None;
        for look in 0..LOOKS {
            match self.evidence(&dir).await? {
                Evidence::Ended { end, started_at } => {
                    tidy(&dir).await?;
                    return Ok(RunStatus::Ended { end, started_at });
                }
                Evidence::Nothing | Evidence::Open => {
                    if let Some(host) = self.host_with(run).await? {
                        return Ok(RunStatus::Running(RunProcess {
                            pid: host.pid.unwrap_or_default(),
                            started_at: crate::clock::now(),
                            age: None,
                            answers: true,
                        }));
                    }
                    self.void(&dir, "it was given up before its program was started")
                        .await?;
                }
                Evidence::Foreign(passage) => {
                    return Ok(RunStatus::Ended {
                        end: RunEnd::Gone,
                        started_at: Some(passage.at),
                    });
                }
                Evidence::Cut(passage) => {
                    let started_at = Some(passage.at);
                    let left = self.empty(&dir, passage, None, false).await?;
                    return Ok(if left.is_empty() {
                        RunStatus::Ended {
                            end: RunEnd::Gone,
                            started_at,
                        }
                    } else {
                        RunStatus::Unstoppable(left)
                    });
                }
                Evidence::Held { passage, socket } => {
                    let process = |answers| RunProcess {
                        pid: passage.child.pid,
                        started_at: passage.at,
                        // Held, it is of this start of the machine.
                        age: passage.up.map(|up| crate::clock::up().saturating_sub(up)),
                        answers,
                    };
                    match Connection::open(&socket, self.config.epoch).await? {
                        Greeting::Up(host) if host.status.run == Some(run) => {
                            return Ok(match host.status.unstoppable {
                                pids if !pids.is_empty() => RunStatus::Unstoppable(pids),
                                _ => RunStatus::Running(process(true)),
                            });
                        }
                        Greeting::Silent if dir.file(STOPPED).exists() => {
                            return Ok(RunStatus::Ended {
                                end: RunEnd::Gone,
                                started_at: Some(passage.at),
                            });
                        }
                        Greeting::Silent => return Ok(RunStatus::Running(process(false))),
                        // Just let go of, or just died: the folder will say which. Or its socket was deleted.
                        other => {
                            if matches!(other, Greeting::Nobody) {
                                call(passage.host);
                            }
                            last = Some(process(false));
                            tokio::time::sleep(Duration::from_millis(1 << look.min(6))).await;
                        }
                    }
                }
            }
        }
        last.map(RunStatus::Running)
            .ok_or_else(|| Error::unavailable(format!("run {run} can't be settled now")))
    }

    /// See [`AgentRuntime::stop`](ccm_core::AgentRuntime::stop).
    pub async fn stop(&self, run: RunId, grace: Duration) -> Result<Stopped> {
        let dir = self.run(run);
        let stopped = |left: Vec<u32>| match left.is_empty() {
            true => Stopped::Empty,
            false => Stopped::Unstoppable(left),
        };
        for _ in 0..LOOKS {
            match self.evidence(&dir).await? {
                Evidence::Ended { .. } | Evidence::Foreign(_) => return Ok(Stopped::Empty),
                evidence @ (Evidence::Nothing | Evidence::Open) => {
                    let Some(host) = self.host_with(run).await? else {
                        if matches!(evidence, Evidence::Nothing) {
                            return Ok(Stopped::Empty);
                        }
                        self.void(&dir, "it was stopped before its program was started")
                            .await?;
                        continue;
                    };
                    let file = self.agent(host.id).host()?;
                    if let Some(file) = file
                        && let Some(Answer::Unstoppable { pids }) = self
                            .ask_to_stop(run, file.process, &file.socket, grace)
                            .await?
                    {
                        return Ok(Stopped::Unstoppable(pids));
                    }
                }
                Evidence::Cut(passage) => {
                    return Ok(stopped(
                        self.empty(&dir, passage, Some(grace), false).await?,
                    ));
                }
                Evidence::Held { passage, socket } => {
                    match self.ask_to_stop(run, passage.host, &socket, grace).await? {
                        Some(Answer::Unstoppable { pids }) => {
                            return Ok(Stopped::Unstoppable(pids));
                        }
                        Some(_) => {}
                        None => {
                            return Ok(stopped(
                                self.empty(&dir, passage, Some(grace), true).await?,
                            ));
                        }
                    }
                }
            }
        }
        Err(Error::unavailable(format!(
            "run {run} was told to stop and did not"
        )))
    }

    /// Has the run's host stop it. `None` when it says nothing, in which case that is to be done without it.
    async fn ask_to_stop(
        &self,
        run: RunId,
        at: ProcessId,
        socket: &Path,
        grace: Duration,
    ) -> Result<Option<Answer>> {
        match Connection::open(socket, self.config.epoch).await? {
            Greeting::Silent => Ok(None),
            Greeting::Nobody => {
                call(at);
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(Some(Answer::Done))
            }
            Greeting::Up(host) if host.status.run != Some(run) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(Some(Answer::Done))
            }
            Greeting::Up(mut host) => {
                let request = Request::Stop {
                    run,
                    grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
                };
                // It interrupts, waits, kills, and syncs what may be a large spool.
                let limit = grace + Duration::from_secs(30);
                match host.ask(&request, limit).await {
                    Err(error) if error.kind() == ErrorKind::Unavailable => Ok(Some(Answer::Done)),
                    answer => answer.map(Some),
                }
            }
        }
    }

    /// The agent whose host has the run in hand: it passed its gate, whatever became of the run's folder since.
    async fn host_with(&self, run: RunId) -> Result<Option<AgentFacts>> {
        // Nobody tells of changes in a folder that is gone.
        self.changes.forget(run);
        let agents = self.agents().await?;
        Ok(agents.into_iter().find(|facts| facts.run == Some(run)))
    }

    pub(super) async fn evidence(&self, dir: &RunDir) -> Result<Evidence> {
        let (home, dir) = (self.config.home.clone(), dir.clone());
        blocking(move || look(&home, &dir)).await
    }

    async fn void(&self, dir: &RunDir, detail: &'static str) -> Result<bool> {
        let dir = dir.clone();
        blocking(move || {
            dir.create()?;
            dir.void(Setback::new(Reason::NotStarted, detail))
        })
        .await
    }

    /// Ends what is left of a run without its host; what can't be ended is returned.
    ///
    /// `frozen` says that the host is there but does nothing: it is left alone, and the end is written down.
    async fn empty(
        &self,
        dir: &RunDir,
        passage: Passage,
        grace: Option<Duration>,
        frozen: bool,
    ) -> Result<Vec<u32>> {
        let dir = dir.clone();
        let home = self.config.home.clone();
        blocking(move || {
            let here = Machine::here().map_err(|error| {
                Error::unavailable("could not tell which machine this is").with_source(error)
            })?;
            // Numbers of processes of another start of the machine mean nothing; the mark still does.
            let same = here == passage.machine;
            let host = (same && frozen).then_some(passage.host);
            let group = group_of(&dir, passage.group).filter(|_| same);
            let set = StopSet::new(&home, dir.run, host, same.then_some(passage.child))
                .within(group.clone());
            let mut emptier = match grace {
                Some(grace) => Emptier::interrupt(set, grace),
                None => Emptier::terminate(set, GRACE),
            };
            loop {
                match emptier.step() {
                    Step::Again(pause) => std::thread::sleep(pause),
                    Step::Unstoppable(pids) => return Ok(pids),
                    Step::Empty => break,
                }
            }
            if let Some(group) = group {
                group.remove();
            }
            if frozen {
                let path = dir.file(STOPPED);
                std::fs::File::create(&path)
                    .and_then(|mut file| {
                        file.write_all(b"ended without its host\n")?;
                        file.sync_all()
                    })
                    .map_err(|error| durable::error("write", &path, error))?;
            }
            Ok(Vec::new())
        })
        .await
    }
}

/// Everything that belongs to a run whose host is alive, if it passed its gate.
pub(super) fn stop_set_of(home: &Path, dir: &RunDir) -> Result<Option<StopSet>> {
    let Some(Gate::Passed(passage)) = dir.gate()? else {
        return Ok(None);
    };
    let set = StopSet::new(home, dir.run, Some(passage.host), Some(passage.child));
    Ok(Some(set.within(group_of(dir, passage.group))))
}

/// Removes the control group of a run that is over, if its host did not come to that.
async fn tidy(dir: &RunDir) -> Result<()> {
    let dir = dir.clone();
    blocking(move || {
        // It is only tidied up here: what can't be read now is another time's trouble.
        if let Ok(Some(Gate::Passed(mut passage))) = dir.gate()
            && let Some(group) = group_of(&dir, passage.group.take())
            && dir.lock_is_free().unwrap_or(false)
            && Machine::here().is_ok_and(|here| here == passage.machine)
            && !dir.is_copy(&passage).unwrap_or(true)
        {
            group.remove();
        }
        Ok(())
    })
    .await
}

fn group_of(dir: &RunDir, recorded: Option<Group>) -> Option<Group> {
    recorded.filter(|group| group.is_of(dir.run))
}

/// Whether a run may be alive, for those who want to delete it.
pub(super) async fn may_be_alive(dir: &RunDir) -> Result<bool> {
    let dir = dir.clone();
    blocking(move || Ok(!dir.lock_is_free()?)).await
}

fn look(home: &Path, dir: &RunDir) -> Result<Evidence> {
    if !dir.exists() {
        return Ok(Evidence::Nothing);
    }
    // The lock before the record: who has let go of it has written the record before.
    let free = dir.lock_is_free()?;
    if let Some(record) = dir.exit()? {
        let (end, started_at) = record.into_end();
        return Ok(Evidence::Ended { end, started_at });
    }
    let passage = match dir.gate()? {
        None => return Ok(Evidence::Open),
        Some(Gate::Void { cause, .. }) => {
            return Ok(Evidence::Ended {
                end: RunEnd::NeverStarted(cause),
                started_at: None,
            });
        }
        Some(Gate::Passed(passage)) => passage,
    };
    let boot = Machine::here().map(|here| here.boot).unwrap_or_default();
    if free || boot != passage.machine.boot {
        return Ok(match dir.is_copy(&passage)? {
            true => Evidence::Foreign(passage),
            false => Evidence::Cut(passage),
        });
    }
    let Some(launch) = dir.launch()? else {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!("{} has a gate and no launch", dir.path().display()),
        ));
    };
    // Where it listens now; a host that came up under another temporary folder than the daemon's is elsewhere.
    let agent = AgentDir::new(home, launch.order.place.id);
    let host = agent.host().ok().flatten();
    let socket = match host.filter(|host| host.process == passage.host) {
        Some(host) => host.socket,
        None => launch.socket,
    };
    Ok(Evidence::Held { passage, socket })
}
