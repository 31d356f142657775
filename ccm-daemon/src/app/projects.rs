use std::path::{Path, PathBuf};
use std::time::Duration;

use ccm_core::api::{self, CreateProject, RegisteredProject, Trust};
use ccm_core::id::{AgentId, ProjectId};
use ccm_core::project::Project;
use ccm_core::store::{NewProject, RegisterEffect};
use ccm_core::{Error, ErrorKind, Noun, chain};
use tokio::time::Instant;

use super::App;
use crate::machine::project_dir::default_name;
use crate::machine::{self, ProjectConfig, ProjectDir, TrustStore};

/// How long an answer waits for folders that may be on a disk that is gone.
const LOOKING: Duration = Duration::from_millis(500);

/// Why something about a project's folder was not done.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The folder can't be a project as it is.
    Unusable(Error),
    /// Its settings are no longer those that were shown.
    TrustChanged(String),
    /// Something else.
    Other(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl App {
    /// All projects, or the one of that name.
    pub(crate) async fn projects(&self, name: Option<&str>) -> Result<Vec<api::Project>, Error> {
        let projects = self.engine().store().projects().await?;
        let mut holds = self.agent_holds().await?;
        let deadline = Instant::now() + LOOKING;
        let mut answers = Vec::with_capacity(projects.len());
        for project in projects {
            if name.is_none_or(|name| project.name == name) {
                let hold = holds.remove(&project.id);
                let project = self.looked_at(project, deadline).await?;
                answers.push(api::Project::from(project).with_agent_hold(hold));
            }
        }
        Ok(answers)
    }

    pub(crate) async fn project(&self, id: ProjectId) -> Result<api::Project, Error> {
        let project = match self.engine().store().project(id).await {
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Project) => {
                return self.project_elsewhere(id).await?.ok_or(error);
            }
            found => found?,
        };
        let project = self.looked_at(project, Instant::now() + LOOKING).await?;
        let repository = self.parts.profiles.sharing(&project).await.repository;
        let mut answer = self.project_answer(project).await?;
        answer.repository = repository;
        Ok(answer)
    }

    /// The project, and whether it waits for its agent.
    async fn project_answer(&self, project: Project) -> Result<api::Project, Error> {
        let hold = self.agent_holds().await?.remove(&project.id);
        Ok(api::Project::from(project).with_agent_hold(hold))
    }

    /// The project with what its folder and settings are now: dispatch looks at them only for tasks that wait, and
    /// people who list projects are to see it before they write one. What takes too long is as it was last.
    async fn looked_at(&self, project: Project, deadline: Instant) -> Result<Project, Error> {
        let looking = self.parts.profiles.profile(&project);
        match tokio::time::timeout_at(deadline, looking).await {
            Ok(profile) if profile.as_ref().err() != project.hold.as_ref() => {
                match self.engine().refresh_project(project.id).await {
                    // It was removed meanwhile, which the next list shows.
                    Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => Ok(project),
                    refreshed => refreshed,
                }
            }
            _ => Ok(project),
        }
    }

    /// Registers a folder that was set up, or finds it again. Trusts nothing.
    pub(crate) async fn register_project(
        &self,
        request: CreateProject,
    ) -> Result<RegisteredProject, Refusal> {
        let CreateProject { path, name } = request;
        if let Some(name) = name.as_deref().filter(|name| !machine::is_name(name)) {
            let wanted = "1 to 64 letters, digits, '-', '_' or '.', a letter or digit first";
            return Err(Refusal::Other(Error::invalid(format!(
                "{name:?} can't be a project's name; it needs {wanted}"
            ))));
        }
        let known = self.engine().store().projects().await?;
        let folder = blocking(move || folder(Path::new(&path), &known)).await?;
        let registered = self
            .engine()
            .register_project(NewProject {
                id: folder.id,
                agent_id: AgentId::new(),
                exact_name: name.is_some(),
                name: name.unwrap_or(folder.name),
                path: folder.path,
                now: self.parts.clock.now(),
            })
            .await?;
        let asks = self.asks_of(Some(registered.project.id)).await?;
        let seen = self.seen(|_| false).await;
        let agent = registered.agent;
        let hold = agent.hold();
        let agent = self.agent_answer(agent, Some(&registered.project), &asks, &seen);
        Ok(RegisteredProject {
            agent: agent.await,
            project: api::Project::from(registered.project).with_agent_hold(hold),
            created: registered.effect == RegisterEffect::Created,
            moved: registered.effect == RegisterEffect::Moved,
        })
    }

    /// Removes a project and forgets what was trusted of it.
    pub(crate) async fn remove_project(
        &self,
        id: ProjectId,
        force: bool,
        by: &str,
    ) -> Result<(), Error> {
        if let Err(error) = self.engine().remove_project(id, force, by).await {
            return Err(self.not_this_project(error, id, "it is removed").await);
        }
        // Whoever registers it again is asked again. That it was removed stays true if this fails.
        let trust = TrustStore::new(&self.parts.home);
        let forgotten: Result<(), Error> = blocking(move || trust.forget(id)).await;
        if let Err(error) = forgotten {
            tracing::warn!(project = %id, error = chain(&error), "what was trusted of a removed project stays kept");
        }
        Ok(())
    }

    pub(crate) async fn pause_project(
        &self,
        id: ProjectId,
        paused: bool,
    ) -> Result<api::Project, Error> {
        match self.engine().pause_project(id, paused).await {
            Ok(project) => self.project_answer(project).await,
            Err(error) => Err(self
                .not_this_project(error, id, "its queue is paused and resumed")
                .await),
        }
    }

    pub(crate) async fn refresh_project(&self, id: ProjectId) -> Result<api::Project, Error> {
        match self.engine().refresh_project(id).await {
            Ok(project) => self.project_answer(project).await,
            Err(error) => Err(self.not_this_project(error, id, "it is looked at").await),
        }
    }

    /// A project of this machine, for what is done (`how`) on a project's own machine alone.
    pub(in crate::app) async fn project_here(
        &self,
        id: ProjectId,
        how: &str,
    ) -> Result<Project, Error> {
        match self.engine().store().project(id).await {
            Err(error) => Err(self.not_this_project(error, id, how).await),
            found => found,
        }
    }

    /// What a project's settings say as far as they can run code, and whether that is trusted.
    pub(crate) async fn trust(&self, id: ProjectId) -> Result<Trust, Refusal> {
        let project = self.project_here(id, "its settings are trusted").await?;
        let trust = TrustStore::new(&self.parts.home);
        blocking(move || {
            let loaded = ProjectConfig::load(&project.path)
                .map_err(|errors| Refusal::Unusable(errors.into()))?;
            Ok(trust.look(id, &loaded.config)?)
        })
        .await
    }

    /// Trusts a project's settings if they are still those with this digest, and lets its queue go if that held it.
    pub(crate) async fn trust_project(
        &self,
        id: ProjectId,
        digest: String,
    ) -> Result<Trust, Refusal> {
        let project = self.project_here(id, "its settings are trusted").await?;
        let trust = TrustStore::new(&self.parts.home);
        let now = self.parts.clock.now();
        let trusted = blocking(move || {
            trust
                .trust_shown(id, &project.path, &digest, now)
                .map_err(|error| match error.kind() {
                    ErrorKind::WrongState(_) => Refusal::TrustChanged(error.to_string()),
                    ErrorKind::Invalid => Refusal::Unusable(error),
                    _ => Refusal::Other(error),
                })
        })
        .await?;
        self.engine().refresh_project(id).await?;
        Ok(trusted)
    }
}

/// A folder that can be registered.
struct Folder {
    id: ProjectId,
    name: String,
    path: PathBuf,
}

/// Looks at a folder that `ccm init` has set up, given the projects that are known.
fn folder(path: &Path, known: &[Project]) -> Result<Folder, Refusal> {
    if !path.is_absolute() {
        return Err(Refusal::Unusable(Error::invalid(format!(
            "the path {} is not absolute",
            path.display()
        ))));
    }
    let dir = ProjectDir::open(path).map_err(Refusal::Unusable)?;
    let id = match dir.id().map_err(Refusal::Unusable)? {
        Some(id) if known.iter().any(|project| project.id == id) => Some(id),
        // The folder of a project that is known: its own id was lost, as `git clean` does, and one made since then
        // stands for nothing yet.
        new => match known.iter().find(|project| project.path == dir.folder()) {
            Some(project) => {
                dir.adopt_id(project.id)?;
                Some(project.id)
            }
            None => new,
        },
    };
    let id = id.ok_or_else(|| {
        Refusal::Unusable(Error::invalid(format!(
            "{} has no id; run `ccm init` in it",
            dir.folder().display()
        )))
    })?;
    let registered = known.iter().find(|project| project.id == id);
    dir.identify(registered.map(|project| project.path.as_path()))
        .map_err(Refusal::Unusable)?;
    // A config that can't be read holds the queue, but is no reason to refuse the folder.
    let named = ProjectConfig::load(dir.folder()).ok();
    let name = named.and_then(|loaded| loaded.config.name);
    Ok(Folder {
        id,
        name: name.unwrap_or_else(|| default_name(dir.folder())),
        path: dir.folder().to_owned(),
    })
}

/// Looks at files where waiting for a disk holds nobody else up.
pub(super) async fn blocking<T: Send + 'static, E: From<Error> + Send + 'static>(
    look: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    tokio::task::spawn_blocking(look)
        .await
        .map_err(|error| Error::internal("looking at files failed").with_source(error))?
}
