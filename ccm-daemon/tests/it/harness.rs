//! A daemon on a port of its own, over a store and a runtime in memory.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use ccm_core::api::{self, Problem};
use ccm_core::engine::{Engine, EngineLimits};
use ccm_core::id::{AgentId, ProjectId, SystemId, TaskId};
use ccm_core::project::{AgentProfile, Profile, Profiles, Project, ProjectSharing};
use ccm_core::run::Report;
use ccm_core::store::NewProject;
use ccm_core::system::{System, SystemKind};
use ccm_core::task::Setback;
use ccm_core::testing::memory::{MemoryRuntime, MemoryStore, Step};
use ccm_core::time::{Clock, SystemClock};
use ccm_core::{AgentRuntime, Store, SyncBackend};
use ccm_daemon::app::{App, AppParts, Facts};
use ccm_daemon::http::{self, Capacity};
use ccm_daemon::machine::{Home, WebUi};
use ccm_daemon::settings::Settings;
use reqwest::{Method, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How long anything in these tests may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The description of the API, as JSON.
pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(http::document);

fn talked() -> Step {
    Step::Report(Report {
        text: "talked".to_owned(),
        conclusive: true,
        ..Report::default()
    })
}

/// A daemon.
pub(crate) struct Server {
    pub(crate) app: Arc<App>,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) token: String,
    pub(crate) store: MemoryStore,
    pub(crate) runtime: MemoryRuntime,
    pub(crate) home: tempfile::TempDir,
    system: System,
    limits: EngineLimits,
    capacity: Capacity,
    line: Line,
    client: reqwest::Client,
    serving: JoinHandle<()>,
    telling: JoinHandle<()>,
}

/// How a daemon is connected to others, and what its projects share.
#[derive(Clone, Default)]
pub(crate) struct Line {
    pub(crate) backend: Option<Arc<dyn SyncBackend>>,
    pub(crate) sharing: Arc<Mutex<ProjectSharing>>,
}

/// The same profile for every project.
struct TestProfiles(Arc<Mutex<ProjectSharing>>);

#[async_trait::async_trait]
impl Profiles for TestProfiles {
    async fn profile(&self, _project: &Project) -> Result<Profile, Setback> {
        Ok(Profile {
            agent: AgentProfile::command(["work"]),
            ..Profile::default()
        })
    }

    async fn sharing(&self, _project: &Project) -> ProjectSharing {
        self.0.lock().unwrap().clone()
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with_limits(EngineLimits {
            max_queued: 100_000,
            ..EngineLimits::default()
        })
        .await
    }

    /// A daemon of a machine called `hostname` that shares its queue by `line`.
    pub(crate) async fn sharing(hostname: &str, line: Line) -> Self {
        Self::made(hostname, EngineLimits::default(), line).await
    }

    pub(crate) async fn with_limits(limits: EngineLimits) -> Self {
        Self::made("box", limits, Line::default()).await
    }

    async fn made(hostname: &str, limits: EngineLimits, line: Line) -> Self {
        let runtime = MemoryRuntime::new(Arc::new(SystemClock));
        // A task "hold ..." goes on until it is let go, a task "talk ..." until it was told two things; any other is answered
        // with its own text.
        runtime.program("work", |order| match order.prompt.as_str() {
            text if text.starts_with("hold") => {
                vec![Step::out("begun\n"), Step::wait("go"), Step::out("done\n")]
            }
            text if text.starts_with("talk") => vec![
                Step::Take,
                talked(),
                Step::Rest,
                Step::Take,
                talked(),
                Step::Rest,
            ],
            _ => vec![Step::Echo],
        });
        let system = System {
            id: SystemId::new(),
            hostname: hostname.to_owned(),
            kind: SystemKind::Developer,
            tags: vec!["gpu".to_owned()],
        };
        let home = tempfile::tempdir().unwrap();
        let capacity = Capacity::of_process();
        let store = MemoryStore::new();
        Self::over(store, runtime, system, home, limits, capacity, line).await
    }

    /// The next daemon over the same data, with room for so many streams.
    pub(crate) async fn restart_with_streams(mut self, streams: usize) -> Self {
        self.capacity.streams = streams;
        self.restart().await
    }

    async fn over(
        store: MemoryStore,
        runtime: MemoryRuntime,
        system: System,
        home_dir: tempfile::TempDir,
        limits: EngineLimits,
        capacity: Capacity,
        line: Line,
    ) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let home = Home::at(home_dir.path().join("ccm"));
        home.create().unwrap();
        home.create_token().unwrap();
        let token = home.token().unwrap();
        if !home.is_set_up() {
            let config = "web_ui:\n  allowed_hosts: [box.example]\n";
            std::fs::write(home.config_file(), config).unwrap();
        }
        let (settings, _) = Settings::load(&home).unwrap();
        let profiles = Arc::new(TestProfiles(Arc::clone(&line.sharing)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let engine_store: Arc<dyn Store> = Arc::new(store.another());
        let engine_runtime: Arc<dyn AgentRuntime> = Arc::new(runtime.another());
        let epoch = engine_store.begin(&system, clock.now()).await.unwrap();
        let mut engine = Engine::builder(engine_store, engine_runtime, system.clone())
            .profiles(profiles.clone())
            .limits(limits);
        if let Some(backend) = &line.backend {
            engine = engine.sync(Arc::clone(backend));
        }
        let engine = engine.start().await.unwrap();
        let app = Arc::new(App::new(AppParts {
            engine,
            profiles,
            clock: Arc::clone(&clock),
            settings,
            home,
            token: token.clone(),
            windows: None,
            sharing: Arc::default(),
            database: None,
            capacity,
            facts: Facts {
                address,
                tls: false,
                web_ui: WebUi::Served,
                web_ui_url: Some(format!("http://localhost:{}", address.port())),
                profile: "full".to_owned(),
                runtime: "memory".to_owned(),
                epoch,
                started_at: clock.now(),
            },
        }));
        let serving = tokio::spawn(http::serve(
            http::Listeners::at(listener).unwrap(),
            http::router(Arc::clone(&app)),
            app.stopping().clone(),
        ));
        let told = Arc::clone(&app);
        let telling = tokio::spawn(async move { told.keep_told().await });
        Self {
            app,
            address,
            token: token.reveal().to_owned(),
            store,
            runtime,
            home: home_dir,
            system,
            limits,
            capacity,
            line,
            client: reqwest::Client::new(),
            serving,
            telling,
        }
    }

    /// The store as the daemon has it.
    pub(crate) fn store_handle(&self) -> &Arc<dyn Store> {
        self.app.engine().store()
    }

    /// How it is connected to others, and what its projects share.
    pub(crate) const fn line(&self) -> &Line {
        &self.line
    }

    /// The next daemon over the same data.
    pub(crate) async fn restart(self) -> Self {
        self.app.shutdown(false).await;
        ended(self.serving).await;
        ended(self.telling).await;
        Self::over(
            self.store,
            self.runtime,
            self.system,
            self.home,
            self.limits,
            self.capacity,
            self.line,
        )
        .await
    }

    /// Waits for the end that something else brought about.
    pub(crate) async fn ended(self) {
        ended(self.serving).await;
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.address))
            .bearer_auth(&self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// A POST that has no body.
    pub(crate) async fn poke(&self, path: &str) -> Reply {
        self.send(self.request(Method::POST, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Sends a request and holds the answer against the description: nothing undescribed may come back.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let request = request.build().unwrap();
        let method = request.method().as_str().to_lowercase();
        let path = request.url().path().to_owned();
        let response = self.client.execute(request).await.unwrap();
        let status = response.status();
        let headers = response.headers().clone();
        let body = response.bytes().await.unwrap().to_vec();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        let kept = match path.starts_with("/assets/") && status == StatusCode::OK {
            true => "public, max-age=31536000, immutable",
            false => "no-store",
        };
        assert_eq!(headers["cache-control"], kept, "{path}");
        if let Some(operation) = operation(&method, &path) {
            let described = &operation["responses"][status.as_str()];
            let shown = String::from_utf8_lossy(&body);
            assert!(
                described.is_object(),
                "{method} {path} answered {status}, which is not described: {shown}"
            );
            let kind = headers.get(header::CONTENT_TYPE);
            let kind = kind.map_or("", |kind| kind.to_str().unwrap());
            let kind = kind.split(';').next().unwrap();
            let schema = &described["content"][kind]["schema"]["$ref"];
            if let (Some(schema), "get" | "post" | "delete" | "put" | "patch") =
                (schema.as_str(), &*method)
            {
                let value = serde_json::from_slice(&body).unwrap();
                if let Err(wrong) = validator(schema).validate(&value) {
                    panic!(
                        "{method} {path} answered {status} with no {schema}: {wrong} in {shown}"
                    );
                }
            } else if !body.is_empty() {
                let described = &described["content"][kind];
                assert!(
                    described.is_object(),
                    "{method} {path} answered {status} as {kind:?}"
                );
            }
        }
        if status.is_client_error() || status.is_server_error() {
            assert_eq!(
                headers[header::CONTENT_TYPE],
                "application/problem+json",
                "{path}"
            );
        }
        Reply {
            status,
            headers,
            body,
        }
    }

    /// A project that is registered, in a folder of its own.
    pub(crate) async fn project(&self, name: &str) -> ProjectId {
        let path = self.home.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let new = NewProject {
            id: ProjectId::new(),
            agent_id: AgentId::new(),
            name: name.to_owned(),
            exact_name: true,
            path,
            now: SystemClock.now(),
        };
        let registered = self.app.engine().register_project(new).await.unwrap();
        registered.project.id
    }

    pub(crate) async fn paused_project(&self, name: &str) -> ProjectId {
        let id = self.project(name).await;
        self.app.engine().pause_project(id, true).await.unwrap();
        id
    }

    pub(crate) async fn task(&self, project: ProjectId, text: &str) -> api::Task {
        let body = json!({"project_id": project, "text": text});
        self.post("/api/v1/tasks", &body).await.ok(201)
    }

    /// The task once it is in `state`.
    pub(crate) async fn task_in(&self, id: TaskId, state: &str) -> api::Task {
        let looking = async {
            let mut head = self.store.watch();
            loop {
                head.mark_unchanged();
                let task: api::Task = self.get(&format!("/api/v1/tasks/{id}")).await.ok(200);
                if task.state.as_str() == state {
                    return task;
                }
                head.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, looking)
            .await
            .unwrap_or_else(|_| panic!("the task does not become {state}"))
    }
}

async fn ended(serving: JoinHandle<()>) {
    tokio::time::timeout(PATIENCE, serving)
        .await
        .expect("the server ends")
        .unwrap();
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// What it says, with the status that it must have.
    #[track_caller]
    pub(crate) fn ok<T: DeserializeOwned>(self, status: u16) -> T {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The problem with this code.
    #[track_caller]
    pub(crate) fn problem(self, code: &str) -> Problem {
        let problem: Problem = serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no problem: {:?}", String::from_utf8_lossy(&self.body)));
        assert_eq!(problem.code.as_str(), code, "{problem:?}");
        assert_eq!(problem.status, self.status.as_u16());
        assert_eq!(problem.status, problem.code.status());
        assert!(!problem.detail.is_empty());
        problem
    }
}

/// What a value has to be like, by the name of its schema in the description.
pub(crate) fn validator(reference: &str) -> jsonschema::Validator {
    let schema = json!({"$ref": reference, "components": DOCUMENT["components"]});
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
}

/// The described operation that answers a path.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object()?;
    let fits = |template: &str| {
        let (mut a, mut b) = (template.split('/'), path.split('/'));
        loop {
            match (a.next(), b.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if a == b || a.starts_with('{') => {}
                _ => return false,
            }
        }
    };
    let (_, item) = paths.iter().find(|(template, _)| fits(template))?;
    item.get(method)
}
