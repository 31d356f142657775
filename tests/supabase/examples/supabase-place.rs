//! A Supabase project for tests in other languages: one with a user in it, until standard input ends.
//!
//! The first line on standard output is JSON: `{"url", "key", "email", "password", "socket", "database"}`, the last two being
//! where its PostgreSQL is. After that each line of standard input is one of `cut` (nobody can reach it any more) and `mend`,
//! which is answered by a line when it is done.

use std::io::{BufRead, Write};

use serde_json::json;
use supabase_double::Supabase;

const EMAIL: &str = "ada@example.org";
const PASSWORD: &str = "correct horse battery staple";

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let place = runtime.block_on(async {
        let place = Supabase::start().await;
        place.create_user(EMAIL, PASSWORD).await;
        place
    });
    let about = json!({
        "url": place.url(),
        "key": place.anon_key(),
        "email": EMAIL,
        "password": PASSWORD,
        "socket": place.database().socket(),
        "database": place.database().name(),
    });
    say(&about.to_string())?;
    for line in std::io::stdin().lock().lines() {
        match line?.as_str() {
            "cut" => runtime.block_on(place.stop_server()),
            "mend" => runtime.block_on(place.start_server()),
            other => panic!("unknown: {other:?}"),
        }
        say("done")?;
    }
    Ok(())
}

fn say(line: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}
