//! How sharing with other machines goes.

use ccm_core::Result;
use ccm_core::api::SyncCondition;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::table::{Kind, Table};
use crate::app::App;
use crate::sharing;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Condition {
    condition: &'static str,
}

#[derive(Debug)]
pub(super) struct Sync {
    condition: Family<Condition, Gauge>,
    pending: Gauge,
    unsettled: Gauge,
    set_aside: Gauge,
    conflicts: Gauge,
    failed_tries: Gauge,
    last_contact: Gauge,
    requests: Counter,
    failures: Counter,
    sent: Counter,
    received: Counter,
}

impl Sync {
    pub(super) fn new(table: &mut Table) -> Self {
        let mut gauge = |name, help| table.add(name, Kind::Gauge, &[], help, Gauge::default());
        let pending = gauge(
            "ccm_sync_pending",
            "Changes of this machine that wait to be sent",
        );
        let unsettled = gauge(
            "ccm_sync_unsettled",
            "Documents of other machines that wait to be dealt with",
        );
        let set_aside = gauge(
            "ccm_sync_set_aside",
            "Changes of this machine that can never be taken",
        );
        let conflicts = gauge("ccm_sync_conflicts", "Conflicts that wait for a decision");
        let failed_tries = gauge("ccm_sync_failed_tries", "Tries in a row that went wrong");
        let last_contact = gauge(
            "ccm_sync_last_contact_timestamp_seconds",
            "When the server answered last, in seconds since 1970 UTC; 0 for never",
        );
        let mut counter =
            |name, help| table.add(name, Kind::Counter, &[], help, Counter::default());
        let requests = counter("ccm_sync_requests", "Requests to the server");
        let failures = counter(
            "ccm_sync_failures",
            "Requests to the server that went wrong, apart from what it says of single tasks",
        );
        let sent = counter(
            "ccm_sync_sent",
            "Changes of this machine that the server took",
        );
        let received = counter(
            "ccm_sync_received",
            "Documents of other machines that came from the server",
        );
        Self {
            condition: table.add(
                "ccm_sync_condition",
                Kind::Gauge,
                &["condition"],
                "1 for how sharing with other machines is, 0 for what it is not",
                Family::default(),
            ),
            pending,
            unsettled,
            set_aside,
            conflicts,
            failed_tries,
            last_contact,
            requests,
            failures,
            sent,
            received,
        }
    }

    pub(super) async fn look(&self, app: &App) -> Result<()> {
        let state = sharing::state(app.engine(), app.sharing(), &app.config_in_force()).await?;
        for condition in SyncCondition::ALL {
            let label = Condition {
                condition: condition.as_str(),
            };
            let is_so = i64::from(*condition == state.condition);
            self.condition.get_or_create(&label).set(is_so);
        }
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.pending.set(number(state.pending));
        self.unsettled.set(number(state.unsettled));
        self.set_aside.set(number(state.set_aside));
        self.conflicts.set(number(state.conflicts));
        self.failed_tries.set(i64::from(state.failures));
        let last = state.last_contact.map(|at| at.as_micros() / 1_000_000);
        self.last_contact.set(last.unwrap_or(0));
        let traffic = app.sharing().traffic();
        for (counter, total) in [
            (&self.requests, traffic.requests()),
            (&self.failures, traffic.failures()),
            (&self.sent, traffic.sent()),
            (&self.received, traffic.received()),
        ] {
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        Ok(())
    }
}
