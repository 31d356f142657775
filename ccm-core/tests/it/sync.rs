use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::id::SystemId;
use ccm_core::sync::{Change, SharedClaim, SyncCursor};
use ccm_core::testing::conformance::sync::SyncPlace;
use ccm_core::testing::memory::{FakeClock, MemoryServer, SyncFault};
use ccm_core::{ErrorKind, SyncBackend};

struct Place {
    clock: FakeClock,
    server: MemoryServer,
}

#[async_trait]
impl SyncPlace for Place {
    async fn machine(&self) -> (SystemId, Arc<dyn SyncBackend>) {
        let system = SystemId::new();
        (system, Arc::new(self.server.connect(system)))
    }

    async fn pass(&self, period: Duration) {
        self.clock.advance(period);
    }
}

async fn place() -> Place {
    let clock = FakeClock::default();
    let server = MemoryServer::new(Arc::new(clock.clone()));
    Place { clock, server }
}

mod suite {
    ccm_core::sync_conformance!(super::place);

    #[test]
    fn no_case_is_forgotten() {
        let sources = [include_str!("../../src/testing/conformance/sync.rs")];
        assert_eq!(crate::cases(&sources), SYNC_CASES);
    }
}

fn change(origin: SystemId, number: u64) -> Change {
    let uuid = *ccm_core::id::TaskId::new().as_uuid();
    Change {
        origin,
        number,
        uuid,
        kind: "task".to_owned(),
        id: uuid,
        body: None,
        hlc: (1, 0),
    }
}

#[tokio::test]
async fn faults_lose_the_request_or_the_answer() {
    let place = place().await;
    let system = SystemId::new();
    let machine = place.server.connect(system);
    let batch = [change(system, 1)];
    let held = async || {
        machine
            .pull(SyncCursor::default(), 9)
            .await
            .unwrap()
            .changes
            .len()
    };
    machine.fail_next(SyncFault::RequestLost);
    let error = machine.push(&batch).await.unwrap_err();
    assert_eq!((error.kind(), held().await), (ErrorKind::Unavailable, 0));
    machine.fail_next(SyncFault::AnswerLost);
    let error = machine.push(&batch).await.unwrap_err();
    assert_eq!((error.kind(), held().await), (ErrorKind::Unavailable, 1));
    assert_eq!(machine.push(&batch).await.unwrap().acknowledged, 1);
    machine.set_up(false);
    let claim = SharedClaim {
        id: batch[0].uuid,
        task: ccm_core::id::TaskId::new(),
        system,
        period: Duration::from_secs(1),
    };
    assert_eq!(
        machine.claim(&claim).await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    machine.set_up(true);
    machine.claim(&claim).await.unwrap();
}

#[tokio::test]
async fn pokes_come_over_a_good_line_only() {
    let place = place().await;
    let (one, two) = (SystemId::new(), SystemId::new());
    let (first, second) = (
        place.server.connect(one),
        Arc::new(place.server.connect(two)),
    );
    second.set_pokes(false);
    let poked = {
        let second = Arc::clone(&second);
        tokio::spawn(async move { second.poked().await })
    };
    first.push(&[change(one, 1)]).await.unwrap();
    tokio::task::yield_now().await;
    assert!(!poked.is_finished());
    second.set_pokes(true);
    tokio::time::timeout(Duration::from_secs(60), poked)
        .await
        .expect("a poke")
        .unwrap();
}
