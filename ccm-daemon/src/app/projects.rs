use std::path::{Path, PathBuf};

use ccm_core::api::{self, CreateProject, RegisteredProject, Trust};
use ccm_core::id::{AgentId, ProjectId};
use ccm_core::store::{NewProject, RegisterEffect};
use ccm_core::{Error, ErrorKind};

use super::App;

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
        let projects = self.engine().store().projects().await?.into_iter();
        Ok(projects
            .filter(|project| name.is_none_or(|name| project.name == name))
            .map(api::Project::from)
            .collect())
    }

    pub(crate) async fn project(&self, id: ProjectId) -> Result<api::Project, Error> {
        self.engine().store().project(id).await.map(Into::into)
    }

    /// Registers a folder that was set up, or finds it again. Trusts nothing.
    pub(crate) async fn register_project(
        &self,
        request: CreateProject,
    ) -> Result<RegisteredProject, Refusal> {
        let folder = blocking(move || folder(Path::new(&request.path))).await?;
        self.refuse_copy(&folder).await?;
        let exact_name = request.name.is_some();
        let registered = self
            .engine()
            .register_project(NewProject {
                id: folder.id,
                agent_id: AgentId::new(),
                name: request.name.unwrap_or(folder.name),
                exact_name,
                path: folder.path,
                now: self.parts.clock.now(),
            })
            .await?;
        let seen = self.seen().await;
        let agent = registered.agent;
        let agent = self.agent_answer(agent, Some(&registered.project), &seen);
        Ok(RegisteredProject {
            agent: agent.await,
            project: registered.project.into(),
            created: registered.effect == RegisterEffect::Created,
            moved: registered.effect == RegisterEffect::Moved,
        })
    }

    /// A folder with the id of a project whose own folder is still there is a copy of it.
    async fn refuse_copy(&self, folder: &Folder) -> Result<(), Refusal> {
        let known = match self.engine().store().project(folder.id).await {
            Ok(known) if known.path != folder.path => known,
            Ok(_) => return Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let (name, path, id) = (known.name, known.path, folder.id);
        let there = path.clone();
        let original = blocking(move || Ok(self::folder(&there).is_ok_and(|f| f.id == id))).await?;
        if !original {
            return Ok(());
        }
        Err(Refusal::Unusable(Error::invalid(format!(
            "{} is a copy of the project {name:?} in {}; run `ccm init` in the copy to make it a project of its own",
            folder.path.display(),
            path.display()
        ))))
    }

    pub(crate) async fn remove_project(
        &self,
        id: ProjectId,
        force: bool,
        by: &str,
    ) -> Result<(), Error> {
        self.engine().remove_project(id, force, by).await
    }

    pub(crate) async fn pause_project(
        &self,
        id: ProjectId,
        paused: bool,
    ) -> Result<api::Project, Error> {
        self.engine()
            .pause_project(id, paused)
            .await
            .map(Into::into)
    }

    pub(crate) async fn refresh_project(&self, id: ProjectId) -> Result<api::Project, Error> {
        self.engine().refresh_project(id).await.map(Into::into)
    }

    /// What a project's settings say as far as they can run code, and whether that is trusted.
    pub(crate) async fn trust(&self, id: ProjectId) -> Result<Trust, Refusal> {
        self.engine().store().project(id).await?;
        Err(Refusal::Other(Error::new(
            ErrorKind::Unsupported,
            "not yet",
        )))
    }

    /// Trusts a project's settings if they are still those with this digest.
    pub(crate) async fn trust_project(
        &self,
        id: ProjectId,
        digest: String,
    ) -> Result<Trust, Refusal> {
        self.engine().store().project(id).await?;
        Err(Refusal::TrustChanged(digest))
    }
}

struct Folder {
    id: ProjectId,
    name: String,
    path: PathBuf,
}

fn folder(path: &Path) -> Result<Folder, Refusal> {
    let unusable = |what: String| Refusal::Unusable(Error::invalid(what));
    let real = path
        .canonicalize()
        .map_err(|error| unusable(format!("{}: {error}", path.display())))?;
    let id = std::fs::read_to_string(real.join(".ccm/id"))
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| {
            unusable(format!(
                "{} is not set up; run `ccm init` in it",
                real.display()
            ))
        })?;
    let name = real.file_name().map_or_else(
        || "project".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    );
    Ok(Folder {
        id,
        name,
        path: real,
    })
}

/// Looks at files where waiting for a disk holds nobody else up.
async fn blocking<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(look)
        .await
        .map_err(|error| Error::internal("looking at a folder failed").with_source(error))?
}
