//! Everything that can die, dies, while the real Claude Code works.
//!
//! What dies, by `kill -9`, and what must be true afterwards of a task without retries:
//!
//! | while ↓, dies → | daemon | tmux server | host | Claude Code | machine (another boot) |
//! | --- | --- | --- | --- | --- | --- |
//! | nothing was said yet | goes on | goes on | `lost` | failed, `exit_code` | `lost` |
//! | an answer of the model comes | goes on | goes on | `lost` | failed, `exit_code` | `lost`, half a line is no line |
//! | a tool runs | goes on | goes on | `lost`, tool ended | failed, tool ended | `lost`, tool ended |
//! | an ask is open | goes on, still asked | goes on | `lost`, ask void | failed, ask void | `lost`, ask void |
//! | an answer was given and not yet acknowledged | goes on, answered once | goes on | `lost`, fate `unknown` | failed | `lost`, fate `unknown` |
//! | the result was said and not yet committed | succeeded | succeeded | succeeded | succeeded | succeeded |
//! | it is being cancelled | cancelled | cancelled | cancelled | cancelled | cancelled |
//! | a person interrupted it and has not said what next | still waits for them | still waits | `interrupted` | failed, `interrupted` | `interrupted` |
//!
//! And always: one run, which does what it does once; nothing is asked twice; every process of the run is gone; the
//! agent is idle again. Each cell is a test of the name `DIES::WHILE`. What dies between two steps of a launch is in
//! `crash.rs`; disks, databases and clocks are in `faults.rs`.

use std::path::PathBuf;

use ccm_core::Reason;
use ccm_core::api::{AgentStateName, AskStateName, InputState, TaskStateName};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Claude;
use super::scene::*;
use crate::stub::Stub;
use crate::support::{Daemon, Machine, Project, block_on, until};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dies {
    Daemon,
    Tmux,
    Host,
    Claude,
    Machine,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum While {
    NothingSaid,
    Answering,
    ToolRuns,
    Asking,
    AnswerGiven,
    ResultSaid,
    Cancelling,
    Interrupted,
}

/// What becomes of the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Succeeded,
    Failed(Reason),
    Cancelled,
}

fn fate(dies: Dies, during: While) -> Fate {
    match (during, dies) {
        (While::Cancelling, _) => Fate::Cancelled,
        (While::ResultSaid, _) | (_, Dies::Daemon | Dies::Tmux) => Fate::Succeeded,
        (While::Interrupted, _) => Fate::Failed(Reason::Interrupted),
        (_, Dies::Claude) => Fate::Failed(Reason::ExitCode),
        (_, Dies::Host | Dies::Machine) => Fate::Failed(Reason::Lost),
    }
}

struct Scene<'a> {
    machine: &'a Machine,
    stub: &'a Stub,
    claude: &'a Claude<'a>,
    project: Project<'a>,
    daemon: Option<Daemon<'a>>,
    task: String,
    held: Option<&'static str>,
}

impl Scene<'_> {
    fn hold(&mut self, barrier: &'static str) {
        self.machine.hold(barrier);
        self.held = Some(barrier);
    }

    fn release(&mut self) {
        if let Some(barrier) = self.held.take() {
            self.machine.release(barrier);
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.project.folder.join(name)
    }

    /// A tool that notes that it was used, and runs until it may end.
    fn tool(&self) -> String {
        let command = format!(
            "echo used >> {}; while [ ! -e {} ]; do sleep 0.02; done",
            self.file("used").display(),
            self.file("go").display()
        );
        format!("@tool Bash {}", serde_json::json!({ "command": command }))
    }

    /// Brings the task to the moment.
    fn reach(&mut self, during: While, dies: Dies) {
        match during {
            While::NothingSaid => {
                self.hold("launch.5.released");
                self.task = self.project.task("@say done");
                self.machine.reached("launch.5.released");
            }
            While::Answering => {
                self.task = self.project.task("@stall gate do ne");
                self.stub.waits_at("gate");
            }
            While::Interrupted => {
                self.task = self.project.task("@stall gate do ne");
                self.stub.waits_at("gate");
                self.project.ccm(&["task", "interrupt", &self.task]).ok();
                self.until_it_waits();
            }
            While::ToolRuns | While::Cancelling => {
                self.project
                    .set("agent.permission_mode", "bypassPermissions");
                self.project.set("agent.env", "{IS_SANDBOX: '1'}");
                self.task = self.project.task(&format!("{}\n@say done", self.tool()));
                let used = self.file("used");
                until("the tool runs", || used.exists());
                if during == While::Cancelling {
                    self.hold("run.stopping");
                    let cancel = ["task", "cancel", "--no-wait", &self.task];
                    self.project.ccm(&cancel);
                    self.machine.reached("run.stopping");
                }
            }
            While::Asking | While::AnswerGiven => {
                self.project.set("agent.permission_mode", "default");
                let text = format!("{}\n@say done", self.tool());
                std::fs::write(self.file("go"), "").unwrap();
                self.task = self.project.task(&text);
                let ask = open_asks(self.machine, 1).remove(0).id.to_string();
                if during == While::AnswerGiven {
                    // The daemon has sent it and not noted that; or the host has noted it and not written it.
                    let barrier = match dies {
                        Dies::Daemon | Dies::Tmux => "input.sent",
                        Dies::Host | Dies::Claude | Dies::Machine => "input.noted",
                    };
                    self.hold(barrier);
                    self.project.ccm(&["task", "answer", &ask, "--allow"]);
                    self.machine.reached(barrier);
                }
            }
            While::ResultSaid => {
                self.hold("input.closing");
                self.task = self.project.task("@say done");
                self.machine.reached("input.closing");
            }
        }
    }

    fn until_it_waits(&self) {
        until("the agent waits for a person", || {
            agent(self.machine).state == AgentStateName::Waiting
        });
    }

    fn strike(&mut self, dies: Dies) {
        match dies {
            Dies::Daemon => {
                self.daemon.take().unwrap().kill();
                self.release();
                self.daemon = Some(daemon(self.machine, self.claude));
            }
            Dies::Tmux => {
                end(self.tmux());
                self.release();
            }
            Dies::Host => {
                self.machine.hosts().into_iter().for_each(end);
                self.release();
            }
            Dies::Claude => {
                end(self.program());
                self.release();
            }
            Dies::Machine => {
                let gate = self.run_file("gate");
                self.daemon.take().unwrap().kill();
                self.machine.processes().into_iter().for_each(|pid| {
                    // One may have taken the other along.
                    let _ = kill(as_pid(pid), Signal::SIGKILL);
                });
                self.machine.until_empty();
                self.release();
                // What the disk held when the power went: half a line more, and the marks of that boot.
                let spool = self.run_file("spool.out");
                let mut bytes = std::fs::read(&spool).unwrap();
                bytes.extend_from_slice(b"{\"type\":\"assistant\",\"mess");
                std::fs::write(&spool, bytes).unwrap();
                let mut record = read(&gate);
                record["machine"]["boot"] = "another boot".into();
                std::fs::write(&gate, record.to_string()).unwrap();
                self.daemon = Some(daemon(self.machine, self.claude));
            }
        }
    }

    /// A file of the only run. No daemon is asked, which may be dead or held.
    fn run_file(&self, name: &str) -> PathBuf {
        let mut runs = std::fs::read_dir(self.machine.path("ccm/runs")).unwrap();
        runs.next().unwrap().unwrap().path().join(name)
    }

    fn program(&self) -> u32 {
        let pid = read(&self.run_file("gate"))["child"]["pid"].as_u64();
        u32::try_from(pid.unwrap()).unwrap()
    }

    fn tmux(&self) -> u32 {
        let socket = self
            .machine
            .ccm(&["config", "get", "agents.tmux_socket"])
            .ok();
        let mut tmux = std::process::Command::new("tmux");
        tmux.env("TMUX_TMPDIR", self.machine.path("tmux"));
        let tmux = tmux.args(["-L", &socket, "display-message", "-p", "#{pid}"]);
        let said = String::from_utf8(tmux.output().unwrap().stdout).unwrap();
        said.trim().parse().unwrap()
    }

    /// Lets what goes on come to its end.
    fn go_on(&self, during: While, dies: Dies) {
        if dies == Dies::Host && matches!(fate(dies, during), Fate::Failed(_)) {
            // What the host left behind is the daemon's to end. Until it is, the program could still come to its end.
            let program = as_pid(self.program());
            until("the program is ended", || kill(program, None).is_err());
        }
        self.stub.open("gate");
        if during == While::Asking && fate(dies, during) == Fate::Succeeded {
            assert_eq!(agent(self.machine).state, AgentStateName::Waiting);
            let ask = open_asks(self.machine, 1).remove(0).id.to_string();
            self.project.ccm(&["task", "answer", &ask, "--allow"]).ok();
        }
        if during == While::Interrupted && fate(dies, during) == Fate::Succeeded {
            self.until_it_waits();
            let next = ["agent", "send", "demo", "@say done"];
            self.project.ccm(&next).ok();
        }
        if during != While::Cancelling {
            std::fs::write(self.file("go"), "").unwrap();
        }
    }

    fn check(&self, during: While, dies: Dies) {
        let machine = self.machine;
        let ended = |state: TaskStateName| state.is_final();
        until("the task ends", || ended(task(machine, &self.task).state));
        let done = task(machine, &self.task);
        let came = match done.state {
            TaskStateName::Succeeded => Fate::Succeeded,
            TaskStateName::Cancelled => Fate::Cancelled,
            _ => Fate::Failed(done.reason.unwrap()),
        };
        assert_eq!(came, fate(dies, during), "{done:#?}");
        if came == Fate::Succeeded {
            let said = done.result.as_deref().unwrap_or_default();
            assert_eq!(said.replace(' ', ""), "done");
        }
        // Nothing twice.
        let run = run(machine, &self.task);
        let used = std::fs::read_to_string(self.file("used")).unwrap_or_default();
        assert!(used.lines().count() <= 1, "{used}");
        let asked = asks(machine, &["--all"]);
        assert_eq!(
            asked.len(),
            usize::from(matches!(during, While::Asking | While::AnswerGiven))
        );
        let inputs = block_on(async { machine.client().inputs(run.id).all().await.unwrap() });
        for ask in asked {
            let expected = match (during, came) {
                (While::Asking, Fate::Failed(_)) => AskStateName::Void,
                _ => AskStateName::Answered,
            };
            assert_eq!(ask.state, expected);
            let given: Vec<_> = inputs.iter().map(|input| input.state).collect();
            match (expected, came) {
                (AskStateName::Void, _) => assert!(given.is_empty(), "{given:?}"),
                (_, Fate::Succeeded) => assert_eq!(given, [InputState::Delivered]),
                _ => assert!(
                    matches!(given[..], [InputState::Unknown | InputState::TooLate]),
                    "{given:?}"
                ),
            }
        }
        // Nothing left.
        let mark = format!("CCM_RUN_ID={}", run.id);
        until("nothing of the run is left", || {
            marked(machine, &mark).is_empty()
        });
        until("the agent is idle", || {
            agent(machine).state == AgentStateName::Idle
        });
        let after = self.project.task("@say as good as before");
        self.project.ccm(&["task", "wait", &after]).ok();
    }
}

fn read(path: &std::path::Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn end(pid: u32) {
    kill(as_pid(pid), Signal::SIGKILL).unwrap();
}

fn as_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap())
}

fn marked(machine: &Machine, mark: &str) -> Vec<u32> {
    let has_mark = |pid: &u32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ
            .split(|byte| *byte == 0)
            .any(|entry| entry == mark.as_bytes())
    };
    machine.processes().into_iter().filter(has_mark).collect()
}

fn dies_while(dies: Dies, during: While) {
    let machine = match dies {
        Dies::Tmux => Machine::with_tmux(),
        _ => Machine::new(),
    };
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let first = daemon(&machine, &claude);
    let mut scene = Scene {
        machine: &machine,
        stub: &stub,
        claude: &claude,
        project: machine.plain_project("demo"),
        daemon: Some(first),
        task: String::new(),
        held: None,
    };
    scene.reach(during, dies);
    scene.strike(dies);
    scene.go_on(during, dies);
    scene.check(during, dies);
    if dies == Dies::Tmux {
        until("the window is back", || agent(&machine).window.is_some());
    }
}

macro_rules! deaths {
    ($($module:ident = $dies:ident;)*) => {$(
        mod $module {
            use super::{Dies, While, dies_while};

            deaths! { @each $dies
                before_anything_was_said = NothingSaid,
                while_an_answer_comes = Answering,
                while_a_tool_runs = ToolRuns,
                while_an_ask_is_open = Asking,
                between_an_answer_and_its_acknowledgement = AnswerGiven,
                between_a_result_and_its_commit = ResultSaid,
                while_it_is_cancelled = Cancelling,
                while_it_waits_after_an_interrupt = Interrupted,
            }
        }
    )*};
    (@each $dies:ident $($name:ident = $during:ident,)*) => {$(
        #[test]
        fn $name() {
            dies_while(Dies::$dies, While::$during);
        }
    )*};
}

deaths! {
    daemon_dies = Daemon;
    tmux_dies = Tmux;
    host_dies = Host;
    claude_dies = Claude;
    machine_dies = Machine;
}
