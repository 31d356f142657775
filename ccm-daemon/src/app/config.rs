use std::sync::Arc;

use ccm_core::api::{
    Config, ConfigApplied, ConfigKey, ConfigOrigin, EditConfig, EditKey, Reload, SyncState,
};
use ccm_core::id::ProjectId;
use ccm_core::{Error, ErrorKind, Result};

use super::App;
use super::tasks::digest;
use crate::http::IfMatch;
use crate::machine::schema::{Applied, Schema};
use crate::machine::show::{Effective, Origin};
use crate::machine::{ConfigErrors, ConfigFile};

impl App {
    /// The machine's config, and the tag of its file.
    pub(crate) async fn config(&self) -> Result<Result<(Config, String), ConfigErrors>> {
        let home = self.parts.home.clone();
        blocking(move || {
            let file = ConfigFile::machine(&home);
            // The tag first: an edit in between must not pass for one that was seen.
            let tag = tag(&file)?;
            Ok((wire(&file, &file.effective(None)?), tag))
        })
        .await
    }

    /// A project's config.
    pub(crate) async fn project_config(
        &self,
        id: ProjectId,
    ) -> Result<Result<Config, ConfigErrors>> {
        let project = self.engine().store().project(id).await?;
        let home = self.parts.home.clone();
        blocking(move || {
            let file = ConfigFile::project(&project.path);
            Ok(wire(&file, &file.effective(Some(&home))?))
        })
        .await
    }

    /// Changes the machine's config, if it still is as `seen`, and takes in what it says. The second value is the new
    /// tag of its file.
    pub(crate) async fn edit_config(
        self: &Arc<Self>,
        edit: EditConfig,
        seen: IfMatch,
    ) -> Result<(Result<Reload, ConfigErrors>, String)> {
        let home = self.parts.home.clone();
        blocking(move || {
            let change = |edit: EditKey| (edit.key, edit.value);
            let changes: Vec<_> = edit.changes.into_iter().map(change).collect();
            let as_seen = |text: &str| {
                if seen.fits(&tag_of(text)) {
                    return Ok(());
                }
                Err(Error::new(
                    ErrorKind::StaleRevision,
                    "the config was changed meanwhile; read it again",
                ))
            };
            ConfigFile::machine(&home).change_many(&changes, as_seen)
        })
        .await??;
        let report = self.reload().await?;
        let home = self.parts.home.clone();
        let tag = blocking(move || tag(&ConfigFile::machine(&home))).await?;
        Ok((report, tag.map_err(Error::from)?))
    }

    /// How the queue is shared.
    pub(crate) fn sync_state(&self) -> SyncState {
        SyncState {
            enabled: false,
            backend: "none".to_owned(),
            connected: false,
            pending: 0,
            conflicts: 0,
            detail: "this machine is not connected to Supabase, and everything is kept on it"
                .to_owned(),
        }
    }
}

fn tag(file: &ConfigFile) -> Result<String, ConfigErrors> {
    Ok(tag_of(&file.text()?))
}

fn tag_of(text: &str) -> String {
    digest(text.as_bytes())[..32].to_owned()
}

fn wire(file: &ConfigFile, effective: &Effective) -> Config {
    let schema = file.schema();
    Config {
        path: file.path().display().to_string(),
        keys: effective
            .keys
            .iter()
            .filter_map(|shown| key(schema, shown))
            .collect(),
    }
}

fn key(schema: &Schema, shown: &crate::machine::show::Shown) -> Option<ConfigKey> {
    let key = schema.key(shown.key)?;
    let (origin, line, from) = match &shown.origin {
        Origin::File { line, .. } => (ConfigOrigin::File, Some(*line as u64), None),
        Origin::Default => (ConfigOrigin::Default, None, None),
        Origin::Derived(words) => (ConfigOrigin::Derived, None, Some(words.clone())),
        Origin::Unset => (ConfigOrigin::Unset, None, None),
    };
    Some(ConfigKey {
        key: key.path.to_owned(),
        value: shown.value.clone(),
        origin,
        line,
        from,
        doc: key.doc.to_owned(),
        allowed: key.allowed(),
        applied: match key.applied {
            Applied::Reload => ConfigApplied::Now,
            Applied::Restart => ConfigApplied::Restart,
            Applied::NextRun => ConfigApplied::NextRun,
            Applied::NextTask => ConfigApplied::NextTask,
            Applied::Registration => ConfigApplied::Registration,
            Applied::NotYet => ConfigApplied::Later,
        },
        secret: key.secret,
    })
}

/// Looks at files outside of the async runtime's own threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("the config could not be looked at").with_source(error))
}
