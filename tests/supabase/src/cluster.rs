//! A PostgreSQL server of this process's own.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tempfile::TempDir;

use crate::{blocking, template};

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a server until standard input ends, which it does with whoever started it, even by kill -9.
const UNTIL_ITS_INPUT_ENDS: &str =
    r#""$@" </dev/null & server=$!; read -r _; kill -QUIT "$server"; wait "$server""#;

/// Whether commits are on disk when they are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// They are not: for tests, which never lose power.
    #[default]
    Off,
    /// They are, as on a real server: for measurements.
    On,
}

/// The server that databases of this process are on, one for each durability.
static SHARED: [tokio::sync::Mutex<Weak<Cluster>>; 2] = [
    tokio::sync::Mutex::const_new(Weak::new()),
    tokio::sync::Mutex::const_new(Weak::new()),
];

/// A running server. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: TempDir,
    server: Mutex<Child>,
}

impl Cluster {
    /// The server of this process, started if there is none.
    pub(crate) async fn shared(durability: Durability) -> Arc<Self> {
        let mut shared = SHARED[durability as usize].lock().await;
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let data = template::data().await;
        let cluster = blocking(move || {
            let folder = new_folder();
            run(Command::new("cp")
                .arg("-R")
                .arg(&data)
                .arg(folder.path().join("data")));
            Self::start(folder, durability)
        });
        let cluster = Arc::new(cluster.await);
        *shared = Arc::downgrade(&cluster);
        cluster
    }

    /// Starts a server on `folder/data`.
    pub(crate) fn start(folder: TempDir, durability: Durability) -> Self {
        hand_over(folder.path());
        let mut command = as_account("sh");
        command.args(["-c", UNTIL_ITS_INPUT_ENDS, "sh"]);
        command.arg(program("postgres"));
        command
            .arg("-D")
            .arg(folder.path().join("data"))
            .arg("-k")
            .arg(folder.path());
        let settings = [
            "listen_addresses=",
            "unix_socket_permissions=0777",
            "max_connections=200",
            "shared_buffers=64MB",
            "log_min_messages=warning",
            "log_destination=stderr",
            "logging_collector=off",
        ];
        let volatile = [
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
        ];
        let more: &[&str] = match durability {
            Durability::Off => &volatile,
            Durability::On => &[],
        };
        for setting in settings.iter().chain(more) {
            command.args(["-c", setting]);
        }
        command.current_dir(folder.path());
        let mut server = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("PostgreSQL can be started");
        let stderr = server.stderr.take().expect("a pipe");
        let log = folder.path().join("log");
        let cluster = Self {
            server: Mutex::new(server),
            folder,
        };
        let (said, ready) = mpsc::channel();
        let file = fs::File::create(&log).expect("a log");
        // Ends with the server.
        std::thread::spawn(move || keep_log(BufReader::new(stderr), file, &said));
        if ready.recv_timeout(PATIENCE).is_err() {
            let log = fs::read_to_string(&log).unwrap_or_default();
            panic!("PostgreSQL did not start:\n{log}");
        }
        cluster
    }

    /// The folder of its socket.
    pub(crate) fn socket(&self) -> &Path {
        self.folder.path()
    }

    /// Its data, after it was ended in good order.
    pub(crate) fn finished(&self) -> PathBuf {
        let data = self.folder.path().join("data");
        let mut stop = as_account(program("pg_ctl"));
        run(stop
            .args(["stop", "-m", "fast", "-w", "-s", "-D"])
            .arg(&data));
        data
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let server = self
            .server
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        drop(server.stdin.take());
        // What fails here has failed the test already, or does no harm.
        let _ = server.wait();
    }
}

fn keep_log(stderr: impl BufRead, mut log: fs::File, said: &mpsc::Sender<()>) {
    for line in stderr.lines().map_while(Result::ok) {
        if line.contains("database system is ready to accept connections") {
            let _ = said.send(());
        }
        let _ = writeln!(log, "{line}");
    }
}

/// A folder whose path is short enough for a socket.
pub(crate) fn new_folder() -> TempDir {
    let made = tempfile::Builder::new().prefix("ccm-pg-").tempdir();
    made.expect("a temporary folder")
}

/// One of PostgreSQL's programs.
pub(crate) fn program(name: &str) -> PathBuf {
    let debian =
        (15..=18).map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    debian
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| {
            panic!("PostgreSQL is missing; install it with scripts/tools postgresql")
        })
}

/// PostgreSQL does not run as root: then it runs as somebody else.
fn account() -> Option<String> {
    if !nix::unistd::Uid::effective().is_root() {
        return None;
    }
    let known = |name: &&str| matches!(nix::unistd::User::from_name(name), Ok(Some(_)));
    let name = ["postgres", "nobody"].into_iter().find(known);
    Some(name.expect("an account that is not root's").to_owned())
}

/// A command that PostgreSQL's account runs.
pub(crate) fn as_account(program: impl AsRef<OsStr>) -> Command {
    let Some(name) = account() else {
        return Command::new(program);
    };
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={name}"))
        .arg(format!("--regid={}", group_of(&name)));
    command.arg("--clear-groups").arg("--").arg(program);
    command
}

fn group_of(name: &str) -> u32 {
    let user = nix::unistd::User::from_name(name);
    user.ok().flatten().map_or(0, |user| user.gid.as_raw())
}

/// Gives a folder to PostgreSQL's account.
pub(crate) fn hand_over(folder: &Path) {
    if let Some(name) = account() {
        run(Command::new("chown")
            .arg("-R")
            .arg(format!("{name}:{}", group_of(&name)))
            .arg(folder));
    }
}

/// Runs a command that has to succeed.
pub(crate) fn run(command: &mut Command) {
    let done = command.stdin(Stdio::null()).output();
    let done = done.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        done.status.success(),
        "{command:?} failed:\n{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}
