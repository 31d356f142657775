//! Pokes.

use std::time::Duration;

use ccm_core::SyncBackend;
use supabase_double::Pokes;

use super::*;

/// Waits until the server tells so many machines.
async fn joined(place: &Place, machines: &[&Machine]) {
    let all = async {
        loop {
            let told = place.server.realtime_channels().await;
            if told >= machines.len() as u64 && machines.iter().all(|it| it.sync.has_pokes()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("the pokes", all).await;
}

async fn poked(machine: &Machine) {
    soon("a poke", machine.sync.poked()).await;
}

/// Whether there is a poke that nobody has had.
async fn is_poked(machine: &Machine) -> bool {
    let patience = Duration::from_millis(500);
    tokio::time::timeout(patience, machine.sync.poked())
        .await
        .is_ok()
}

#[tokio::test]
async fn a_machine_is_told_when_it_has_joined_and_of_each_change() {
    let place = Place::new().await;
    let (first, second) = (place.machine().await, place.machine().await);
    joined(&place, &[&first, &second]).await;
    poked(&second).await;
    assert!(!is_poked(&second).await, "one poke is had once");
    for number in 1..4 {
        first.push(&[operation(number)]).await.unwrap();
        poked(&second).await;
        assert_eq!(second.pull().await.unwrap(), number as usize);
    }
}

#[tokio::test]
async fn pokes_that_are_lost_doubled_or_reordered_are_hints_only() {
    let place = Place::new().await;
    let (first, second) = (place.machine().await, place.machine().await);
    joined(&place, &[&first, &second]).await;
    poked(&second).await;
    place.server.pokes(Pokes::Dropped, 2).await;
    first.push(&[operation(1)]).await.unwrap();
    assert!(!is_poked(&second).await);
    assert_eq!(second.pull().await.unwrap(), 1, "it is there all the same");
    for (number, wrong) in [
        (2, Pokes::Doubled),
        (3, Pokes::Reordered),
        (5, Pokes::Late(Duration::from_millis(100))),
    ] {
        place.server.heal().await;
        place.server.pokes(wrong, 4).await;
        for number in number..number + if number == 3 { 2 } else { 1 } {
            first.push(&[operation(number)]).await.unwrap();
        }
        poked(&second).await;
    }
    assert_eq!(second.pull().await.unwrap(), 5);
    assert!(second.sync.has_pokes());
}

#[tokio::test]
async fn a_line_that_breaks_is_made_again_and_tells_what_was_missed() {
    let place = Place::new().await;
    let (first, second) = (place.machine().await, place.machine().await);
    joined(&place, &[&first, &second]).await;
    poked(&second).await;
    place.server.refuse_realtime(true).await;
    place.server.cut_realtime().await;
    let gone = async {
        while second.sync.has_pokes() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon("the end of the line", gone).await;
    first.push(&[operation(1)]).await.unwrap();
    assert!(!is_poked(&second).await);
    place.server.refuse_realtime(false).await;
    poked(&second).await;
    joined(&place, &[&first, &second]).await;
    assert_eq!(second.pull().await.unwrap(), 1);
}

#[tokio::test]
async fn a_line_is_there_only_once_the_server_really_tells() {
    let place = Place::new().await;
    place
        .server
        .settle_realtime_after(Duration::from_secs(3600))
        .await;
    let machine = place.machine().await;
    let asked = place.server.wait_for("/realtime/v1/websocket", 1).await;
    assert_eq!(asked, 1);
    assert!(!is_poked(&machine).await);
    assert!(!machine.sync.has_pokes());
}

#[tokio::test]
async fn a_new_token_is_given_to_the_line_that_is_there() {
    let place = Place::new().await;
    let (first, second) = (place.machine().await, place.machine().await);
    joined(&place, &[&first, &second]).await;
    poked(&second).await;
    let lines = place.server.seen("/realtime/v1/websocket").await;
    // Only REST finds that its token is over, and renews it.
    let early = supabase_double::Fault::of(
        "/rest/v1/rpc/ccm_pull",
        supabase_double::Wrong::Status(401, Some(serde_json::json!({ "code": "PGRST303" }))),
    );
    place.server.fault(early.times(1)).await;
    second.pull().await.unwrap();
    first.push(&[operation(1)]).await.unwrap();
    poked(&second).await;
    assert_eq!(
        place.server.seen("/realtime/v1/websocket").await,
        lines,
        "the same line"
    );
}

#[tokio::test]
async fn tokens_that_end_on_the_line_are_renewed() {
    let place = Place::new().await;
    let (first, second) = (place.machine().await, place.machine().await);
    joined(&place, &[&first, &second]).await;
    poked(&second).await;
    place.server.expire_tokens().await;
    first.push(&[operation(1)]).await.unwrap();
    // Its line was ended by the server, with the token; it comes back once it has another one.
    second.pull().await.unwrap();
    poked(&second).await;
    joined(&place, &[&first, &second]).await;
}

#[tokio::test]
async fn without_a_backend_there_is_no_line() {
    let place = Place::new().await;
    let machine = place.machine().await;
    joined(&place, &[&machine]).await;
    drop(machine);
    let gone = async {
        while place.server.realtime_channels().await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("the end of the line", gone).await;
}
