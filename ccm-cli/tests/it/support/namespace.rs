//! Namespaces of a test's own, for what would otherwise touch the whole machine.

use std::process::Command;

/// What a test wants to have for itself.
pub(crate) struct Own {
    /// Set in a test that was started anew where it has it.
    pub(crate) mark: &'static str,
    /// What it is, as people call it.
    pub(crate) what: &'static str,
    /// The namespaces, as options of `unshare`.
    pub(crate) namespaces: &'static [&'static str],
    /// What has to be done there first, in shell; it fails where it may not be done.
    pub(crate) prepare: &'static str,
}

/// A loopback of its own, with every port free.
const NETWORK: Own = Own {
    mark: "CCM_TEST_OWN_NETWORK",
    what: "a network of its own",
    namespaces: &["--net"],
    prepare: "ip link set lo up",
};

/// Whether this process has a network to itself, as [`Own::is_here`] says.
#[track_caller]
pub(crate) fn own_network() -> bool {
    NETWORK.is_here()
}

impl Own {
    /// Whether this process has it. If not, the test that runs now has been run by a child that does, and was good;
    /// there is nothing left to do.
    #[track_caller]
    pub(crate) fn is_here(&self) -> bool {
        if std::env::var_os(self.mark).is_some() {
            return true;
        }
        let test = std::thread::current();
        let test = test.name().filter(|name| name.contains("::"));
        let test = test.expect("tests run in threads that have their names");
        let alone = self.namespaces.to_vec();
        let as_root = [&["--user", "--map-root-user"], self.namespaces].concat();
        // Root needs no namespace of users, and may be in a container that forbids them.
        let ways = match nix::unistd::geteuid().is_root() {
            true => vec![alone, as_root],
            false => vec![as_root],
        };
        let way = ways.iter().find(|way| {
            let mut try_out = Command::new("unshare");
            let tried = try_out.args(*way).args(["sh", "-c", self.prepare]).output();
            tried.is_ok_and(|tried| tried.status.success())
        });
        let Some(way) = way else {
            panic!(
                "this test needs {}, and this user can't have one: run it as root, or where `unshare --user \
                 --map-root-user {}` and then `{}` is allowed",
                self.what,
                self.namespaces.join(" "),
                self.prepare,
            );
        };
        let ran = Command::new("unshare")
            .args(way)
            .args(["sh", "-c", &format!("{}\nexec \"$@\"", self.prepare), "sh"])
            .arg(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(self.mark, "1")
            .status()
            .unwrap();
        assert!(ran.success(), "{test} failed with {}", self.what);
        false
    }
}
