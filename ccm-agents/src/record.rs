//! What is written down about a run and an agent, and where.
//!
//! These files are read by later versions of this program: fields may be added, none may change its meaning.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ccm_core::agent::AgentPlace;
use ccm_core::id::{AgentId, Epoch, RunId};
use ccm_core::run::Stream;
use ccm_core::runtime::{Exit, LaunchOrder, RunEnd, SittingOrder};
use ccm_core::task::Setback;
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cgroup::Group;
use crate::sys::durable;
use crate::sys::proc::{Machine, ProcessId};

/// The version of the files in a run's folder.
pub(crate) const FORMAT: u32 = 1;

/// `launch`: what the daemon wants started.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LaunchFile {
    pub(crate) format: u32,
    /// The daemon that wrote it.
    pub(crate) epoch: Epoch,
    /// Where the agent's host listens.
    pub(crate) socket: PathBuf,
    /// The most bytes it may write.
    pub(crate) output_limit: u64,
    /// Whether the run gets a control group of its own, where it can; absent in orders of daemons that know of none.
    #[serde(default)]
    pub(crate) cgroups: bool,
    /// Variables of the program that beat those of its profile.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// The trace that the run is a part of, as W3C Trace Context writes it; absent where nothing is traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<String>,
    pub(crate) order: LaunchOrder,
}

/// `gate`: written once, by whoever decided first whether the run starts.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "gate", rename_all = "snake_case")]
pub(crate) enum Gate {
    /// The run's program may start: the commit point.
    Passed(Passage),
    /// It never will.
    Void { cause: Setback, at: Timestamp },
}

/// Who passed a gate.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Passage {
    pub(crate) child: ProcessId,
    pub(crate) host: ProcessId,
    pub(crate) machine: Machine,
    pub(crate) at: Timestamp,
    /// For how long the machine was up; absent in records of the first versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) up: Option<Duration>,
    /// Where the run's folder was; absent in records of the first versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) folder: Option<Folder>,
    /// The run's control group, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<Group>,
}

/// A folder, told apart from a copy of it: one that was moved keeps its number, one that was restored keeps its path.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Folder {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Folder {
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let meta = std::fs::metadata(path)?;
        Ok(Self {
            path: path.canonicalize()?,
            device: meta.dev(),
            inode: meta.ino(),
        })
    }

    fn is_copied_to(&self, other: &Self) -> bool {
        self.path != other.path && !self.is(other)
    }

    /// Whether it is the very folder, wherever it was moved.
    fn is(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// `exit`: how the run ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub(crate) enum ExitRecord {
    /// Its program ran and ended.
    Exited {
        started_at: Timestamp,
        #[serde(flatten)]
        exit: Exit,
    },
    /// Its program could not be executed.
    NotStarted {
        cause: Setback,
        errno: Option<i32>,
        at: Timestamp,
    },
}

impl ExitRecord {
    pub(crate) fn into_end(self) -> (RunEnd, Option<Timestamp>) {
        match self {
            Self::Exited { started_at, exit } => (RunEnd::Exited(exit), Some(started_at)),
            Self::NotStarted { cause, .. } => (RunEnd::NeverStarted(cause), None),
        }
    }
}

/// A line of `inputs`: what became of something that the program was given.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct InputNote {
    /// Its number; the prompt is 1.
    pub(crate) input: u32,
    pub(crate) state: Noted,
    pub(crate) at: Timestamp,
}

/// What is noted of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Noted {
    /// From here on the program may have seen something of it.
    Begun,
    /// All of it was written.
    Delivered,
    /// Nothing of it was written, and nothing will be.
    TooLate,
}

/// `place.json` of an agent: what its host must know before any run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlaceFile {
    pub(crate) epoch: Epoch,
    /// Where a new host is to listen.
    pub(crate) socket: PathBuf,
    pub(crate) place: AgentPlace,
}

/// `host.json` of an agent: its host, while it has one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HostFile {
    pub(crate) process: ProcessId,
    pub(crate) machine: Machine,
    pub(crate) version: String,
    pub(crate) socket: PathBuf,
    /// The agent's folder; absent in records of the first versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) folder: Option<Folder>,
}

/// An agent's folder, `<home>/agents/AGENT_ID`.
#[derive(Debug, Clone)]
pub(crate) struct AgentDir(PathBuf);

impl AgentDir {
    pub(crate) fn new(home: &Path, agent: AgentId) -> Self {
        Self(home.join("agents").join(agent.to_string()))
    }

    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The home it is in.
    pub(crate) fn home(&self) -> &Path {
        let home = self.0.parent().and_then(Path::parent);
        home.unwrap_or(Path::new("/"))
    }

    /// Locked by the host for as long as it lives.
    pub(crate) fn host_lock(&self) -> PathBuf {
        self.0.join("host.lock")
    }

    pub(crate) fn host_log(&self) -> PathBuf {
        self.0.join("host.log")
    }

    pub(crate) fn host_file(&self) -> PathBuf {
        self.0.join("host.json")
    }

    pub(crate) fn place_file(&self) -> PathBuf {
        self.0.join("place.json")
    }

    /// With what a person sits in the agent's place, while one does.
    pub(crate) fn sitting_file(&self) -> PathBuf {
        self.0.join("sitting.json")
    }

    /// Locked by a person's session for as long as anything that it started may go on with its conversation.
    pub(crate) fn sitting_lock(&self) -> PathBuf {
        self.0.join("sitting.lock")
    }

    pub(crate) fn sitting(&self) -> Result<Option<SittingOrder>> {
        read_json(&self.sitting_file())
    }

    /// The host, as it wrote itself down. In a copy of its folder it is another home's, and nobody here speaks to it.
    pub(crate) fn host(&self) -> Result<Option<HostFile>> {
        let host: Option<HostFile> = read_json(&self.host_file())?;
        let here = Folder::at(&self.0).ok();
        Ok(host.filter(|host| match (&host.folder, &here) {
            (Some(folder), Some(here)) => folder.is(here),
            _ => true,
        }))
    }

    pub(crate) fn place(&self) -> Result<Option<PlaceFile>> {
        read_json(&self.place_file())
    }
}

/// A run's folder, `<home>/runs/RUN_ID`.
#[derive(Debug, Clone)]
pub(crate) struct RunDir {
    pub(crate) run: RunId,
    path: PathBuf,
}

impl RunDir {
    pub(crate) fn new(home: &Path, run: RunId) -> Self {
        Self {
            run,
            path: home.join("runs").join(run.to_string()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn spool(&self, stream: Stream) -> PathBuf {
        self.file(match stream {
            Stream::Out => "spool.out",
            Stream::Err => "spool.err",
        })
    }

    pub(crate) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Makes the folder, durably.
    pub(crate) fn create(&self) -> Result<()> {
        let make = || {
            durable::make_dir(&self.path)?;
            durable::sync_dir(self.path.parent().unwrap_or(Path::new("/")))
        };
        make().map_err(|error| durable::error("make", &self.path, error))
    }

    pub(crate) fn launch(&self) -> Result<Option<LaunchFile>> {
        read_json(&self.file("launch"))
    }

    pub(crate) fn gate(&self) -> Result<Option<Gate>> {
        read_json(&self.file("gate"))
    }

    pub(crate) fn exit(&self) -> Result<Option<ExitRecord>> {
        read_json(&self.file("exit"))
    }

    /// Writes the gate unless there is one; says whether it is ours.
    pub(crate) fn pass(&self, gate: &Gate) -> Result<bool> {
        let path = self.file("gate");
        durable::create_once(&path, &json(gate)?)
            .map_err(|error| durable::error("write", &path, error))
    }

    /// Settles that the run never starts; `false` if its gate was there before.
    pub(crate) fn void(&self, cause: Setback) -> Result<bool> {
        self.pass(&Gate::Void {
            cause,
            at: crate::clock::now(),
        })
    }

    /// Whether this is a copy of the folder that the run belongs to: its processes are another home's then.
    pub(crate) fn is_copy(&self, passage: &Passage) -> Result<bool> {
        let Some(folder) = &passage.folder else {
            return Ok(false);
        };
        let here =
            Folder::at(&self.path).map_err(|error| durable::error("look at", &self.path, error))?;
        Ok(folder.is_copied_to(&here))
    }

    /// What is noted of the run's inputs.
    pub(crate) fn inputs(&self) -> PathBuf {
        self.file("inputs")
    }

    /// The bytes of an input on their way to the host.
    pub(crate) fn input(&self, number: u32) -> PathBuf {
        self.file(&format!("input-{number}"))
    }

    /// Adds a note, durably.
    pub(crate) fn note_input(&self, note: &InputNote) -> io::Result<()> {
        let mut line = serde_json::to_vec(note)?;
        line.push(b'\n');
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(self.inputs())?;
        file.write_all(&line)?;
        file.sync_data()
    }

    /// What is noted last of an input, if it ever came to the host. A line that was cut says nothing.
    pub(crate) fn noted_of(&self, number: u32) -> Result<Option<Noted>> {
        let path = self.inputs();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(durable::error("read", &path, error)),
        };
        let mut notes = text
            .lines()
            .rev()
            .filter_map(|line| serde_json::from_str::<InputNote>(line).ok());
        Ok(notes
            .find(|note| note.input == number)
            .map(|note| note.state))
    }

    /// Whether nobody holds the run's lock.
    pub(crate) fn lock_is_free(&self) -> Result<bool> {
        lock_is_free(&self.file("lock"))
    }
}

/// Whether nobody holds the lock in `path`; a file that is not there is free.
pub(crate) fn lock_is_free(path: &Path) -> Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(durable::error("open", path, error)),
    };
    // Shared, so that two who look don't take each other for the holder.
    match file.try_lock_shared() {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(durable::error("lock", path, error)),
    }
}

/// Takes the lock in `path`, or says that somebody else has it.
pub(crate) fn take_lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .read(true)
        .mode(0o600)
        .open(path)?;
    // Who only looks holds it for a moment and shared: wait that long, but no longer.
    for _ in 0..50 {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
            Err(std::fs::TryLockError::WouldBlock) => {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        }
    }
    Ok(None)
}

pub(crate) fn json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(value)
        .map_err(|error| Error::internal("a record can't be written as JSON").with_source(error))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(durable::error("read", path, error)),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        Error::new(
            ErrorKind::Corrupt,
            format!("{} is not what it should be", path.display()),
        )
        .with_source(error)
    })
}

/// The folder for the sockets of a home: short, and this user's alone.
///
/// A socket's path may have no more than about 100 bytes, which a home can exceed.
pub(crate) fn socket_path(home: &Path, agent: AgentId) -> PathBuf {
    let folder = format!(
        "ccm-{}-{:016x}",
        nix::unistd::geteuid(),
        fnv(home.as_os_str().as_encoded_bytes())
    );
    // The last twelve digits of an id are random.
    let id = agent.to_string();
    let name = id.rsplit('-').next().unwrap_or(&id);
    let usual = std::env::temp_dir().join(&folder).join(name);
    if usual.as_os_str().len() < 100 {
        usual
    } else {
        Path::new("/tmp").join(folder).join(name)
    }
}

/// FNV-1a, a hash that is the same in every version of the program.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Refuses a folder of sockets that somebody else could have put there.
pub(crate) fn check_socket_dir(socket: &Path) -> Result<()> {
    let dir = socket.parent().unwrap_or(Path::new("/"));
    let meta =
        std::fs::symlink_metadata(dir).map_err(|error| durable::error("look at", dir, error))?;
    if meta.is_dir() && meta.uid() == nix::unistd::geteuid().as_raw() && meta.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::unavailable(format!(
        "{} is not a folder that only this user can enter; remove it and try again",
        dir.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_record_keeps_its_form() {
        // Records of earlier versions must be read for ever: this text never changes.
        let text = r#"{"end":"exited","started_at":"2026-01-02T03:04:05Z","code":3,"signal":null,"stopped":false,"output_cut":false,"out_bytes":12,"err_bytes":0,"ended_at":"2026-01-02T03:04:06.5Z"}"#;
        let record: ExitRecord = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        let text = r#"{"end":"exited","started_at":"2026-01-02T03:04:05Z","code":null,"signal":9,"stopped":false,"output_cut":false,"memory_cut":{"used_mb":70,"limit_mb":64},"out_bytes":12,"err_bytes":0,"ended_at":"2026-01-02T03:04:06.5Z"}"#;
        let record: ExitRecord = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        let text = r#"{"end":"not_started","cause":{"reason":"not_started","detail":"x"},"errno":2,"at":"2026-01-02T03:04:05Z"}"#;
        let record: ExitRecord = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
    }

    #[test]
    fn a_gate_of_a_run_without_a_group_keeps_its_form() {
        let text = r#"{"gate":"passed","child":{"pid":2,"start":20},"host":{"pid":1,"start":10},"machine":{"boot":"b","pid_namespace":"n"},"at":"2026-01-02T03:04:05Z"}"#;
        let gate: Gate = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&gate).unwrap(), text);
    }

    #[test]
    fn a_socket_fits_into_its_address() {
        let home = PathBuf::from(format!("/{}", "long/".repeat(60)));
        let path = socket_path(&home, AgentId::new());
        assert!(path.as_os_str().len() < 107, "{}", path.display());
    }

    #[test]
    fn a_socket_folder_that_others_can_enter_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        use std::os::unix::fs::PermissionsExt;
        for (mode, fine) in [(0o700, true), (0o750, false), (0o701, false)] {
            std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(
                check_socket_dir(&dir.path().join("s")).is_ok(),
                fine,
                "{mode:o}"
            );
        }
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert!(check_socket_dir(&link.join("s")).is_err());
    }

    #[test]
    fn who_looks_at_a_lock_does_not_take_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert!(lock_is_free(&path).unwrap());
        let held = take_lock(&path).unwrap().unwrap();
        assert!(!lock_is_free(&path).unwrap());
        assert!(take_lock(&path).unwrap().is_none());
        drop(held);
        assert!(lock_is_free(&path).unwrap());
    }
}
