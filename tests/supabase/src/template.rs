//! The data that every server begins with: made once, and kept in the target folder.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::process::Command;

use crate::cluster::{Cluster, Durability, as_account, hand_over, new_folder, program, run};
use crate::sql::{PROJECT, SUPERUSER, Sql};
use crate::{blocking, double, root};

/// The folder of a server that has stopped, with a database [`PROJECT`] to copy.
pub(crate) async fn data() -> PathBuf {
    let key = blocking(key).await;
    let folder = target().join("supabase");
    let data = folder.join(format!("{key:016x}"));
    if data.exists() {
        return data;
    }
    let lock = blocking(move || {
        fs::create_dir_all(&folder).expect("the target folder");
        let lock = fs::File::create(folder.join("lock")).expect("a lock file");
        lock.lock().expect("a lock");
        lock
    });
    let _held = lock.await;
    if !data.exists() {
        let cluster = make().await;
        let to = data.clone();
        blocking(move || {
            // Under its name only when it is whole.
            let part = to.with_extension("part");
            let _ = fs::remove_dir_all(&part);
            run(Command::new("cp")
                .arg("-R")
                .arg(cluster.finished())
                .arg(&part));
            fs::rename(&part, &to).expect("the template");
        })
        .await;
    }
    data
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn scripts() -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(root().join("ccm-sync/supabase/migrations"))
        .expect("the migrations")
        .map(|entry| entry.expect("a migration").path())
        .collect();
    found.sort();
    found
}

/// Changes with all that the data are made of.
fn key() -> u64 {
    let mut hasher = DefaultHasher::new();
    program("postgres").hash(&mut hasher);
    let own = [
        "sql/1-roles.sql",
        "sql/2-auth.sql",
        "sql/3-realtime.sql",
        "package-lock.json",
        "lite.js",
    ];
    let own = own.map(|name| double().join(name));
    for file in scripts().iter().chain(&own) {
        fs::read(file)
            .expect("a part of the template")
            .hash(&mut hasher);
    }
    include_str!("template.rs").hash(&mut hasher);
    hasher.finish()
}

async fn make() -> Cluster {
    let cluster = blocking(|| {
        let folder = new_folder();
        hand_over(folder.path());
        let mut initdb = as_account(program("initdb"));
        initdb.args([
            "--username",
            SUPERUSER,
            "--auth",
            "trust",
            "--encoding",
            "UTF8",
            "--locale",
            "C.UTF-8",
        ]);
        initdb.args([
            "--no-sync",
            "--no-instructions",
            "--wal-segsize",
            "1",
            "--pgdata",
        ]);
        run(initdb
            .arg(folder.path().join("data"))
            .current_dir(folder.path()));
        Cluster::start(folder, Durability::Off)
    });
    let cluster = cluster.await;
    let socket = cluster.socket().to_owned();
    let admin = Sql::connect(&socket, SUPERUSER, "template1").await;
    admin.run("drop database postgres").await;
    admin.run(&format!("create database {PROJECT}")).await;
    drop(admin);

    let file =
        |name: &str| fs::read_to_string(double().join(name)).expect("a script of the double");
    let admin = Sql::connect(&socket, SUPERUSER, PROJECT).await;
    admin.run(&file("sql/1-roles.sql")).await;
    let at = socket.clone();
    blocking(move || {
        let mut provision = Command::new("node");
        provision
            .arg("provision.js")
            .arg(&at)
            .arg(PROJECT)
            .current_dir(double());
        let installed = double().join("node_modules/.installed").exists();
        assert!(
            installed,
            "the double is not installed; do it with scripts/tools supabase-double"
        );
        run(&mut provision);
    })
    .await;
    admin.run(&file("sql/2-auth.sql")).await;
    // As `supabase db push` does it: not by a superuser.
    let owner = Sql::connect(&socket, "postgres", PROJECT).await;
    for script in scripts() {
        owner
            .run(&fs::read_to_string(script).expect("a migration"))
            .await;
    }
    admin.run(&file("sql/3-realtime.sql")).await;
    drop((owner, admin));
    cluster
}
