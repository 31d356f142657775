//! A Supabase project that is really there, if one is named. What these tests write into it are two machines and a few
//! documents of the account that is named; it should be one for tests.

use std::env;

use ccm_core::SyncBackend;
use ccm_core::id::{SystemId, TaskId};
use ccm_core::sync::SharedClaim;
use ccm_core::{ErrorKind, Noun};
use ccm_sync::supabase::{Secret, Server, SignIn, SignedOut, check_server, sign_in, sign_out};

use super::*;

/// The address, the key, and who signs in.
fn named() -> Option<[String; 4]> {
    let read = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let all = ["URL", "KEY", "EMAIL", "PASSWORD"].map(|name| read(format!("CCM_SUPABASE_{name}")));
    let [Some(url), Some(key), Some(email), Some(password)] = all else {
        eprintln!(
            "skipped: there is no project to try. Name one for tests with CCM_SUPABASE_URL, CCM_SUPABASE_KEY, \
             CCM_SUPABASE_EMAIL and CCM_SUPABASE_PASSWORD (docs/supabase.md)"
        );
        return None;
    };
    Some([url, key, email, password])
}

#[tokio::test]
async fn a_real_project_does_what_the_double_does() {
    let Some([url, key, email, password]) = named() else {
        return;
    };
    let project = Project::new(&url, &Secret::new(key)).unwrap();
    assert!(matches!(
        check_server(&project).await.unwrap(),
        Server::Ready { .. }
    ));
    let wrong = sign_in(&project, &email, &Secret::new("not the password")).await;
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::Unauthenticated);

    let folder = tempfile::tempdir().unwrap();
    let mut machines = Vec::new();
    for name in ["one", "two"] {
        let signed_in = match sign_in(&project, &email, &Secret::new(&*password))
            .await
            .unwrap()
        {
            SignIn::Done(signed_in) => signed_in,
            SignIn::SecondFactor(_) => panic!("the account for tests must have no second factor"),
        };
        let auth = AuthFile::without_keyring(folder.path().join(format!("{name}.json")));
        keep(&auth, signed_in).await;
        let sync = SupabaseSync::open(SupabaseOptions {
            auth: auth.clone(),
            ..SupabaseOptions::new(project.clone(), auth.path())
        });
        let me = Identity {
            system: SystemId::new(),
            incarnation: Uuid::now_v7(),
        };
        let sync = Arc::new(sync);
        let machine = Machine { me, auth, sync };
        machine.register().await;
        machines.push(machine);
    }
    let [first, second] = <[Machine; 2]>::try_from(machines).ok().unwrap();

    soon("the first poke", second.sync.poked()).await;
    let mine = operation(1);
    let id = mine.change.as_ref().unwrap().id;
    let batch = [mine, definition(&first)];
    let task = TaskId::from_uuid(batch[1].change.as_ref().unwrap().id);
    let rule = ConflictRule::LastWriteWins;
    let pushed = first.sync.push(first.me, &batch, rule).await.unwrap();
    assert_eq!(pushed.acknowledged, 2);
    assert_eq!(
        first.push(&batch).await.unwrap(),
        [Fate::Skipped, Fate::Skipped]
    );
    soon("a poke of the push", second.sync.poked()).await;
    let before = pushed.rows.iter().map(|row| row.seq).min().unwrap() - 1;
    let query = PullQuery::after(SyncCursor(before), 100);
    let pulled = second.sync.pull(second.me, &query).await.unwrap();
    let row = pulled.rows.iter().find(|row| row.id == id).unwrap();
    assert_eq!(row.body, batch[0].change.as_ref().unwrap().body);
    assert_eq!(row.origin, first.me.system);

    let claim = |claim| SharedClaim {
        id: claim,
        task,
        period: std::time::Duration::from_secs(60),
    };
    let lease = second
        .sync
        .claim(second.me, &claim(Uuid::now_v7()))
        .await
        .unwrap();
    let late = first.sync.claim(first.me, &claim(Uuid::now_v7())).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::WrongState(Noun::Task));
    second
        .sync
        .finish(second.me, task, lease.token)
        .await
        .unwrap();

    // Nothing stays but the rows of two machines that are shut out or gone.
    let gone: Vec<Operation> = batch
        .iter()
        .zip(3..)
        .map(|(it, number)| deletion(it, number))
        .collect();
    first.push(&gone).await.unwrap();
    first.sync.revoke(first.me, second.me.system).await.unwrap();
    let shut = second.pull().await.unwrap_err();
    assert_eq!(shut.kind(), ErrorKind::Revoked);
    let ended = sign_out(&project, &first.auth).await.unwrap();
    assert!(matches!(ended, SignedOut::Everywhere), "{ended:?}");
}

/// A task that any machine may run.
fn definition(machine: &Machine) -> Operation {
    let mut operation = operation(2);
    let change = operation.change.as_mut().unwrap();
    change.kind = Kind::Task;
    change.body = Some(json!({
        "project_id": Uuid::now_v7(), "repository": "example.org/ccm-test", "any_machine": true, "title": "A test",
        "text": "A test.", "priority": 0, "created_by": "test", "created_on": machine.me.system,
        "created_at": "2026-01-01T00:00:00Z",
    }));
    operation
}

fn deletion(of: &Operation, number: u64) -> Operation {
    let mut change = of.change.clone().unwrap();
    change.body = None;
    change.hlc.count += 1;
    Operation {
        number,
        uuid: Uuid::now_v7(),
        change: Some(change),
    }
}
