//! A project's folder: its `.ccm/`, its id, and how it is found from below.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ccm_core::id::ProjectId;
use ccm_core::{Error, ErrorKind, Noun, Result};

use super::check;
use super::files::{self, Links};
use super::home::{Home, is_machine_home};
use super::project_config::ProjectConfig;
use super::template;
use super::worktree::Worktree;

const GITIGNORE: &str = "\
# Settings, skills and prompts can be committed; logs, run data and this folder's id are of this machine only.
/*
!/.gitignore
!/config.yaml
!/skills/
!/prompts/
";

/// Everything that can be in `.ccm/` and is looked at. None of it may be a symbolic link.
const PARTS: &[&str] = &[
    "config.yaml",
    "id",
    "skills",
    "prompts",
    "agent.log",
    ".gitignore",
];

/// A folder that is a project's: one with a `.ccm/` of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectDir {
    folder: PathBuf,
}

/// What [`ProjectDir::init`] is to do.
#[derive(Debug, Clone, Default)]
pub struct InitOptions {
    /// The name to write into a config file that is made now.
    pub name: Option<String>,
    /// Whether the folder may be inside another project.
    pub nested: bool,
    /// Further settings for a config file that is made now, by key, as YAML: `agent.driver` and the like.
    pub settings: Vec<(String, String)>,
}

/// What [`ProjectDir::init`] found and made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initialised {
    /// The project's folder.
    pub dir: ProjectDir,
    /// Its id.
    pub id: ProjectId,
    /// What was made, as paths below the folder. Empty if everything was there.
    pub created: Vec<PathBuf>,
    /// Whether the config file was made now. One that was there is somebody's; whether its settings are trusted is to
    /// be asked.
    pub config_created: bool,
}

/// What a project's folder is to the machine that knows its id at some path, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The id is not known.
    New,
    /// It is known at this path.
    Same,
    /// It is known at a path where the project no longer is.
    Moved {
        /// That path.
        from: PathBuf,
    },
}

impl ProjectDir {
    /// The project in `folder` itself.
    ///
    /// # Errors
    /// `NotFound(Project)` if it has no `.ccm/`, `Invalid` if a part of that is a symbolic link.
    pub fn open(folder: &Path) -> Result<Self> {
        let folder = real(folder)?;
        if !has_project(&folder)? {
            return Err(Error::new(
                ErrorKind::NotFound(Noun::Project),
                format!(
                    "{} is no project; `ccm init` makes it one",
                    folder.display()
                ),
            ));
        }
        Ok(Self { folder })
    }

    /// The project that `from` is in: the nearest folder above that has a `.ccm/`, machine homes aside. In a git
    /// worktree it is the project that the main tree has in its place, unless the worktree was set up itself.
    ///
    /// # Errors
    /// `Invalid` if a part of its `.ccm/` is a symbolic link.
    pub fn find(from: &Path, home: &Home) -> Result<Option<Self>> {
        let start = real(from)?;
        let worktree = Worktree::of(&start);
        for folder in start.ancestors() {
            let is_home = is_machine_home(&folder.join(".ccm"))
                || is_same_folder(&folder.join(".ccm"), home.dir());
            let here = !is_home && has_project(folder)?;
            let candidate = Self {
                folder: folder.to_owned(),
            };
            if here && candidate.id()?.is_some() {
                return Ok(Some(candidate));
            }
            let in_main = worktree.as_ref().and_then(|tree| tree.in_main(folder));
            if let Some(main) = in_main
                && has_project(&main)?
            {
                return Ok(Some(Self { folder: main }));
            }
            if here {
                return Ok(Some(candidate));
            }
        }
        Ok(None)
    }

    /// Makes `folder` a project, or completes one that lacks something. Running it again changes nothing.
    ///
    /// # Errors
    /// `NotFound(Project)` if there is no such folder; `Invalid` for the user's home, the root, a machine home, a
    /// symbolic link in `.ccm/` and a name that is none; `WrongState(Project)` inside another project unless nested.
    pub fn init(folder: &Path, home: &Home, options: &InitOptions) -> Result<Initialised> {
        let folder = real(folder)?;
        refuse_places(&folder, home)?;
        if let Some(name) = options.name.as_deref()
            && !check::is_name(name)
        {
            let expected = check::expected(&super::schema::Kind::Name);
            return Err(Error::invalid(format!(
                "expected {expected}, found {name:?}"
            )));
        }
        let dir = Self { folder };
        let known = has_project(&dir.folder)? && dir.id()?.is_some();
        if !known && !options.nested {
            dir.refuse_inside_another(home)?;
        }
        let mut created = Vec::new();
        let config_created = dir.complete(options, &mut created)?;
        let id = match dir.id()? {
            Some(id) => id,
            None => {
                let id = ProjectId::new();
                dir.write_id(id)?;
                created.push(PathBuf::from(".ccm/id"));
                id
            }
        };
        Ok(Initialised {
            dir,
            id,
            created,
            config_created,
        })
    }

    /// Makes what is missing of `.ccm/`, the id aside, and says whether the config file was.
    fn complete(&self, options: &InitOptions, created: &mut Vec<PathBuf>) -> Result<bool> {
        for part in ["", "skills", "prompts"] {
            let path = self.ccm().join(part);
            match std::fs::create_dir(&path) {
                Ok(()) if part.is_empty() => {}
                Ok(()) => created.push(Path::new(".ccm").join(part)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
                Err(e) => return Err(unwritable(&path, e)),
            }
        }
        let mut file = |name: &str, mode: u32, text: &str| {
            let path = self.ccm().join(name);
            // Looked for first, so that a project that is complete can be read-only.
            let new = !path.exists()
                && files::create_new(&path, mode, text.as_bytes())
                    .map_err(|e| unwritable(&path, e))?;
            if new {
                created.push(Path::new(".ccm").join(name));
            }
            Ok::<bool, Error>(new)
        };
        file(".gitignore", files::SHARED, GITIGNORE)?;
        let config = file("config.yaml", files::SHARED, &self.first_config(options)?)?;
        file("agent.log", files::SECRET, "")?;
        Ok(config)
    }

    fn first_config(&self, options: &InitOptions) -> Result<String> {
        let name = options
            .name
            .iter()
            .map(|name| ("name", name.as_str().into()));
        let text = template::project(&name.collect::<Vec<_>>());
        let file = super::ConfigFile::project(&self.folder);
        options
            .settings
            .iter()
            .try_fold(text, |text, (key, value)| {
                file.set_in(&text, key, value).map(|edited| edited.text)
            })
    }

    fn refuse_inside_another(&self, home: &Home) -> Result<()> {
        let outer = match self.folder.parent() {
            Some(parent) => Self::find(parent, home)?,
            None => None,
        };
        // A worktree of a project is inside of it, though its folder is elsewhere.
        let outer = match outer {
            Some(outer) => Some(outer),
            None => Self::find(&self.folder, home)?.filter(|found| found.folder != self.folder),
        };
        match outer {
            Some(outer) => Err(Error::new(
                ErrorKind::WrongState(Noun::Project),
                format!(
                    "{} belongs to the project in {}; `ccm init --nested` makes it one of its own",
                    self.folder.display(),
                    outer.folder.components().collect::<PathBuf>().display()
                ),
            )),
            None => Ok(()),
        }
    }

    /// The folder, with symlinks resolved.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The config file. It need not exist.
    pub fn config_path(&self) -> PathBuf {
        ProjectConfig::path(&self.folder)
    }

    /// The readable log of every run. It need not exist.
    pub fn agent_log(&self) -> PathBuf {
        self.ccm().join("agent.log")
    }

    /// Skills that the agent sees. The folder need not exist.
    pub fn skills_dir(&self) -> PathBuf {
        self.ccm().join("skills")
    }

    /// Templates of tasks. The folder need not exist.
    pub fn prompts_dir(&self) -> PathBuf {
        self.ccm().join("prompts")
    }

    /// The project's id on this machine, if it has one.
    ///
    /// # Errors
    /// `Invalid` when the file holds something else.
    pub fn id(&self) -> Result<Option<ProjectId>> {
        let path = self.id_path();
        let text = match files::read_text(&path, Links::Refused) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => {
                return Err(Error::invalid(format!(
                    "{} can't be read: {e}",
                    path.display()
                )));
            }
        };
        text.trim().parse().map(Some).map_err(|_| {
            Error::invalid(format!(
                "{} holds no id; delete it and run `ccm init` again",
                path.display()
            ))
        })
    }

    /// A new id for this folder: it becomes a project of its own, which nothing is known or trusted of.
    ///
    /// # Errors
    /// `Internal` when the file can't be written.
    pub fn renew_id(&self) -> Result<ProjectId> {
        let id = ProjectId::new();
        self.write_id(id)?;
        Ok(id)
    }

    /// Gives this folder the id under which its path is known.
    ///
    /// # Errors
    /// `Internal` when the file can't be written.
    pub(crate) fn adopt_id(&self, id: ProjectId) -> Result<()> {
        self.write_id(id)
    }

    /// Writes a lost id again, with the folder and the `.gitignore` it needs.
    ///
    /// # Errors
    /// `Internal` when it can't be written.
    pub(crate) fn restore_id(folder: &Path, id: ProjectId) -> Result<()> {
        let dir = Self {
            folder: folder.to_owned(),
        };
        let ccm = dir.ccm();
        match std::fs::create_dir(&ccm) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(unwritable(&ccm, e)),
            _ => {}
        }
        let ignore = ccm.join(".gitignore");
        if !ignore.exists() {
            files::create_new(&ignore, files::SHARED, GITIGNORE.as_bytes())
                .map_err(|e| unwritable(&ignore, e))?;
        }
        dir.write_id(id)
    }

    /// What this folder is, given where its id is registered, if it is.
    ///
    /// # Errors
    /// `WrongState(Project)` for a copy: the project is still at the other path, too. [`renew_id`](Self::renew_id)
    /// makes the copy a project of its own, and `ccm init` does so.
    pub fn identify(&self, registered: Option<&Path>) -> Result<Identity> {
        let Some(path) = registered else {
            return Ok(Identity::New);
        };
        if is_same_folder(path, &self.folder) {
            return Ok(Identity::Same);
        }
        if self.is_copy_of(path) {
            return Err(Error::new(
                ErrorKind::WrongState(Noun::Project),
                format!(
                    "{} is a copy of the project in {}; `ccm init` makes it a project of its own",
                    self.folder.display(),
                    path.display()
                ),
            ));
        }
        Ok(Identity::Moved {
            from: path.to_owned(),
        })
    }

    /// Whether the folder at `other` is another one and has the same id.
    pub fn is_copy_of(&self, other: &Path) -> bool {
        let theirs = Self {
            folder: other.to_owned(),
        };
        let same_id = match (self.id(), theirs.id()) {
            (Ok(Some(ours)), Ok(Some(theirs))) => ours == theirs,
            _ => false,
        };
        same_id && !is_same_folder(other, &self.folder)
    }

    fn ccm(&self) -> PathBuf {
        self.folder.join(".ccm")
    }

    fn id_path(&self) -> PathBuf {
        self.ccm().join("id")
    }

    fn write_id(&self, id: ProjectId) -> Result<()> {
        let path = self.id_path();
        files::replace(&path, files::SHARED, format!("{id}\n").as_bytes())
            .map_err(|e| unwritable(&path, e))
    }
}

/// The name of a project whose folder is `folder`, if nobody says another.
pub fn default_name(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let mut clean: String = name
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') {
                c
            } else {
                '-'
            }
        })
        .skip_while(|c| !c.is_alphanumeric())
        .take(60)
        .collect();
    clean.truncate(clean.trim_end_matches(['-', '.', '_']).len());
    if clean.is_empty() {
        clean.push_str("project");
    }
    clean
}

fn refuse_places(folder: &Path, home: &Home) -> Result<()> {
    let is = |other: &Path| other.canonicalize().is_ok_and(|other| other == folder);
    let is_own = |above: &Path| {
        let named = above
            .file_name()
            .is_some_and(|name| name == ".ccm" || name == ".ccm-global");
        named && is_machine_home(above)
    };
    let what = if folder.parent().is_none() {
        "the root folder"
    } else if home.user_home().is_some_and(is) {
        "your home folder"
    } else if is(home.dir()) || folder.ancestors().any(is_own) {
        "CCM's own folder"
    } else if is_machine_home(&folder.join(".ccm")) {
        "a folder whose .ccm holds this machine's own config"
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!(
        "{} is {what} and can't be a project; run `ccm init` in a folder of its own",
        folder.display()
    )))
}

/// Whether the folder has a `.ccm/` that says something.
fn has_project(folder: &Path) -> Result<bool> {
    let ccm = folder.join(".ccm");
    let linked = |path: &Path| {
        Error::invalid(format!(
            "{} is a symbolic link, which is not allowed in a project's .ccm; put what it leads to in its place",
            path.display()
        ))
    };
    match std::fs::symlink_metadata(&ccm) {
        Ok(meta) if meta.is_symlink() => return Err(linked(&ccm)),
        Ok(meta) if meta.is_dir() => {}
        // A file of that name is somebody's, and no project.
        Ok(_) | Err(_) => return Ok(false),
    }
    if is_machine_home(&ccm) {
        return Ok(false);
    }
    let mut any = false;
    for part in PARTS {
        let path = ccm.join(part);
        if let Ok(meta) = std::fs::symlink_metadata(&path) {
            if meta.is_symlink() {
                return Err(linked(&path));
            }
            any |= matches!(*part, "config.yaml" | "id");
        }
    }
    Ok(any)
}

fn real(folder: &Path) -> Result<PathBuf> {
    let found = folder.canonicalize().and_then(|path| {
        if path.is_dir() {
            Ok(path)
        } else {
            Err(io::Error::other("it is no folder"))
        }
    });
    found.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::new(
            ErrorKind::NotFound(Noun::Project),
            format!("there is no folder {}", folder.display()),
        ),
        _ => Error::invalid(format!("{} can't be used: {e}", folder.display())),
    })
}

fn is_same_folder(a: &Path, b: &Path) -> bool {
    match (std::fs::metadata(a), std::fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

fn unwritable(path: &Path, e: io::Error) -> Error {
    if e.kind() == io::ErrorKind::AlreadyExists {
        return Error::invalid(format!(
            "{} has to be a folder, and something else is there; move it away",
            path.display()
        ));
    }
    Error::internal(format!("{} can't be written", path.display())).with_source(e)
}
