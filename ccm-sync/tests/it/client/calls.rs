//! Calls over lines and to servers that are not as they should be.

use std::time::{Duration, Instant};

use ccm_core::{ErrorKind, SyncBackend};
use serde_json::json;
use supabase_double::{Fault, Wrong};
use tokio::task::JoinSet;

use super::*;

const PUSH: &str = "/rest/v1/rpc/ccm_push";

#[tokio::test]
async fn what_was_taken_though_the_answer_was_lost_is_skipped() {
    let place = Place::new().await;
    let machine = place.machine().await;
    for (number, wrong) in [(1, Wrong::AnswerLost), (2, Wrong::AnswerCut)] {
        place.server.fault(Fault::of(PUSH, wrong).times(1)).await;
        let batch = [operation(number)];
        let error = machine.push(&batch).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(machine.push(&batch).await.unwrap(), [Fate::Skipped]);
    }
    let batch = [operation(3)];
    place
        .server
        .fault(Fault::of(PUSH, Wrong::RequestLost).times(1))
        .await;
    let error = machine.push(&batch).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(machine.push(&batch).await.unwrap(), [Fate::Taken]);
    assert_eq!(machine.pull().await.unwrap(), 3);
}

#[tokio::test]
async fn what_passes_is_told_from_what_does_not() {
    let place = Place::new().await;
    let machine = place.machine().await;
    use ErrorKind as K;
    let coded =
        |code: &str| Some(json!({ "code": code, "message": "never shown", "details": null }));
    let answers = [
        (408, None, K::Unavailable),
        (
            429,
            Some(json!({ "message": "never shown" })),
            K::Unavailable,
        ),
        (500, coded("XX000"), K::Unavailable),
        (502, None, K::Unavailable),
        (503, coded("PGRST001"), K::Unavailable),
        (504, None, K::Unavailable),
        (540, None, K::Unavailable),
        (404, None, K::Unavailable),
        (302, None, K::Unavailable),
        (500, coded("40001"), K::Unavailable),
        (500, coded("57014"), K::Unavailable),
        (413, None, K::TooLarge),
        (400, coded("22P02"), K::Invalid),
        (200, Some(json!("never shown")), K::Unavailable),
        (
            200,
            Some(json!({ "acknowledged": "never shown" })),
            K::Unavailable,
        ),
    ];
    let batch = [operation(1)];
    for (status, body, kind) in answers {
        let fault = Fault::of(PUSH, Wrong::Status(status, body.clone()));
        place.server.fault(fault.times(1)).await;
        let error = machine.push(&batch).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status} {body:?}");
        let told = ccm_core::chain(&error);
        assert!(!told.contains("never shown"), "{told}");
    }
    assert_eq!(machine.push(&batch).await.unwrap(), [Fate::Taken]);
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_and_comes_back() {
    let place = Place::new().await;
    let machine = place.machine().await;
    place.server.stop_server().await;
    let error = machine.pull().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    place.server.start_server().await;
    assert_eq!(machine.pull().await.unwrap(), 0);
}

#[tokio::test]
async fn a_server_that_is_too_new_says_so_and_takes_nothing() {
    let place = Place::new().await;
    let machine = place.machine().await;
    let batch = [operation(1)];
    place
        .server
        .sql("update public.ccm_meta set min_protocol = 9")
        .await;
    for error in [
        machine.push(&batch).await.unwrap_err(),
        machine.pull().await.unwrap_err(),
        machine
            .sync
            .register(&machine.registration())
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::TooOld);
        assert!(error.to_string().contains("upgrade"), "{error}");
    }
    place
        .server
        .sql("update public.ccm_meta set min_protocol = 1")
        .await;
    assert_eq!(machine.push(&batch).await.unwrap(), [Fate::Taken]);
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_allowed() {
    let place = Place::new().await;
    let machine = place.machine().await;
    let mut options = SupabaseOptions::new(place.project(), machine.auth.path());
    options.auth = machine.auth.clone();
    options.connections = 2;
    options.realtime = false;
    let sync = Arc::new(SupabaseSync::open(options));
    let each = Duration::from_millis(150);
    let slow = Fault::of("/rest/v1/rpc/ccm_devices", Wrong::Delay(each));
    place.server.fault(slow).await;
    let began = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..6 {
        let (sync, me) = (Arc::clone(&sync), machine.me);
        calls.spawn(async move { sync.devices(me).await.unwrap().len() });
    }
    assert_eq!(calls.join_all().await, [1; 6]);
    assert!(began.elapsed() >= each * 3, "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_largest_batch_goes_through() {
    let place = Place::new().await;
    let machine = place.machine().await;
    let text = "größe ".repeat(600);
    let batch: Vec<Operation> = (1..=500)
        .map(|number| {
            let mut operation = operation(number);
            let change = operation.change.as_mut().unwrap();
            change.body = Some(json!({ "text": text }));
            operation
        })
        .collect();
    let fates = machine.push(&batch).await.unwrap();
    assert!(fates.iter().all(|fate| *fate == Fate::Taken));
    let (mut seen, mut cursor) = (0, SyncCursor::default());
    loop {
        let query = PullQuery::after(cursor, 500);
        let page = machine.sync.pull(machine.me, &query).await.unwrap();
        seen += page.rows.len();
        cursor = page.cursor;
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, 500);
}
