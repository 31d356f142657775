//! What every [`Store`] must do.

mod agents;
mod asks;
mod dispatch;
mod edits;
mod finish;
mod inputs;
mod interrupts;
mod lists;
mod log;
mod projects;
mod queue;
mod runs;
mod stats;
mod tasks;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use agents::*;
pub use asks::*;
pub use dispatch::*;
pub use edits::*;
pub use finish::*;
pub use inputs::*;
pub use interrupts::*;
pub use lists::*;
pub use log::*;
pub use projects::*;
pub use queue::*;
pub use runs::*;
pub use stats::*;
pub use tasks::*;

use super::{refused, soon};
use crate::ErrorKind;
use crate::id::{AgentId, Epoch, ProjectId, RunId, SystemId, TaskId};
use crate::project::Project;
use crate::run::{Outcome, Usage, Verdict};
use crate::store::{
    Claim, Claimed, CreateTasks, EventQuery, Finish, NewProject, NewTask, Registered, Store,
    TaskFilter, TaskQuery,
};
use crate::system::{System, SystemKind};
use crate::task::{Task, TaskSpec, TaskText};
use crate::time::Timestamp;

/// Makes one `#[tokio::test]` of every case of the store suite.
///
/// The first argument is an async function without arguments that returns a [`StorePlace`] with an empty store. What
/// follows goes into `#[tokio::test(...)]`, so with the runtime's feature for it the concurrent cases can be made
/// parallel: `store_conformance!(place, flavor = "multi_thread", worker_threads = 4);`
#[macro_export]
macro_rules! store_conformance {
    ($factory:path) => { $crate::store_conformance!($factory,); };
    ($factory:path, $($flavor:tt)*) => {
        $crate::for_each_store_case!($factory, [$($flavor)*]);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! for_each_store_case {
    ($factory:path, $flavor:tt) => {
        $crate::for_each_store_case!($factory, $flavor,
            begin_raises_the_epoch
            begin_refuses_another_system
            begin_takes_the_same_system_changed
            check_changes_nothing
            an_older_epoch_writes_nothing
            register_makes_project_and_agent
            register_again_is_unchanged
            register_moves_a_project
            register_numbers_a_taken_name
            register_refuses_an_exact_taken_name
            register_refuses_a_taken_path
            hold_tells_only_changes
            pause_tells_only_changes
            remove_refuses_while_tasks_are_open
            remove_keeps_tasks_readable
            remove_by_force_ends_what_is_open
            remove_frees_name_path_and_id
            observe_tells_only_changes
            want_tells_only_changes
            want_lets_nobody_sleep_who_was_stopped
            want_spares_a_run_unless_forced
            want_up_by_force_stops_runs
            claim_refuses_an_agent_that_is_down
            claim_wakes_an_agent_that_sleeps
            registering_again_wants_the_agent_up
            wishes_and_claims_exclude_each_other
            a_taken_agent_is_only_handed_back
            create_keeps_every_field
            create_keeps_a_text_byte_for_byte
            create_takes_all_or_none
            create_refuses_an_unknown_blocker
            a_repeated_creation_is_replayed
            a_key_belongs_to_one_request
            a_refused_creation_keeps_no_key
            equal_requests_at_once_create_once
            the_queue_has_a_limit
            the_limit_holds_under_many_writers
            an_unknown_task_is_not_found
            tasks_are_found_by_their_ids
            tasks_are_listed_newest_first
            pages_have_no_doubles_while_tasks_come
            counts_follow_every_change
            cancel_ends_a_waiting_task
            cancel_of_a_running_task_is_durable
            cancel_refuses_what_ended
            retry_queues_an_ended_task
            retry_keeps_not_before
            retry_refuses_what_is_open
            a_list_is_what_its_filter_says
            words_are_found_as_they_are_written
            a_list_can_begin_further_on
            a_list_can_be_cut
            edit_changes_what_it_says
            edit_of_nothing_changes_nothing
            edit_compares_the_revision
            edit_refuses_what_does_not_wait
            edit_refuses_blockers_that_wait_for_it
            edit_decides_what_is_ready
            edits_and_claims_exclude_each_other
            an_edited_creation_is_replayed_as_it_was
            a_queue_has_an_order
            move_reaches_every_place
            move_to_where_it_is_changes_nothing
            move_refuses_places_that_are_none
            moves_keep_the_order
            a_moved_task_has_its_turn_there
            ready_tells_all_of_a_candidate
            ready_is_bounded_per_project
            ready_respects_dates
            ready_waits_for_every_blocker
            ready_counts_only_open_blockers
            ready_is_what_the_machine_can_do
            ready_leaves_paused_projects_out
            ready_knows_the_last_start
            claim_makes_the_run
            claim_refuses_what_is_not_ready
            claim_hands_out_once
            a_stale_token_writes_nothing
            an_ended_run_takes_nothing
            an_unknown_run_is_not_found
            renew_moves_the_lease
            mark_started_is_idempotent
            stop_intents_merge
            mark_held_tells_only_changes
            take_in_keeps_what_was_seen
            take_in_compares_the_checkpoint
            take_in_keeps_one_of_many
            runs_are_listed
            finish_follows_the_states
            finish_tells_run_and_task
            finish_keeps_result_and_start
            a_false_start_is_no_attempt
            a_requeued_task_waits_for_its_date
            costs_add_up
            finish_again_answers_the_same
            the_first_outcome_counts
            a_late_finish_is_superseded
            a_wrong_token_ends_no_run
            stats_tell_when_what_happened
            stats_count_a_task_once
            take_in_makes_asks
            a_request_is_asked_once
            every_ask_needs_an_id
            a_withdrawn_ask_is_void
            an_answer_becomes_an_input
            the_first_answer_counts
            an_answer_fits_its_ask
            a_void_ask_takes_no_answer
            waits_are_counted
            take_in_notes_use_and_parking
            a_refusal_is_no_attempt
            asks_are_listed
            a_message_becomes_an_input
            inputs_are_numbered
            a_repeated_message_is_one
            an_answer_needs_an_input_of_its_own
            messages_need_a_run_that_listens
            an_input_never_goes_back
            what_was_taken_is_delivered
            close_inputs_waits_for_what_is_open
            no_message_slips_through_a_closing
            finish_ends_asks_and_inputs
            a_stale_token_touches_no_input
            an_older_epoch_sends_nothing
            an_interrupt_becomes_an_input
            a_repeated_interrupt_is_one
            interrupts_need_a_run_that_listens
            an_interrupted_run_waits_for_a_person
            an_ask_and_an_interrupt_are_waited_for_together
            an_interrupt_that_came_too_late_is_none
            the_log_has_an_extent
            events_are_filtered
            events_carry_their_data
            the_log_has_no_gaps
            watch_wakes_readers
            what_returned_can_be_read_elsewhere
        );
    };
    ($factory:path, $flavor:tt, $($case:ident)*) => {
        /// The names of the suite's cases.
        #[allow(dead_code)]
        const STORE_CASES: &[&str] = &[$(stringify!($case)),*];
        $($crate::conformance_case!(store $factory $flavor $case);)*
    };
}

/// Where a store under test lives.
#[async_trait]
pub trait StorePlace: Send + Sync {
    /// The store: one handle, the same at every call.
    fn store(&self) -> Arc<dyn Store>;

    /// Opens a second handle on the same data, as another daemon would.
    async fn another(&self) -> Arc<dyn Store>;
}

/// A moment, in seconds after the suite's beginning of time.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000 + seconds * 1_000_000)
}

fn machine() -> System {
    System {
        id: SystemId::new(),
        hostname: "mühle".to_owned(),
        kind: SystemKind::Devops,
        tags: vec!["gpu".to_owned(), "a:b/c".to_owned()],
    }
}

/// A store that has begun, and what is needed all the time.
struct Bench {
    store: Arc<dyn Store>,
    system: System,
    epoch: Epoch,
}

impl Bench {
    async fn new(place: &dyn StorePlace) -> Self {
        let store = place.store();
        let system = machine();
        let epoch = store.begin(&system, at(0)).await.expect("begin");
        Self {
            store,
            system,
            epoch,
        }
    }

    async fn register(&self, name: &str) -> Registered {
        let new = folder(name);
        self.store.register_project(new).await.expect("register")
    }

    async fn project(&self, name: &str) -> Project {
        self.register(name).await.project
    }

    async fn create(&self, request: CreateTasks) -> Vec<Task> {
        self.store
            .create_tasks(request)
            .await
            .expect("create")
            .tasks
    }

    async fn task(&self, project: ProjectId, text: &str) -> Task {
        self.task_with(project, spec(text)).await
    }

    async fn task_with(&self, project: ProjectId, spec: TaskSpec) -> Task {
        let mut tasks = self.create(order(vec![new_task(project, spec)])).await;
        tasks.pop().expect("one task was asked for")
    }

    fn claim(&self, task: TaskId, now: Timestamp) -> Claim {
        Claim {
            task,
            run: RunId::new(),
            agent: AgentId::new(),
            system: self.system.id,
            lease_until: None,
            now,
        }
    }

    /// Claims for the project's own agent.
    async fn claimed(&self, task: &Task, now: Timestamp) -> Claimed {
        let claim = self.claim_for(task, now).await;
        self.store.claim(claim).await.expect("claim")
    }

    async fn claim_for(&self, task: &Task, now: Timestamp) -> Claim {
        let agents = self.store.agents().await.expect("agents");
        let own = agents
            .iter()
            .find(|agent| agent.project_id == task.project_id);
        Claim {
            agent: own.expect("a project has an agent").id,
            ..self.claim(task.id, now)
        }
    }

    /// Claims, starts and ends a task.
    async fn done(&self, task: &Task, verdict: Verdict, now: Timestamp) -> Task {
        let claimed = self.claimed(task, now).await;
        let (run, token) = (claimed.run.id, claimed.run.token);
        self.store
            .mark_started(run, token, now, now)
            .await
            .expect("mark_started");
        let finish = end(verdict);
        self.store
            .finish(run, token, finish, now)
            .await
            .expect("finish")
    }

    async fn head(&self) -> u64 {
        self.store.log().await.expect("log").head.0
    }

    /// The kinds of the events after `seq`, as one text.
    async fn told_since(&self, seq: u64) -> String {
        let query = EventQuery {
            after: crate::id::Seq(seq),
            limit: 10_000,
            ..EventQuery::default()
        };
        let events = self.store.events(&query).await.expect("events");
        let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
        kinds.join(" ")
    }
}

fn folder(name: &str) -> NewProject {
    NewProject {
        id: ProjectId::new(),
        agent_id: AgentId::new(),
        name: name.to_owned(),
        exact_name: false,
        path: PathBuf::from("/projects").join(name),
        now: at(1),
    }
}

fn spec(text: &str) -> TaskSpec {
    TaskSpec::new(TaskText::new(text).expect("a good text"))
}

fn new_task(project_id: ProjectId, spec: TaskSpec) -> NewTask {
    NewTask {
        id: TaskId::new(),
        project_id,
        spec,
    }
}

fn order(tasks: Vec<NewTask>) -> CreateTasks {
    CreateTasks {
        tasks,
        created_by: "cli".to_owned(),
        key: None,
        max_queued: 100_000,
        now: at(2),
    }
}

fn outcome(verdict: Verdict) -> Outcome {
    Outcome {
        exit_code: matches!(verdict, Verdict::Succeeded).then_some(0),
        verdict,
        result: Some("what came of it".to_owned()),
        denied: 2,
    }
}

fn end(verdict: Verdict) -> Finish {
    Finish {
        outcome: outcome(verdict),
        started_at: None,
        usage: Some(Usage {
            input_tokens: 1,
            output_tokens: 2,
            cache_read_tokens: 3,
            cache_write_tokens: 4,
        }),
        cost_usd: Some(0.25),
        retry_at: None,
    }
}

fn all_tasks() -> TaskQuery {
    TaskQuery {
        limit: 1_000,
        ..TaskQuery::default()
    }
}

fn of_project(id: ProjectId) -> TaskFilter {
    TaskFilter {
        project: Some(id),
        ..TaskFilter::default()
    }
}
