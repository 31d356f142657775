//! Signing in and out, and looking at a server.

use ccm_core::{ErrorKind, Noun, SyncBackend};
use ccm_sync::supabase::{
    AuthFile, KeyStorage, Project, Secret, Server, SignIn, SignedOut, check_server, sign_in,
    sign_out,
};
use serde_json::json;
use supabase_double::{Fault, Wrong};

use super::*;

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

/// How many sign-ins the server has.
async fn sessions(place: &Place) -> i64 {
    let all = "select count(*) from auth.sessions";
    place.server.number(all).await
}

async fn refused(place: &Place, email: &str, password: &str) -> ccm_core::Error {
    match sign_in(&place.project(), email, &secret(password)).await {
        Err(error) => error,
        Ok(_) => panic!("somebody was let in"),
    }
}

#[tokio::test]
async fn who_is_let_in_and_who_is_told_what() {
    let place = Place::new().await;
    for (email, password) in [(EMAIL, "wrong"), ("you@example.org", PASSWORD)] {
        let error = refused(&place, email, password).await;
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(error.to_string().contains("password is wrong"), "{error}");
    }
    let answers = [
        (
            400,
            "email_not_confirmed",
            ErrorKind::Unauthenticated,
            "confirmed",
        ),
        (400, "user_banned", ErrorKind::Unauthenticated, "blocked"),
        (
            422,
            "email_provider_disabled",
            ErrorKind::Unauthenticated,
            "e-mail provider",
        ),
        (
            429,
            "over_request_rate_limit",
            ErrorKind::Unavailable,
            "busy",
        ),
        (
            500,
            "unexpected_failure",
            ErrorKind::Unavailable,
            "unexpected_failure",
        ),
    ];
    for (status, code, kind, words) in answers {
        let body = json!({ "code": code, "message": "never shown" });
        let fault = Fault::of("/auth/v1/token", Wrong::Status(status, Some(body)));
        place.server.fault(fault.times(1)).await;
        let error = refused(&place, EMAIL, PASSWORD).await;
        assert_eq!(error.kind(), kind, "{code}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.to_string().contains("never shown"), "{error}");
    }
    let signed_in = place.sign_in().await;
    assert_eq!(signed_in.email(), EMAIL);
}

#[tokio::test]
async fn a_sign_in_is_kept_and_ended_here_alone() {
    let place = Place::new().await;
    let machine = place.machine().await;
    let other = place.machine().await;
    let before = sessions(&place).await;
    let info = machine.auth.info().unwrap().unwrap();
    assert_eq!((info.email.as_str(), info.aal.as_str()), (EMAIL, "aal1"));
    assert_eq!((info.url, info.key), (place.server.url(), KeyStorage::File));
    let ended = sign_out(&place.project(), &machine.auth).await.unwrap();
    assert!(matches!(ended, SignedOut::Everywhere), "{ended:?}");
    assert_eq!(machine.auth.info().unwrap(), None);
    let kind = machine.pull().await.unwrap_err().kind();
    assert_eq!(kind, ErrorKind::Unauthenticated);
    // The other machine is still signed in, and can renew its token.
    place.server.expire_tokens().await;
    other.pull().await.unwrap();
    assert_eq!(sessions(&place).await, before - 1);
    let again = sign_out(&place.project(), &machine.auth).await.unwrap();
    assert!(matches!(again, SignedOut::Nobody), "{again:?}");
}

#[tokio::test]
async fn a_sign_out_without_a_server_forgets_all_the_same() {
    let place = Place::new().await;
    let machine = place.machine().await;
    place.server.stop_server().await;
    let ended = sign_out(&place.project(), &machine.auth).await.unwrap();
    let SignedOut::OnlyHere(error) = ended else {
        panic!("the server was told: {ended:?}");
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(machine.auth.info().unwrap(), None);
}

#[tokio::test]
async fn an_old_sign_in_is_renewed_to_be_ended() {
    let place = Place::new().await;
    let machine = place.machine().await;
    let before = sessions(&place).await;
    place.server.expire_tokens().await;
    let ended = sign_out(&place.project(), &machine.auth).await.unwrap();
    assert!(matches!(ended, SignedOut::Everywhere), "{ended:?}");
    assert_eq!(sessions(&place).await, before - 1);
}

#[tokio::test]
async fn a_second_factor_is_asked_for() {
    let place = Place::new().await;
    let totp = place.server.enrol_totp(EMAIL, PASSWORD).await;
    let asked = sign_in(&place.project(), EMAIL, &secret(PASSWORD))
        .await
        .unwrap();
    let SignIn::SecondFactor(asked) = asked else {
        panic!("no code was asked for");
    };
    let error = asked.verify(&secret("000000")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.to_string().contains("code"), "{error}");
    // As apps show it.
    let code = place.server.totp(&totp).await;
    let spaced = format!("{} {}", &code[..3], &code[3..]);
    let signed_in = asked.verify(&secret(&spaced)).await.unwrap();
    let auth = AuthFile::without_keyring(place.folder.path().join("auth.json"));
    keep(&auth, signed_in).await;
    assert_eq!(auth.info().unwrap().unwrap().aal, "aal2");
    let SignIn::SecondFactor(asked) = sign_in(&place.project(), EMAIL, &secret(PASSWORD))
        .await
        .unwrap()
    else {
        panic!("no code was asked for");
    };
    let before = sessions(&place).await;
    asked.give_up().await.unwrap();
    assert_eq!(sessions(&place).await, before - 1, "no half sign-in stays");
}

#[tokio::test]
async fn any_of_several_second_factors_will_do() {
    let place = Place::new().await;
    let totp = place.server.enrol_totp(EMAIL, PASSWORD).await;
    // Others, whose codes nobody has: one of the same kind, one of another, one that was never finished.
    place
        .server
        .sql(
            "insert into auth.mfa_factors (user_id, friendly_name, factor_type, secret, status, created_at)
            select user_id, n.name, n.type::auth.factor_type, 'JBSWY3DPEHPK3PXP', n.status::auth.factor_status,
                created_at - interval '1 day'
            from auth.mfa_factors, (values ('old', 'totp', 'verified'), ('sms', 'phone', 'verified'),
                ('new', 'totp', 'unverified')) as n (name, type, status)",
        )
        .await;
    let asked = sign_in(&place.project(), EMAIL, &secret(PASSWORD))
        .await
        .unwrap();
    let SignIn::SecondFactor(asked) = asked else {
        panic!("no code was asked for");
    };
    let code = place.server.totp(&totp).await;
    asked.verify(&secret(&code)).await.unwrap();
    place
        .server
        .sql("delete from auth.mfa_factors where factor_type = 'totp'")
        .await;
    let error = refused(&place, EMAIL, PASSWORD).await;
    assert!(error.to_string().contains("authenticator app"), "{error}");
}

#[tokio::test]
async fn a_machine_registers_before_its_sign_in_is_kept() {
    let place = Place::new().await;
    let machine = place.machine().await;
    let project = place.project();
    let signed_in = place.sign_in().await;
    let mut copy = machine.registration();
    copy.identity.incarnation = Uuid::now_v7();
    let error = signed_in.register(&project, &copy).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Taken(Noun::System));
    let (welcome, server) = signed_in
        .register(&project, &machine.registration())
        .await
        .unwrap();
    assert_eq!(welcome.last_number, 0);
    assert_eq!(
        server,
        Server::Ready {
            schema_version: Some(1)
        }
    );
    let devices = signed_in.devices(&project, machine.me).await.unwrap();
    assert_eq!(devices, machine_devices(&machine, &devices).await);
    let before = sessions(&place).await;
    signed_in.discard(&project).await.unwrap();
    assert_eq!(sessions(&place).await, before - 1);
}

/// What the machine itself is told, once it has registered again; it may have been seen later.
async fn machine_devices(
    machine: &Machine,
    like: &[ccm_core::sync::Device],
) -> Vec<ccm_core::sync::Device> {
    machine.register().await;
    let mut devices = machine.sync.devices(machine.me).await.unwrap();
    for (device, like) in devices.iter_mut().zip(like) {
        assert!(device.last_seen >= like.last_seen);
        device.last_seen = like.last_seen;
    }
    devices
}

#[tokio::test]
async fn a_server_is_looked_at() {
    let place = Place::new().await;
    let project = place.project();
    let ready = Server::Ready {
        schema_version: None,
    };
    assert_eq!(check_server(&project).await.unwrap(), ready);
    let legacy =
        Project::new(&place.server.url(), &secret(place.server.legacy_anon_key())).unwrap();
    assert_eq!(check_server(&legacy).await.unwrap(), ready);
    let wrong = Project::new(&place.server.url(), &secret("sb_publishable_wrong")).unwrap();
    let error = check_server(&wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.to_string().contains("key"), "{error}");
    for key in place.server.secret_keys() {
        let error = Project::new(&place.server.url(), &secret(key)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    place.server.stop_server().await;
    let error = check_server(&project).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_server_without_the_migration_is_told_apart() {
    let place = Place::new().await;
    let machine = place.machine().await;
    let batch = [operation(1)];
    place
        .server
        .sql(
            "do $$ declare f regprocedure; begin
                for f in select oid from pg_proc where pronamespace = 'public'::regnamespace and proname like 'ccm%'
                loop execute 'drop function ' || f; end loop;
            end $$; notify pgrst, 'reload schema'",
        )
        .await;
    place.server.restart_server().await;
    assert_eq!(
        check_server(&place.project()).await.unwrap(),
        Server::NotSetUp
    );
    let error = machine.push(&batch).await.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Unsupported,
        "nothing of the batch is to blame"
    );
    assert!(
        error.to_string().contains("ccm supabase migrations"),
        "{error}"
    );
}
