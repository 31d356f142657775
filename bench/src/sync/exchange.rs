//! Ten thousand tasks from one machine to another, beside bare upserts and reads of the same rows.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::server::{Server, project, state};
use crate::figure::{Figure, Goal, Report, median};
use crate::http::Connection;
use crate::machine::{Build, Machine, until};

const TASKS: usize = 10_000;
/// As many as the API takes at once.
const CREATED_AT_ONCE: usize = 1000;
/// As many as a machine sends and asks for at once.
const AT_ONCE: usize = 500;
const TURNS: usize = 3;
/// How often it is looked whether all has come: not so often that looking costs anything beside it.
const LOOK: Duration = Duration::from_millis(20);

/// What one turn came to, in tasks or rows a second.
#[derive(Default)]
struct Turns {
    pushed: Vec<f64>,
    pulled: Vec<f64>,
    queued: Vec<f64>,
    upserted: Vec<f64>,
    read: Vec<f64>,
    inserted: Vec<f64>,
}

pub(super) fn measure(server: &Server, build: &Build, folder: &Path, report: &mut Report) {
    bare_tables(server);
    let email = server.user();
    let interval = Duration::from_secs(1);
    let from = server.machine(build, folder, &email, interval);
    let mut to = server.machine(build, folder, &email, interval);
    let project = project(&to, "there", &["true"], &[&from]);
    to.run("ccm", &["project", "pause", "there"]);
    let mut turns = Turns::default();
    for turn in 0..TURNS {
        one(server, &from, &mut to, &project, &mut turns);
        let rows = rows_of_turn(server, &email, turn);
        bare(server, &mut server.client(&email), &rows, &mut turns);
    }
    tell(&turns, report);
}

/// Tasks go from one machine to the other, each half of the way by itself.
fn one(
    server: &Server,
    from: &Machine<'_>,
    to: &mut Machine<'_>,
    project: &str,
    turns: &mut Turns,
) {
    let queued = queued(&mut to.connection());
    to.stop();
    server.refuse(Some("ccm_push"));
    let mut connection = from.connection();
    let task = json!({ "project_id": project, "text": "Fix the failing test in the parser." });
    let body = json!({ "tasks": vec![task; CREATED_AT_ONCE] }).to_string();
    let mut last = String::new();
    for _ in 0..TASKS / CREATED_AT_ONCE {
        let (status, answer) = connection.post("/api/v1/tasks/bulk", &body).unwrap();
        assert_eq!(status, 201, "{answer}");
        let newest = answer["items"].as_array().unwrap().last().unwrap();
        newest["id"].as_str().unwrap().clone_into(&mut last);
    }
    server.refuse(None);

    let mut asking = from.connection();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| asking.post("/api/v1/sync/now", "{}").unwrap());
        until("everything is sent", LOOK, || {
            (state(&mut connection)["pending"] == 0).then_some(())
        });
        turns.pushed.push(rate(begun));
        // That is when everything was fetched, too.
        let (status, answer) = asked.join().unwrap();
        assert_eq!(status, 200, "{answer}");
    });

    // From its start: a machine that was away asks at once.
    let begun = Instant::now();
    to.start();
    let mut connection = to.connection();
    // They come in the order in which they were sent.
    let last = format!("/api/v1/tasks/{last}");
    until("everything has come", LOOK, || {
        let (status, _) = connection.get(&last).ok()?;
        (status == 200).then_some(())
    });
    turns.pulled.push(rate(begun));
    until("everything is in the queue", LOOK, || {
        (self::queued(&mut connection) == queued + TASKS as u64).then_some(())
    });
    turns.queued.push(rate(begun));
    // What it says of them is nobody's figure, and must not be in the next.
    until("everything is told", LOOK, || {
        let state = state(&mut connection);
        (state["pending"] == 0 && state["unsettled"] == 0).then_some(())
    });
}

fn rate(begun: Instant) -> f64 {
    TASKS as f64 / begun.elapsed().as_secs_f64()
}

/// How many wait to be run here.
fn queued(connection: &mut Connection) -> u64 {
    let (_, status) = connection.get("/api/v1/status").unwrap();
    status["queue"]["queued"].as_u64().unwrap()
}

/// A table like the one of documents, which clients may write: one for the gateway, one for bare SQL.
fn bare_tables(server: &Server) {
    for name in ["bare_entities", "raw_entities"] {
        server.sql(&format!(
            "create table public.{name} (like public.ccm_entities including all);
             alter table public.{name} enable row level security;
             create policy own on public.{name} to authenticated
                 using (user_id = auth.uid()) with check (user_id = auth.uid());
             grant select, insert, update on public.{name} to authenticated;"
        ));
    }
    // The gateway looks for tables when it starts.
    server.run(async |supabase| supabase.restart_server().await);
}

/// The rows that the last turn left on the server, in parts as large as a machine sends them.
fn rows_of_turn(server: &Server, email: &str, turn: usize) -> Vec<String> {
    let offset = turn * TASKS;
    let parts = server.run(async |supabase| {
        let query = format!(
            "with numbered as (
                 select e, row_number() over (order by seq) - 1 as place from public.ccm_entities e
                 where kind = 'task' and user_id = (select id from auth.users where email = '{email}')
             )
             select json_agg(e order by place)::text from numbered where place >= {offset}
             group by place / {AT_ONCE} order by place / {AT_ONCE}"
        );
        supabase.admin().await.query(&query, &[]).await.unwrap()
    });
    let parts: Vec<String> = parts.iter().map(|row| row.get(0)).collect();
    assert_eq!(parts.len(), TASKS / AT_ONCE);
    parts
}

/// The same rows without any of ours: written and read through the gateway, and written by SQL.
fn bare(server: &Server, client: &mut Connection, rows: &[String], turns: &mut Turns) {
    let path = "/rest/v1/bare_entities?on_conflict=user_id,kind,id";
    let prefer = "resolution=merge-duplicates,return=minimal";
    let begun = Instant::now();
    for part in rows {
        let (status, answer) = client.post_with(path, part, "Prefer", prefer).unwrap();
        assert!(status < 300, "{status} {answer}");
    }
    turns.upserted.push(rate(begun));

    let begun = Instant::now();
    let mut read = 0;
    let mut after = 0;
    while read < TASKS {
        let path = format!(
            "/rest/v1/bare_entities?select=kind,id,body,hlc_time,hlc_count,origin,seq,epoch&seq=gt.{after}\
             &order=seq.asc&limit={AT_ONCE}"
        );
        let (status, part) = client.get(&path).unwrap();
        assert!(status < 300, "{status} {part}");
        let part = part.as_array().unwrap();
        read += part.len();
        after = part.last().map_or(0, |row| row["seq"].as_u64().unwrap());
    }
    turns.read.push(rate(begun));

    let upsert = "insert into public.raw_entities
         select * from json_populate_recordset(null::public.raw_entities, $1::json)
         on conflict (user_id, kind, id) do update set body = excluded.body, seq = excluded.seq,
             hlc_time = excluded.hlc_time, hlc_count = excluded.hlc_count, origin = excluded.origin";
    turns.inserted.push(server.run(async |supabase| {
        let admin = supabase.admin().await;
        let upsert = admin.prepare(upsert).await.unwrap();
        let rows: Vec<Value> = rows
            .iter()
            .map(|part| serde_json::from_str(part).unwrap())
            .collect();
        let begun = Instant::now();
        for part in &rows {
            admin.execute(&upsert, &[part]).await.unwrap();
        }
        rate(begun)
    }));
    server.sql("truncate public.bare_entities, public.raw_entities");
}

fn tell(turns: &Turns, report: &mut Report) {
    let upserts = "upserts through the same gateway";
    let reads = "reads through the same gateway";
    let inserts = "upserts by SQL";
    let Turns {
        pushed,
        pulled,
        queued,
        upserted,
        read,
        inserted,
    } = turns;
    let queue = "in the queue of another machine";
    for (what, ours, beside, others, goal) in [
        ("sent", pushed, upserts, upserted, Some(0.8)),
        ("sent", pushed, inserts, inserted, None),
        ("known on another machine", pulled, reads, read, Some(0.8)),
        (queue, queued, reads, read, None),
    ] {
        let ratios = ours.iter().zip(others).map(|(ours, other)| ours / other);
        let ratio = median(ratios.collect());
        let what = format!("{TASKS} tasks {what}");
        let figure = Figure::new(what, median(ours.clone()), "/s");
        let figure = figure.beside(beside, median(others.clone()), ratio);
        report.add(match goal {
            Some(goal) => figure.goal(Goal::AtLeast(goal)),
            None => figure,
        });
    }
}
