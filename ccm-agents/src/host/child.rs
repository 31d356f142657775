//! Forking a run's program: it waits, unreleased, until the run has passed its gate.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use ccm_core::Reason;
use ccm_core::id::RunId;
use ccm_core::runtime::{LaunchOrder, SittingOrder};
use ccm_core::task::Setback;
use nix::errno::Errno;
use nix::sys::stat::Mode;

use crate::cgroup::{Group, Groups};
use crate::driver::{self, Driver};
use crate::stopset::RUN_MARK;
use crate::sys::{self, Forked};

/// Everything that a forked child needs to become the program, made before the fork.
pub(crate) struct Program {
    driver: Driver,
    name: String,
    folder: PathBuf,
    candidates: Vec<CString>,
    argv: Vec<CString>,
    env: Vec<CString>,
    search_path: OsString,
    umask: Mode,
}

/// A child that waits to be released.
pub(crate) struct Waiting {
    pub(crate) pid: u32,
    /// Its control group, if it has one.
    pub(crate) group: Option<Group>,
    release: PipeWriter,
    report: PipeReader,
    stdin: PipeWriter,
}

/// A child that was released.
pub(crate) struct Released {
    /// Ends empty when the program runs, or carries why it does not.
    pub(crate) report: PipeReader,
    pub(crate) stdin: PipeWriter,
}

/// Why a child did not become its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    at_folder: bool,
    pub(crate) errno: i32,
}

impl Program {
    /// The program of an order; `umask` is what the host itself was started with.
    pub(crate) fn new(
        driver: Driver,
        order: &LaunchOrder,
        given: &BTreeMap<String, String>,
        argv: &[String],
        home: &Path,
        umask: Mode,
        trace: Option<&str>,
    ) -> io::Result<Self> {
        let mut env = environment(std::env::vars_os(), order, given, home);
        if let Some(trace) = trace {
            env.entry("TRACEPARENT".into()).or_insert(trace.into());
        }
        Self::with(driver, &order.place.folder, env, argv, umask)
    }

    /// A program in a folder, with an environment that is whole.
    pub(crate) fn with(
        driver: Driver,
        folder: &Path,
        env: BTreeMap<OsString, OsString>,
        argv: &[String],
        umask: Mode,
    ) -> io::Result<Self> {
        let search_path = env
            .get(&OsString::from("PATH"))
            .cloned()
            .unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        let name = argv.first().cloned().unwrap_or_default();
        Ok(Self {
            driver,
            candidates: candidates(&name, &search_path, folder)?,
            argv: argv
                .iter()
                .map(|argument| c_string(argument.as_bytes().to_vec()))
                .collect::<io::Result<_>>()?,
            env: env
                .into_iter()
                .map(|(key, value)| {
                    let mut entry = key.into_vec();
                    entry.push(b'=');
                    entry.extend(value.into_vec());
                    c_string(entry)
                })
                .collect::<io::Result<_>>()?,
            name,
            folder: folder.to_path_buf(),
            search_path,
            umask,
        })
    }

    /// Forks the child that will become the program once it is released, and never otherwise; in a control group of
    /// the run if there are `groups`.
    pub(crate) fn fork(
        &self,
        groups: Option<(&Groups, RunId)>,
        out: &File,
        err: &File,
    ) -> io::Result<Waiting> {
        let (released, release) = io::pipe()?;
        let (report, reporter) = io::pipe()?;
        let (input, stdin) = io::pipe()?;
        let host = std::process::id();
        let (forked, group) = match groups {
            Some((groups, run)) => groups.fork(run)?,
            None => (sys::fork()?, None),
        };
        match forked {
            Forked::Parent(pid) => Ok(Waiting {
                pid,
                group,
                release,
                report,
                stdin,
            }),
            Forked::Child => {
                drop((release, report, stdin));
                self.become_program(host, released, reporter, input, out, err)
            }
        }
    }

    /// The child's life. Never returns into the host's code.
    fn become_program(
        &self,
        host: u32,
        mut released: PipeReader,
        mut reporter: PipeWriter,
        input: PipeReader,
        out: &File,
        err: &File,
    ) -> ! {
        // The lock is the host's: a child that still waits must not seem to hold it.
        sys::close_all_but(&[
            released.as_raw_fd(),
            reporter.as_raw_fd(),
            input.as_raw_fd(),
            out.as_raw_fd(),
            err.as_raw_fd(),
        ]);
        let prepared = nix::unistd::setsid().is_ok()
            && dies_with(host)
            && nix::unistd::dup2_stdin(&input).is_ok()
            && nix::unistd::dup2_stdout(out).is_ok()
            && nix::unistd::dup2_stderr(err).is_ok();
        let mut word = [0];
        if !prepared || released.read(&mut word).ok() != Some(1) {
            sys::leave(126);
        }
        let failure = self.become_it();
        let _ = reporter.write_all(&failure.to_bytes());
        sys::leave(127)
    }

    /// Becomes the program in this very process. Returns only why that could not be done.
    pub(crate) fn become_it(&self) -> Failure {
        sys::default_signals();
        nix::sys::stat::umask(self.umask);
        match nix::unistd::chdir(&self.folder) {
            Ok(()) => Failure {
                at_folder: false,
                errno: self.execute() as i32,
            },
            Err(errno) => Failure {
                at_folder: true,
                errno: errno as i32,
            },
        }
    }

    /// Tries what the name can mean, as a shell does. Returns only if nothing could be executed.
    fn execute(&self) -> Errno {
        let mut worst = Errno::ENOENT;
        let named = self.name.contains('/');
        for candidate in &self.candidates {
            let Err(errno) = nix::unistd::execve(candidate, &self.argv, &self.env);
            match errno {
                Errno::ENOENT | Errno::ENOTDIR => {}
                Errno::ENOEXEC => {
                    // A script without its first line.
                    let mut argv = vec![c"/bin/sh", candidate.as_c_str()];
                    argv.extend(self.argv.iter().skip(1).map(CString::as_c_str));
                    let Err(errno) = nix::unistd::execve(c"/bin/sh", &argv, &self.env);
                    return errno;
                }
                // A folder on the PATH that can't be entered holds nothing for us.
                Errno::EACCES if !named && nix::sys::stat::stat(candidate.as_c_str()).is_err() => {}
                Errno::EACCES => worst = errno,
                _ => return errno,
            }
        }
        worst
    }

    /// What a person is told when the program did not start.
    pub(crate) fn setback(&self, failure: Failure) -> Setback {
        let name = &self.name;
        let errno = Errno::from_raw(failure.errno);
        if failure.at_folder {
            let folder = self.folder.display();
            let reason = match errno {
                Errno::ENOENT | Errno::ENOTDIR => Reason::ProjectMissing,
                _ => Reason::NotStarted,
            };
            return Setback::new(
                reason,
                format!("the folder {folder} can't be entered: {}", errno.desc()),
            );
        }
        let detail = match errno {
            Errno::ENOENT if name.contains('/') => format!(
                "the program {name} is not there, or what its first line names is not; install it or correct \
                 agent.command in .ccm/config.yaml"
            ),
            Errno::ENOENT => self
                .driver
                .missing(name, &self.search_path.to_string_lossy()),
            Errno::EACCES => format!(
                "the program {name} may not be executed; chmod +x mends that for a file, for anything else correct \
                 agent.command in .ccm/config.yaml"
            ),
            Errno::E2BIG => {
                "arguments and environment are too long together; shorten agent.args or agent.env"
                    .to_owned()
            }
            _ => format!("the program {name} could not be executed: {}", errno.desc()),
        };
        Setback::new(Reason::NotStarted, detail)
    }
}

impl Waiting {
    /// Lets the child become its program.
    pub(crate) fn release(mut self) -> io::Result<Released> {
        self.release.write_all(b"!")?;
        let stdin = OwnedFd::from(self.stdin);
        sys::set_nonblocking(&stdin)?;
        let report = OwnedFd::from(self.report);
        sys::set_nonblocking(&report)?;
        Ok(Released {
            report: report.into(),
            stdin: stdin.into(),
        })
    }

    /// Ends the child, which has executed nothing.
    pub(crate) fn dismiss(self) {
        let pid = nix::unistd::Pid::from_raw(self.pid as i32);
        drop((self.release, self.report, self.stdin));
        // It reads end of file and leaves, so this doesn't wait long.
        let _ = nix::sys::wait::waitpid(pid, None);
        if let Some(group) = self.group {
            group.remove();
        }
    }
}

impl Failure {
    fn to_bytes(self) -> [u8; 5] {
        let [a, b, c, d] = self.errno.to_ne_bytes();
        [u8::from(self.at_folder), a, b, c, d]
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [at_folder, a, b, c, d] = *bytes else {
            return None;
        };
        Some(Self {
            at_folder: at_folder == 1,
            errno: i32::from_ne_bytes([a, b, c, d]),
        })
    }
}

/// Has the system end this process when its parent `host` ends; false if the parent is gone already.
#[cfg(target_os = "linux")]
fn dies_with(host: u32) -> bool {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).is_ok()
        && nix::unistd::getppid().as_raw() as u32 == host
}

/// Without such a service only an unreleased child notices, by end of file.
#[cfg(not(target_os = "linux"))]
fn dies_with(host: u32) -> bool {
    nix::unistd::getppid().as_raw() as u32 == host
}

/// The environment of a run's program: the host's without CCM's own and its secrets, with the run's.
fn environment(
    host: impl IntoIterator<Item = (OsString, OsString)>,
    order: &LaunchOrder,
    given: &BTreeMap<String, String>,
    home: &Path,
) -> BTreeMap<OsString, OsString> {
    let mut env: BTreeMap<OsString, OsString> =
        host.into_iter().filter(|(key, _)| !is_own(key)).collect();
    for (key, value) in order.profile.env.iter().chain(given) {
        env.insert(key.into(), value.into());
    }
    env.insert("PWD".into(), order.place.folder.clone().into());
    env.remove(&OsString::from("OLDPWD"));
    // Last, because the run is found again by its mark.
    env.insert(RUN_MARK.into(), order.run.to_string().into());
    env.insert("CCM_TASK_ID".into(), order.task.to_string().into());
    env.insert(
        "CCM_PROJECT_ID".into(),
        order.place.project_id.to_string().into(),
    );
    env.insert("CCM_HOME".into(), home.into());
    env
}

/// The environment of a person's session: the host's as for a run, with what its terminal says of itself.
pub(crate) fn sitting_environment(
    host: impl IntoIterator<Item = (OsString, OsString)>,
    terminal: impl IntoIterator<Item = (OsString, OsString)>,
    order: &SittingOrder,
    home: &Path,
) -> BTreeMap<OsString, OsString> {
    const OF_TERMINAL: [&str; 5] = ["TERM", "COLORTERM", "TERM_PROGRAM", "TMUX", "TMUX_PANE"];
    let of_terminal = |key: &OsString| OF_TERMINAL.iter().any(|name| key == name);
    let host = host.into_iter().filter(|(key, _)| !of_terminal(key));
    let terminal = terminal.into_iter().filter(|(key, _)| of_terminal(key));
    let mut env: BTreeMap<OsString, OsString> = host
        .filter(|(key, _)| !is_own(key))
        .chain(terminal)
        .collect();
    for (key, value) in &order.profile.env {
        env.insert(key.into(), value.into());
    }
    env.insert("PWD".into(), order.place.folder.clone().into());
    env.remove(&OsString::from("OLDPWD"));
    // Last, because the session is found again by its mark.
    env.insert(RUN_MARK.into(), order.id.to_string().into());
    let project = order.place.project_id.to_string();
    env.insert("CCM_PROJECT_ID".into(), project.into());
    env.insert("CCM_HOME".into(), home.into());
    env
}

/// Whether a variable is CCM's own or a secret of its, and not a program's to have.
fn is_own(key: &OsString) -> bool {
    let bytes = key.as_bytes();
    bytes.starts_with(b"CCM_")
        || bytes.starts_with(b"SUPABASE_")
        // The trace of whoever started the daemon long ago.
        || bytes == b"TRACEPARENT"
        || bytes == b"TRACESTATE"
        || key.to_str().is_some_and(driver::is_mark_of_an_agent)
}

/// The paths that a program's name can mean, in the order in which they are tried.
fn candidates(name: &str, search_path: &OsString, folder: &Path) -> io::Result<Vec<CString>> {
    let paths: Vec<PathBuf> = if name.contains('/') {
        vec![folder.join(name)]
    } else {
        std::env::split_paths(search_path)
            .map(|dir| folder.join(dir).join(name))
            .collect()
    };
    paths
        .into_iter()
        .map(|path| c_string(path.into_os_string().into_vec()))
        .collect()
}

fn c_string(bytes: Vec<u8>) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ccm_core::agent::AgentPlace;
    use ccm_core::id::{AgentId, ProjectId, TaskId};
    use ccm_core::project::{AgentProfile, RunLimits};
    use ccm_core::task::TaskText;

    fn order() -> LaunchOrder {
        let mut profile = AgentProfile::command(["true"]);
        profile.env.insert("EXTRA".to_owned(), "1".to_owned());
        profile
            .env
            .insert("CCM_RUN_ID".to_owned(), "forged".to_owned());
        LaunchOrder {
            run: RunId::new(),
            task: TaskId::new(),
            place: AgentPlace {
                id: AgentId::new(),
                project_id: ProjectId::new(),
                name: "a".to_owned(),
                folder: "/project".into(),
            },
            profile,
            limits: RunLimits::default(),
            prompt: TaskText::new("x").unwrap(),
            resume: None,
            deadline: None,
        }
    }

    #[test]
    fn secrets_stay_with_the_host_and_the_mark_is_the_runs() {
        let order = order();
        let host = [
            "CCM_TOKEN",
            "CCM_RUN_ID",
            "CCM_X",
            "SUPABASE_KEY",
            "CLAUDECODE",
            "PATH",
            "PWD",
        ]
        .map(|key| (OsString::from(key), OsString::from("host")));
        let given = BTreeMap::from([("CCM_TOKEN".to_owned(), "runs".to_owned())]);
        let env = environment(host, &order, &given, Path::new("/home"));
        let keys: Vec<_> = env.keys().map(|key| key.to_str().unwrap()).collect();
        assert_eq!(
            keys,
            [
                "CCM_HOME",
                "CCM_PROJECT_ID",
                "CCM_RUN_ID",
                "CCM_TASK_ID",
                "CCM_TOKEN",
                "EXTRA",
                "PATH",
                "PWD"
            ]
        );
        assert_eq!(env[&OsString::from("CCM_RUN_ID")], *order.run.to_string());
        assert_eq!(env[&OsString::from("CCM_TOKEN")], *"runs");
        assert_eq!(env[&OsString::from("PWD")], *"/project");
    }

    #[test]
    fn a_name_is_searched_and_a_path_is_not() {
        let of = |name, path: &str| {
            candidates(name, &path.into(), Path::new("/p"))
                .unwrap()
                .into_iter()
                .map(|path| path.into_string().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(of("a", "/x:bin:/y"), ["/x/a", "/p/bin/a", "/y/a"]);
        assert_eq!(of("./a", "/x"), ["/p/./a"]);
        assert_eq!(of("/z/a", "/x"), ["/z/a"]);
    }
}
