//! Asks the machines for what the script says, and writes down what they answer.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::agent;
use crate::check::Known;
use crate::history::{Created, Edited, Fate, History, Wished};
use crate::http::{Answer, Unanswered};
use crate::machine::Machine;
use crate::script::{Change, Create, Pick, Script, Target, What};
use crate::wait::Stop;

/// For how long a request is repeated that was not answered, once everything is mended.
const REPEATING: Duration = Duration::from_secs(15);

/// Makes the changes of one machine, in order, from `begun` on.
pub(crate) fn make(
    machine: &Machine<'_>,
    script: &Script,
    machines: &[Known],
    history: &Mutex<History>,
    begun: Instant,
    stop: &Stop,
) -> Result<(), String> {
    for change in script
        .changes
        .iter()
        .filter(|change| change.machine == machine.number)
    {
        stop.sleep_until(begun + change.at)?;
        match &change.what {
            What::Create(create) => {
                let created = created(machine, change, create, script, machines);
                with(history, |history| history.created.push(created));
            }
            What::Edit { of, priority } => edit(machine, change, *of, *priority, history),
            What::Cancel { of } => wish(machine, *of, false, history),
            What::Retry { of } => wish(machine, *of, true, history),
        }
    }
    Ok(())
}

/// Repeats what was not answered, under the same key, until it is. Once is what it must come to.
pub(crate) fn repeat(
    machine: &Machine<'_>,
    history: &Mutex<History>,
    stop: &Stop,
) -> Result<(), String> {
    let open =
        |created: &&mut Created| created.machine == machine.number && created.fate == Fate::Unknown;
    let begun = Instant::now();
    loop {
        let todo = with(history, |history| {
            let mut all = history.created.iter_mut();
            all.find(open).map(|created| created.clone())
        });
        let Some(todo) = todo else { return Ok(()) };
        stop.check()?;
        if begun.elapsed() > REPEATING {
            return Err(format!(
                "never: m{} answers for {}",
                machine.number, todo.name
            ));
        }
        let (fate, id) = ask_for(machine, &todo.name, &todo.body);
        with(history, |history| {
            let mut all = history.created.iter_mut();
            if let Some(created) = all.find(|created| created.name == todo.name) {
                // One that was not answered may have taken effect, even if nobody is there now.
                if fate == Fate::Acknowledged {
                    (created.fate, created.id) = (fate, id);
                }
            }
        });
        if fate != Fate::Acknowledged {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn created(
    machine: &Machine<'_>,
    change: &Change,
    create: &Create,
    script: &Script,
    machines: &[Known],
) -> Created {
    let name = format!("t{}", change.number);
    let project = match create.target {
        Target::Project(number) => number,
        // Whoever has no clone asks for the first one's.
        Target::Shared if machine.number < script.clones => machine.number,
        Target::Shared => 0,
    };
    let mut body = json!({
        "project_id": machines[project].project,
        "title": name,
        "text": agent::text(&name, create.works, create.fails),
        "max_retries": create.retries,
    });
    if create.target == Target::Shared {
        body["any_machine"] = true.into();
    }
    if let Some(waits) = create.waits {
        body["not_before"] = (Timestamp::now() + waits).to_string().into();
    }
    let (fate, id) = ask_for(machine, &name, &body);
    Created {
        name,
        machine: machine.number,
        what: create.clone(),
        fate,
        id,
        body,
    }
}

fn ask_for(machine: &Machine<'_>, name: &str, body: &Value) -> (Fate, Option<String>) {
    let key = format!("partition-{name}");
    let headers = [("Idempotency-Key", &*key)];
    let answer = machine.ask("POST", "/api/v1/tasks", &headers, Some(body));
    let fate = fate(&answer);
    let id = answer
        .ok()
        .and_then(|answer| Some(answer.body["id"].as_str()?.to_owned()));
    (fate, id.filter(|_| fate == Fate::Acknowledged))
}

fn fate(answer: &Result<Answer, Unanswered>) -> Fate {
    match answer {
        Ok(answer) if answer.is_good() => Fate::Acknowledged,
        Ok(answer) if answer.is_open() => Fate::Unknown,
        Ok(_) | Err(Unanswered::NobodyThere) => Fate::Refused,
        Err(Unanswered::Unknown(_)) => Fate::Unknown,
    }
}

fn edit(
    machine: &Machine<'_>,
    change: &Change,
    of: Pick,
    priority: Option<i32>,
    history: &Mutex<History>,
) {
    // The first one of those from there on that has come here and still waits.
    let found = picked(of, history).into_iter().find_map(|task| {
        let (before, etag) = seen(machine, &format!("/api/v1/tasks/{task}"))?;
        Some((task, before, etag))
    });
    let Some((task, before, etag)) = found else {
        return;
    };
    let path = format!("/api/v1/tasks/{task}");
    let title = format!("e{}", change.number);
    let mut body = json!({ "title": title });
    if let Some(priority) = priority {
        body["priority"] = priority.into();
    }
    let answer = machine.ask("PATCH", &path, &[("If-Match", &etag)], Some(&body));
    let edited = Edited {
        task,
        machine: machine.number,
        title,
        before,
        fate: fate(&answer),
    };
    with(history, |history| history.edited.push(edited));
}

/// The title that a task has here, if it is known here and waits, and its ETag.
fn seen(machine: &Machine<'_>, path: &str) -> Option<(String, String)> {
    let answer = machine.ask("GET", path, &[], None).ok()?;
    if answer.body["state"] != "queued" {
        return None;
    }
    let title = answer.body["title"].as_str()?.to_owned();
    Some((title, answer.etag?))
}

fn wish(machine: &Machine<'_>, of: Pick, is_retry: bool, history: &Mutex<History>) {
    let Some(task) = picked(of, history).into_iter().next() else {
        return;
    };
    let what = if is_retry { "retry" } else { "cancel" };
    let answer = machine.ask("POST", &format!("/api/v1/tasks/{task}/{what}"), &[], None);
    let wished = Wished {
        task,
        is_retry,
        fate: fate(&answer),
    };
    with(history, |history| history.wished.push(wished));
}

/// The task that is meant, and then the others in order.
fn picked(of: Pick, history: &Mutex<History>) -> Vec<String> {
    with(history, |history| {
        let (mut known, number) = match of {
            Pick::Waiting(number) => (history.known(true), number),
            Pick::Newest(number) => {
                let mut known = history.known(false);
                known.reverse();
                (known, number)
            }
        };
        let meant = number.checked_rem(known.len() as u64).unwrap_or(0) as usize;
        known.rotate_left(meant);
        known.into_iter().map(str::to_owned).collect()
    })
}

fn with<T>(history: &Mutex<History>, work: impl FnOnce(&mut History) -> T) -> T {
    work(
        &mut history
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner),
    )
}
