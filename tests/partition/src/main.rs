//! Cuts the lines between five machines that share one queue, and looks what becomes of it.
//!
//! A run is made of a seed: who asks for what and when, which lines are cut, who is killed. Then everything is mended, and
//! within half a minute all machines must say the same, and it must be what they were asked for. `docs/partitions.md` says
//! what is checked.

mod agent;
mod check;
mod documents;
mod history;
mod http;
mod machine;
mod network;
mod random;
mod run;
mod script;
mod server;
mod wait;
mod workload;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use machine::Programs;
use network::Network;
use run::Stage;
use script::{Measure, Script};
use server::Server;
use wait::{STOPPED, Stop};

const HELP: &str = "\
Cuts the lines between five machines that share one queue, and looks what becomes of it.

Usage: ccm-partition --programs DIR [OPTIONS]

Options:
      --programs DIR  Where ccm, ccm-orchestrator and ccm-daemon are
      --runs N        How many runs, each with the next seed [default: 20]
      --from SEED     The first seed [default: 1]
      --seeds FILE    Seeds that are run before these, one in a line
      --jobs N        How many at once [default: 2]
      --long          Lines are cut for up to 10 s, not 2.5
      --claims        Nothing is cut: four machines with one repository, and 400 tasks that any may run
      --keep          Keep the folders of all runs, not only of those that fail
  -h, --help          Print this

Exit codes: 0 all held, 1 something did not, 2 wrong options.
";

struct Wish {
    programs: Programs,
    runs: u64,
    from: u64,
    seeds: Option<PathBuf>,
    jobs: u64,
    kind: Kind,
    keep: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Cuts(Measure),
    Claims,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [first, folder, machine] = &args[..]
        && first == "agent"
    {
        return work(folder, machine);
    }
    let wish = match parse(args.into_iter()) {
        Ok(Some(wish)) => wish,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("error: {message}; --help shows what can be said");
            return ExitCode::from(2);
        }
    };
    match run_all(&wish) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn work(folder: &str, machine: &str) -> ExitCode {
    let done = machine
        .parse()
        .map_err(|_| "a machine is a number".to_owned())
        .and_then(|machine| agent::work(Path::new(folder), machine));
    match done {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(99)
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Wish>, String> {
    let (mut programs, mut seeds) = (None, None);
    let (mut runs, mut from, mut jobs) = (20, 1, 2);
    let (mut kind, mut keep) = (Kind::Cuts(Measure::SHORT), false);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        let number = |text: String| text.parse().map_err(|_| format!("{text:?} is no number"));
        match &*arg {
            "--programs" => programs = Some(value()?),
            "--seeds" => seeds = Some(value()?.into()),
            "--runs" => runs = number(value()?)?,
            "--from" => from = number(value()?)?,
            "--jobs" => jobs = number(value()?)?.max(1),
            "--long" => kind = Kind::Cuts(Measure::LONG),
            "--claims" => kind = Kind::Claims,
            "--keep" => keep = true,
            "-h" | "--help" => return Ok(None),
            other => return Err(format!("{other:?} is no option")),
        }
    }
    let programs = programs.ok_or("--programs is missing")?;
    let programs = std::path::absolute(programs).map_err(|error| error.to_string())?;
    let programs = Programs(programs);
    for name in ["ccm", "ccm-orchestrator", "ccm-daemon"] {
        let path = programs.path(name);
        if !path.is_file() {
            return Err(format!("{} is missing", path.display()));
        }
    }
    Ok(Some(Wish {
        programs,
        runs,
        from,
        seeds,
        jobs,
        kind,
        keep,
    }))
}

/// The seeds that once failed, then the others.
fn seeds(wish: &Wish) -> Result<VecDeque<u64>, String> {
    let mut seeds = VecDeque::new();
    if let Some(path) = &wish.seeds {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{} can't be read: {error}", path.display()))?;
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let seed = line.split(' ').next().unwrap_or_default();
            let seed = seed
                .parse()
                .map_err(|_| format!("{}: no seed: {line}", path.display()))?;
            seeds.push_back(seed);
        }
    }
    seeds.extend((wish.from..).take(usize::try_from(wish.runs).unwrap_or(usize::MAX)));
    Ok(seeds)
}

fn run_all(wish: &Wish) -> Result<bool, String> {
    let stop = Stop::by_signal()?;
    let todo = Mutex::new(seeds(wish)?);
    let count = lock(&todo).len();
    let failed = Mutex::new(Vec::new());
    let begun = Instant::now();
    let done: Result<Vec<()>, String> = std::thread::scope(|scope| {
        let jobs: Vec<_> = (0..wish.jobs)
            .map(|_| scope.spawn(|| job(wish, &todo, &failed, &stop)))
            .collect();
        jobs.into_iter()
            .map(|job| {
                job.join()
                    .unwrap_or_else(|_| Err("a job panicked".to_owned()))
            })
            .collect()
    });
    done?;
    let failed = failed
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    println!(
        "{count} runs in {:.0} s, {} failed{}",
        begun.elapsed().as_secs_f64(),
        failed.len(),
        failed
            .iter()
            .map(|seed| format!(" {seed}"))
            .collect::<String>()
    );
    Ok(failed.is_empty())
}

/// Does runs one after the other, on a network and with a server of its own.
fn job(
    wish: &Wish,
    todo: &Mutex<VecDeque<u64>>,
    failed: &Mutex<Vec<u64>>,
    stop: &Stop,
) -> Result<(), String> {
    let network = Network::new()?;
    network.line(true)?.try_out()?;
    let server = Server::new(&network)?;
    let stage = Stage {
        network: &network,
        server: &server,
        programs: &wish.programs,
        stop,
    };
    loop {
        let Some(seed) = lock(todo).pop_front() else {
            return Ok(());
        };
        let dir = tempfile::Builder::new()
            .prefix("ccm-part-")
            .tempdir()
            .map_err(|error| format!("no folder for a run: {error}"))?;
        let script = match wish.kind {
            Kind::Cuts(measure) => Script::new(seed, measure),
            Kind::Claims => Script::claims(seed),
        };
        let begun = Instant::now();
        let outcome = stage.run(&script, dir.path());
        let took = begun.elapsed().as_secs_f64();
        let problems = match outcome {
            Ok(outcome) if outcome.findings.is_empty() => {
                println!(
                    "seed {seed}: held after {:.1} s ({} tasks, {} edits, {} conflicts, {} troubles; {took:.1} s in all)",
                    outcome.settled.as_secs_f64(),
                    outcome.tasks,
                    outcome.edits,
                    outcome.conflicts,
                    outcome.troubles,
                );
                if wish.keep {
                    println!("seed {seed}: kept in {}", dir.keep().display());
                }
                continue;
            }
            Ok(outcome) => outcome.findings,
            Err(error) if error == STOPPED => return Err(error),
            Err(error) => vec![error],
        };
        lock(failed).push(seed);
        let kept = dir.keep();
        let told = problems.iter().map(|problem| format!("  {problem}\n"));
        println!(
            "seed {seed}: FAILED after {took:.1} s; logs and databases are in {}\n{}",
            kept.display(),
            told.collect::<String>()
        );
    }
}

fn lock<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
