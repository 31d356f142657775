//! How a project is to be run now, or why its queue waits: its config file and this machine's trust in it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ccm_core::Reason;
use ccm_core::id::ProjectId;
use ccm_core::project::{Profile, Profiles, Project, ProjectSharing, RemoteTasks};
use ccm_core::task::Setback;
use tokio::sync::watch;

use super::config::Config;
use super::files::Stamp;
use super::home::Home;
use super::project_config::ProjectConfig;
use super::project_dir::ProjectDir;
use super::repository::{self, Looked};
use super::trust::TrustStore;

/// The profiles of the projects of one machine.
///
/// An answer is kept for as long as the project's `.ccm/`, its config file and the record of trust look the same.
#[derive(Debug, Clone)]
pub struct ProjectProfiles {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    trust: TrustStore,
    machine: watch::Receiver<Arc<Config>>,
    known: Mutex<HashMap<ProjectId, Known>>,
    /// What is shared of projects, kept in the same way.
    shared: Mutex<HashMap<ProjectId, Shared>>,
}

#[derive(Debug, Clone)]
struct Known {
    seen: Seen,
    answer: Result<Profile, Setback>,
}

#[derive(Debug, Clone)]
struct Shared {
    path: PathBuf,
    repository: Looked,
    config: Option<Stamp>,
    settled: bool,
    remote_tasks: RemoteTasks,
}

/// Everything that an answer depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    path: std::path::PathBuf,
    ccm: Option<Stamp>,
    config: Option<Stamp>,
    trust: Option<Stamp>,
    /// The machine's own limit, which a project may leave as it is.
    memory_mb: u64,
}

impl ProjectProfiles {
    /// Profiles with `machine` below what the projects say.
    pub fn new(home: &Home, machine: Config) -> Self {
        let (_, machine) = watch::channel(Arc::new(machine));
        Self::following(home, machine)
    }

    /// The same with a machine's config that may change.
    pub fn following(home: &Home, machine: watch::Receiver<Arc<Config>>) -> Self {
        Self {
            inner: Arc::new(Inner {
                trust: TrustStore::new(home),
                machine,
                known: Mutex::default(),
                shared: Mutex::default(),
            }),
        }
    }
}

#[async_trait]
impl Profiles for ProjectProfiles {
    async fn profile(&self, project: &Project) -> Result<Profile, Setback> {
        let inner = Arc::clone(&self.inner);
        let project = project.clone();
        let looked = tokio::task::spawn_blocking(move || inner.profile(&project)).await;
        looked.unwrap_or_else(|e| {
            Err(Setback::new(
                Reason::ConfigUntrusted,
                format!("the project's settings could not be read: {e}"),
            ))
        })
    }

    async fn sharing(&self, project: &Project) -> ProjectSharing {
        let inner = Arc::clone(&self.inner);
        let project = project.clone();
        let looked = tokio::task::spawn_blocking(move || inner.sharing(&project)).await;
        looked.unwrap_or_default()
    }
}

impl Inner {
    fn sharing(&self, project: &Project) -> ProjectSharing {
        let lock = || self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let before = lock().get(&project.id).cloned();
        let before = before.filter(|before| before.path == project.path);
        let config = Stamp::of(&ProjectConfig::path(&project.path));
        let same = before
            .as_ref()
            .filter(|before| before.settled && before.config == config);
        let shared = Shared {
            path: project.path.clone(),
            repository: repository::look(&project.path, before.as_ref().map(|b| &b.repository)),
            config,
            settled: config.is_none_or(Stamp::is_settled),
            remote_tasks: match same {
                Some(same) => same.remote_tasks,
                None => remote_tasks(&project.path),
            },
        };
        let sharing = ProjectSharing {
            repository: shared.repository.name.clone(),
            remote_tasks: shared.remote_tasks,
        };
        lock().insert(project.id, shared);
        sharing
    }

    fn profile(&self, project: &Project) -> Result<Profile, Setback> {
        let seen = self.see(project);
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = known.get(&project.id)
                && known.seen == seen
            {
                return known.answer.clone();
            }
        }
        let answer = self.look(project);
        // An id that was written again changed what is seen; a file that changed just now may change once more within
        // the same tick of its clock. Both are looked at again.
        let settled = seen.config.is_some_and(Stamp::is_settled) && seen == self.see(project);
        if settled {
            let known = Known {
                seen,
                answer: answer.clone(),
            };
            let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(project.id, known);
        }
        answer
    }

    fn see(&self, project: &Project) -> Seen {
        Seen {
            path: project.path.clone(),
            ccm: Stamp::of(&project.path.join(".ccm")),
            config: Stamp::of(&ProjectConfig::path(&project.path)),
            trust: Stamp::of(&self.trust.path(project.id)),
            memory_mb: self.machine.borrow().resources.max_agent_memory_mb,
        }
    }

    fn look(&self, project: &Project) -> Result<Profile, Setback> {
        let untrusted = |detail: String| Setback::new(Reason::ConfigUntrusted, detail);
        check_folder(project)?;
        let loaded = ProjectConfig::load(&project.path)
            .map_err(|errors| untrusted(errors.to_string().replace('\n', "; ")))?;
        let trust = self
            .trust
            .look(project.id, &loaded.config)
            .map_err(|e| untrusted(ccm_core::chain(&e)))?;
        if !trust.trusted {
            return Err(untrusted(format!(
                "settings in .ccm/config.yaml that can run code are not trusted on this machine; run `ccm project trust {}`",
                project.name
            )));
        }
        Ok(loaded.config.profile(&self.machine.borrow()))
    }
}

/// What a project's settings say of tasks of other machines. Those that can't be read allow nothing.
fn remote_tasks(folder: &Path) -> RemoteTasks {
    match ProjectConfig::load(folder) {
        Ok(loaded) => loaded.config.remote_tasks,
        Err(_) => RemoteTasks::default(),
    }
}

/// The folder must be there and be this project's. A lost id is written again.
fn check_folder(project: &Project) -> Result<(), Setback> {
    let path: &Path = &project.path;
    let missing = |detail: String| Err(Setback::new(Reason::ProjectMissing, detail));
    if !path.is_dir() {
        return missing(format!(
            "the folder {0} is not there; put it back, run `ccm init` where it is now, or `ccm project remove {1}`",
            path.display(),
            project.name
        ));
    }
    let untrusted = |e: ccm_core::Error| Setback::new(Reason::ConfigUntrusted, ccm_core::chain(&e));
    let found = match ProjectDir::open(path) {
        Ok(dir) => dir.id().map_err(untrusted)?,
        Err(e) if matches!(e.kind(), ccm_core::ErrorKind::NotFound(_)) => None,
        Err(e) => return Err(untrusted(e)),
    };
    match found {
        Some(id) if id == project.id => Ok(()),
        Some(_) => missing(format!(
            "the folder {0} now has the id of another project; run `ccm init` in it, or `ccm project remove {1}`",
            path.display(),
            project.name
        )),
        None => ProjectDir::restore_id(path, project.id).map_err(untrusted),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use ccm_core::id::SystemId;
    use ccm_core::time::Timestamp;

    use super::super::setup::{self, Answers};
    use super::super::{InitOptions, ProjectDir};
    use super::*;

    #[test]
    fn what_did_not_change_is_not_read_again() {
        let temp = tempfile::tempdir().unwrap();
        let home = Home::at(temp.path().join("home"));
        let config = setup::set_up(&home, &Answers::default()).unwrap().config;
        let folder = temp.path().canonicalize().unwrap().join("p");
        std::fs::create_dir(&folder).unwrap();
        let id = ProjectDir::init(&folder, &home, &InitOptions::default())
            .unwrap()
            .id;
        let project = Project {
            id,
            name: "p".to_owned(),
            path: folder.clone(),
            system_id: SystemId::new(),
            paused: false,
            hold: None,
            queued: 0,
            running: 0,
            created_at: Timestamp::from_micros(0),
        };
        let profiles = ProjectProfiles::new(&home, config);
        let kept = || profiles.inner.known.lock().unwrap().contains_key(&id);
        profiles.inner.profile(&project).unwrap();
        assert!(!kept(), "a file that changed just now is looked at again");
        let deadline = Instant::now() + Duration::from_secs(20);
        while !kept() {
            assert!(Instant::now() < deadline, "the answer is never kept");
            std::thread::sleep(Duration::from_millis(50));
            profiles.inner.profile(&project).unwrap();
        }
        std::fs::write(ProjectConfig::path(&folder), "agent: {args: [x]}\n").unwrap();
        profiles.inner.profile(&project).unwrap_err();
    }
}
