//! What every [`AgentRuntime`] must do.

mod agents;
mod inputs;
mod programs;
mod reading;
mod running;
mod stopping;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use agents::*;
pub use inputs::*;
pub(crate) use programs::VALUE;
pub use programs::{Program, Programs, ShellPrograms};
pub use reading::*;
pub use running::*;
pub use stopping::*;

use super::soon;
use crate::ErrorKind;
use crate::agent::AgentPlace;
use crate::id::{AgentId, ProjectId, RunId, TaskId};
use crate::project::RunLimits;
use crate::run::{Checkpoint, Report, Reported, Stream};
use crate::runtime::{
    AgentRuntime, Batch, Exit, LaunchOrder, RunEnd, RunProcess, RunStatus, Stopped,
};
use crate::task::TaskText;

/// Makes one `#[tokio::test]` of every case of the runtime suite.
///
/// The first argument is an async function without arguments that returns a [`RuntimePlace`]. What follows goes into
/// `#[tokio::test(...)]`.
#[macro_export]
macro_rules! runtime_conformance {
    ($factory:path) => { $crate::runtime_conformance!($factory,); };
    ($factory:path, $($flavor:tt)*) => {
        $crate::for_each_runtime_case!($factory, [$($flavor)*]);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! for_each_runtime_case {
    ($factory:path, $flavor:tt) => {
        $crate::for_each_runtime_case!($factory, $flavor,
            start_agent_is_idempotent
            agents_work_side_by_side
            stop_agent_is_idempotent
            stop_agent_refuses_while_busy
            kill_agent_is_gentle_to_who_answers
            attach_needs_a_place
            resources_are_of_the_whole_tree
            what_has_no_session_is_handed_back
            the_prompt_arrives_byte_for_byte
            folder_and_environment_arrive
            an_exit_code_is_kept
            a_signal_is_kept
            launch_tells_of_the_process
            a_run_starts_at_most_once
            a_missing_program_never_started
            inspect_settles_what_was_not_launched
            launch_and_inspect_agree
            a_busy_agent_refuses_another_run
            a_new_daemon_adopts_runs
            a_killed_host_leaves_nothing
            read_is_repeatable_and_in_lines
            read_is_bounded
            output_gives_ranges
            changed_wakes_a_follower
            changed_does_not_spin
            discard_deletes_what_is_over
            a_transcript_tells_all_output
            a_transcript_goes_on
            what_is_not_read_is_refused
            what_is_not_read_is_not_interrupted
            close_input_is_harmless
            too_much_memory_ends_a_run
            stop_empties_the_stop_set
            stop_is_idempotent
            stop_touches_no_other_run
            stop_keeps_the_output
        );
    };
    ($factory:path, $flavor:tt, $($case:ident)*) => {
        /// The names of the suite's cases.
        #[allow(dead_code)]
        const RUNTIME_CASES: &[&str] = &[$(stringify!($case)),*];
        $($crate::conformance_case!(runtime $factory $flavor $case);)*
    };
}

/// Where a runtime under test works. Each has a home of its own.
///
/// A case that passes ends everything it started. Dropping the place must end what a failed one left.
#[async_trait]
pub trait RuntimePlace: Send + Sync {
    /// The runtime: one handle, the same at every call.
    fn runtime(&self) -> Arc<dyn AgentRuntime>;

    /// A second handle on the same home, as a daemon has that was started anew.
    async fn another(&self) -> Arc<dyn AgentRuntime>;

    /// A folder for agents to work in, with symlinks resolved.
    fn folder(&self) -> PathBuf;

    /// The programs of this runtime.
    fn programs(&self) -> &dyn Programs;
}

/// A runtime with one agent, and what is needed all the time.
struct Bench<'a> {
    runtime: Arc<dyn AgentRuntime>,
    place: &'a dyn RuntimePlace,
    agent: AgentPlace,
}

impl<'a> Bench<'a> {
    fn new(place: &'a dyn RuntimePlace) -> Self {
        Self {
            runtime: place.runtime(),
            agent: new_agent(place),
            place,
        }
    }

    fn order(&self, program: &Program) -> LaunchOrder {
        LaunchOrder {
            run: RunId::new(),
            task: TaskId::new(),
            place: self.agent.clone(),
            profile: self.place.programs().profile(program),
            limits: RunLimits::default(),
            prompt: TaskText::new("do it\n").expect("a good text"),
            resume: None,
            deadline: None,
        }
    }

    /// Launches, which must lead to a program that runs or ran.
    async fn launch(&self, program: &Program) -> RunId {
        let order = self.order(program);
        launched(&*self.runtime, &order).await
    }

    /// Launches a [`Program::Wait`] and returns once it says that it is ready.
    async fn waiting(&self, name: &str) -> (RunId, RunProcess) {
        let run = self.launch(&Program::Wait(name.to_owned())).await;
        until_output(&*self.runtime, run, b"ready\n").await;
        (run, process(&*self.runtime, run).await)
    }

    /// Ends every run of the home and takes every agent's place away.
    async fn close(self) {
        for run in self.runtime.runs().await.expect("runs") {
            let grace = Duration::from_millis(50);
            self.runtime.stop(run, grace).await.expect("stop");
            over(&*self.runtime, run).await;
        }
        for agent in self.runtime.agents().await.expect("agents") {
            self.runtime.stop_agent(agent.id).await.expect("stop_agent");
        }
    }
}

fn new_agent(place: &dyn RuntimePlace) -> AgentPlace {
    AgentPlace {
        id: AgentId::new(),
        project_id: ProjectId::new(),
        name: "größe & co".to_owned(),
        folder: place.folder(),
    }
}

/// Launches, also if at first it is not known what happened.
async fn launched(runtime: &dyn AgentRuntime, order: &LaunchOrder) -> RunId {
    let status = match runtime.launch(order).await {
        Ok(status) => status,
        Err(error) if error.kind() == ErrorKind::Unavailable => {
            runtime.inspect(order.run).await.expect("inspect")
        }
        Err(error) => panic!("launch: {}", crate::chain(&error)),
    };
    if let RunStatus::Ended {
        end: RunEnd::NeverStarted(why),
        ..
    } = status
    {
        panic!("the program was not started: {why:?}");
    }
    order.run
}

/// The program of a run that must be under way.
async fn process(runtime: &dyn AgentRuntime, run: RunId) -> RunProcess {
    match runtime.inspect(run).await.expect("inspect") {
        RunStatus::Running(process) => process,
        other => panic!("the run was to be under way: {other:?}"),
    }
}

/// How a run ended, once it has.
async fn over(runtime: &dyn AgentRuntime, run: RunId) -> RunEnd {
    let ended = async {
        loop {
            match runtime.inspect(run).await.expect("inspect") {
                RunStatus::Ended { end, .. } => break end,
                RunStatus::Unstoppable(pids) => panic!("the processes {pids:?} can't be ended"),
                RunStatus::Running(_) => runtime.changed(run).await.expect("changed"),
            }
        }
    };
    soon("the end of a run", ended).await
}

/// The record of a run's end, once it has ended.
async fn exit(runtime: &dyn AgentRuntime, run: RunId) -> Exit {
    match over(runtime, run).await {
        RunEnd::Exited(exit) => exit,
        other => panic!("the run was to leave a record: {other:?}"),
    }
}

/// Returns once a run has written at least this to standard output.
async fn until_output(runtime: &dyn AgentRuntime, run: RunId, want: &[u8]) {
    let written = async {
        while !all_output(runtime, run, Stream::Out)
            .await
            .starts_with(want)
        {
            runtime.changed(run).await.expect("changed");
        }
    };
    soon("a run's output", written).await;
}

/// Everything that a run has written.
async fn all_output(runtime: &dyn AgentRuntime, run: RunId, stream: Stream) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let offset = bytes.len() as u64;
        let chunk = runtime
            .output(run, stream, offset, 1 << 20)
            .await
            .expect("output");
        if chunk.bytes.is_empty() {
            break bytes;
        }
        bytes.extend(chunk.bytes);
    }
}

/// Reads all of an ended run, in batches that follow on each other.
async fn read_all(runtime: &dyn AgentRuntime, run: RunId, end: &RunEnd) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    loop {
        let from = batches
            .last()
            .map_or_else(Checkpoint::default, |last| last.checkpoint.clone());
        let batch = runtime.read(run, &from, Some(end)).await.expect("read");
        assert!(
            batch.complete || batch.checkpoint != from,
            "a read that was not complete did not get on"
        );
        let complete = batch.complete;
        batches.push(batch);
        if complete {
            break batches;
        }
    }
}

fn kind_of<T: std::fmt::Debug>(answer: crate::Result<T>) -> ErrorKind {
    super::refused(answer)
}

/// What a program reported, if this batch tells.
fn report_of(batch: &Batch) -> Option<&Report> {
    match &batch.reported {
        Reported::Whole(report) => Some(report),
        Reported::Nothing | Reported::Cut => None,
    }
}
