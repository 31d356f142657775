//! A Supabase project for programs that are no Rust tests, with a user in it. Says where it is, as a line of JSON, and is there
//! until standard input ends.

use std::io::{Read, Write};

use serde_json::json;
use supabase_double::Supabase;

const EMAIL: &str = "ada@example.org";
const PASSWORD: &str = "correct horse battery staple";

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let place = Supabase::start().await;
    place.create_user(EMAIL, PASSWORD).await;
    let database = place.database();
    let said = json!({
        "url": place.url(),
        "key": place.anon_key(),
        "email": EMAIL,
        "password": PASSWORD,
        "socket": database.socket(),
        "database": database.name(),
    });
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{said}")?;
    stdout.flush()?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()))
        .await
        .map_err(std::io::Error::other)??;
    Ok(())
}
