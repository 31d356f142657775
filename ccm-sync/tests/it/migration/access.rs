//! Who may read and write what.

use std::path::{Path, PathBuf};

use serde_json::json;
use supabase_double::Caller;
use uuid::Uuid;

use crate::support::{Machine, Place, code, operation, pinned};

const TABLES: [&str; 7] = [
    "ccm_meta",
    "ccm_sequences",
    "ccm_entities",
    "ccm_devices",
    "ccm_operations",
    "ccm_leases",
    "ccm_revoked_sessions",
];

#[tokio::test]
async fn another_user_sees_nothing() {
    let place = Place::new().await;
    let mut mine = place.machine().await;
    let project = Uuid::new_v4();
    let task = Uuid::new_v4();
    mine.push(vec![operation("task", task, 0, pinned(project, "mine"))])
        .await;

    let stranger = place.database.user().await;
    let mut theirs = Machine::new(place.database.sign_in(stranger).await);
    theirs.register().await.unwrap();
    assert_eq!(theirs.all().await, Vec::<serde_json::Value>::new());
    assert_eq!(theirs.pull(0, 10).await.unwrap()["cursor"], 0);
    let devices = theirs.call("ccm_devices", json!({})).await.unwrap();
    assert_eq!(devices["devices"].as_array().unwrap().len(), 1);
    assert_eq!(
        code(theirs.claim(Uuid::new_v4(), task, 60.0).await),
        "PT404 no_such_task"
    );
    let seen = theirs
        .caller
        .query("select user_id from ccm_sequences", &[])
        .await
        .unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].get::<_, Uuid>(0), stranger);

    // The same ids are other documents and other machines there.
    let mut twin = Machine::new(place.database.sign_in(stranger).await);
    twin.id = mine.id;
    twin.register().await.unwrap();
    assert_eq!(
        twin.put(operation("task", task, 5, pinned(project, "theirs")))
            .await,
        "taken"
    );
    let row = mine.get("task", task).await.unwrap();
    assert_eq!(row["body"]["title"], "mine");
    assert_eq!(
        code(
            mine.call("ccm_revoke", json!({ "p_target": theirs.id }))
                .await
        ),
        "PT404 no_such_device"
    );
}

#[tokio::test]
async fn nobody_sees_and_calls_nothing() {
    let place = Place::new().await;
    place.machine().await;
    let mut anonymous = Caller::anonymous(place.database.gate().await);
    for table in TABLES {
        assert!(
            anonymous
                .may_not(&format!("select * from public.{table}"))
                .await,
            "{table}"
        );
    }
    for call in [
        "ccm_devices(null, null, 1)",
        "ccm_register(null, null, null, 1, '')",
        "ccm_push(null, null, 1, '', '[]')",
        "ccm_pull(null, null, 1, 0, 1, null, null)",
        "ccm_claim(null, null, 1, null, null, 1)",
        "ccm_renew(null, null, 1, null, 1, 1)",
        "ccm_finish(null, null, 1, null, 1)",
        "ccm_revoke(null, null, 1, null)",
    ] {
        assert!(
            anonymous.may_not(&format!("select public.{call}")).await,
            "{call}"
        );
    }
    // A token that names no user is not enough, whatever role it has.
    let mut nobody = place.stranger().await;
    nobody.caller.claims = json!({ "role": "authenticated" });
    assert_eq!(code(nobody.register().await), "PT401 unauthenticated");
    assert_eq!(code(nobody.pull(0, 1).await), "PT401 unauthenticated");
}

#[tokio::test]
async fn no_table_is_written_or_read_directly() {
    let place = Place::new().await;
    let mut machine = place.machine().await;
    machine
        .push(vec![operation("wish", Uuid::new_v4(), 0, json!({}))])
        .await;
    let caller = &mut machine.caller;
    for table in TABLES {
        if table != "ccm_sequences" {
            assert!(
                caller
                    .may_not(&format!("select * from public.{table}"))
                    .await,
                "{table}"
            );
        }
        assert!(
            caller.may_not(&format!("delete from public.{table}")).await,
            "{table}"
        );
        assert!(
            caller.may_not(&format!("truncate public.{table}")).await,
            "{table}"
        );
    }
    let user = place.user;
    for statement in [
        format!("update public.ccm_sequences set seq = 0 where user_id = '{user}'"),
        format!("insert into public.ccm_sequences (user_id) values ('{user}')"),
        "update public.ccm_entities set body = null".to_owned(),
        "update public.ccm_devices set revoked_at = null".to_owned(),
        "update public.ccm_meta set min_protocol = 0".to_owned(),
        "insert into public.ccm_meta values (true, 1, 1)".to_owned(),
        "select ccm_internal.micros(now())".to_owned(),
        "select ccm_internal.caller(1)".to_owned(),
        "select * from ccm_internal.purge(null, null, null)".to_owned(),
    ] {
        assert!(caller.may_not(&statement).await, "{statement}");
    }
    // Nothing was left open to everybody: neither a function nor a table, and no table is without row-level security.
    let admin = place.database.admin().await;
    let open = "select count(*) from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' and not relrowsecurity";
    assert_eq!(admin.number(open).await, 0);
    let open = "select count(*) from pg_proc p cross join unnest(array['anon', 'public']) r
        where p.pronamespace in ('public'::regnamespace, 'ccm_internal'::regnamespace)
            and has_function_privilege(r, p.oid, 'execute')";
    assert_eq!(
        admin
            .number(&open.replace("'anon', 'public'", "'anon'"))
            .await,
        0
    );
    let bare = "select count(*) from pg_proc p where p.pronamespace = 'public'::regnamespace and p.prosecdef
        and not coalesce(p.proconfig::text like '%search_path=%', false)";
    assert_eq!(admin.number(bare).await, 0);
}

#[tokio::test]
async fn a_second_factor_has_to_be_used_once_there_is_one() {
    let place = Place::new().await;
    let mut machine = place.machine().await;
    let admin = place.database.admin().await;
    let factor = "insert into auth.mfa_factors (user_id, factor_type, secret, status) values ($1, 'totp', 'x', 'unverified')";
    admin.execute(factor, &[&place.user]).await.unwrap();
    machine.pull(0, 1).await.unwrap();
    admin
        .run("update auth.mfa_factors set status = 'verified'")
        .await;
    for answer in [
        machine.pull(0, 1).await,
        machine.register().await,
        machine.send("manual", &[]).await,
        machine.call("ccm_devices", json!({})).await,
        machine
            .call("ccm_revoke", json!({ "p_target": Uuid::new_v4() }))
            .await,
        machine.claim(Uuid::new_v4(), Uuid::new_v4(), 1.0).await,
        machine.renew(Uuid::new_v4(), &json!(1), 1.0).await,
        machine.finish(Uuid::new_v4(), &json!(1)).await,
    ] {
        assert_eq!(code(answer), "PT403 aal_required");
    }
    machine.caller.claims["aal"] = json!("aal2");
    machine.pull(0, 1).await.unwrap();
}

#[tokio::test]
async fn a_program_that_is_too_old_is_told_so_and_loses_nothing() {
    let place = Place::new().await;
    let mut machine = place.machine().await;
    let admin = place.database.admin().await;
    admin.run("update ccm_meta set min_protocol = 2").await;
    let wish = machine.number(vec![operation("wish", Uuid::new_v4(), 0, json!({}))]);
    assert_eq!(code(machine.send("manual", &wish).await), "PT426 upgrade");
    assert_eq!(code(machine.register().await), "PT426 upgrade");
    assert_eq!(place.count("wish").await, 0);
    let answer = machine
        .call(
            "ccm_push",
            json!({ "p_protocol": 2, "p_mode": "manual", "p_operations": wish }),
        )
        .await;
    assert_eq!(answer.unwrap()["acknowledged"], 1);
}

#[tokio::test]
async fn what_a_user_had_goes_with_the_user() {
    let place = Place::new().await;
    let mut machine = place.machine().await;
    let task = Uuid::new_v4();
    machine
        .push(vec![operation(
            "task",
            task,
            0,
            crate::support::shared(Uuid::new_v4(), "x"),
        )])
        .await;
    machine.claim(Uuid::new_v4(), task, 60.0).await.unwrap();
    let other = Place {
        user: place.database.user().await,
        database: place.database,
    };
    other.machine().await;
    let admin = other.database.admin().await;
    admin
        .execute("delete from auth.users where id = $1", &[&place.user])
        .await
        .unwrap();
    for table in ["ccm_entities", "ccm_operations", "ccm_leases"] {
        assert_eq!(
            admin.number(&format!("select count(*) from {table}")).await,
            0,
            "{table}"
        );
    }
    assert_eq!(admin.number("select count(*) from ccm_devices").await, 1);
}

#[tokio::test]
async fn applying_it_again_changes_nothing() {
    let place = Place::new().await;
    let mut machine = place.machine().await;
    machine
        .push(vec![operation("wish", Uuid::new_v4(), 0, json!({}))])
        .await;
    let owner = place.database.owner().await;
    owner.run(&migration()).await;
    assert_eq!(machine.all().await.len(), 1);
    assert!(machine.caller.may_not("select * from ccm_entities").await);
    let published =
        "select count(*) from pg_publication_tables where pubname = 'supabase_realtime'";
    assert_eq!(owner.number(published).await, 1);
}

/// Everything that has to be applied, in order.
fn migration() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("supabase/migrations");
    let scripts = std::fs::read_dir(folder).unwrap();
    let mut scripts: Vec<_> = scripts.map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    let read = |script: PathBuf| std::fs::read_to_string(script).unwrap();
    scripts.into_iter().map(read).collect()
}

#[tokio::test]
async fn it_can_be_taken_out_as_the_page_says() {
    let place = Place::new().await;
    let mut machine = place.machine().await;
    machine
        .push(vec![operation("wish", Uuid::new_v4(), 0, json!({}))])
        .await;
    let owner = place.database.owner().await;
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/supabase.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("```sql\n").unwrap();
    owner.run(rest.split_once("```").unwrap().0).await;
    let left = "select (select count(*) from pg_class where relname like 'ccm%')
        + (select count(*) from pg_proc where proname like 'ccm%')
        + (select count(*) from pg_namespace where nspname like 'ccm%')
        + (select count(*) from pg_publication_tables where pubname = 'supabase_realtime')";
    assert_eq!(owner.number(left).await, 0);
    // And put in again.
    owner.run(&migration()).await;
    let mut machine = place.stranger().await;
    machine.register().await.unwrap();
}
