//! What programs without processes do.

use super::{MemoryRuntime, Phase, RunData, State};
use crate::id::RunId;
use crate::input::{Input, InputBody};
use crate::project::AgentProfile;
use crate::run::{Observation, Report, Stream};
use crate::runtime::MemoryCut;
use crate::testing::conformance::runtime::{Program, Programs};

/// One thing that a program does. A program that has done everything ends with exit code 0.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Writes to standard output.
    Out(Vec<u8>),
    /// Writes to standard error.
    Err(Vec<u8>),
    /// Writes its standard input to standard output.
    Echo,
    /// Counts its start under a name; see [`MemoryRuntime::starts`].
    Started(String),
    /// Starts a child that stays until the run is stopped, and writes the child's process id, a line.
    Child,
    /// Writes its own process id, a line.
    Pid,
    /// Takes so many MiB of memory. A run that may not have them is ended.
    Memory(u64),
    /// Waits until a test calls [`MemoryRuntime::release`] with this name.
    Wait(String),
    /// Has its driver see this, in a line of standard output of its own.
    Say(Observation),
    /// Waits for an input, reads it, and says that it has it. Goes on without one if there is none to come.
    Take,
    /// Says how it went. What it is given afterwards makes that a thing of the past.
    Report(Report),
    /// Waits for an input without reading it, as a program does that has reported. Ends well if there is none to come.
    Rest,
    /// Stays until it is stopped or killed.
    Stay,
    /// Ends with this code.
    Exit(i32),
    /// Ends by this signal.
    Signal(i32),
}

impl Step {
    /// Writes `text` to standard output.
    pub fn out(text: &str) -> Self {
        Self::Out(text.as_bytes().to_vec())
    }

    /// Writes `text` to standard error.
    pub fn err(text: &str) -> Self {
        Self::Err(text.as_bytes().to_vec())
    }

    /// Waits until `name` is released.
    pub fn wait(name: &str) -> Self {
        Self::Wait(name.to_owned())
    }
}

impl RunData {
    fn say(&mut self, seen: Observation) {
        self.out.extend(format!("{seen:?}\n").bytes());
        self.said.push((self.out.len() as u64, seen));
    }

    fn take(&mut self, input: Input) {
        self.say(match &input.body {
            InputBody::Message { .. } | InputBody::Interrupt { .. } => {
                Observation::MessageTaken { input_id: input.id }
            }
            InputBody::Answer { request_id, .. } => Observation::AnswerTaken {
                request_id: request_id.clone(),
            },
        });
        self.inputs.taken.push(input);
    }
}

impl MemoryRuntime {
    /// Does what a run's program can do now.
    pub(super) fn advance(&self, state: &mut State, run: RunId) {
        loop {
            let pid = state.next_pid + 1;
            let Some(data) = state.runs.get_mut(&run) else {
                return;
            };
            if !matches!(data.phase, Phase::Alive) {
                return;
            }
            match data.steps.pop_front() {
                Some(Step::Out(bytes)) => data.out.extend(bytes),
                Some(Step::Err(bytes)) => data.err.extend(bytes),
                Some(Step::Echo) => data.out.extend_from_slice(data.prompt.as_bytes()),
                Some(Step::Started(name)) => *state.starts.entry(name).or_default() += 1,
                Some(Step::Child) => {
                    data.family.push(pid);
                    data.out.extend(format!("{pid}\n").bytes());
                    state.next_pid = pid;
                }
                Some(Step::Memory(mb)) => {
                    data.memory_mb += mb;
                    if let Some(limit_mb) = data.limit_mb.filter(|limit| data.memory_mb > *limit) {
                        let used_mb = data.memory_mb;
                        return self.cut(state, run, MemoryCut { used_mb, limit_mb });
                    }
                }
                Some(Step::Pid) => data.out.extend(format!("{}\n", data.pid).bytes()),
                Some(Step::Wait(name)) if state.released.contains(&name) => continue,
                Some(Step::Say(seen)) => data.say(seen),
                Some(Step::Report(report)) => data.report = Some(report),
                Some(Step::Take) => match data.inputs.unread.pop_front() {
                    Some(input) => data.take(input),
                    None if data.inputs.closed => {}
                    None => return data.steps.push_front(Step::Take),
                },
                Some(Step::Rest) if !data.inputs.unread.is_empty() => data.report = None,
                Some(Step::Rest) if data.inputs.closed => {
                    return self.end_with(state, run, Some(0), None, false);
                }
                Some(step @ (Step::Wait(_) | Step::Rest | Step::Stay)) => {
                    data.steps.push_front(step);
                    return;
                }
                Some(Step::Exit(code)) => {
                    return self.end_with(state, run, Some(code), None, false);
                }
                Some(Step::Signal(signal)) => {
                    return self.end_with(state, run, None, Some(signal), false);
                }
                None => return self.end_with(state, run, Some(0), None, false),
            }
            self.touch(state, Some(run));
        }
    }

    /// Makes the programs of the conformance suite, so that its places can use [`Programs`] of this runtime.
    pub fn with_suite_programs(self) -> Self {
        self.program("echo", |_| vec![Step::Echo]);
        self.program("exit", |order| vec![Step::Exit(number(order, 1))]);
        self.program("signal", |order| vec![Step::Signal(number(order, 1))]);
        self.program("where", |order| {
            let value = order.profile.env.get("CONFORMANCE").cloned();
            vec![
                Step::out(&format!("{}\n", order.place.folder.display())),
                Step::out(&format!("{}\n", value.unwrap_or_default())),
            ]
        });
        self.program("lines", |order| {
            let lines = (0..number(order, 1)).map(|line| Step::out(&format!("{line:062}\n")));
            lines.chain([Step::out("end")]).collect()
        });
        self.program("wait", |order| {
            let name = order.profile.command.get(1).cloned().unwrap_or_default();
            vec![
                Step::Started(name.clone()),
                Step::out("ready\n"),
                Step::Wait(name),
                Step::out("out"),
                Step::err("err\n"),
            ]
        });
        self.program("memory", |order| {
            let taken = u64::try_from(number(order, 1)).unwrap_or(0);
            vec![Step::out("ready\n"), Step::Memory(taken), Step::Stay]
        });
        self.program("stubborn", |_| vec![Step::Child, Step::Pid, Step::Stay]);
        self
    }
}

fn number(order: &crate::runtime::LaunchOrder, at: usize) -> i32 {
    let word = order.profile.command.get(at);
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

impl Programs for MemoryRuntime {
    fn profile(&self, program: &Program) -> AgentProfile {
        let command = match program {
            Program::Echo => vec!["echo".to_owned()],
            Program::Exit(code) => vec!["exit".to_owned(), code.to_string()],
            Program::Signal(signal) => vec!["signal".to_owned(), signal.to_string()],
            Program::Where => vec!["where".to_owned()],
            Program::Lines(count) => vec!["lines".to_owned(), count.to_string()],
            Program::Wait(name) => vec!["wait".to_owned(), name.clone()],
            Program::Stubborn => vec!["stubborn".to_owned()],
            Program::Memory(mb) => vec!["memory".to_owned(), mb.to_string()],
            Program::Missing => vec!["no-such-program".to_owned()],
        };
        let mut profile = AgentProfile::command(command);
        let value = crate::testing::conformance::runtime::VALUE.to_owned();
        profile.env.insert("CONFORMANCE".to_owned(), value);
        profile
    }

    fn release(&self, name: &str) {
        Self::release(self, name);
    }

    fn starts(&self, name: &str) -> usize {
        Self::starts(self, name)
    }

    fn is_alive(&self, pid: u32) -> bool {
        let state = self.lock();
        let mut alive = state
            .runs
            .values()
            .filter(|run| matches!(run.phase, Phase::Alive));
        state.hosts.values().any(|host| host.pid == pid)
            || alive.any(|run| run.pid == pid || run.family.contains(&pid))
    }

    fn kill(&self, pid: u32) {
        let state = self.lock();
        let host = state.hosts.iter().find(|(_, host)| host.pid == pid);
        let agent = host.map(|(agent, _)| *agent);
        let run = state.runs.iter().find(|(_, run)| run.pid == pid);
        let run = run.map(|(id, _)| *id);
        drop(state);
        if let Some(agent) = agent {
            self.kill_host(agent);
        } else if let Some(run) = run {
            let mut state = self.lock();
            self.end_with(&mut state, run, None, Some(9), false);
        }
    }
}

impl RunData {
    /// How much of a stream is in whole lines, or all of it once the run is over.
    pub(super) fn readable(&self, stream: Stream, over: bool) -> u64 {
        let spool = self.spool(stream);
        let end = if over {
            spool.len()
        } else {
            let last = spool.iter().rposition(|byte| *byte == b'\n');
            last.map_or(0, |at| at + 1)
        };
        end as u64
    }
}
