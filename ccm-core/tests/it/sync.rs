use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::id::{SystemId, TaskId};
use ccm_core::sync::{
    Change, ConflictRule, Hlc, Identity, Kind, Operation, PullQuery, SharedClaim, SyncCursor,
};
use ccm_core::testing::conformance::sync::{SyncPlace, registration};
use ccm_core::testing::memory::{FakeClock, MemoryBackup, MemoryServer, MemorySync, SyncFault};
use ccm_core::{ErrorKind, Noun, SyncBackend};

struct Place {
    clock: FakeClock,
    server: MemoryServer,
    copy: Mutex<Option<MemoryBackup>>,
}

impl Place {
    async fn connect(&self) -> (Identity, MemorySync) {
        let me = Identity {
            system: SystemId::new(),
            incarnation: *TaskId::new().as_uuid(),
        };
        let line = self.server.connect();
        line.register(&registration(me)).await.unwrap();
        (me, line)
    }
}

#[async_trait]
impl SyncPlace for Place {
    async fn machine(&self) -> (Identity, Arc<dyn SyncBackend>) {
        let (me, line) = self.connect().await;
        (me, Arc::new(line))
    }

    async fn pass(&self, period: Duration) {
        self.clock.advance(period);
    }

    async fn back_up(&self) {
        *self.copy.lock().unwrap() = Some(self.server.back_up());
    }

    async fn restore(&self) {
        let copy = self.copy.lock().unwrap();
        self.server.restore(copy.as_ref().expect("a copy"));
    }
}

async fn place() -> Place {
    let clock = FakeClock::default();
    let server = MemoryServer::new(Arc::new(clock.clone()));
    Place {
        clock,
        server,
        copy: Mutex::default(),
    }
}

mod suite {
    ccm_core::sync_conformance!(super::place);

    #[test]
    fn no_case_is_forgotten() {
        let sources = [
            include_str!("../../src/testing/conformance/sync/changes.rs"),
            include_str!("../../src/testing/conformance/sync/claims.rs"),
            include_str!("../../src/testing/conformance/sync/conflicts.rs"),
            include_str!("../../src/testing/conformance/sync/machines.rs"),
            include_str!("../../src/testing/conformance/sync/owners.rs"),
        ];
        assert_eq!(crate::cases(&sources), SYNC_CASES);
    }
}

const RULE: ConflictRule = ConflictRule::LastWriteWins;

fn operation(number: u64) -> Operation {
    let uuid = *TaskId::new().as_uuid();
    let change = Change {
        kind: Kind::Other("later".to_owned()),
        id: uuid,
        body: None,
        hlc: Hlc::default(),
        base: None,
        base_body: None,
        epoch: None,
    };
    Operation {
        number,
        uuid,
        change: Some(change),
    }
}

#[tokio::test]
async fn faults_lose_the_request_or_the_answer() {
    let place = place().await;
    let (me, machine) = place.connect().await;
    let batch = [operation(1)];
    let query = PullQuery::after(SyncCursor::default(), 9);
    let held = async || machine.pull(me, &query).await.unwrap().rows.len();
    machine.fail_next(SyncFault::RequestLost);
    let error = machine.push(me, &batch, RULE).await.unwrap_err();
    assert_eq!((error.kind(), held().await), (ErrorKind::Unavailable, 0));
    machine.fail_next(SyncFault::AnswerLost);
    let error = machine.push(me, &batch, RULE).await.unwrap_err();
    assert_eq!((error.kind(), held().await), (ErrorKind::Unavailable, 1));
    let pushed = machine.push(me, &batch, RULE).await.unwrap();
    assert_eq!(pushed.acknowledged, 1);
    machine.set_up(false);
    let claim = SharedClaim {
        id: batch[0].uuid,
        task: TaskId::new(),
        period: Duration::from_secs(1),
    };
    let error = machine.claim(me, &claim).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!machine.has_pokes());
    machine.set_up(true);
    let error = machine.claim(me, &claim).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound(Noun::Task));
}

#[tokio::test]
async fn pokes_come_over_a_good_line_only() {
    let place = place().await;
    let (me, first) = place.connect().await;
    let (_, second) = place.connect().await;
    let second = Arc::new(second);
    second.set_pokes(false);
    let poked = {
        let second = Arc::clone(&second);
        tokio::spawn(async move { second.poked().await })
    };
    first.push(me, &[operation(1)], RULE).await.unwrap();
    tokio::task::yield_now().await;
    assert!(!poked.is_finished());
    second.set_pokes(true);
    tokio::time::timeout(Duration::from_secs(60), poked)
        .await
        .expect("a poke")
        .unwrap();
}
