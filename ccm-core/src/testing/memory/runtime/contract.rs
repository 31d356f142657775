//! The contract's methods.

use std::sync::PoisonError;
use std::time::Duration;

use async_trait::async_trait;

use super::{Host, Inputs, LaunchFault, MemoryRuntime, Phase, RunData, State, Step};
use crate::agent::{AgentFacts, AgentPlace};
use crate::id::{AgentId, RunId};
use crate::input::Input;
use crate::reason::Reason;
use crate::run::{Checkpoint, Observation, Report, Reported, Stream};
use crate::runtime::{
    AgentRuntime, AttachCommand, Batch, Chunk, LaunchOrder, Resources, RunEnd, RunProcess,
    RunStatus, Sent, SittingOrder, Stopped,
};
use crate::task::Setback;
use crate::transcript::{Entry, EntryBody, Transcript};
use crate::{Error, ErrorKind, Noun, Result};

/// The most bytes of each stream in one batch.
const BATCH_BYTES: u64 = 512 * 1024;
/// How much of its output is a program's report.
const REPORT_BYTES: usize = 64 * 1024;

fn never_started(detail: impl Into<String>) -> RunEnd {
    RunEnd::NeverStarted(Setback::new(Reason::NotStarted, detail))
}

impl State {
    fn facts(&self, id: AgentId) -> Option<AgentFacts> {
        self.hosts.get(&id).map(|host| AgentFacts {
            id,
            pid: Some(host.pid),
            window: host.window.clone(),
            answers: host.answers,
            run: host.run,
            watched: host.watched,
        })
    }

    fn ensure_host(&mut self, place: &AgentPlace) {
        if !self.hosts.contains_key(&place.id) {
            let host = Host {
                pid: self.new_pid(),
                window: Some(place.name.clone()),
                answers: true,
                run: None,
                watched: false,
                sits: None,
            };
            self.hosts.insert(place.id, host);
        }
    }

    fn status(&self, run: &RunData) -> RunStatus {
        match &run.phase {
            Phase::Alive => RunStatus::Running(RunProcess {
                pid: run.pid,
                // A run that lives was started.
                started_at: run
                    .started_at
                    .unwrap_or_else(|| crate::time::Timestamp::from_micros(0)),
                age: None,
                answers: self.hosts.get(&run.agent).is_some_and(|host| host.answers),
            }),
            Phase::Ended(_) if !run.unstoppable.is_empty() => {
                RunStatus::Unstoppable(run.unstoppable.clone())
            }
            Phase::Ended(end) | Phase::Discarded(end) => RunStatus::Ended {
                end: end.clone(),
                started_at: run.started_at,
            },
        }
    }

    fn data(&self, id: RunId) -> Result<&RunData> {
        let run = self.runs.get(&id);
        run.filter(|run| !matches!(run.phase, Phase::Discarded(_)))
            .ok_or_else(|| Error::no_run(id))
    }

    /// A run that is over before it began.
    fn void(&mut self, id: RunId, agent: AgentId, end: RunEnd) {
        let run = RunData {
            agent,
            pid: 0,
            started_at: None,
            phase: Phase::Ended(end),
            steps: Default::default(),
            prompt: String::new(),
            inputs: Default::default(),
            said: Vec::new(),
            report: None,
            reports: false,
            out: Vec::new(),
            err: Vec::new(),
            family: Vec::new(),
            unstoppable: Vec::new(),
            limit_mb: None,
            memory_mb: 0,
            launches: 0,
            changed: self.version,
        };
        self.runs.insert(id, run);
    }
}

impl MemoryRuntime {
    fn start_program(&self, state: &mut State, order: &LaunchOrder) {
        let profile = &order.profile;
        let name = match (profile.driver.as_str(), profile.command.first()) {
            ("command", Some(program)) => program,
            _ => &profile.driver,
        };
        let Some(program) = state.programs.get(name).cloned() else {
            let end = never_started(format!("there is no program {name:?}: install it"));
            return state.void(order.run, order.place.id, end);
        };
        let steps = program(order);
        let reads = |step: &Step| matches!(step, Step::Take | Step::Rest);
        let reports = |step: &Step| matches!(step, Step::Report(_));
        let run = RunData {
            agent: order.place.id,
            pid: state.new_pid(),
            started_at: Some(self.shared.clock.now()),
            phase: Phase::Alive,
            inputs: Inputs {
                read: steps.iter().any(reads),
                ..Inputs::default()
            },
            said: Vec::new(),
            report: None,
            reports: steps.iter().any(reports),
            steps: steps.into(),
            prompt: order.prompt.as_str().to_owned(),
            out: Vec::new(),
            err: Vec::new(),
            family: Vec::new(),
            unstoppable: Vec::new(),
            limit_mb: order.limits.memory_mb,
            memory_mb: 0,
            launches: 1,
            changed: 0,
        };
        state.runs.insert(order.run, run);
        if let Some(host) = state.hosts.get_mut(&order.place.id) {
            host.run = Some(order.run);
        }
        self.touch(state, Some(order.run));
        self.advance(state, order.run);
    }

    fn settle(&self, state: &mut State, id: RunId) -> RunStatus {
        if !state.runs.contains_key(&id) {
            // From here on a launch of it finds that it is over.
            state.void(
                id,
                AgentId::from_uuid(uuid::Uuid::nil()),
                never_started("nobody launched it"),
            );
        }
        match state.runs.get(&id) {
            Some(run) => state.status(run),
            None => RunStatus::Ended {
                end: never_started("nobody launched it"),
                started_at: None,
            },
        }
    }
}

#[async_trait]
impl AgentRuntime for MemoryRuntime {
    async fn start_agent(&self, place: &AgentPlace) -> Result<AgentFacts> {
        let mut state = self.lock();
        state.ensure_host(place);
        let facts = state.facts(place.id);
        facts.ok_or_else(|| Error::no_agent(place.id))
    }

    async fn stop_agent(&self, agent: AgentId) -> Result<()> {
        let mut state = self.lock();
        if let Some(run) = state.hosts.get(&agent).and_then(|host| host.run) {
            return Err(Error::new(
                ErrorKind::WrongState(Noun::Agent),
                format!("the agent has run {run} in hand; stop that first"),
            ));
        }
        state.hosts.remove(&agent);
        Ok(())
    }

    async fn kill_agent(&self, agent: AgentId) -> Result<()> {
        if self
            .lock()
            .hosts
            .get(&agent)
            .is_none_or(|host| host.answers)
        {
            return self.stop_agent(agent).await;
        }
        self.kill_host(agent);
        Ok(())
    }

    async fn agents(&self) -> Result<Vec<AgentFacts>> {
        let state = self.lock();
        let ids = state.hosts.keys();
        Ok(ids.filter_map(|id| state.facts(*id)).collect())
    }

    async fn attach_command(&self, _agent: AgentId) -> Result<AttachCommand> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "agents in memory have no terminal",
        ))
    }

    async fn take_over(&self, order: &SittingOrder) -> Result<()> {
        let mut state = self.lock();
        state.ensure_host(&order.place);
        if let Some(host) = state.hosts.get_mut(&order.place.id) {
            host.sits.get_or_insert_with(|| order.clone());
        }
        Ok(())
    }

    async fn hand_back(&self, agent: AgentId, _grace: Duration) -> Result<Stopped> {
        if let Some(host) = self.lock().hosts.get_mut(&agent) {
            host.sits = None;
        }
        Ok(Stopped::Empty)
    }

    async fn launch(&self, order: &LaunchOrder) -> Result<RunStatus> {
        let mut state = self.lock();
        if let Some(run) = state.runs.get(&order.run) {
            return Ok(state.status(run));
        }
        state.ensure_host(&order.place);
        let in_hand = state.hosts.get(&order.place.id).and_then(|host| host.run);
        if let Some(run) = in_hand {
            return Err(Error::new(
                ErrorKind::WrongState(Noun::Agent),
                format!("the agent has run {run} in hand"),
            ));
        }
        let unknown = Error::unavailable("the agent's host does not answer");
        match state.launch_faults.pop_front() {
            Some(LaunchFault::BeforeCommit) => return Err(unknown),
            Some(LaunchFault::AfterCommit) => {
                self.start_program(&mut state, order);
                return Err(unknown);
            }
            Some(LaunchFault::NeverStarts(why)) => {
                state.void(order.run, order.place.id, RunEnd::NeverStarted(why));
            }
            None => self.start_program(&mut state, order),
        }
        Ok(self.settle(&mut state, order.run))
    }

    async fn inspect(&self, run: RunId) -> Result<RunStatus> {
        Ok(self.settle(&mut self.lock(), run))
    }

    async fn runs(&self) -> Result<Vec<RunId>> {
        let state = self.lock();
        let with_data = state
            .runs
            .iter()
            .filter(|(_, run)| run.launches > 0 && !matches!(run.phase, Phase::Discarded(_)));
        Ok(with_data.map(|(id, _)| *id).collect())
    }

    async fn read(&self, run: RunId, from: &Checkpoint, end: Option<&RunEnd>) -> Result<Batch> {
        let state = self.lock();
        let data = state.data(run)?;
        let mut batch = Batch {
            checkpoint: from.clone(),
            complete: true,
            ..Batch::default()
        };
        for stream in [Stream::Out, Stream::Err] {
            let readable = data.readable(stream, end.is_some());
            let offset = from.offset(stream);
            let to = data.part(stream, offset, readable);
            batch.complete &= to >= readable;
            if to > offset {
                let seen = Observation::Output {
                    stream,
                    from: offset,
                    to,
                };
                batch.observations.push(seen);
                match stream {
                    Stream::Out => batch.checkpoint.out = to,
                    Stream::Err => batch.checkpoint.err = to,
                }
            }
            if let Stream::Out = stream {
                let new = data.said.iter().filter(|(at, _)| *at > offset && *at <= to);
                batch.observations.extend(new.map(|(_, seen)| seen.clone()));
            }
        }
        if batch.complete {
            batch.resting = data.is_resting();
            if let Some(end) = end {
                batch.reported = data.reported(end);
                batch.last_words = data.last_words();
            }
        }
        Ok(batch)
    }

    async fn output(&self, run: RunId, stream: Stream, offset: u64, limit: u64) -> Result<Chunk> {
        let state = self.lock();
        let spool = state.data(run)?.spool(stream);
        let at = |place: u64| usize::try_from(place).map_or(spool.len(), |at| at.min(spool.len()));
        let (from, to) = (at(offset), at(offset.saturating_add(limit)));
        Ok(Chunk {
            bytes: spool.get(from..to).unwrap_or_default().to_vec(),
            size: spool.len() as u64,
        })
    }

    async fn transcript(
        &self,
        run: RunId,
        from: u64,
        to: Option<u64>,
        _limit: u32,
    ) -> Result<Transcript> {
        let most = to.map_or(BATCH_BYTES, |to| to.saturating_sub(from).min(BATCH_BYTES));
        let chunk = self.output(run, Stream::Out, from, most).await?;
        let size = to.map_or(chunk.size, |to| to.min(chunk.size));
        let next = from + chunk.bytes.len() as u64;
        let text = String::from_utf8_lossy(&chunk.bytes).into_owned();
        let entry = Entry {
            offset: from,
            time: None,
            body: EntryBody::Output { text },
        };
        Ok(Transcript {
            entries: (!chunk.bytes.is_empty())
                .then_some(entry)
                .into_iter()
                .collect(),
            begin: from,
            next,
            complete: next >= size,
        })
    }

    async fn send(&self, run: RunId, input: &Input) -> Result<Sent> {
        let mut state = self.lock();
        let Some(data) = state.runs.get_mut(&run) else {
            return Ok(Sent::TooLate);
        };
        let (alive, inputs) = (matches!(data.phase, Phase::Alive), &mut data.inputs);
        if inputs.written.contains(&input.number) {
            return Ok(Sent::Written);
        }
        if !alive || inputs.closed {
            return Ok(Sent::TooLate);
        }
        if !inputs.read {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the program takes nothing after its prompt",
            ));
        }
        inputs.written.insert(input.number);
        inputs.unread.push_back(input.clone());
        self.advance(&mut state, run);
        Ok(Sent::Written)
    }

    async fn can_interrupt(&self, run: RunId) -> Result<bool> {
        Ok(self.lock().data(run)?.inputs.read)
    }

    async fn close_input(&self, run: RunId) -> Result<()> {
        let mut state = self.lock();
        if let Some(data) = state.runs.get_mut(&run) {
            data.inputs.closed = true;
            self.advance(&mut state, run);
        }
        Ok(())
    }

    async fn changed(&self, run: RunId) -> Result<()> {
        let mut version = self.shared.version.subscribe();
        loop {
            version.mark_unchanged();
            let changed = self.lock().runs.get(&run).map_or(0, |run| run.changed);
            {
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                // The first call may have missed something, so it returns at once.
                if told.insert(run, changed) != Some(changed) {
                    return Ok(());
                }
            }
            if version.changed().await.is_err() {
                return Err(Error::unavailable("the runtime is gone"));
            }
        }
    }

    async fn stop(&self, run: RunId, _grace: Duration) -> Result<Stopped> {
        let mut state = self.lock();
        self.end_with(&mut state, run, None, Some(15), true);
        let left = state.runs.get(&run).map(|run| run.unstoppable.clone());
        Ok(match left {
            Some(pids) if !pids.is_empty() => Stopped::Unstoppable(pids),
            _ => Stopped::Empty,
        })
    }

    async fn resources(&self, agent: AgentId) -> Result<Option<Resources>> {
        let state = self.lock();
        let run = state.hosts.get(&agent).and_then(|host| host.run);
        let run = run.and_then(|run| state.runs.get(&run));
        Ok(run.map(|run| {
            let processes = 1 + run.family.len() as u32;
            Resources {
                memory_bytes: u64::from(processes) << 20,
                cpu_time: Duration::ZERO,
                processes,
            }
        }))
    }

    async fn discard(&self, run: RunId) -> Result<()> {
        let mut state = self.lock();
        let Some(data) = state.runs.get_mut(&run) else {
            return Ok(());
        };
        match &data.phase {
            Phase::Ended(end) if data.unstoppable.is_empty() => {
                data.phase = Phase::Discarded(end.clone());
                data.out = Vec::new();
                data.err = Vec::new();
                Ok(())
            }
            Phase::Discarded(_) => Ok(()),
            Phase::Alive | Phase::Ended(_) => Err(Error::new(
                ErrorKind::WrongState(Noun::Run),
                "the run is alive; stop it first",
            )),
        }
    }
}

impl RunData {
    /// Whether it has reported and waits for more.
    fn is_resting(&self) -> bool {
        let waits = self.inputs.unread.is_empty() && !self.inputs.closed;
        matches!(self.phase, Phase::Alive) && waits && self.steps.front() == Some(&Step::Rest)
    }

    fn reported(&self, end: &RunEnd) -> Reported {
        match (&self.report, end) {
            (Some(report), _) => Reported::Whole(report.clone()),
            (None, RunEnd::Exited(_)) if !self.reports => {
                let tail = self.out.len().saturating_sub(REPORT_BYTES);
                let text = String::from_utf8_lossy(self.out.get(tail..).unwrap_or_default());
                Reported::Whole(Report {
                    text: text
                        .trim_start_matches(char::REPLACEMENT_CHARACTER)
                        .to_owned(),
                    ..Report::default()
                })
            }
            (None, _) => Reported::Nothing,
        }
    }

    fn last_words(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.err);
        let mut lines = text.lines().rev().map(str::trim);
        lines.find(|line| !line.is_empty()).map(str::to_owned)
    }

    /// Where a batch that begins at `offset` ends: in whole lines, and with at most the bytes of one batch unless a
    /// single line is longer.
    fn part(&self, stream: Stream, offset: u64, readable: u64) -> u64 {
        if readable.saturating_sub(offset) <= BATCH_BYTES {
            return readable.max(offset);
        }
        let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
        let (from, to) = (at(offset), at(readable));
        let bytes = self.spool(stream).get(from..to).unwrap_or_default();
        let window = bytes.get(..at(BATCH_BYTES)).unwrap_or(bytes);
        let line_break = |byte: &u8| *byte == b'\n';
        let length = match window.iter().rposition(line_break) {
            Some(last) => last + 1,
            None => bytes
                .iter()
                .position(line_break)
                .map_or(bytes.len(), |at| at + 1),
        };
        offset + length as u64
    }
}
