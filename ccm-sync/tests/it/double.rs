//! What stands in for a Supabase project does what its handle says.

use std::time::Duration;

use serde_json::json;
use supabase_double::{Fault, Supabase, Wrong};

async fn rpc(place: &Supabase, function: &str) -> reqwest::Result<reqwest::Response> {
    let url = format!("{}/rest/v1/rpc/{function}", place.url());
    let request = reqwest::Client::new()
        .post(url)
        .header("apikey", place.anon_key());
    request.json(&json!({})).send().await
}

#[tokio::test]
async fn faults_happen_as_often_as_they_are_to() {
    let place = Supabase::start().await;
    let path = "/rest/v1/rpc/ccm_devices";
    place
        .fault(Fault::of(path, Wrong::Status(503, None)).times(1))
        .await;
    place
        .fault(Fault::of(path, Wrong::RequestLost).times(1))
        .await;
    place
        .fault(Fault::of(path, Wrong::AnswerLost).times(1))
        .await;
    place
        .fault(Fault::of(path, Wrong::AnswerCut).times(1))
        .await;
    assert_eq!(rpc(&place, "ccm_devices").await.unwrap().status(), 503);
    assert!(rpc(&place, "ccm_devices").await.is_err());
    assert!(rpc(&place, "ccm_devices").await.is_err());
    assert!(
        rpc(&place, "ccm_devices")
            .await
            .unwrap()
            .text()
            .await
            .is_err()
    );
    assert_eq!(place.faults_left().await, 0);
    assert_eq!(
        rpc(&place, "ccm_devices").await.unwrap().status(),
        404,
        "no such arguments"
    );
    assert_eq!(place.wait_for(path, 5).await, 5);
    place
        .fault(Fault::of("/rest/v1/", Wrong::RequestLost))
        .await;
    assert!(rpc(&place, "ccm_devices").await.is_err());
    assert!(rpc(&place, "ccm_claim").await.is_err());
    place.heal().await;
    assert!(rpc(&place, "ccm_claim").await.is_ok());
}

#[tokio::test]
async fn a_server_comes_back_and_can_be_put_back() {
    let place = Supabase::start().await;
    let user = place.create_user("one@example.com", "a password").await;
    let before = place.snapshot().await;
    place.create_user("two@example.com", "a password").await;
    let url = place.url();
    place.stop_server().await;
    assert!(rpc(&place, "ccm_devices").await.is_err());
    place.start_server().await;
    assert_eq!(place.url(), url);
    assert_eq!(place.number("select count(*) from auth.users").await, 2);
    place.restore(&before).await;
    assert_eq!(place.number("select count(*) from auth.users").await, 1);
    assert_eq!(
        place
            .number(&format!(
                "select count(*) from auth.users where id = '{user}'"
            ))
            .await,
        1
    );
    let secret = place.enrol_totp("one@example.com", "a password").await;
    assert_eq!(place.totp(&secret).await.len(), 6);
    assert_eq!(
        place
            .number("select count(*) from auth.mfa_factors where status = 'verified'")
            .await,
        1
    );
    assert_eq!(
        place.number("select count(*) from auth.sessions").await,
        0,
        "those without the second factor are ended"
    );
}

#[tokio::test]
async fn two_places_know_nothing_of_each_other() {
    let (one, two) = tokio::join!(Supabase::start(), Supabase::start());
    assert_ne!(one.url(), two.url());
    one.create_user("same@example.com", "a password").await;
    two.create_user("same@example.com", "another password")
        .await;
    one.token_lifetime(Duration::from_secs(5)).await;
    assert_eq!(two.number("select count(*) from auth.users").await, 1);
}
