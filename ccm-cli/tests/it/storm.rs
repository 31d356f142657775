//! Everything at once: many clients, a daemon that is killed again and again, hosts and a terminal server that die.
//!
//! The seed says who dies when. `CCM_STORM=SEED` runs another one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Duration;

use ccm_cli::client::{EventFilter, Notice, TaskFilter};
use ccm_core::Reason;
use ccm_core::api::{Run, RunStateName, Stream, Task, TaskStateName};
use ccm_core::event::{Cursor, Event, EventKind};
use ccm_core::id::{ProjectId, Seq};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Machine, block_on, until};

const PROJECTS: usize = 4;
const TASKS: usize = 32;
const CLIENTS: usize = 8;
const DAEMONS: usize = 6;
/// Every run writes so many lines.
const LINES: usize = 20;

/// Arbitrary numbers from a seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn pause(&mut self, most: usize) {
        std::thread::sleep(Duration::from_millis(self.below(most) as u64));
    }
}

/// A request to create a task, as any client would make it. Returns the task's id if it was answered.
fn create(machine: &Machine, project: ProjectId, number: usize) -> Option<String> {
    let token = machine.home().token().ok()?;
    let info = machine.info()?;
    let body = serde_json::json!({
        "project_id": project, "text": text(number), "max_retries": retries(number),
    })
    .to_string();
    let mut stream = TcpStream::connect(info.address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .ok()?;
    let request = format!(
        "POST /api/v1/tasks HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Idempotency-Key: storm-{number}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        info.address,
        token.reveal(),
        body.len(),
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    if status >= 500 {
        return None;
    }
    let task: serde_json::Value = serde_json::from_str(body).ok()?;
    assert!(status < 300, "{answer}");
    task["id"].as_str().map(str::to_owned)
}

fn text(number: usize) -> String {
    format!("task {number}\n")
}

fn retries(number: usize) -> u32 {
    u32::try_from(number % 3).unwrap()
}

/// What a run that came to its end has written.
fn expected(task: &str) -> String {
    let lines = (0..LINES).map(|line| format!("line {line}\n"));
    std::iter::once(task.to_owned()).chain(lines).collect()
}

#[test]
fn nothing_is_lost_or_done_twice_in_a_storm() {
    let seed = std::env::var("CCM_STORM").map_or(7, |seed| seed.parse().unwrap());
    storm(&Machine::new(), seed);
}

#[test]
fn windows_come_through_a_storm() {
    let seed = std::env::var("CCM_STORM").map_or(3, |seed| seed.parse().unwrap());
    let machine = Machine::with_tmux();
    storm(&machine, seed);
    let windows = || {
        let listed = tmux(&machine, &["list-windows", "-a", "-F", "#{window_name}"]);
        let mut names: Vec<String> = listed.lines().map(str::to_owned).collect();
        names.sort_unstable();
        names
    };
    let wanted: Vec<String> = (0..PROJECTS).map(|at| format!("p{at}")).collect();
    until("every agent has one window", || windows() == wanted);
}

fn storm(machine: &Machine, seed: u64) {
    let mut random = Random(seed * 2 + 1);
    let mut daemon = machine.daemon();
    let starts = machine.path("starts");
    let script = format!(
        "echo \"start $CCM_TASK_ID $CCM_RUN_ID\" >> '{0}'; cat; i=0
         while [ $i -lt {LINES} ]; do
             echo line $i; i=$((i + 1)); [ $((i % 5)) -eq 0 ] && sleep 0.01
         done
         echo \"end $CCM_TASK_ID $CCM_RUN_ID\" >> '{0}'",
        starts.display()
    );
    let projects: Vec<ProjectId> = (0..PROJECTS)
        .map(|at| {
            let name = format!("p{at}");
            machine.project(&name, &["sh", "-c", &script]);
            let found = block_on(async { machine.client().project_named(&name).await.unwrap() });
            found.unwrap().id
        })
        .collect();

    let todo = Mutex::new((0..TASKS).collect::<Vec<_>>());
    let accepted = Mutex::new(BTreeMap::<usize, BTreeSet<String>>::new());
    let _daemon = std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (todo, accepted, projects) = (&todo, &accepted, &projects);
            let mut random = Random(seed * 100 + client as u64 + 1);
            scope.spawn(move || {
                loop {
                    let Some(number) = todo.lock().unwrap().pop() else {
                        return;
                    };
                    // Some requests are made again though they were answered.
                    for _ in 0..1 + usize::from(number % 4 == 0) {
                        let mut id = None;
                        until("the task is accepted", || {
                            id = create(machine, projects[number % PROJECTS], number);
                            id.is_some()
                        });
                        let mut accepted = accepted.lock().unwrap();
                        accepted.entry(number).or_default().insert(id.unwrap());
                    }
                    random.pause(200);
                }
            });
        }
        for round in 0..DAEMONS {
            random.pause(300);
            let hosts = machine.hosts();
            if round % 2 == 1 && !hosts.is_empty() {
                end(hosts[random.below(hosts.len())]);
            }
            if round == DAEMONS / 2
                && let Ok(server) = tmux(machine, &["display-message", "-p", "#{pid}"]).parse()
            {
                end(server);
            }
            daemon.kill();
            // Some are killed before they are up.
            let waits = random.below(3) > 0 || round + 1 == DAEMONS;
            daemon = match waits {
                true => machine.daemon(),
                false => machine.spawn_daemon(|command| command),
            };
        }
        daemon
    });

    let accepted = accepted.into_inner().unwrap();
    let client = machine.client();
    until("every task ended", || {
        let queue = block_on(async { client.status().await.unwrap() }).queue;
        queue.queued == 0 && queue.running == 0
    });
    let tasks = block_on(async { client.tasks(&TaskFilter::default()).all().await.unwrap() });
    let known: BTreeSet<String> = tasks.iter().map(|task| task.id.to_string()).collect();
    let answered: BTreeSet<String> = accepted.values().flatten().cloned().collect();
    assert_eq!(answered.len(), TASKS, "a key made two tasks: {accepted:?}");
    assert_eq!(known, answered);

    let events = all_events(machine);
    let notes = std::fs::read_to_string(&starts).unwrap();
    for task in &tasks {
        let mut runs = block_on(async { client.runs(task.id).all().await.unwrap() });
        runs.reverse();
        check_task(task, &runs, &notes);
        for run in &runs {
            check_run(machine, task, run, &events);
        }
    }

    until("every agent is idle", || {
        let agents = block_on(async { client.agents(None).all().await.unwrap() });
        agents.len() == PROJECTS && agents.iter().all(|agent| agent.state.as_str() == "idle")
    });
    let status = block_on(async { client.status().await.unwrap() });
    assert_eq!(status.problems, Vec::<String>::new());
    assert_eq!(machine.hosts().len(), PROJECTS);
}

/// Its attempts came one after the other, none twice, and not more than it may have.
#[track_caller]
fn check_task(task: &Task, runs: &[Run], notes: &str) {
    match task.state {
        TaskStateName::Succeeded => {}
        TaskStateName::Failed => assert_eq!(task.reason, Some(Reason::Lost), "{task:?}"),
        _ => panic!("{task:?}"),
    }
    let id = task.id.to_string();
    let mut under_way = None;
    let mut begun = Vec::new();
    for line in notes.lines().filter(|line| line.contains(&id)) {
        let (what, run) = (line.split(' ').next().unwrap(), &line[line.len() - 36..]);
        if what == "start" {
            // One that was cut says nothing of its end; it was ended before the next began.
            assert!(!begun.contains(&run), "run {run} was started twice");
            begun.push(run);
            under_way = Some(run);
        } else {
            assert_eq!(under_way, Some(run), "two attempts of task {id} overlapped");
        }
    }
    assert!(begun.len() <= task.max_retries as usize + 1, "{task:?}");
    for run in runs {
        let did_start = begun.contains(&&*run.id.to_string());
        match run.state {
            RunStateName::Succeeded => assert!(did_start, "{run:?}"),
            RunStateName::Lost => {}
            _ => assert!(!did_start, "{run:?} was started"),
        }
    }
}

/// Its beginning and its end were told once, and so was every byte.
#[track_caller]
fn check_run(machine: &Machine, task: &Task, run: &Run, events: &[Event]) {
    let own: Vec<&Event> = events
        .iter()
        .filter(|event| event.run_id == Some(run.id))
        .collect();
    let count = |kind| own.iter().filter(|event| event.kind == kind).count();
    assert_eq!(count(EventKind::RunCreated), 1);
    assert_eq!(count(EventKind::RunEnded), 1);
    assert!(count(EventKind::RunStarted) <= 1);
    let mut at = 0;
    for event in &own {
        if event.kind == EventKind::RunOutput && event.data["stream"] == "out" {
            assert_eq!(event.data["from"], at, "missing or told twice: {event:?}");
            at = event.data["to"].as_u64().unwrap();
        }
    }
    if run.state == RunStateName::Succeeded {
        let log = block_on(async {
            let client = machine.client();
            client.read_log(run.id, Stream::Out, 0, 1 << 20).await
        });
        let wanted = expected(&task.text);
        assert_eq!(String::from_utf8_lossy(&log.unwrap().bytes), wanted);
        assert_eq!(at, wanted.len() as u64);
    }
}

/// The whole log, which has no gap.
fn all_events(machine: &Machine) -> Vec<Event> {
    block_on(async {
        let client = machine.client();
        let log = client.status().await.unwrap().log;
        let beginning = Cursor {
            log: log.log_id,
            seq: Seq(0),
        };
        let mut stream = client.events(Some(beginning), &EventFilter::default());
        let mut events = Vec::new();
        while events.len() as u64 != log.seq.0 {
            if let Notice::Event { event, .. } = stream.next().await.unwrap() {
                assert_eq!(event.seq.0, events.len() as u64 + 1, "the log has a gap");
                events.push(event);
            }
        }
        events
    })
}

fn end(pid: u32) {
    // It may just have ended by itself.
    let _ = kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL);
}

fn tmux(machine: &Machine, args: &[&str]) -> String {
    let ran = std::process::Command::new("tmux")
        .args(["-L", "ccm-test"])
        .args(args)
        .env("TMUX_TMPDIR", machine.path("tmux"))
        .output()
        .unwrap();
    String::from_utf8_lossy(&ran.stdout).trim().to_owned()
}
