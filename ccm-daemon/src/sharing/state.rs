//! How sharing goes, in words.

use std::sync::Arc;

use ccm_core::api::{SyncCondition, SyncState};
use ccm_core::engine::Engine;
use ccm_core::sync::{ConflictRule, SyncPhase, SyncStatus};
use ccm_core::{ErrorKind, Result};

use super::Sharing;
use crate::machine::config::{Config, ConflictResolution};
use crate::machine::supabase::{self, Account};

/// How far this machine's clock may be from the server's before somebody should know.
const CLOCK_OFF_MS: u64 = 30_000;

/// How the queue is shared by this engine, with this config.
///
/// # Errors
/// Those of the store.
pub(crate) async fn state(
    engine: &Engine,
    sharing: &Arc<Sharing>,
    config: &Config,
) -> Result<SyncState> {
    let status = engine.sync_status().await?;
    let account = account(sharing, config).await;
    let trouble = sharing.traffic().trouble();
    Ok(told(&status, config, &account, trouble))
}

/// Who is signed in; why that can't be read.
async fn account(sharing: &Arc<Sharing>, config: &Config) -> Result<Option<Account>, String> {
    let (sharing, config) = (Arc::clone(sharing), config.clone());
    let read = tokio::task::spawn_blocking(move || sharing.account(&config)).await;
    match read {
        Ok(account) => account.map_err(|error| ccm_core::chain(&error)),
        Err(_) => Err("the sign-in could not be read".to_owned()),
    }
}

fn told(
    status: &SyncStatus,
    config: &Config,
    account: &Result<Option<Account>, String>,
    trouble: Option<ErrorKind>,
) -> SyncState {
    let Said {
        condition,
        detail,
        to_do,
    } = said(status, config, account, trouble);
    let (last_error, next_try_at) = match &status.phase {
        SyncPhase::Waiting { until, error } => (Some(error.clone()), Some(*until)),
        SyncPhase::Stopped { why, .. } => (Some(why.clone()), None),
        _ => (None, None),
    };
    let who = account.as_ref().ok().and_then(Option::as_ref);
    let pending = status.pending;
    SyncState {
        enabled: config.shares(),
        backend: match config.supabase.enabled {
            true => "supabase".to_owned(),
            false => "none".to_owned(),
        },
        connected: condition == SyncCondition::Ready,
        pending: pending.marks + pending.outbox,
        conflicts: status.open_conflicts,
        detail,
        condition,
        to_do: to_do.map(str::to_owned).or_else(|| further(status)),
        server: config.supabase.url.clone(),
        account: who.map(|account| account.email.clone()),
        key_storage: who.map(|account| account.key_storage),
        signed_in_at: who.and_then(|account| account.signed_in_at),
        last_contact: status.last_contact,
        last_error: last_error.filter(|_| condition != SyncCondition::Off),
        failures: status.failures,
        next_try_at: next_try_at.filter(|_| condition != SyncCondition::Off),
        live: status.pokes,
        interval_s: config.sync.interval.as_secs(),
        rule: rule(config.sync.conflict_resolution),
        unsettled: pending.unsettled,
        set_aside: pending.set_aside,
    }
}

/// The rule of the config, as machines and server call it.
pub(crate) const fn rule(resolution: ConflictResolution) -> ConflictRule {
    match resolution {
        ConflictResolution::LastWriteWins => ConflictRule::LastWriteWins,
        ConflictResolution::Manual => ConflictRule::Manual,
    }
}

struct Said {
    condition: SyncCondition,
    detail: String,
    to_do: Option<&'static str>,
}

const CONNECT: &str = "name the Supabase project and sign in with `ccm supabase connect`";
const SIGN_IN: &str = "sign in again with `ccm supabase connect`; what waits to be sent is kept";

fn said(
    status: &SyncStatus,
    config: &Config,
    account: &Result<Option<Account>, String>,
    trouble: Option<ErrorKind>,
) -> Said {
    let say = |condition, detail: &str, to_do| Said {
        condition,
        detail: detail.to_owned(),
        to_do,
    };
    if let Some(off) = off(config) {
        return off;
    }
    if let Err(error) = supabase::project(config) {
        return say(SyncCondition::SignedOut, &error.to_string(), Some(CONNECT));
    }
    match account {
        Err(why) => return say(SyncCondition::SignedOut, why, Some(SIGN_IN)),
        Ok(None) => {
            return say(
                SyncCondition::SignedOut,
                "nobody is signed in, so nothing is exchanged",
                Some(SIGN_IN),
            );
        }
        Ok(Some(_)) => {}
    }
    match &status.phase {
        SyncPhase::Off | SyncPhase::Connecting => say(
            SyncCondition::Starting,
            "the server was not heard of yet",
            None,
        ),
        SyncPhase::UpToDate => say(SyncCondition::Ready, "everything is exchanged", None),
        SyncPhase::Sending => Said {
            condition: SyncCondition::Ready,
            detail: on_the_way(status),
            to_do: None,
        },
        SyncPhase::Waiting { error, .. } if trouble == Some(ErrorKind::Unsupported) => {
            let (condition, to_do) = stopped(trouble);
            say(condition, error, to_do)
        }
        SyncPhase::Waiting { .. } if status.breaker_open => say(
            SyncCondition::Stuck,
            "the server was tried many times in vain and is tried rarely now; everything goes on here, and what waits is kept",
            Some(
                "look at the trouble that is named, then try at once with `ccm sync now`; `ccm doctor` looks, too",
            ),
        ),
        SyncPhase::Waiting { .. } => say(
            SyncCondition::Offline,
            "the server can't be reached now; everything goes on here, and what waits is sent later",
            None,
        ),
        SyncPhase::Stopped { why, hint } => {
            let (condition, to_do) = stopped(trouble);
            Said {
                condition,
                detail: match to_do {
                    Some(_) => why.clone(),
                    None => format!("{why}; {hint}"),
                },
                to_do,
            }
        }
    }
}

fn on_the_way(status: &SyncStatus) -> String {
    match status.pending.marks + status.pending.outbox {
        0 => "changes are being exchanged".to_owned(),
        1 => "1 change is on its way".to_owned(),
        several => format!("{several} changes are on their way"),
    }
}

/// What a person has to do after such an error, and what that is called.
const fn stopped(trouble: Option<ErrorKind>) -> (SyncCondition, Option<&'static str>) {
    match trouble {
        Some(ErrorKind::Unauthenticated) => (SyncCondition::SignedOut, Some(SIGN_IN)),
        Some(ErrorKind::Revoked) => (
            SyncCondition::Revoked,
            Some("if that was not meant, sign in again with `ccm supabase connect`"),
        ),
        Some(ErrorKind::TooOld) => (SyncCondition::Outdated, Some("update CCM on this machine")),
        Some(ErrorKind::Taken(_)) => (
            SyncCondition::Twin,
            Some(
                "if this home is a copy of another machine's, give this machine one of its own: stop the daemon, move the home \
                 away, run `ccm-orchestrator init`; an older state is put back with `ccm restore` alone",
            ),
        ),
        Some(ErrorKind::Unsupported) => (
            SyncCondition::Stuck,
            Some(
                "run the SQL that `ccm supabase migrations` prints in the SQL editor of the Supabase project; it goes on by itself \
                 then",
            ),
        ),
        _ => (SyncCondition::Stuck, None),
    }
}

fn off(config: &Config) -> Option<Said> {
    if config.shares() {
        return None;
    }
    let paused = |detail: &str, to_do| Said {
        condition: SyncCondition::Off,
        detail: detail.to_owned(),
        to_do: Some(to_do),
    };
    Some(match config.supabase.enabled {
        true => paused(
            "sync.enabled is false, so nothing is exchanged for now; what waits is kept",
            "`ccm config set sync.enabled true && ccm daemon reload` goes on",
        ),
        false if supabase::has_sign_in(config) => paused(
            "supabase.enabled is false, so nothing is exchanged for now; what waits is kept",
            "`ccm config set supabase.enabled true && ccm daemon reload` goes on, `ccm supabase disconnect` ends it",
        ),
        false => Said {
            condition: SyncCondition::Off,
            detail: "this machine is not connected to Supabase, and everything is kept on it"
                .to_owned(),
            to_do: None,
        },
    })
}

/// What a person should do though everything goes on.
fn further(status: &SyncStatus) -> Option<String> {
    let off = status
        .clock_ahead_ms
        .filter(|ms| ms.unsigned_abs() > CLOCK_OFF_MS)?;
    let direction = if off > 0 { "ahead of" } else { "behind" };
    Some(format!(
        "set this machine's clock, which is {} s {direction} the server's: `sudo timedatectl set-ntp true`",
        off.unsigned_abs() / 1000
    ))
}

/// What somebody should know of sharing, though work goes on: a sentence, or nothing.
pub(crate) fn trouble(state: &SyncState) -> Option<String> {
    if state.condition.needs_a_person() {
        let to_do = state.to_do.as_deref().map(|to_do| format!("; {to_do}"));
        return Some(format!(
            "sharing with other machines: {}{}",
            state.detail,
            to_do.unwrap_or_default()
        ));
    }
    if state.set_aside > 0 {
        return Some(format!(
            "{} can never be sent to other machines; `ccm sync set-aside` says why",
            match state.set_aside {
                1 => "1 change".to_owned(),
                several => format!("{several} changes"),
            }
        ));
    }
    if state.conflicts > 0 {
        return Some(format!(
            "{} for a decision; `ccm sync conflicts` shows what it is about",
            match state.conflicts {
                1 => "1 conflict between machines waits".to_owned(),
                several => format!("{several} conflicts between machines wait"),
            }
        ));
    }
    state
        .to_do
        .clone()
        .filter(|_| state.condition == SyncCondition::Ready)
}

#[cfg(test)]
mod tests {
    use ccm_core::Noun;
    use ccm_core::api::KeyStorage;
    use ccm_core::store::Pending;
    use ccm_core::time::Timestamp;

    use super::*;
    use crate::machine::Home;
    use crate::machine::config::Unknown;

    fn config(text: &str) -> Config {
        let home = Home::at("/nowhere/at/all");
        Config::from_text(&home, text, Unknown::Refused)
            .unwrap()
            .config
    }

    fn connected() -> Config {
        config("supabase:\n  enabled: true\n  url: https://x.supabase.co\n  key: k\n")
    }

    fn status(phase: SyncPhase) -> SyncStatus {
        SyncStatus {
            phase,
            last_contact: None,
            last_push: None,
            last_pull: None,
            pending: Pending {
                marks: 1,
                outbox: 2,
                unsettled: 4,
                set_aside: 0,
            },
            complete: true,
            open_conflicts: 0,
            leases: 0,
            pokes: true,
            clock_ahead_ms: None,
            failures: 3,
            breaker_open: false,
        }
    }

    fn ada() -> Result<Option<Account>, String> {
        Ok(Some(Account {
            email: "ada@example.com".to_owned(),
            url: "https://x.supabase.co".to_owned(),
            key_storage: KeyStorage::File,
            signed_in_at: None,
        }))
    }

    fn waiting() -> SyncPhase {
        SyncPhase::Waiting {
            until: Timestamp::UNIX_EPOCH,
            error: "no route".to_owned(),
        }
    }

    fn stopped() -> SyncPhase {
        SyncPhase::Stopped {
            why: "refused".to_owned(),
            hint: "do something".to_owned(),
        }
    }

    #[test]
    fn what_is_switched_off_says_how_it_is_switched_on() {
        let of = |text: &str| told(&status(SyncPhase::Off), &config(text), &Ok(None), None);
        let never = of("");
        assert!(!never.enabled && never.to_do.is_none());
        assert_eq!(
            (never.condition, &*never.backend),
            (SyncCondition::Off, "none")
        );
        let paused =
            of("supabase: {enabled: true, url: 'https://x.y', key: k}\nsync:\n  enabled: false\n");
        assert_eq!(paused.condition, SyncCondition::Off);
        assert!(paused.to_do.unwrap().contains("sync.enabled true"));
    }

    #[test]
    fn every_condition_is_told_with_what_to_do() {
        use SyncCondition as C;
        for (phase, trouble, wanted) in [
            (SyncPhase::Connecting, None, C::Starting),
            (SyncPhase::UpToDate, None, C::Ready),
            (SyncPhase::Sending, None, C::Ready),
            (waiting(), Some(ErrorKind::Unavailable), C::Offline),
            (stopped(), Some(ErrorKind::Unauthenticated), C::SignedOut),
            (stopped(), Some(ErrorKind::Revoked), C::Revoked),
            (stopped(), Some(ErrorKind::TooOld), C::Outdated),
            (stopped(), Some(ErrorKind::Taken(Noun::System)), C::Twin),
            (stopped(), Some(ErrorKind::Unsupported), C::Stuck),
            (stopped(), None, C::Stuck),
        ] {
            let state = told(&status(phase), &connected(), &ada(), trouble);
            assert_eq!(state.condition, wanted, "{state:?}");
            assert!(state.enabled && state.pending == 3, "{state:?}");
            assert_eq!(state.connected, wanted == C::Ready);
            assert_eq!(trouble_of(&state).is_some(), wanted.needs_a_person());
            let has_way_out = state.to_do.is_some() || state.detail.contains("do something");
            assert_eq!(has_way_out, wanted.needs_a_person(), "{state:?}");
        }
        let state = told(
            &status(waiting()),
            &connected(),
            &ada(),
            Some(ErrorKind::Unsupported),
        );
        assert_eq!(state.condition, C::Stuck);
        assert!(state.to_do.unwrap().contains("ccm supabase migrations"));
        let mut open = status(waiting());
        open.breaker_open = true;
        let state = told(&open, &connected(), &ada(), Some(ErrorKind::Unavailable));
        assert_eq!(state.condition, C::Stuck);
        assert_eq!(state.last_error.as_deref(), Some("no route"));
    }

    fn trouble_of(state: &SyncState) -> Option<String> {
        super::trouble(state)
    }

    #[test]
    fn a_sign_in_that_is_missing_or_can_not_be_read_is_asked_for() {
        for account in [Ok(None), Err("auth.json can't be read".to_owned())] {
            let state = told(&status(SyncPhase::Connecting), &connected(), &account, None);
            assert_eq!(state.condition, SyncCondition::SignedOut);
            assert!(state.to_do.unwrap().contains("ccm supabase connect"));
        }
    }

    #[test]
    fn a_clock_that_is_wrong_is_told_though_everything_goes_on() {
        let mut status = status(SyncPhase::UpToDate);
        status.clock_ahead_ms = Some(-90_000);
        let state = told(&status, &connected(), &ada(), None);
        assert!(super::trouble(&state).unwrap().contains("90 s behind"));
        status.clock_ahead_ms = Some(900);
        let state = told(&status, &connected(), &ada(), None);
        assert_eq!(super::trouble(&state), None);
    }
}
