//! One run: five machines, a script, and what has to hold in the end.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::agent;
use crate::check::{Evidence, Known, View, findings};
use crate::documents::{self, Documents};
use crate::history::{Fate, History};
use crate::machine::{Account, Machine, MachineIs, Programs};
use crate::network::Network;
use crate::script::{Broken, Script, Trouble};
use crate::server::Server;
use crate::wait::{Stop, until};
use crate::workload;

/// The longest that it may take until all machines know each other.
const GREETING: Duration = Duration::from_secs(20);
/// How often it is looked whether all holds.
const LOOK: Duration = Duration::from_millis(150);

/// What runs have in common that come one after the other.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) network: &'a Network,
    pub(crate) server: &'a Server<'a>,
    pub(crate) programs: &'a Programs,
    pub(crate) stop: &'a Stop,
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What does not hold.
    pub(crate) findings: Vec<String>,
    pub(crate) tasks: usize,
    pub(crate) edits: usize,
    pub(crate) conflicts: usize,
    pub(crate) troubles: usize,
    /// How long it took after everything was mended until all held.
    pub(crate) settled: Duration,
}

/// Who takes part in a run.
#[derive(Debug)]
struct Cast<'a> {
    script: &'a Script,
    machines: Vec<Machine<'a>>,
    known: Vec<Known>,
    account: Account,
    /// The folder that agents write to.
    agents: PathBuf,
}

impl Stage<'_> {
    /// Does what the script says in `folder`, and judges it.
    pub(crate) fn run(&self, script: &Script, folder: &Path) -> Result<Outcome, String> {
        let cast = self.cast(script, folder)?;
        self.greet(&cast.machines)?;

        let history = Mutex::new(History::default());
        self.perform(&cast, &history)?;
        let mended = Instant::now();
        let patience = script.settles.mul_f64(crowding());
        on_all(&cast.machines, |machine| {
            workload::repeat(machine, &history, self.stop)
        })?;

        let history = history
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let edits = history.edited.iter();
        let edits = edits.filter(|edit| edit.fate == Fate::Acknowledged);
        let mut outcome = Outcome {
            tasks: history.created.len(),
            edits: edits.count(),
            troubles: script.troubles.len(),
            ..Outcome::default()
        };
        loop {
            self.stop.check()?;
            let looked = Instant::now();
            // What asks for little is asked often; all of it when it may hold, and at the end.
            if mended.elapsed() <= patience && is_busy(&cast.machines) {
                self.stop.sleep_until(looked + LOOK)?;
                continue;
            }
            outcome.findings = match look(&cast.machines) {
                Ok(views) => {
                    outcome.conflicts = views[0].conflicts.len();
                    self.judge(&cast, &history, views)?
                }
                // One that was killed last may not be up yet.
                Err(error) => vec![format!("unanswered: {error}")],
            };
            outcome.settled = mended.elapsed();
            if outcome.findings.is_empty() || outcome.settled > patience {
                return Ok(outcome);
            }
            self.stop.sleep_until(looked + LOOK)?;
        }
    }

    /// What does not hold, by what is asked soonest.
    fn judge(
        &self,
        cast: &Cast<'_>,
        history: &History,
        mut views: Vec<View>,
    ) -> Result<Vec<String>, String> {
        let log = agent::lines(&cast.agents)?;
        let told = |views: &[View]| {
            findings(Evidence {
                machines: &cast.known,
                clones: cast.script.clones,
                history,
                views,
                log: &log,
            })
        };
        let found = told(&views);
        if !found.is_empty() {
            return Ok(found);
        }
        for (machine, view) in cast.machines.iter().zip(&mut views) {
            view.runs = runs(machine, &view.tasks)?;
        }
        let found = told(&views);
        if !found.is_empty() {
            return Ok(found);
        }
        let read = |machine: &Machine<'_>| {
            Documents::of_machine(&machine.system, &machine.home().join("ccm.db"))
        };
        let of_machines: Result<Vec<Documents>, String> = cast.machines.iter().map(read).collect();
        let of_server = self.server.documents(&cast.account)?;
        Ok(documents::findings(&of_machines?, &of_server))
    }

    /// A new user with new machines.
    fn cast<'a>(&'a self, script: &'a Script, folder: &Path) -> Result<Cast<'a>, String> {
        static RUNS: AtomicU32 = AtomicU32::new(1);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let account = self.server.account(&format!("run-{run}"));
        let agents = folder.join("agents");
        std::fs::create_dir(&agents).map_err(|error| error.to_string())?;
        let machines = std::thread::scope(|scope| {
            let make = |number: usize| {
                let is = MachineIs {
                    manual: script.is_manual,
                    clone: number < script.clones,
                    agents: &agents,
                };
                let line = self.network.line(script.is_silent)?;
                let machine = Machine::set_up(number, line, self.programs, folder, is, self.stop)?;
                machine.connect(&account)?;
                Ok(machine)
            };
            let threads: Vec<_> = (0..script.machines)
                .map(|number| scope.spawn(move || make(number)))
                .collect();
            threads.into_iter().map(joined).collect::<Vec<_>>()
        });
        let machines: Vec<Machine<'_>> = machines.into_iter().collect::<Result<_, String>>()?;
        Ok(Cast {
            script,
            known: machines.iter().map(Known::of).collect(),
            machines,
            account,
            agents,
        })
    }

    /// Waits until every machine knows every other one's project, which is asked for by its id.
    fn greet(&self, machines: &[Machine<'_>]) -> Result<(), String> {
        on_all(machines, |machine| {
            until("all machines know each other", GREETING, self.stop, || {
                Ok(machine.all("/api/v1/projects?machine=all")?.len() == machines.len())
            })
        })
    }

    /// Changes and troubles, by the clock of the script, until everything is mended.
    fn perform(&self, cast: &Cast<'_>, history: &Mutex<History>) -> Result<(), String> {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let troubles = scope.spawn(move || self.trouble(cast, begun));
            let change = |machine| {
                workload::make(machine, cast.script, &cast.known, history, begun, self.stop)
            };
            let changes: Vec<_> = (cast.machines.iter())
                .map(|machine| scope.spawn(move || change(machine)))
                .collect();
            let mut done: Vec<_> = changes.into_iter().map(joined).collect();
            done.push(joined(troubles));
            done.into_iter().collect()
        })
    }

    /// Breaks and mends, each at its time.
    fn trouble(&self, cast: &Cast<'_>, begun: Instant) -> Result<(), String> {
        let (script, machines) = (cast.script, &cast.machines);
        let mut steps: Vec<(Duration, bool, &Trouble)> = (script.troubles.iter())
            // What is broken at the end is mended there at the latest.
            .flat_map(|trouble| {
                let end = (trouble.at + trouble.lasts).min(script.lasts.max(trouble.at));
                [(trouble.at, true, trouble), (end, false, trouble)]
            })
            .collect();
        // Stable, so nothing is mended before it broke.
        steps.sort_by_key(|(at, ..)| *at);
        let mut is_up = true;
        for (at, breaks, trouble) in steps {
            self.stop.sleep_until(begun + at)?;
            match (trouble.what, breaks) {
                (Broken::Line { machine, way }, true) => machines[machine].line.cut(way)?,
                (Broken::Line { machine, way }, false) => machines[machine].line.mend(way)?,
                (Broken::Daemon { machine }, true) => machines[machine].kill(),
                (Broken::Daemon { machine }, false) => machines[machine].spawn()?,
                (Broken::Server, true) => {
                    is_up = false;
                    self.server.kill();
                }
                (Broken::Server, false) => {
                    self.server.start();
                    is_up = true;
                }
                (Broken::Answers { lost }, true) if is_up => self.server.lose_answers(lost),
                (Broken::Answers { .. }, _) => {}
            }
        }
        self.server.mend();
        Ok(())
    }
}

/// How many times more wants to run than there are processors, on the average of the last minute; one at least.
fn crowding() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = text
        .split(' ')
        .next()
        .and_then(|load| load.parse().ok())
        .unwrap_or(0.0);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    // Runs that go on side by side are no crowd: they leave each other enough.
    (load / processors as f64 / 3.0).max(1.0)
}

/// Whether a machine has something to do, or does not answer, so that not all can hold.
fn is_busy(machines: &[Machine<'_>]) -> bool {
    machines.iter().any(|machine| {
        let count = |path: &str, name: &str| {
            let answer = machine.get(path).ok()?;
            answer.pointer(name)?.as_u64()
        };
        let to_do = [
            ("/api/v1/sync", "/pending"),
            ("/api/v1/sync", "/unsettled"),
            ("/api/v1/status", "/queue/queued"),
            ("/api/v1/status", "/queue/running"),
        ];
        to_do
            .into_iter()
            .any(|(path, name)| count(path, name) != Some(0))
    })
}

/// What all machines say.
fn look(machines: &[Machine<'_>]) -> Result<Vec<View>, String> {
    let dead = machines.iter().find(|machine| machine.has_died());
    if let Some(machine) = dead {
        return Err(format!("the daemon of m{} ended by itself", machine.number));
    }
    machines.iter().map(view).collect()
}

impl Known {
    fn of(machine: &Machine<'_>) -> Self {
        Self {
            project: machine.project.clone(),
            system: machine.system.clone(),
        }
    }
}

fn view(machine: &Machine<'_>) -> Result<View, String> {
    Ok(View {
        tasks: machine.all("/api/v1/tasks?machine=all&page_size=200")?,
        // One list for each task, so they are asked for when all else holds.
        runs: Vec::new(),
        projects: machine.all("/api/v1/projects?machine=all")?,
        conflicts: machine.all("/api/v1/sync/conflicts?page_size=200")?,
        set_aside: machine.all("/api/v1/sync/set-aside")?,
        sync: machine.get("/api/v1/sync")?,
    })
}

fn runs(machine: &Machine<'_>, tasks: &[Value]) -> Result<Vec<Value>, String> {
    let mut runs = Vec::new();
    for task in tasks {
        let task = task["id"].as_str().unwrap_or_default();
        runs.extend(machine.all(&format!("/api/v1/runs?task_id={task}&page_size=200"))?);
    }
    Ok(runs)
}

/// Does the same on all machines at once.
fn on_all(
    machines: &[Machine<'_>],
    work: impl Fn(&Machine<'_>) -> Result<(), String> + Sync,
) -> Result<(), String> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = machines
            .iter()
            .map(|machine| scope.spawn(|| work(machine)))
            .collect();
        threads.into_iter().try_for_each(joined)
    })
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T, String>>) -> Result<T, String> {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
