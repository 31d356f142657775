//! Git worktrees: a second tree of a repository belongs to the project in the first.

use std::path::{Path, PathBuf};

use super::files::{self, Links};

/// A git worktree and the tree that it belongs to.
pub(crate) struct Worktree {
    root: PathBuf,
    main: PathBuf,
}

impl Worktree {
    /// The worktree that `folder` is in, if the nearest repository is one.
    pub(crate) fn of(folder: &Path) -> Option<Self> {
        let root = folder.ancestors().find(|path| path.join(".git").exists())?;
        let pointer = files::read_text(&root.join(".git"), Links::Followed).ok()?;
        let git_dir = root.join(pointer.strip_prefix("gitdir:")?.trim());
        // Only a worktree has this file; a submodule doesn't.
        let common = files::read_text(&git_dir.join("commondir"), Links::Followed).ok()?;
        let common = git_dir.join(common.trim()).canonicalize().ok()?;
        if common.file_name()? != ".git" {
            return None;
        }
        Some(Self {
            root: root.to_owned(),
            main: common.parent()?.to_owned(),
        })
    }

    /// What the main tree has in the place of `folder`.
    pub(crate) fn in_main(&self, folder: &Path) -> Option<PathBuf> {
        let inside = folder.strip_prefix(&self.root).ok()?;
        let path = self.main.join(inside);
        path.is_dir().then_some(path)
    }
}
