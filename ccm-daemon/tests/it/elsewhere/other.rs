//! A machine whose documents are put here by hand.

use ccm_core::api::{self, Ask, Project, ProjectState, Run, Task};
use ccm_core::ask::AskKind;
use ccm_core::id::{AgentId, AskId, FencingToken, ProjectId, RunId, SystemId, TaskId};
use ccm_core::store::Adoption;
use ccm_core::sync::documents::{
    self, Definition, ProjectReport, Report, SystemReport, TranscriptPart,
};
use ccm_core::sync::{Hlc, Identity, Kind, Row, SyncCursor};
use ccm_core::system::SystemKind;
use ccm_core::time::{Clock, SystemClock};
use ccm_core::transcript::{Entry, EntryBody};
use serde::Serialize;
use serde_json::Map;
use uuid::Uuid;

use crate::harness::Server;

/// A machine whose documents are put here by hand, as if they came from the server.
pub(super) struct Other {
    pub(super) id: SystemId,
    pub(super) project: ProjectId,
    seq: std::cell::Cell<u64>,
}

impl Other {
    /// Has `server` share, and another machine with one project known to it.
    pub(super) async fn of(server: &Server, hostname: &str, project: &str) -> Self {
        let replica = server.store_handle().replica().unwrap();
        let system = server.app.engine().system().id;
        let incarnation = Uuid::now_v7();
        let now = SystemClock.now();
        if replica.sharing().await.unwrap().is_none() {
            let me = Identity {
                system,
                incarnation,
            };
            replica.share(me, now).await.unwrap();
        }
        let other = Self {
            id: SystemId::new(),
            project: ProjectId::new(),
            seq: std::cell::Cell::new(replica.sharing().await.unwrap().unwrap().cursor.0),
        };
        let report = SystemReport {
            hostname: hostname.to_owned(),
            kind: SystemKind::Devops,
            tags: vec!["gpu".to_owned()],
            version: "9.1.0".to_owned(),
            revoked_at: None,
            extra: Map::new(),
        };
        other
            .tell(server, Kind::System, *other.id.as_uuid(), &report)
            .await;
        other
            .tell_project(server, project, Some("example.com/me/shop"))
            .await;
        other
    }

    pub(super) async fn tell_project(&self, server: &Server, name: &str, repository: Option<&str>) {
        let report = ProjectReport {
            project: Project {
                id: self.project,
                name: name.to_owned(),
                path: format!("/srv/{name}"),
                system_id: self.id,
                state: ProjectState::Active,
                detail: None,
                queued: 3,
                running: 1,
                created_at: SystemClock.now(),
                machine: None,
                agent_state: None,
                repository: None,
            },
            repository: repository.map(str::to_owned),
            remote_tasks: "ask".to_owned(),
            agent_state: None,
            removed_at: None,
            extra: Map::new(),
        };
        self.tell(server, Kind::Project, *self.project.as_uuid(), &report)
            .await;
    }

    /// A document of that machine comes in.
    pub(super) async fn tell(&self, server: &Server, kind: Kind, id: Uuid, body: &impl Serialize) {
        let seq = self.seq.get() + 1;
        self.seq.set(seq);
        let now = SystemClock.now();
        let row = Row {
            kind,
            id,
            body: Some(documents::write(body).unwrap()),
            hlc: Hlc {
                time: now.as_micros(),
                count: 0,
            },
            origin: self.id,
            seq,
            epoch: None::<FencingToken>,
        };
        let adoption = Adoption {
            rows: vec![row],
            cursor: SyncCursor(seq),
            mark: None,
            complete: true,
        };
        let replica = server.store_handle().replica().unwrap();
        replica.adopt(adoption, now).await.unwrap();
    }

    /// A task of that machine's project, written there.
    pub(super) async fn define(&self, server: &Server, text: &str) -> TaskId {
        let id = TaskId::new();
        let definition = Definition {
            project_id: self.project,
            repository: None,
            any_machine: false,
            pinned: false,
            title: text.to_owned(),
            text: text.to_owned(),
            priority: 0,
            not_before: None,
            blocked_by: Vec::new(),
            max_retries: 0,
            timeout_us: Some(90_000_000),
            session: ccm_core::task::SessionMode::Fresh,
            tags: Vec::new(),
            system_type: None,
            created_by: "cli".to_owned(),
            created_on: self.id,
            created_at: SystemClock.now(),
            extra: Map::new(),
        };
        self.tell(server, Kind::Task, *id.as_uuid(), &definition)
            .await;
        id
    }

    /// That machine says what became of a task.
    pub(super) async fn report(&self, server: &Server, id: TaskId, change: impl FnOnce(&mut Task)) {
        let now = SystemClock.now();
        let mut task = Task {
            id,
            project_id: self.project,
            project: "shop".to_owned(),
            title: String::new(),
            text: String::new(),
            state: api::TaskStateName::Queued,
            reason: None,
            detail: None,
            priority: 0,
            not_before: None,
            blocked_by: Vec::new(),
            attempts: 0,
            max_retries: 0,
            timeout_s: None,
            session: ccm_core::task::SessionMode::Fresh,
            tags: Vec::new(),
            system_type: None,
            created_by: "cli".to_owned(),
            created_at: now,
            updated_at: now,
            finished_at: None,
            open_asks: Vec::new(),
            run_id: None,
            result: None,
            cut: Vec::new(),
            cost_usd: None,
            revision: ccm_core::id::Revision(1),
            sharing: None,
        };
        change(&mut task);
        let report = Report {
            system_id: self.id,
            task,
            extra: Map::new(),
        };
        self.tell(server, Kind::Report, *id.as_uuid(), &report)
            .await;
    }

    pub(super) async fn run(
        &self,
        server: &Server,
        task: TaskId,
        change: impl FnOnce(&mut Run),
    ) -> RunId {
        let id = RunId::new();
        let mut run = Run {
            id,
            task_id: task,
            project_id: self.project,
            attempt: 1,
            agent_id: AgentId::new(),
            system_id: self.id,
            state: api::RunStateName::Running,
            reason: None,
            detail: None,
            until: None,
            open_asks: 0,
            started_at: Some(SystemClock.now()),
            finished_at: None,
            exit_code: None,
            session_id: None,
            result: None,
            denied: 0,
            usage: ccm_core::run::Usage::default(),
            cost_usd: None,
        };
        change(&mut run);
        self.tell(server, Kind::Run, *id.as_uuid(), &run).await;
        id
    }

    pub(super) async fn ask(&self, server: &Server, task: TaskId, run: RunId) -> AskId {
        let id = AskId::new();
        let ask = Ask {
            id,
            run_id: run,
            task_id: task,
            project_id: self.project,
            agent_id: AgentId::new(),
            kind: AskKind::Permission,
            title: "Bash".to_owned(),
            detail: "rm -rf build".to_owned(),
            options: Vec::new(),
            questions: Vec::new(),
            state: api::AskStateName::Open,
            answer: None,
            answered_by: None,
            created_at: SystemClock.now(),
            answered_at: None,
            machine: None,
            sent_answer: None,
        };
        self.tell(server, Kind::Ask, *id.as_uuid(), &ask).await;
        id
    }

    pub(super) async fn part(
        &self,
        server: &Server,
        task: TaskId,
        run: RunId,
        part: u32,
        size: u64,
        last: bool,
    ) {
        let begin = u64::from(part) * size;
        let entry = |n: u64| Entry {
            offset: begin + n * size / 2,
            time: None,
            body: EntryBody::Text {
                text: format!("{part}.{n}"),
            },
        };
        let part_of = TranscriptPart {
            run_id: run,
            task_id: task,
            part,
            entries: vec![entry(0), entry(1)],
            begin,
            next: begin + size,
            last,
        };
        let id = TranscriptPart::id(run, part);
        self.tell(server, Kind::Transcript, id, &part_of).await;
    }
}
