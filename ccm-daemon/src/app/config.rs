use std::sync::Arc;

use ccm_core::api::{
    Config, ConfigApplied, ConfigKey, ConfigOrigin, EditConfig, EditKey, EditedProjectConfig,
    Reload,
};
use ccm_core::id::ProjectId;
use ccm_core::{Error, ErrorKind, Result};

use super::App;
use super::projects::Refusal;
use super::tasks::digest;
use crate::http::IfMatch;
use crate::machine::schema::{Applied, Schema};
use crate::machine::show::{Effective, Origin};
use crate::machine::{ConfigErrors, ConfigFile, ProjectDir, TrustStore};

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

    /// A project's config, and the tag of its file.
    pub(crate) async fn project_config(
        &self,
        id: ProjectId,
    ) -> Result<Result<(Config, String), ConfigErrors>> {
        let project = self.project_here(id, "its settings are looked at").await?;
        let home = self.parts.home.clone();
        blocking(move || {
            let file = ConfigFile::project(&project.path);
            let tag = tag(&file)?;
            Ok((wire(&file, &file.effective(Some(&home))?), tag))
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
            let changes = changes(edit);
            ConfigFile::machine(&home).change_many(&changes, |text| as_seen(&seen, text))
        })
        .await??;
        let report = self.reload().await?;
        let home = self.parts.home.clone();
        let tag = blocking(move || tag(&ConfigFile::machine(&home))).await?;
        Ok((report, tag.map_err(Error::from)?))
    }

    /// Changes a project's config, if it still is as `seen`, and lets it count. Who sets what can run code trusts that, if
    /// the rest was trusted. The second value is the new tag of its file.
    pub(crate) async fn edit_project_config(
        &self,
        id: ProjectId,
        edit: EditConfig,
        seen: IfMatch,
    ) -> Result<(EditedProjectConfig, String), Refusal> {
        let project = self.project_here(id, "its settings are changed").await?;
        let trust = TrustStore::new(&self.parts.home);
        let now = self.parts.clock.now();
        let (trusted, tag) = blocking(move || {
            let dir = ProjectDir::open(&project.path).map_err(Refusal::Unusable)?;
            let check = |text: &str| as_seen(&seen, text);
            let changes = changes(edit);
            let trusted = trust.change_many_in_project(id, dir.folder(), &changes, check, now)?;
            let tag = tag(&ConfigFile::project(dir.folder())).map_err(Error::from)?;
            Ok::<_, Refusal>((trusted, tag))
        })
        .await??;
        let project = self.refresh_project(id).await?;
        Ok((EditedProjectConfig { project, trusted }, tag))
    }
}

fn changes(edit: EditConfig) -> Vec<(String, Option<String>)> {
    let change = |edit: EditKey| (edit.key, edit.value);
    edit.changes.into_iter().map(change).collect()
}

fn as_seen(seen: &IfMatch, text: &str) -> Result<()> {
    if seen.fits(&tag_of(text)) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::StaleRevision,
        "the config was changed meanwhile; read it again",
    ))
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
