//! The client against the double of a Supabase project, with a real PostgreSQL and the real migration.

mod accounts;
mod calls;
mod real;
mod secrecy;
mod suite;
mod tokens;
mod told;

use std::sync::Arc;

use ccm_core::SyncBackend;
use ccm_core::id::SystemId;
use ccm_core::sync::{
    Change, ConflictRule, Fate, Hlc, Identity, Kind, Operation, PullQuery, Registration, SyncCursor,
};
use ccm_sync::supabase::{
    AuthFile, Project, Secret, SignIn, SignedIn, SupabaseOptions, SupabaseSync, sign_in,
};
use serde_json::json;
use supabase_double::Supabase;
use tempfile::TempDir;
use uuid::Uuid;

const EMAIL: &str = "me@example.org";
const PASSWORD: &str = "correct horse battery";

/// A project with one user, and a folder for what machines keep.
struct Place {
    server: Supabase,
    folder: TempDir,
}

/// A machine that has signed in.
struct Machine {
    me: Identity,
    auth: AuthFile,
    sync: Arc<SupabaseSync>,
}

impl Place {
    async fn new() -> Self {
        let server = Supabase::start().await;
        server.create_user(EMAIL, PASSWORD).await;
        Self {
            server,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn project(&self) -> Project {
        Project::new(&self.server.url(), &Secret::new(self.server.anon_key())).unwrap()
    }

    async fn sign_in(&self) -> SignedIn {
        match sign_in(&self.project(), EMAIL, &Secret::new(PASSWORD)).await {
            Ok(SignIn::Done(signed_in)) => signed_in,
            other => panic!("not signed in: {other:?}"),
        }
    }

    /// A sign-in that is kept, of a machine that has not registered.
    async fn stranger(&self) -> Machine {
        let me = Identity {
            system: SystemId::new(),
            incarnation: Uuid::now_v7(),
        };
        let folder = self.folder.path().join(me.system.to_string());
        std::fs::create_dir(&folder).unwrap();
        let auth = AuthFile::without_keyring(folder.join("auth.json"));
        keep(&auth, self.sign_in().await).await;
        let sync = Arc::new(self.open(&auth));
        Machine { me, auth, sync }
    }

    /// Another daemon's backend over a kept sign-in.
    fn open(&self, auth: &AuthFile) -> SupabaseSync {
        SupabaseSync::open(SupabaseOptions {
            auth: auth.clone(),
            ..SupabaseOptions::new(self.project(), auth.path())
        })
    }

    async fn machine(&self) -> Machine {
        let machine = self.stranger().await;
        machine.register().await;
        machine
    }
}

async fn keep(auth: &AuthFile, signed_in: SignedIn) {
    let auth = auth.clone();
    let kept = tokio::task::spawn_blocking(move || auth.save(&signed_in));
    kept.await.unwrap().unwrap();
}

impl Machine {
    fn registration(&self) -> Registration {
        Registration {
            identity: self.me,
            previous: None,
            hostname: "box".to_owned(),
        }
    }

    async fn register(&self) {
        self.sync.register(&self.registration()).await.unwrap();
    }

    async fn push(&self, batch: &[Operation]) -> ccm_core::Result<Vec<Fate>> {
        let rule = ConflictRule::LastWriteWins;
        let pushed = self.sync.push(self.me, batch, rule).await?;
        Ok(pushed.results.into_iter().map(|it| it.fate).collect())
    }

    async fn pull(&self) -> ccm_core::Result<usize> {
        let query = PullQuery::after(SyncCursor::default(), 100);
        let pulled = self.sync.pull(self.me, &query).await?;
        Ok(pulled.rows.len())
    }
}

fn operation(number: u64) -> Operation {
    let change = Change {
        kind: Kind::Other("later".to_owned()),
        id: Uuid::now_v7(),
        body: Some(json!({ "title": "größe" })),
        hlc: Hlc { time: 1, count: 0 },
        base: None,
        base_body: None,
        epoch: None,
    };
    Operation {
        number,
        uuid: Uuid::now_v7(),
        change: Some(change),
    }
}

/// Waits for something that must come soon.
async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    let patience = std::time::Duration::from_secs(60);
    match tokio::time::timeout(patience, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what} did not come within a minute"),
    }
}
