//! Taking CCM off a machine: which files are its own, and how its programs came here.

use std::io;
use std::path::{Path, PathBuf};

use ccm_core::{Error, ErrorKind, Noun, Result};

use super::config::Config;
use super::home::{Home, lexical};

/// The three programs.
const PROGRAMS: [&str; 3] = ["ccm", "ccm-orchestrator", "ccm-daemon"];
/// What Python calls the wheel's data, and cargo the package.
const WHEEL: &str = "ccm_orchestrator-";
const PACKAGE: &str = "ccm-cli";
/// What CCM makes in a home. A name that ends with a dot or a dash begins one.
const OURS: &[&str] = &[
    ".ccm-",
    ".config.schema.json.",
    ".config.yaml.",
    ".token.",
    "agents",
    "auth.json",
    "backups",
    "ccm.db",
    "ccm.db-",
    "ccm.db.",
    "ccm.sock",
    "config.schema.json",
    "config.yaml",
    "logs",
    "run",
    "runs",
    "token",
    "trust",
];

/// What of a home goes with its data, and what does not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Data {
    /// CCM's own files and folders, in the home.
    pub own: Vec<PathBuf>,
    /// What else is in the home, or is CCM's and somewhere else. It stays.
    pub left: Vec<PathBuf>,
}

impl Data {
    /// What there is of `home`.
    ///
    /// # Errors
    /// `WrongState` when the home is a folder of more than CCM: the account's own, one above it, or a root.
    pub fn of(home: &Home) -> Result<Self> {
        let dir = match std::fs::canonicalize(home.dir()) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unreadable(home.dir(), error)),
        };
        let accounts = home.user_home().map(|user| {
            let real = std::fs::canonicalize(user);
            real.unwrap_or_else(|_| lexical(user))
        });
        if dir.parent().is_none() || accounts.is_some_and(|user| user.starts_with(&dir)) {
            return Err(Error::new(
                ErrorKind::WrongState(Noun::System),
                format!(
                    "the machine home is {}, which holds more than CCM; remove config.yaml, token, ccm.db and the \
                     folders agents, logs, run, runs and trust in it yourself",
                    dir.display()
                ),
            ));
        }
        let mut data = Self::default();
        let entries = std::fs::read_dir(&dir).map_err(|error| unreadable(&dir, error))?;
        for entry in entries {
            let path = entry.map_err(|error| unreadable(&dir, error))?.path();
            if is_ours(home, &path) {
                data.own.push(path);
            } else {
                data.left.push(path);
            }
        }
        if let Ok(loaded) = Config::load(home) {
            let named = [
                loaded.config.database.sqlite_path,
                loaded.config.daemon.log_file,
            ];
            let elsewhere = named.into_iter().filter(|path| {
                path.exists() && !path.starts_with(home.dir()) && !path.starts_with(&dir)
            });
            data.left.extend(elsewhere);
        }
        data.own.sort();
        data.left.sort();
        Ok(data)
    }

    /// Removes what is CCM's own, and the home if nothing else is in it. Links are removed, never followed.
    ///
    /// # Errors
    /// `Internal` with what can't be removed; the rest may be gone.
    pub fn remove(&self, home: &Home) -> Result<()> {
        for path in &self.own {
            let is_dir = std::fs::symlink_metadata(path).map(|meta| meta.is_dir());
            let removed = match is_dir {
                Ok(true) => std::fs::remove_dir_all(path),
                Ok(false) => std::fs::remove_file(path),
                Err(error) => Err(error),
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(
                        Error::internal(format!("{} can't be removed", path.display()))
                            .with_source(error),
                    );
                }
                _ => {}
            }
        }
        // Refused if something is in it, or if it is a link of the user's.
        let _ = std::fs::remove_dir(home.dir());
        Ok(())
    }
}

fn is_ours(home: &Home, path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    // What a restore put aside is called after what it was.
    let name = name.split_once(".replaced-").map_or(name, |(name, _)| name);
    let begins = |ours: &str| ours.ends_with(['.', '-']) && name.starts_with(ours);
    home.config_file().file_name() == Some(name.as_ref())
        || OURS.iter().any(|ours| *ours == name || begins(ours))
}

fn unreadable(dir: &Path, error: io::Error) -> Error {
    Error::internal(format!("{} can't be read", dir.display())).with_source(error)
}

/// How the programs came to where they are, and with it how they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Programs {
    /// Another program keeps a list of them, and this command of it removes them.
    Managed {
        /// The command.
        command: String,
    },
    /// They are in the folder that they were built in.
    Built(PathBuf),
    /// They were put there by hand: these files.
    Files(Vec<PathBuf>),
}

impl Programs {
    /// Those of the install that this program is of.
    ///
    /// # Errors
    /// `Internal` when this program's file can't be told.
    pub fn here() -> Result<Self> {
        let own = std::env::current_exe()
            .and_then(std::fs::canonicalize)
            .map_err(|error| Error::internal("this program can't be found").with_source(error))?;
        let folder = own.parent().unwrap_or(Path::new("/"));
        Ok(Self::in_folder(folder))
    }

    /// Those in this folder.
    pub fn in_folder(folder: &Path) -> Self {
        let above = folder.parent().unwrap_or(folder);
        if folder.join(".fingerprint").is_dir() {
            return Self::Built(folder.to_owned());
        }
        let listed = std::fs::read_to_string(above.join(".crates.toml"))
            .is_ok_and(|text| text.contains(&format!("\"{PACKAGE} ")));
        if listed {
            return Self::Managed {
                command: format!("cargo uninstall --root {} {PACKAGE}", shell(above)),
            };
        }
        if has_wheel(above) {
            return Self::Managed {
                command: of_python(folder, above),
            };
        }
        let files = PROGRAMS.iter().map(|name| folder.join(name));
        Self::Files(files.filter(|file| file.is_file()).collect())
    }

    /// Removes files that nobody else keeps a list of. Returns those that it removed.
    ///
    /// # Errors
    /// `Internal` with the file that can't be removed.
    pub fn remove(&self) -> Result<Vec<PathBuf>> {
        let Self::Files(files) = self else {
            return Ok(Vec::new());
        };
        for file in files {
            std::fs::remove_file(file).map_err(|error| {
                Error::internal(format!("{} can't be removed", file.display())).with_source(error)
            })?;
        }
        Ok(files.clone())
    }
}

/// Whether a Python of this prefix has the wheel.
fn has_wheel(prefix: &Path) -> bool {
    let folders = |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten();
    ["lib", "lib64"]
        .iter()
        .flat_map(|lib| folders(prefix.join(lib)))
        .flat_map(|python| ["site-packages", "dist-packages"].map(|name| python.path().join(name)))
        .flat_map(folders)
        .any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(WHEEL) && name.ends_with(".dist-info")
        })
}

/// The command that removes the wheel from the prefix whose programs are in `folder`.
fn of_python(folder: &Path, prefix: &Path) -> String {
    let is_in = |parts: &[&str]| {
        let names: Vec<_> = prefix.iter().filter_map(|part| part.to_str()).collect();
        names.windows(parts.len()).any(|window| window == parts)
    };
    if is_in(&["pipx", "venvs"]) {
        return "pipx uninstall ccm-orchestrator".to_owned();
    }
    if is_in(&["uv", "tools"]) {
        return "uv tool uninstall ccm-orchestrator".to_owned();
    }
    let pip = folder.join("pip");
    if prefix.join("pyvenv.cfg").is_file() && pip.is_file() {
        return format!("{} uninstall ccm-orchestrator", shell(&pip));
    }
    "pip uninstall ccm-orchestrator".to_owned()
}

/// A path as a shell takes it.
fn shell(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    fn with_programs() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        for name in PROGRAMS {
            touch(&bin.join(name));
        }
        (dir, bin)
    }

    #[test]
    fn programs_that_were_copied_are_removed() {
        let (_dir, bin) = with_programs();
        touch(&bin.join("other"));
        let removed = Programs::in_folder(&bin).remove().unwrap();
        assert_eq!(removed.len(), 3);
        let left: Vec<_> = std::fs::read_dir(&bin).unwrap().flatten().collect();
        assert_eq!(left.len(), 1);
        assert_eq!(Programs::in_folder(&bin), Programs::Files(Vec::new()));
    }

    #[test]
    fn programs_of_another_manager_are_left_to_it() {
        let managed = |prepare: &dyn Fn(&Path)| {
            let (dir, bin) = with_programs();
            prepare(dir.path());
            let programs = Programs::in_folder(&bin);
            assert_eq!(programs.remove().unwrap(), [] as [PathBuf; 0]);
            assert!(bin.join("ccm").exists());
            let Programs::Managed { command } = programs else {
                panic!("{programs:?}")
            };
            command.replace(dir.path().to_str().unwrap(), "DIR")
        };
        let cargo = managed(&|dir| {
            let text = "[v1]\n\"ccm-cli 0.1.0 (path+file:///x)\" = [\"ccm\"]\n";
            std::fs::write(dir.join(".crates.toml"), text).unwrap();
        });
        assert_eq!(cargo, "cargo uninstall --root DIR ccm-cli");
        let wheel = "lib/python3.11/site-packages/ccm_orchestrator-0.1.0.dist-info/RECORD";
        let pip = managed(&|dir| touch(&dir.join(wheel)));
        assert_eq!(pip, "pip uninstall ccm-orchestrator");
        let venv = managed(&|dir| {
            for file in [wheel, "pyvenv.cfg", "bin/pip"] {
                touch(&dir.join(file));
            }
        });
        assert_eq!(venv, "DIR/bin/pip uninstall ccm-orchestrator");
    }

    #[test]
    fn programs_in_a_build_folder_stay() {
        let (dir, bin) = with_programs();
        std::fs::create_dir(bin.join(".fingerprint")).unwrap();
        assert_eq!(Programs::in_folder(&bin), Programs::Built(bin.clone()));
        drop(dir);
    }

    #[test]
    fn only_what_is_ours_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        for name in [
            "config.yaml",
            "token",
            "ccm.db",
            "ccm.db-wal",
            "logs/daemon.log",
            "trust.replaced-20260101T000000Z/x",
            "photo.jpg",
        ] {
            touch(&home.dir().join(name));
        }
        let precious = dir.path().join("precious/file");
        touch(&precious);
        std::os::unix::fs::symlink(precious.parent().unwrap(), home.dir().join("runs")).unwrap();
        let data = Data::of(&home).unwrap();
        assert_eq!(data.own.len(), 7, "{data:?}");
        data.remove(&home).unwrap();
        assert!(precious.exists() && home.dir().join("photo.jpg").exists());
        assert_eq!(std::fs::read_dir(home.dir()).unwrap().count(), 1);
        std::fs::remove_file(home.dir().join("photo.jpg")).unwrap();
        let data = Data::of(&home).unwrap();
        data.remove(&home).unwrap();
        assert!(!home.dir().exists());
        assert_eq!(Data::of(&home).unwrap(), Data::default());
    }

    #[test]
    fn a_home_that_holds_more_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let choose = |home: &Path| {
            Home::choose(&super::super::HomeChoice {
                ccm_home: Some(home.into()),
                user_home: Some(dir.path().join("ada")),
                current_dir: "/".into(),
                ..Default::default()
            })
            .unwrap()
        };
        std::fs::create_dir(dir.path().join("ada")).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("ada"), &link).unwrap();
        for bad in [Path::new("/"), dir.path(), &dir.path().join("ada"), &link] {
            let error = Data::of(&choose(bad)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WrongState(Noun::System), "{bad:?}");
        }
    }
}
