//! The files that the document shows.

use std::path::Path;

use ccm_daemon::machine::Account;
use ccm_daemon::machine::service::{Plan, launchd, systemd};

use super::world::World;

/// Values of the document's `config.yaml` that are samples, not defaults.
const SAMPLES: &[&str] = &[
    "system.hostname",
    "system.tags",
    "database.sqlite_path",
    "supabase.enabled",
    "supabase.url",
    "supabase.auth_file",
    "daemon.log_file",
];

impl World {
    /// Every key is there, with the document's value unless that is a sample; and the document's file is a good one.
    pub(super) fn has_the_keys(&mut self, yaml: &str) {
        let path = self.path("other/config.yaml");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // The one sample that is no possible value: an id is made, never chosen.
        let yaml = yaml.replace("  id: \"system-abc-123\"\n", "");
        std::fs::write(&path, &yaml).unwrap();
        let line = format!("ccm-orchestrator --config '{}' config ", path.display());
        let checked = self.types(&format!("{line} validate"));
        assert_eq!(checked.code, 0, "{checked}");
        let mut keys = 0;
        let mut group = "";
        for entry in yaml
            .lines()
            .map(|line| line.split('#').next().unwrap_or(line))
        {
            let Some((name, value)) = entry.split_once(':') else {
                continue;
            };
            let (name, value) = (name.trim(), value.trim());
            let inside = entry.starts_with(' ');
            if value.is_empty() {
                group = name;
                continue;
            }
            let key = if inside {
                format!("{group}.{name}")
            } else {
                name.to_owned()
            };
            keys += 1;
            let said = self.types(&format!("{line} get {key}")).ok();
            let default = self
                .types(&format!("ccm-orchestrator config get {key}"))
                .ok();
            if !SAMPLES.contains(&&*key) {
                assert_eq!((&*said, &*default), (value, value), "{key}");
            }
        }
        assert!(keys > 5, "{yaml}");
    }

    /// Every line of the document's unit is in the one that set-up installs for an account of this machine, in its order.
    pub(super) fn has_the_unit(&mut self, unit: &str) {
        let own = Account::own().unwrap();
        let unit = unit
            .replace("User=ccm", &format!("User={}", own.name))
            .replace("Group=ccm", &format!("Group={}", own.group));
        let plan = Plan {
            account: Some(&own),
            ..plan()
        };
        let ours = systemd::render(&plan).unwrap();
        has_in_order(&ours, &unit);
    }

    /// The same of the agent of launchd.
    pub(super) fn has_the_plist(&mut self, plist: &str) {
        let ours = launchd::render(&plan()).unwrap();
        has_in_order(&ours, plist);
    }
}

/// The paths of the document's service files.
fn plan() -> Plan<'static> {
    Plan {
        program: Path::new("/usr/local/bin/ccm-daemon"),
        config: Path::new("/home/ccm/.ccm/config.yaml"),
        logs: Path::new("/Users/user/.ccm/logs"),
        path: "/usr/bin:/bin",
        account: None,
    }
}

#[track_caller]
fn has_in_order(ours: &str, theirs: &str) {
    let mut lines = ours.lines();
    for line in theirs.lines().filter(|line| !line.trim().is_empty()) {
        assert!(
            lines.any(|one| one.replace('"', "") == line.replace('"', "")),
            "not there, or not in its order: {line}\n{ours}"
        );
    }
}
