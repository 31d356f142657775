//! The programs that the runtime suite runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::project::AgentProfile;

/// A program of the suite. Each reads its standard input to the end before it does anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Program {
    /// Writes its standard input to standard output.
    Echo,
    /// Ends with this exit code.
    Exit(i32),
    /// Ends by a signal of this number, which nobody else sends.
    Signal(i32),
    /// Writes the folder it works in and the value of `CONFORMANCE`, a line each.
    Where,
    /// Writes so many lines of 63 bytes to standard output, and then `end` without a line break.
    Lines(u32),
    /// Counts its start under this name, writes the line `ready`, waits for the name to be released, writes
    /// `out` to standard output and the line `err` to standard error.
    Wait(String),
    /// Starts a child in a session of its own, writes the child's process id and its own, a line each, and stays.
    /// Both ignore every signal that can be ignored.
    Stubborn,
    /// Writes the line `ready`, has a child take so many MiB of memory, and stays.
    Memory(u64),
    /// There is no such program.
    Missing,
}

/// How a place makes the suite's programs for its runtime, and what it knows of them.
pub trait Programs: Send + Sync {
    /// The profile with which the runtime runs `program`.
    fn profile(&self, program: &Program) -> AgentProfile;

    /// Lets a [`Program::Wait`] go on.
    fn release(&self, name: &str);

    /// How often a [`Program::Wait`] of this name was started.
    fn starts(&self, name: &str) -> usize;

    /// Whether a process with this id runs. One that only waits to be reaped does not.
    fn is_alive(&self, pid: u32) -> bool;

    /// Kills a process as a power cut would: it can't do anything about it.
    fn kill(&self, pid: u32);
}

/// The suite's programs as shell scripts, for runtimes that start real processes.
#[derive(Debug)]
pub struct ShellPrograms {
    dir: PathBuf,
}

impl ShellPrograms {
    /// Programs that tell and are told by files in `dir`, which must exist and be the suite's alone.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    fn file(&self, name: &str, what: &str) -> PathBuf {
        self.dir.join(format!("{name}.{what}"))
    }
}

/// `path` as one word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

impl Programs for ShellPrograms {
    fn profile(&self, program: &Program) -> AgentProfile {
        let script = match program {
            Program::Echo => "exec cat".to_owned(),
            Program::Exit(code) => format!("cat >/dev/null; exit {code}"),
            Program::Signal(signal) => format!("cat >/dev/null; kill -{signal} $$; sleep 60"),
            Program::Where => "cat >/dev/null; pwd -P; echo \"$CONFORMANCE\"".to_owned(),
            Program::Lines(count) => format!(
                "cat >/dev/null; i=0; while [ $i -lt {count} ]; do \
                 printf '%062d\\n' $i; i=$((i+1)); done; printf end"
            ),
            Program::Wait(name) => format!(
                "cat >/dev/null; echo started >>{}; echo ready; \
                 while ! [ -e {} ]; do sleep 0.02; done; printf out; echo err >&2",
                quoted(&self.file(name, "starts")),
                quoted(&self.file(name, "go")),
            ),
            Program::Stubborn => "cat >/dev/null; trap '' INT TERM HUP; \
                 $(command -v setsid) sh -c 'echo $$; while :; do sleep 1; done' & \
                 echo $$; while :; do sleep 1; done"
                .to_owned(),
            // `dd` holds one block of that size, and then waits until somebody reads it.
            Program::Memory(mb) => format!(
                "cat >/dev/null; echo ready; dd if=/dev/zero bs={} count=1 2>/dev/null | sleep 1000",
                mb << 20
            ),
            Program::Missing => {
                return AgentProfile::command(["ccm-conformance-no-such-program"]);
            }
        };
        let mut profile = AgentProfile::command(["sh", "-c", &script]);
        profile
            .env
            .insert("CONFORMANCE".to_owned(), VALUE.to_owned());
        profile
    }

    fn release(&self, name: &str) {
        let file = self.file(name, "go");
        if let Err(error) = std::fs::write(&file, "") {
            panic!("{}: {error}", file.display());
        }
    }

    fn starts(&self, name: &str) -> usize {
        let starts = std::fs::read_to_string(self.file(name, "starts"));
        starts.map_or(0, |starts| starts.lines().count())
    }

    fn is_alive(&self, pid: u32) -> bool {
        let state = Command::new("ps")
            .args(["-o", "stat=", "-p", &pid.to_string()])
            .output()
            .unwrap_or_else(|error| panic!("ps: {error}"))
            .stdout;
        !matches!(state.trim_ascii().first(), None | Some(b'Z'))
    }

    fn kill(&self, pid: u32) {
        let script = format!("kill -9 {pid}");
        if let Err(error) = Command::new("sh").args(["-c", &script]).status() {
            panic!("sh: {error}");
        }
    }
}

/// What the suite's programs find in `CONFORMANCE`.
pub(crate) const VALUE: &str = "a 'b' \"c\" $d";

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Child, Output, Stdio};

    use super::*;

    fn start(programs: &ShellPrograms, program: &Program) -> Child {
        let profile = programs.profile(program);
        let mut child = Command::new(&profile.command[0])
            .args(&profile.command[1..])
            .envs(&profile.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"hello").unwrap();
        child
    }

    fn run(programs: &ShellPrograms, program: &Program) -> Output {
        start(programs, program).wait_with_output().unwrap()
    }

    #[test]
    fn the_scripts_do_what_they_say() {
        use std::os::unix::process::ExitStatusExt;

        let dir = tempfile::tempdir().unwrap();
        let programs = ShellPrograms::new(dir.path());
        assert_eq!(run(&programs, &Program::Echo).stdout, b"hello");
        assert_eq!(run(&programs, &Program::Exit(7)).status.code(), Some(7));
        assert_eq!(run(&programs, &Program::Signal(9)).status.signal(), Some(9));
        assert_eq!(
            run(&programs, &Program::Signal(15)).status.signal(),
            Some(15)
        );
        let lines = run(&programs, &Program::Lines(2)).stdout;
        assert_eq!(
            String::from_utf8(lines).unwrap(),
            format!("{:062}\n{:062}\nend", 0, 1)
        );
        let place = std::env::current_dir().unwrap().canonicalize().unwrap();
        let told = run(&programs, &Program::Where).stdout;
        assert_eq!(
            String::from_utf8(told).unwrap(),
            format!("{}\n{VALUE}\n", place.display())
        );

        let mut child = start(&programs, &Program::Wait("w".to_owned()));
        let mut ready = [0; 6];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut ready)
            .unwrap();
        assert_eq!((&ready, programs.starts("w")), (b"ready\n", 1));
        assert!(programs.is_alive(child.id()));
        programs.release("w");
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (output.stdout, output.stderr),
            (b"out".to_vec(), b"err\n".to_vec())
        );
    }

    /// Ends the family also when the test fails.
    struct Killed<'a>(&'a ShellPrograms, &'a [u32]);

    impl Drop for Killed<'_> {
        fn drop(&mut self) {
            for pid in self.1 {
                self.0.kill(*pid);
            }
        }
    }

    #[test]
    fn the_stubborn_family_ignores_signals_until_it_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let programs = ShellPrograms::new(dir.path());
        let mut child = start(&programs, &Program::Stubborn);
        let mut out = Vec::new();
        let mut byte = [0];
        while out.iter().filter(|byte| **byte == b'\n').count() < 2 {
            child
                .stdout
                .as_mut()
                .unwrap()
                .read_exact(&mut byte)
                .unwrap();
            out.push(byte[0]);
        }
        let out = String::from_utf8(out).unwrap();
        let pids: Vec<u32> = out.lines().map(|line| line.parse().unwrap()).collect();
        let _end = Killed(&programs, &pids);
        assert!(pids.contains(&child.id()), "{pids:?}");
        for pid in &pids {
            let kill = format!("kill -TERM {pid}; kill -INT {pid}; kill -HUP {pid}");
            Command::new("sh").args(["-c", &kill]).status().unwrap();
            assert!(programs.is_alive(*pid));
        }
        for pid in &pids {
            programs.kill(*pid);
        }
        child.wait().unwrap();
        while pids.iter().any(|pid| programs.is_alive(*pid)) {
            std::thread::yield_now();
        }
    }
}
