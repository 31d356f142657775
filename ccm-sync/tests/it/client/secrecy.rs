//! Nothing that is secret is shown or written anywhere.

use std::io;
use std::sync::{Arc, Mutex};

use ccm_core::SyncBackend;
use ccm_sync::supabase::{Secret, sign_in, sign_out};
use supabase_double::{Fault, Wrong};
use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn nothing_secret_is_logged_shown_or_kept_in_the_open() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::level_filters::LevelFilter::TRACE)
        .with_writer(log.clone())
        .finish();
    // One thread, so that all of it is seen.
    let _guard = tracing::subscriber::set_default(subscriber);
    let place = Place::new().await;
    let mut shown = String::new();
    let mut show =
        |thing: &dyn std::fmt::Debug| shown.push_str(&format!("{thing:?}\n{thing:#?}\n"));

    show(&sign_in(&place.project(), EMAIL, &Secret::new("hunter2")).await);
    let machine = place.machine().await;
    show(&place.project());
    show(&place.sign_in().await);
    show(&(&machine.auth, &machine.sync, machine.auth.info()));
    let mut secrets = tokens(&place).await;
    place.server.expire_tokens().await;
    machine.push(&[operation(1)]).await.unwrap();
    soon("a poke", machine.sync.poked()).await;
    secrets.extend(tokens(&place).await);
    for wrong in [
        Wrong::AnswerLost,
        Wrong::Status(400, None),
        Wrong::Status(500, None),
    ] {
        for path in ["/rest/v1/rpc/ccm_pull", "/auth/v1/token"] {
            place
                .server
                .fault(Fault::of(path, wrong.clone()).times(1))
                .await;
        }
        show(&machine.pull().await);
        show(&sign_in(&place.project(), EMAIL, &Secret::new(PASSWORD)).await);
        place.server.heal().await;
    }
    let totp = place.server.enrol_totp(EMAIL, PASSWORD).await;
    show(&machine.pull().await);
    let asked = sign_in(&place.project(), EMAIL, &Secret::new(PASSWORD)).await;
    show(&asked);
    secrets.extend(tokens(&place).await);
    show(&sign_out(&place.project(), &machine.auth).await);

    secrets.extend([PASSWORD.to_owned(), "hunter2".to_owned(), totp]);
    assert!(secrets.len() > 6, "{}", secrets.len());
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    // What the places do themselves has their own client, which is not judged here.
    let ours = |line: &&str| !line.contains("reqwest") && !line.contains("postgres");
    let logged: String = logged.lines().filter(ours).collect();
    for secret in &secrets {
        assert!(!shown.contains(secret.as_str()), "shown: {secret}");
        assert!(!logged.contains(secret.as_str()), "logged: {secret}");
    }
    for entry in walk(place.folder.path()) {
        let bytes = std::fs::read(&entry).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{}", entry.display());
        }
    }
}

/// The refresh tokens that the server has.
async fn tokens(place: &Place) -> Vec<String> {
    let rows = place.server.admin().await;
    let rows = rows
        .query("select token from auth.refresh_tokens", &[])
        .await;
    rows.unwrap().iter().map(|row| row.get(0)).collect()
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(walk(&path)),
            false => files.push(path),
        }
    }
    files
}
