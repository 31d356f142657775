//! A systemd scope for what has to outlive the daemon's service: agents' hosts and the tmux server.
//!
//! What a service starts is in the service's control group, where its limits hold for it and where `systemctl restart`
//! may end it. A transient scope is a unit of its own, with neither: the program is run by `systemd-run --scope`, which
//! has itself moved there and then becomes the program.
//!
//! Scopes are an addition. A daemon that is no service needs none, and where none can be made (a system service of an
//! account whose own manager does not run) the program is started as it would be without; the service's
//! `KillMode=process` spares it then.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use uuid::Uuid;

/// What starts a program in a scope.
const PROGRAM: &str = "systemd-run";
/// Set by systemd or launchd for the programs of one service alone: what they start is no part of that conversation.
pub(crate) const OF_SERVICE: &[&str] = &[
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "MANAGERPID",
    "NOTIFY_SOCKET",
    "SYSTEMD_EXEC_PID",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "XPC_SERVICE_NAME",
];

/// The systemd manager that makes scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scopes {
    /// The machine's own.
    System,
    /// The one of this account, with its runtime folder.
    User {
        /// What `XDG_RUNTIME_DIR` has to be to reach it.
        runtime_dir: PathBuf,
    },
}

impl Scopes {
    /// The manager that can take out of this process's service what it starts. `None` if it is in no service of
    /// systemd's, or no manager takes orders from this account.
    pub fn of_this_service() -> Option<Self> {
        let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        // As sd_booted(3) tells.
        if !Path::new("/run/systemd/system").is_dir() {
            return None;
        }
        let of_user = is_in_service(&groups)?;
        if geteuid().is_root() && !of_user {
            return Some(Self::System);
        }
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR")
            .filter(|dir| !dir.is_empty())
            .map_or_else(
                || PathBuf::from(format!("/run/user/{}", geteuid())),
                PathBuf::from,
            );
        let manager = runtime_dir.join("systemd/private");
        manager.exists().then_some(Self::User { runtime_dir })
    }

    /// What has to stand before a program and its arguments so that it runs in a new scope, whose name begins with
    /// `name`; and what has to be in its environment.
    pub(crate) fn before(&self, name: &str, description: &str) -> Prefix {
        let mut words = vec![PROGRAM.to_owned()];
        let slice = match self {
            Self::System => "system-ccm.slice",
            Self::User { .. } => {
                words.push("--user".to_owned());
                "app-ccm.slice"
            }
        };
        let unique = Uuid::now_v7().simple().to_string();
        words.extend([
            "--scope".to_owned(),
            "--quiet".to_owned(),
            // Nothing of it stays, however it ends.
            "--collect".to_owned(),
            // No password is asked for.
            "--no-ask-password".to_owned(),
            // Runs have groups of their own beneath it, and one that needs too much memory ends alone.
            "--property=Delegate=yes".to_owned(),
            format!("--slice={slice}"),
            format!("--unit=ccm-{name}-{}.scope", &unique[unique.len() - 12..]),
            format!("--description={description}"),
            "--".to_owned(),
        ]);
        let env = match self {
            Self::System => None,
            Self::User { runtime_dir } => {
                Some(("XDG_RUNTIME_DIR", runtime_dir.clone().into_os_string()))
            }
        };
        Prefix {
            words: words.into_iter().map(OsString::from).collect(),
            env,
        }
    }
}

/// What makes a command one that runs in a scope.
#[derive(Debug)]
pub(crate) struct Prefix {
    /// Stands before the program.
    pub(crate) words: Vec<OsString>,
    /// Has to be in the environment.
    pub(crate) env: Option<(&'static str, OsString)>,
}

/// Whether these groups (`/proc/self/cgroup`) are those of a service: then whether it is one of an account's manager.
fn is_in_service(groups: &str) -> Option<bool> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').nth(2)?.rsplit('/');
        let service = parts.next()?.ends_with(".service");
        let is_manager = |part: &str| part.starts_with("user@") && part.ends_with(".service");
        service.then(|| parts.any(is_manager))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_known_by_its_group() {
        let user =
            "0::/user.slice/user-7.slice/user@7.service/app.slice/ccm-orchestrator.service\n";
        assert_eq!(is_in_service(user), Some(true));
        let system = "9:name=systemd:/system.slice/a.service\n0::/\n";
        assert_eq!(is_in_service(system), Some(false));
        for none in [
            "0::/user.slice/user-7.slice/session-3.scope\n",
            "0::/user.slice/user-7.slice/user@7.service/app.slice/vte-spawn-1.scope\n",
            "0::/\n",
            "",
            "odd\n",
        ] {
            assert_eq!(is_in_service(none), None, "{none}");
        }
    }

    #[test]
    fn a_scope_has_a_name_that_no_other_has() {
        let scopes = Scopes::User {
            runtime_dir: "/run/user/7".into(),
        };
        let unit = |prefix: Prefix| {
            let words = prefix.words.into_iter();
            let unit = words.filter(|word| word.to_string_lossy().starts_with("--unit="));
            unit.collect::<Vec<_>>()
        };
        let one = scopes.before("agent", "100% ours");
        assert!(one.words.contains(&"--description=100% ours".into()));
        let env = one.env.clone();
        assert_eq!(env, Some(("XDG_RUNTIME_DIR", "/run/user/7".into())));
        assert_ne!(unit(one), unit(scopes.before("agent", "x")));
        assert!(
            !Scopes::System
                .before("tmux", "x")
                .words
                .contains(&"--user".into())
        );
    }
}
