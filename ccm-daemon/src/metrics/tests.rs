//! What the log comes to in figures.

use std::path::PathBuf;
use std::sync::Arc;

use ccm_core::Reason;
use ccm_core::Store;
use ccm_core::ask::{Answer, AskKind, Question};
use ccm_core::id::{AgentId, InputId, ProjectId, RunId, Seq, SystemId, TaskId};
use ccm_core::run::{Checkpoint, Observation, Outcome, Run, Stream, Usage, Verdict};
use ccm_core::store::{Claim, CreateTasks, Finish, Intake, NewProject, NewTask, Reply};
use ccm_core::system::{System, SystemKind};
use ccm_core::task::{Setback, TaskSpec, TaskText};
use ccm_core::testing::memory::MemoryStore;
use ccm_core::time::Timestamp;
use prometheus_client::encoding::prometheus_text;

use super::ledger::{Ledger, MAX_PROJECTS};
use super::table::Table;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000 + seconds * 1_000_000)
}

/// A store that has begun, and what is counted of it.
struct Bench {
    store: Arc<dyn Store>,
    system: SystemId,
    table: Table,
    ledger: Ledger,
}

impl Bench {
    async fn new() -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let system = System {
            id: SystemId::new(),
            hostname: "box".to_owned(),
            kind: SystemKind::Developer,
            tags: Vec::new(),
        };
        store.begin(&system, at(0)).await.unwrap();
        let mut table = Table::default();
        let ledger = Ledger::new(Seq(0), &mut table);
        Self {
            store,
            system: system.id,
            table,
            ledger,
        }
    }

    /// A run of a new task of a project.
    async fn run(&self, project: ProjectId, agent: AgentId, now: Timestamp) -> Run {
        let task = NewTask {
            id: TaskId::new(),
            project_id: project,
            spec: TaskSpec::new(TaskText::new("x").unwrap()),
        };
        let id = task.id;
        let create = CreateTasks {
            tasks: vec![task],
            created_by: "test".to_owned(),
            key: None,
            max_queued: 1000,
            now,
        };
        self.store.create_tasks(create).await.unwrap();
        let claim = Claim {
            task: id,
            run: RunId::new(),
            agent,
            system: self.system,
            lease_until: None,
            now,
        };
        self.store.claim(claim).await.unwrap().run
    }

    async fn project(&self, name: &str) -> (ProjectId, AgentId) {
        let (id, agent_id) = (ProjectId::new(), AgentId::new());
        let new = NewProject {
            id,
            agent_id,
            name: name.to_owned(),
            exact_name: true,
            path: PathBuf::from("/projects").join(name),
            now: at(0),
        };
        self.store.register_project(new).await.unwrap();
        (id, agent_id)
    }

    async fn finish(&self, run: &Run, verdict: Verdict, cost: f64, now: Timestamp) {
        let finish = Finish {
            outcome: Outcome {
                verdict,
                exit_code: Some(0),
                result: None,
                denied: 0,
            },
            started_at: Some(Timestamp::from_micros(
                run.claimed_at.as_micros() + 2_000_000,
            )),
            usage: Some(Usage {
                input_tokens: 10,
                output_tokens: 3,
                ..Usage::default()
            }),
            cost_usd: Some(cost),
            retry_at: None,
        };
        self.store
            .finish(run.id, run.token, finish, now)
            .await
            .unwrap();
    }

    async fn text(&mut self) -> String {
        self.ledger.catch_up(&self.store).await.unwrap();
        let mut text = String::new();
        prometheus_text::encode(&mut text, self.table.registry()).unwrap();
        text
    }
}

#[track_caller]
fn assert_has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(
            text.lines().any(|one| one == *line),
            "{line} is not in\n{text}"
        );
    }
}

#[tokio::test]
async fn what_runs_asked_wrote_used_and_came_to_is_counted() {
    let mut bench = Bench::new().await;
    let (project, agent) = bench.project("shop").await;
    let run = bench.run(project, agent, at(10)).await;
    let question = |name: &str| Observation::Asked {
        request_id: name.to_owned(),
        question: Question {
            kind: AskKind::Permission,
            title: "May I?".to_owned(),
            detail: String::new(),
            choices: Vec::new(),
            payload: String::new(),
        },
    };
    let seen = vec![
        Observation::Output {
            stream: Stream::Out,
            from: 0,
            to: 70,
        },
        Observation::Output {
            stream: Stream::Err,
            from: 0,
            to: 5,
        },
        question("a"),
        question("b"),
    ];
    let to = Checkpoint {
        out: 70,
        err: 5,
        parser: None,
    };
    let intake = Intake::new(Checkpoint::default(), to, seen);
    let ask = intake.ask_ids[0];
    bench
        .store
        .take_in(run.id, run.token, intake, at(20))
        .await
        .unwrap();
    bench.text().await;
    let reply = Reply {
        answer: Answer::Allow,
        by: "test".to_owned(),
        input_id: InputId::new(),
        now: at(50),
    };
    bench.store.answer_ask(ask, reply).await.unwrap();
    let cause = Setback::bare(Reason::Timeout);
    bench
        .finish(&run, Verdict::Failed { cause }, 0.25, at(100))
        .await;
    bench.text().await;
    assert_has(
        &bench.text().await,
        &[
            "ccm_tasks_created_total 1",
            r#"ccm_tasks_ended_total{state="failed",reason="timeout"} 1"#,
            "ccm_runs_started_total 1",
            r#"ccm_runs_ended_total{state="failed",reason="timeout"} 1"#,
            "ccm_run_launch_seconds_sum 2.0",
            "ccm_run_duration_seconds_sum 88.0",
            r#"ccm_run_output_bytes_total{stream="out"} 70"#,
            r#"ccm_run_output_bytes_total{stream="err"} 5"#,
            "ccm_asks_created_total 2",
            r#"ccm_asks_ended_total{state="answered"} 1"#,
            r#"ccm_asks_ended_total{state="void"} 1"#,
            "ccm_ask_wait_seconds_sum 30.0",
            "ccm_ask_wait_seconds_count 1",
            r#"ccm_tokens_total{project="shop",kind="input"} 10"#,
            r#"ccm_tokens_total{project="shop",kind="output"} 3"#,
            r#"ccm_cost_usd_total{project="shop"} 0.25"#,
        ],
    );
    assert!(bench.ledger.is_clear(), "nothing is kept of what is over");
}

#[tokio::test]
async fn projects_beyond_the_first_are_counted_together() {
    let mut bench = Bench::new().await;
    for n in 0..MAX_PROJECTS + 3 {
        let (project, agent) = bench.project(&format!("p{n}")).await;
        let run = bench.run(project, agent, at(10)).await;
        bench.finish(&run, Verdict::Succeeded, 0.5, at(20)).await;
    }
    let text = bench.text().await;
    let series = text
        .lines()
        .filter(|line| line.starts_with("ccm_cost_usd_total{"));
    assert_eq!(series.count(), MAX_PROJECTS + 1);
    assert_has(
        &text,
        &[
            r#"ccm_cost_usd_total{project="p0"} 0.5"#,
            r#"ccm_cost_usd_total{project="(other)"} 1.5"#,
        ],
    );
}

#[tokio::test]
async fn what_was_before_is_not_counted() {
    let mut bench = Bench::new().await;
    let (project, agent) = bench.project("shop").await;
    let before = bench.run(project, agent, at(10)).await;
    let head = bench.store.log().await.unwrap().head;
    bench.table = Table::default();
    bench.ledger = Ledger::new(head, &mut bench.table);
    bench.finish(&before, Verdict::Succeeded, 1.0, at(20)).await;
    assert_has(
        &bench.text().await,
        &[
            "ccm_tasks_created_total 0",
            "ccm_runs_started_total 0",
            "ccm_run_launch_seconds_count 0",
            // Its end is this daemon's.
            "ccm_run_duration_seconds_count 1",
            r#"ccm_runs_ended_total{state="succeeded",reason="none"} 1"#,
        ],
    );
}
