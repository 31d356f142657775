//! Eight machines that take shared tasks, beside eight clients that take rows with nothing around it. Both by pgbench, at
//! the database itself: what lies in front of it costs the same for both.

use std::cell::Cell;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use supabase_double::{Caller, Sql, Supabase};

use super::server::Server;
use crate::figure::{Figure, Report, in_turns};
use crate::machine::finished;

const CLAIMERS: usize = 8;
const TASKS: usize = 2_000;
const TURNS: usize = 3;

pub(super) fn measure(server: &Server, report: &mut Report) {
    server.sql(&format!(
        "create table public.bench_tasks (turn int, place int, id uuid, primary key (turn, place));
         create table public.bench_devices (place int primary key, id uuid, incarnation uuid, claims text);
         create sequence public.bench_places;
         create table public.bench_rows (turn int, id int, taken int, primary key (turn, id));
         create index on public.bench_rows (turn, id) where taken is null;
         insert into public.bench_rows
             select turn, id, null from generate_series(1, {TURNS}) turn, generate_series(1, {TASKS}) id;
         insert into public.bench_tasks
             select turn, place, gen_random_uuid()
             from generate_series(1, {TURNS}) turn, generate_series(1, {TASKS}) place;
         grant select on public.bench_tasks, public.bench_devices to supalite;
         grant usage on sequence public.bench_places to supalite;"
    ));
    server.run(machines);
    server.sql("vacuum analyze");

    let (ours, beside) = (Cell::new(0), Cell::new(0));
    let next = |turn: &Cell<u32>| {
        turn.set(turn.get() + 1);
        turn.get()
    };
    let claims = || {
        server.sql("alter sequence public.bench_places restart");
        // As PostgREST calls it: who calls is set for the transaction.
        let script = format!(
            "select t.id as task, d.id as device, d.incarnation, d.claims from public.bench_tasks t, public.bench_devices d \
             where t.turn = {} and t.place = (select nextval('public.bench_places')) and d.place = :client_id \\gset\n\
             begin;\n\
             select set_config('role', 'authenticated', true), set_config('request.jwt.claims', ':claims', true);\n\
             select public.ccm_claim(p_device := ':device', p_incarnation := ':incarnation', p_protocol := 1, \
             p_claim := gen_random_uuid(), p_task := ':task', p_seconds := 300);\n\
             commit;\n",
            next(&ours)
        );
        server.run(async |supabase| pgbench(supabase, "supalite", &script))
    };
    let rows = || {
        let script = format!(
            "update public.bench_rows set taken = :client_id where (turn, id) = (select turn, id from public.bench_rows \
             where turn = {} and taken is null order by id limit 1 for update skip locked);\n",
            next(&beside)
        );
        server.run(async |supabase| pgbench(supabase, "supabase_admin", &script))
    };
    let (ours, beside, ratio) = in_turns(TURNS, claims, rows);
    for (table, wanted) in [("ccm_leases", "true"), ("bench_rows", "taken is not null")] {
        let query = format!("select count(*) from public.{table} where {wanted}");
        let taken = server.number(&query);
        assert_eq!(taken, (TURNS * TASKS) as i64, "not all of {table}");
    }
    let what = format!("shared tasks claimed by {CLAIMERS} machines");
    let figure = Figure::new(what, ours, "/s");
    report.add(figure.beside("rows taken by as many clients", beside, ratio));
}

/// As many machines of a user as there are claimers, of which the first one has shared all tasks.
async fn machines(supabase: &Supabase) {
    let database = supabase.database();
    let user = database.user().await;
    let admin = supabase.admin().await;
    for place in 0..CLAIMERS {
        let mut machine = database.sign_in(user).await;
        let ids = "select gen_random_uuid()::text, gen_random_uuid()::text";
        let ids = admin.query_one(ids, &[]).await.unwrap();
        let (device, incarnation): (String, String) = (ids.get(0), ids.get(1));
        let registration = json!({
            "p_device": device, "p_incarnation": incarnation, "p_previous": null, "p_protocol": 1,
            "p_hostname": format!("claimer-{place}"),
        });
        machine.rpc("ccm_register", &registration).await.unwrap();
        if place == 0 {
            share(&mut machine, &admin, &device, &incarnation).await;
        }
        let claims = machine.claims.to_string();
        let row = format!(
            "insert into public.bench_devices values ({place}, '{device}', '{incarnation}', '{claims}')"
        );
        admin.run(&row).await;
    }
}

async fn share(machine: &mut Caller, admin: &Sql, device: &str, incarnation: &str) {
    let batches = admin.query(
        "with numbered as (select id, row_number() over (order by turn, place) as number from public.bench_tasks)
         select json_agg(json_build_object(
             'number', number, 'uuid', gen_random_uuid(), 'kind', 'task', 'id', id, 'hlc_time', number, 'hlc_count', 0,
             'body', json_build_object('repository', 'git.example.com/shop', 'any_machine', true)) order by number)
         from numbered group by (number - 1) / 500 order by (number - 1) / 500",
        &[],
    );
    for batch in batches.await.unwrap() {
        let operations: Value = batch.get(0);
        let push = json!({
            "p_device": device, "p_incarnation": incarnation, "p_protocol": 1, "p_mode": "last_write_wins",
            "p_operations": operations,
        });
        machine.rpc("ccm_push", &push).await.unwrap();
    }
}

/// Transactions a second.
fn pgbench(supabase: &Supabase, user: &str, script: &str) -> f64 {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script).unwrap();
    let newest = (15..=18)
        .rev()
        .map(|version| format!("/usr/lib/postgresql/{version}/bin/pgbench"));
    let program = newest.into_iter().find(|path| Path::new(path).is_file());
    let database = supabase.database();
    let mut command = Command::new(program.as_deref().unwrap_or("pgbench"));
    command
        .arg("--no-vacuum")
        .args(["--client", &CLAIMERS.to_string(), "--jobs", "2"])
        .args(["--transactions", &(TASKS / CLAIMERS).to_string()])
        .args(["--username", user, "--file"])
        .arg(file.path())
        .arg("--host")
        .arg(database.socket())
        .arg(database.name());
    let told = finished(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    let rate = told.lines().find_map(|line| line.strip_prefix("tps = "));
    let rate = rate.and_then(|rest| rest.split(' ').next()?.parse().ok());
    rate.unwrap_or_else(|| panic!("pgbench says no rate: {told}"))
}
