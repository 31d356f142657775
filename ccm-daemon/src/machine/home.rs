//! The machine home: which folder it is, what is where in it, and which daemon runs for it.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use ccm_core::{Error, ErrorKind, Result};

use super::files;

/// A machine home. The folder need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    dir: PathBuf,
    config_file: PathBuf,
    user_home: Option<PathBuf>,
}

/// What decides which home is used, so that tests need not change the environment.
#[derive(Debug, Clone, Default)]
pub struct HomeChoice {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `CCM_CONFIG`.
    pub ccm_config: Option<OsString>,
    /// `CCM_HOME`.
    pub ccm_home: Option<OsString>,
    /// The user's home folder.
    pub user_home: Option<PathBuf>,
    /// The folder that relative paths begin at.
    pub current_dir: PathBuf,
}

impl HomeChoice {
    /// The choice that this process's environment makes, with `--config` if it was given.
    pub fn of_process(config: Option<&Path>) -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            config: config.map(Path::to_owned),
            ccm_config: set("CCM_CONFIG"),
            ccm_home: set("CCM_HOME"),
            user_home: process_home(),
            // A folder that was deleted while somebody is in it begins no path.
            current_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        }
    }
}

/// The home folder of the user whose process this is.
fn process_home() -> Option<PathBuf> {
    std::env::var_os("HOME")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(account_home)
}

fn account_home() -> Option<PathBuf> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok()??;
    Some(user.dir)
}

impl Home {
    /// The home of this process: `--config` beats `CCM_CONFIG` beats `CCM_HOME` beats `~/.ccm-global`, and the older
    /// `~/.ccm` counts where only that holds a machine's config.
    ///
    /// # Errors
    /// `Invalid` when nothing says where the home is.
    pub fn find(config: Option<&Path>) -> Result<Self> {
        Self::choose(&HomeChoice::of_process(config))
    }

    /// The home that `choice` leads to.
    ///
    /// # Errors
    /// `Invalid` when nothing says where the home is.
    pub fn choose(choice: &HomeChoice) -> Result<Self> {
        let absolute = |path: &Path| lexical(&choice.current_dir.join(path));
        let named = choice
            .config
            .clone()
            .or(choice.ccm_config.clone().map(PathBuf::from));
        if let Some(file) = named {
            let file = absolute(&file);
            let Some(dir) = file.parent().filter(|_| file.file_name().is_some()) else {
                return Err(Error::invalid(format!(
                    "{} can't be a config file",
                    file.display()
                )));
            };
            return Ok(Self {
                dir: dir.to_owned(),
                config_file: file,
                user_home: choice.user_home.clone(),
            });
        }
        let dir = match (&choice.ccm_home, &choice.user_home) {
            (Some(dir), _) => absolute(Path::new(dir)),
            (None, Some(user)) => {
                let usual = absolute(&user.join(".ccm-global"));
                let older = absolute(&user.join(".ccm"));
                if !usual.exists() && is_machine_home(&older) {
                    older
                } else {
                    usual
                }
            }
            (None, None) => {
                return Err(Error::invalid(
                    "where CCM keeps its files is not known: set HOME or CCM_HOME",
                ));
            }
        };
        Ok(Self {
            config_file: dir.join("config.yaml"),
            dir,
            user_home: choice.user_home.clone(),
        })
    }

    /// The home in `dir`, whatever the environment says of it.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self {
            config_file: dir.join("config.yaml"),
            dir,
            user_home: process_home(),
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The config file.
    pub fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// The JSON Schema that the config file names for editors.
    pub fn schema_file(&self) -> PathBuf {
        self.dir.join("config.schema.json")
    }

    /// Whether the machine was set up.
    pub fn is_set_up(&self) -> bool {
        self.config_file.exists()
    }

    /// The API token.
    pub fn token_file(&self) -> PathBuf {
        self.dir.join("token")
    }

    /// Browsers that are signed in.
    pub fn sessions_file(&self) -> PathBuf {
        self.dir.join("sessions.json")
    }

    /// Who did what.
    pub fn audit_file(&self) -> PathBuf {
        self.logs_dir().join("audit.log")
    }

    /// Data of runs, one folder each.
    pub fn runs_dir(&self) -> PathBuf {
        self.dir.join("runs")
    }

    /// Logs, unless the config says otherwise.
    pub fn logs_dir(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// What the running daemon says about itself.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Backups, unless another place is named.
    pub fn backups_dir(&self) -> PathBuf {
        self.dir.join("backups")
    }

    /// What this machine trusts, one file a project.
    pub fn trust_dir(&self) -> PathBuf {
        self.dir.join("trust")
    }

    /// The user's home folder, if it is known.
    pub fn user_home(&self) -> Option<&Path> {
        self.user_home.as_deref()
    }

    /// A path of the config made absolute: `~` is the user's home, relative ones begin at this home.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), &self.user_home) {
            (Ok(rest), Some(user)) => lexical(&user.join(rest)),
            _ => lexical(&self.dir.join(path)),
        }
    }

    /// Makes the folder, for its owner alone, with the folders that are always in it. Returns whether the home itself
    /// is new.
    ///
    /// # Errors
    /// `Internal` with the folder that can't be made.
    pub fn create(&self) -> Result<bool> {
        let make = |dir: &Path| {
            files::create_private_dir(dir).map_err(|e| {
                Error::internal(format!("the folder {} can't be made", dir.display()))
                    .with_source(e)
            })
        };
        let new = make(&self.dir)?;
        for dir in [
            self.run_dir(),
            self.runs_dir(),
            self.trust_dir(),
            self.logs_dir(),
        ] {
            make(&dir)?;
        }
        Ok(new)
    }

    /// The API token.
    ///
    /// # Errors
    /// `NotFound(System)` if there is none yet, `Invalid` if others can read it or it is no token.
    pub fn token(&self) -> Result<Token> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.token_file();
        let mode = match std::fs::metadata(&path) {
            Ok(meta) => meta.permissions().mode(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::new(
                    ErrorKind::NotFound(ccm_core::Noun::System),
                    format!(
                        "there is no {}; `ccm-orchestrator init` makes one",
                        path.display()
                    ),
                ));
            }
            Err(e) => {
                return Err(
                    Error::internal(format!("{} can't be read", path.display())).with_source(e)
                );
            }
        };
        if mode & 0o077 != 0 {
            return Err(Error::invalid(format!(
                "others can read {0}; delete it, run `ccm-orchestrator init` and restart the daemon, or run `chmod 600 {0}` if nobody else was there",
                path.display()
            )));
        }
        let text = files::read_text(&path, files::Links::Followed).map_err(|e| {
            Error::internal(format!("{} can't be read", path.display())).with_source(e)
        })?;
        Token::parse(text.trim()).ok_or_else(|| {
            Error::invalid(format!(
                "{} holds no token; delete it and run `ccm-orchestrator init`",
                path.display()
            ))
        })
    }

    /// Makes the API token if there is none. Returns whether it is new.
    ///
    /// # Errors
    /// `Internal` when the file can't be written.
    pub fn create_token(&self) -> Result<bool> {
        let path = self.token_file();
        files::random_hex(32)
            .and_then(|token| {
                files::create_new(&path, files::SECRET, format!("{token}\n").as_bytes())
            })
            .map_err(|e| {
                Error::internal(format!("{} can't be written", path.display())).with_source(e)
            })
    }
}

/// The API token: 256 random bits as hexadecimal digits. Its debug form doesn't show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token in `text`, if it is one: 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let good = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        good.then(|| Self(text.to_owned()))
    }

    /// The digits. To be compared in constant time, and never to be logged.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(...)")
    }
}

/// Whether `dir` holds a machine's config file and not a project's. The file may be broken.
pub fn is_machine_home(dir: &Path) -> bool {
    const SECTIONS: &[&str] = &[
        "profile:",
        "system:",
        "database:",
        "supabase:",
        "sync:",
        "web_ui:",
        "daemon:",
        "resources:",
    ];
    files::read_text(&dir.join("config.yaml"), files::Links::Followed).is_ok_and(|text| {
        text.lines()
            .any(|line| SECTIONS.iter().any(|section| line.starts_with(section)))
    })
}

/// The path without `.` and `..`, which need not exist. Links are not looked at.
pub(crate) fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}
