//! Tokens: renewed in time, once, and written before they are used.

use std::time::Duration;

use ccm_core::{ErrorKind, SyncBackend};
use ccm_sync::supabase::{Secret, SignIn, sign_in};
use serde_json::json;
use supabase_double::{Fault, Wrong};
use tokio::task::JoinSet;

use super::*;

const TOKEN: &str = "/auth/v1/token";

async fn renewals(place: &Place, before: u64) -> u64 {
    place.server.seen(TOKEN).await - before
}

#[tokio::test]
async fn a_token_that_ended_is_renewed_in_mid_batch_and_once() {
    let place = Place::new().await;
    let machine = place.machine().await;
    machine.push(&[operation(1)]).await.unwrap();
    let before = place.server.seen(TOKEN).await;
    place.server.expire_tokens().await;
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let (sync, me) = (Arc::clone(&machine.sync), machine.me);
        calls.spawn(async move { sync.devices(me).await.map(|devices| devices.len()) });
    }
    assert_eq!(machine.push(&[operation(2)]).await.unwrap(), [Fate::Taken]);
    for answer in calls.join_all().await {
        assert_eq!(answer.unwrap(), 1);
    }
    assert_eq!(renewals(&place, before).await, 1);
    // It is the kept one now: another daemon begins with it.
    let next = place.open(&machine.auth);
    next.devices(machine.me).await.unwrap();
    assert_eq!(renewals(&place, before).await, 1);
}

#[tokio::test]
async fn two_programs_with_one_sign_in_renew_it_once() {
    let place = Place::new().await;
    let machine = place.machine().await;
    let other = Arc::new(place.open(&machine.auth));
    other.devices(machine.me).await.unwrap();
    for _ in 0..5 {
        let before = place.server.seen(TOKEN).await;
        place.server.expire_tokens().await;
        let mut calls = JoinSet::new();
        for sync in [&machine.sync, &other, &machine.sync, &other] {
            let (sync, me) = (Arc::clone(sync), machine.me);
            calls.spawn(async move { sync.devices(me).await.map(|devices| devices.len()) });
        }
        for answer in calls.join_all().await {
            assert_eq!(answer.unwrap(), 1);
        }
        assert_eq!(renewals(&place, before).await, 1);
        // The old refresh tokens are too old to be used twice.
        place
            .server
            .age_refresh_tokens(Duration::from_secs(60))
            .await;
    }
}

#[tokio::test]
async fn a_renewal_that_fails_early_leaves_the_token_that_is_good() {
    let place = Place::new().await;
    place.server.token_lifetime(Duration::from_secs(60)).await;
    let machine = place.stranger().await;
    place
        .server
        .fault(Fault::of(TOKEN, Wrong::Status(503, None)))
        .await;
    let before = place.server.seen(TOKEN).await;
    machine.register().await;
    machine.pull().await.unwrap();
    assert_eq!(
        renewals(&place, before).await,
        1,
        "it is not tried at each call"
    );
    // Once it is refused, only a new one helps.
    place.server.expire_tokens().await;
    let error = machine.pull().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    place.server.heal().await;
    machine.pull().await.unwrap();
}

#[tokio::test]
async fn a_renewal_whose_answer_is_lost_is_made_again() {
    let place = Place::new().await;
    let machine = place.machine().await;
    // Another program does the same now, as far as the server knows.
    let conflict = Wrong::Status(409, Some(json!({ "code": "conflict" })));
    for wrong in [
        Wrong::AnswerLost,
        Wrong::AnswerCut,
        Wrong::RequestLost,
        conflict,
    ] {
        place.server.expire_tokens().await;
        place.server.fault(Fault::of(TOKEN, wrong).times(1)).await;
        let error = machine.pull().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        machine.pull().await.unwrap();
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_in_mid_renewal_loses_no_token() {
    let place = Place::new().await;
    let machine = place.machine().await;
    place.server.expire_tokens().await;
    let slow = Fault::of(TOKEN, Wrong::SlowAnswer(Duration::from_millis(300)));
    place.server.fault(slow.times(1)).await;
    let before = place.server.seen(TOKEN).await;
    {
        let call = machine.pull();
        tokio::pin!(call);
        tokio::select! {
            _ = &mut call => panic!("it was answered before its token was"),
            _ = place.server.wait_for(TOKEN, before + 1) => {}
        }
    }
    place
        .server
        .age_refresh_tokens(Duration::from_secs(60))
        .await;
    machine.pull().await.unwrap();
    assert_eq!(renewals(&place, before).await, 1);
}

#[tokio::test]
async fn a_sign_in_that_is_over_asks_for_another_and_goes_on_with_it() {
    let place = Place::new().await;
    let machine = place.machine().await;
    machine.push(&[operation(1)]).await.unwrap();
    place.server.sql("delete from auth.sessions").await;
    place.server.expire_tokens().await;
    let before = place.server.seen(TOKEN).await;
    for _ in 0..3 {
        let error = machine.push(&[operation(2)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(
            error.to_string().contains("ccm supabase connect"),
            "{error}"
        );
    }
    assert_eq!(
        renewals(&place, before).await,
        1,
        "the server is not asked again and again"
    );
    keep(&machine.auth, place.sign_in().await).await;
    // It registers by itself under the new sign-in.
    assert_eq!(machine.push(&[operation(2)]).await.unwrap(), [Fate::Taken]);
}

#[tokio::test]
async fn a_server_that_forgot_the_machine_is_no_new_sign_in() {
    let place = Place::new().await;
    let machine = place.machine().await;
    machine.push(&[operation(1)]).await.unwrap();
    place.server.sql("delete from public.ccm_devices").await;
    let error = machine.pull().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfStep);
    // Nor is it with another sign-in: what the server knew of the machine is gone.
    keep(&machine.auth, place.sign_in().await).await;
    let error = machine.pull().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfStep);
}

#[tokio::test]
async fn a_second_factor_on_another_machine_asks_for_its_code() {
    let place = Place::new().await;
    let machine = place.machine().await;
    let batch = [operation(1)];
    let totp = place.server.enrol_totp(EMAIL, PASSWORD).await;
    let error = machine.push(&batch).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(
        error.to_string().contains("ccm supabase connect"),
        "{error}"
    );
    // The server has ended that sign-in, so that it does not come back either.
    place.server.expire_tokens().await;
    let error = machine.push(&batch).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    let SignIn::SecondFactor(asked) = sign_in(&place.project(), EMAIL, &Secret::new(PASSWORD))
        .await
        .unwrap()
    else {
        panic!("no code was asked for");
    };
    let code = place.server.totp(&totp).await;
    keep(
        &machine.auth,
        asked.verify(&Secret::new(code)).await.unwrap(),
    )
    .await;
    assert_eq!(machine.push(&batch).await.unwrap(), [Fate::Taken]);
    // And what is renewed has it still.
    place.server.expire_tokens().await;
    machine.pull().await.unwrap();
}

#[tokio::test]
async fn a_disk_that_takes_no_token_is_waited_for() {
    let place = Place::new().await;
    let machine = place.machine().await;
    let folder = machine.auth.path().parent().unwrap();
    let kept = std::fs::read(machine.auth.path()).unwrap();
    // In the way of what is written first; it can't be removed as a file.
    let way = folder.join("auth.json.new");
    std::fs::create_dir(&way).unwrap();
    place.server.expire_tokens().await;
    let before = place.server.seen(TOKEN).await;
    for _ in 0..2 {
        let error = machine.pull().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
    assert_eq!(std::fs::read(machine.auth.path()).unwrap(), kept);
    std::fs::remove_dir(&way).unwrap();
    machine.pull().await.unwrap();
    assert_eq!(
        renewals(&place, before).await,
        1,
        "what was given is used in the end"
    );
    assert_ne!(std::fs::read(machine.auth.path()).unwrap(), kept);
}

#[tokio::test]
async fn a_file_that_nobody_can_read_asks_for_a_sign_in_and_is_left_alone() {
    let place = Place::new().await;
    let machine = place.machine().await;
    for bad in ["", "{}", "nonsense"] {
        std::fs::write(machine.auth.path(), bad).unwrap();
        let error = machine.pull().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(
            error.to_string().contains("ccm supabase connect"),
            "{error}"
        );
        assert_eq!(std::fs::read_to_string(machine.auth.path()).unwrap(), bad);
    }
    keep(&machine.auth, place.sign_in().await).await;
    machine.pull().await.unwrap();
}

#[tokio::test]
async fn an_answer_that_is_no_token_is_none() {
    let place = Place::new().await;
    let machine = place.machine().await;
    let bodies = [
        json!({}),
        json!({ "access_token": "x", "refresh_token": "y", "expires_in": 3600 }),
        json!({ "access_token": 1, "refresh_token": "y", "expires_in": "z" }),
    ];
    for body in bodies {
        place.server.expire_tokens().await;
        place
            .server
            .fault(Fault::of(TOKEN, Wrong::Status(200, Some(body))).times(1))
            .await;
        let error = machine.pull().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        machine.pull().await.unwrap();
    }
}
