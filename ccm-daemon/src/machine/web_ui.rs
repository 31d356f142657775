//! Whether there is a web page, and why not.

use super::config::{Config, ProfileName};

/// Whether a daemon serves the web UI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebUi {
    /// It does.
    Served,
    /// The profile is `minimal`.
    Minimal,
    /// `web_ui.enabled` is false.
    Disabled,
    /// The config wants it, but this program was built without.
    NotBuilt,
}

impl WebUi {
    /// What a daemon of this build makes of `config`.
    pub fn of(config: &Config) -> Self {
        match (config.profile, config.web_ui.enabled) {
            (ProfileName::Minimal, _) => Self::Minimal,
            (ProfileName::Full, false) => Self::Disabled,
            (ProfileName::Full, true) if cfg!(feature = "web-ui") => Self::Served,
            (ProfileName::Full, true) => Self::NotBuilt,
        }
    }

    /// Why there is no web page, and what to do for one.
    pub fn why_not(self) -> Option<&'static str> {
        match self {
            Self::Served => None,
            Self::Minimal => Some(
                "the profile is minimal, which has no web UI; `ccm config set profile full` and `ccm-orchestrator daemon \
                 restart` bring it",
            ),
            Self::Disabled => Some(
                "web_ui.enabled is false; `ccm config set web_ui.enabled true` and `ccm-orchestrator daemon restart` \
                 bring the web UI",
            ),
            Self::NotBuilt => Some(
                "the profile is full, but these programs were built without the web UI; install them with it, or run \
                 `ccm config set profile minimal` and `ccm-orchestrator daemon restart` if that is meant",
            ),
        }
    }

    /// What people have to be told because they wanted something else.
    pub fn problem(self) -> Option<&'static str> {
        match self {
            Self::NotBuilt => self.why_not(),
            Self::Served | Self::Minimal | Self::Disabled => None,
        }
    }
}
