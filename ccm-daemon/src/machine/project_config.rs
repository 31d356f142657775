//! A project's `.ccm/config.yaml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ccm_core::project::{AgentMode, AgentProfile, Profile, RemoteTasks, RunLimits, TaskDefaults};
use ccm_core::task::SessionMode;
use serde::{Deserialize, Deserializer, Serialize};

use super::config::{Config, Unknown};
use super::files;
use super::render;
use super::schema::PROJECT;
use super::values::{Checked, ConfigErrors, Problem};

/// Everything that a project's config file says, with defaults for what it doesn't say.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ProjectConfig {
    /// What the project wants to be called.
    pub name: Option<String>,
    /// How its agent is run.
    pub agent: AgentKeys,
    /// What bounds its runs.
    pub limits: LimitKeys,
    /// What its tasks get that don't say otherwise.
    pub tasks: TaskKeys,
    /// What becomes of tasks from the user's other machines.
    pub remote_tasks: RemoteTasks,
}

/// Keys below `agent`: those that can run code. They count only when this machine trusts them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentKeys {
    /// Which coding CLI.
    pub driver: String,
    /// The program and its first arguments.
    pub command: Vec<String>,
    /// Further arguments.
    pub args: Vec<String>,
    /// The model.
    pub model: Option<String>,
    /// With or without a person.
    pub mode: AgentMode,
    /// What the agent may do without asking.
    pub permission_mode: String,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// How many agents.
    pub count: u32,
    /// Whether each works in a tree of its own.
    pub isolation: Isolation,
}

/// Where an agent works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// In the project's folder.
    #[default]
    None,
    /// In a git worktree of its own.
    Worktree,
}

/// Keys below `limits`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LimitKeys {
    /// The longest a run may take.
    #[serde(deserialize_with = "seconds")]
    pub timeout: Option<Duration>,
    /// Further attempts after one that failed.
    pub max_retries: u32,
    /// The most memory, in MiB; the machine's limit if unset.
    pub memory_mb: Option<u64>,
}

/// Keys below `tasks`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TaskKeys {
    /// Higher is sooner.
    pub priority: i32,
    /// Which conversation.
    pub session: SessionMode,
}

/// A project's config that can be used, and what is odd about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedProject {
    /// The config.
    pub config: ProjectConfig,
    /// Keys that nobody knows.
    pub warnings: Vec<Problem>,
}

impl ProjectConfig {
    /// The config file of the project in `folder`.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join(".ccm").join("config.yaml")
    }

    /// Reads the config of the project in `folder`. A file that is not there says nothing, so all defaults count; a
    /// symbolic link in its place, or in `.ccm`'s, is refused.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn load(folder: &Path) -> Result<LoadedProject, ConfigErrors> {
        let text = read(folder)?.unwrap_or_default();
        Self::from_text(folder, &text, Unknown::Warned)
    }

    /// The config that `text` would be in the config file of the project in `folder`.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn from_text(
        folder: &Path,
        text: &str,
        unknown: Unknown,
    ) -> Result<LoadedProject, ConfigErrors> {
        let mut checked = Checked::new(&PROJECT, text);
        cross_check(&mut checked);
        let mut warnings = checked.not_yet();
        match unknown {
            Unknown::Refused => checked.errors.append(&mut checked.unknown),
            Unknown::Warned => warnings.append(&mut checked.unknown),
        }
        let path = Self::path(folder);
        if !checked.errors.is_empty() {
            checked.errors.sort_by_key(|problem| problem.line);
            return Err(ConfigErrors {
                path,
                problems: checked.errors,
                missing: false,
            });
        }
        let config = serde_json::from_value(checked.nested())
            .map_err(|e| ConfigErrors::whole(&path, PROJECT.file, format!("can't be used: {e}")))?;
        Ok(LoadedProject { config, warnings })
    }

    /// How the project's agent is run: what the project says, else what the machine says.
    pub fn profile(&self, machine: &Config) -> Profile {
        let agent = &self.agent;
        Profile {
            agent: AgentProfile {
                driver: agent.driver.clone(),
                command: agent.command.clone(),
                args: agent.args.clone(),
                model: agent.model.clone(),
                mode: agent.mode,
                permission_mode: agent.permission_mode.clone(),
                env: agent.env.clone(),
            },
            limits: RunLimits {
                timeout: self.limits.timeout,
                max_retries: self.limits.max_retries,
                memory_mb: Some(
                    self.limits
                        .memory_mb
                        .unwrap_or(machine.resources.max_agent_memory_mb),
                ),
            },
            tasks: TaskDefaults {
                priority: self.tasks.priority,
                session: self.tasks.session,
            },
        }
    }

    /// The settings that can run code, as `key: value` lines in a fixed order. Empty if all are the defaults.
    pub fn code_settings(&self) -> Vec<String> {
        let of = |config: &Self| -> Vec<String> {
            let value = serde_json::to_value(&config.agent).unwrap_or_default();
            value.as_object().map_or_else(Vec::new, |map| {
                map.iter()
                    .map(|(key, value)| format!("agent.{key}: {}", render::flow(value)))
                    .collect()
            })
        };
        let usual = of(&Self::default());
        of(self)
            .into_iter()
            .filter(|line| !usual.contains(line))
            .collect()
    }
}

impl Default for ProjectConfig {
    fn default() -> Self {
        Self {
            name: None,
            agent: AgentKeys::default(),
            limits: LimitKeys {
                timeout: None,
                max_retries: 0,
                memory_mb: None,
            },
            tasks: TaskKeys {
                priority: 0,
                session: SessionMode::default(),
            },
            remote_tasks: RemoteTasks::default(),
        }
    }
}

impl Default for AgentKeys {
    fn default() -> Self {
        let AgentProfile {
            driver,
            command,
            args,
            model,
            mode,
            permission_mode,
            env,
        } = AgentProfile::default();
        Self {
            driver,
            command,
            args,
            model,
            mode,
            permission_mode,
            env,
            count: 1,
            isolation: Isolation::default(),
        }
    }
}

/// The text of a project's config file, if there is one.
pub(crate) fn read(folder: &Path) -> Result<Option<String>, ConfigErrors> {
    let path = ProjectConfig::path(folder);
    let unreadable = |what: &str| Err(ConfigErrors::whole(&path, PROJECT.file, what));
    match std::fs::symlink_metadata(folder.join(".ccm")) {
        Ok(meta) if meta.is_symlink() => {
            return unreadable(".ccm is a symbolic link, which is not allowed");
        }
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return unreadable(&format!("can't be read: {e}")),
    }
    match files::read_text(&path, files::Links::Refused) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => unreadable(&format!("can't be read: {e}")),
    }
}

/// What no key can tell by itself.
fn cross_check(checked: &mut Checked) {
    let mut errors = Vec::new();
    let text = |key| checked.get(key).as_str().unwrap_or_default().to_owned();
    let count = checked.get("agent.count").as_i64().unwrap_or(1);
    if count > 1 {
        errors.push(checked.at(
            "agent.count",
            format!("more than one agent is not available yet: expected 1, found {count}"),
        ));
    }
    if text("agent.isolation") == "worktree" {
        errors.push(checked.at(
            "agent.isolation",
            "worktree is not available yet: expected none, found \"worktree\"",
        ));
    }
    let command = checked.get("agent.command");
    let first = command.get(0).and_then(|program| program.as_str());
    if text("agent.driver") == "command"
        && first.is_none()
        && checked.line("agent.driver").is_some()
    {
        errors.push(checked.at(
            "agent.driver",
            "the driver command needs a program: expected agent.command to be set, such as [sh, -c, \"cat\"]",
        ));
    }
    if first == Some("") {
        errors.push(checked.at("agent.command", "expected a program, found an empty text"));
    }
    checked.errors.append(&mut errors);
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> String {
        ProjectConfig::from_text(Path::new("/p"), text, Unknown::Refused)
            .unwrap_err()
            .to_string()
    }

    fn config(text: &str) -> ProjectConfig {
        ProjectConfig::from_text(Path::new("/p"), text, Unknown::Refused)
            .unwrap()
            .config
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(config(""), ProjectConfig::default());
        assert_eq!(
            config("# nothing\nagent:\nlimits: {}\n"),
            ProjectConfig::default()
        );
        assert_eq!(
            ProjectConfig::default().code_settings(),
            Vec::<String>::new()
        );
        assert_eq!(
            config(&super::super::template::project(&[])),
            ProjectConfig::default()
        );
    }

    #[test]
    fn every_key_arrives() {
        let text = "\
name: hello
agent:
  driver: command
  command: [sh, -c, \"cat; echo\"]
  args: [-x]
  model: small
  mode: interactive
  permission_mode: plan
  env: {A: 1, B: \"\"}
limits: {timeout: 60, max_retries: 2, memory_mb: 512}
tasks: {priority: -3, session: continue}
remote_tasks: deny
";
        let config = config(text);
        assert_eq!(config.name.as_deref(), Some("hello"));
        assert_eq!(config.limits.timeout, Some(Duration::from_secs(60)));
        assert_eq!(config.limits.memory_mb, Some(512));
        assert_eq!(config.tasks.priority, -3);
        assert_eq!(config.tasks.session, SessionMode::Continue);
        assert_eq!(config.remote_tasks, RemoteTasks::Deny);
        assert_eq!(
            config.code_settings(),
            [
                "agent.args: [\"-x\"]",
                "agent.command: [sh, \"-c\", \"cat; echo\"]",
                "agent.driver: command",
                "agent.env: {A: \"1\", B: \"\"}",
                "agent.mode: interactive",
                "agent.model: small",
                "agent.permission_mode: plan",
            ]
        );
    }

    #[test]
    fn errors_name_place_key_and_what_is_allowed() {
        for (text, wanted) in [
            (
                "agent:\n  driver: gemini\n",
                ".ccm/config.yaml:2: agent.driver: expected claude or command, found \"gemini\"",
            ),
            (
                "agent:\n  count: 3\n",
                ".ccm/config.yaml:2: agent.count: more than one agent is not available yet: expected 1, found 3",
            ),
            (
                "agent: {isolation: worktree}\n",
                ".ccm/config.yaml:1: agent.isolation: worktree is not available yet: expected none, found \"worktree\"",
            ),
            (
                "agent:\n  driver: command\n",
                ".ccm/config.yaml:2: agent.driver: the driver command needs a program: expected agent.command to be set, such as [sh, -c, \"cat\"]",
            ),
            (
                "agent:\n  env:\n    CCM_RUN_ID: x\n",
                ".ccm/config.yaml:3: agent.env: CCM_RUN_ID: names that begin with CCM_ are set by CCM itself",
            ),
            (
                "agent:\n  env:\n    KEY: [secret]\n",
                ".ccm/config.yaml:3: agent.env.KEY: expected a text (in quotes if it is empty)",
            ),
            (
                "limits:\n  timeout: 5m\n",
                ".ccm/config.yaml:2: limits.timeout: expected seconds (a whole number), found \"5m\"",
            ),
            (
                "limits:\n  timeout: 0\n",
                ".ccm/config.yaml:2: limits.timeout: expected seconds (a whole number from 1 to 31622400), found 0",
            ),
            (
                "agents:\n  driver: command\n",
                ".ccm/config.yaml:1: agents: unknown key, did you mean agent?",
            ),
            (
                "name: -x\nagent: 3\n",
                ".ccm/config.yaml:1: name: expected a name of 1 to 64 letters, digits, -, _ and . that begins with a letter or digit, found \"-x\"\n.ccm/config.yaml:2: agent: expected keys and values, found 3",
            ),
        ] {
            assert_eq!(errors(text), wanted);
        }
    }
}
