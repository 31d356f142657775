//! Finding the programs that were installed together.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What Linux puts behind the path of a program whose file is gone.
const GONE: &[u8] = b" (deleted)";

/// The program `name` in the folder of this one, so that daemon, hosts and commands are of one install; else just its
/// name, for the one on the `PATH`.
///
/// Also right once an upgrade has replaced the file of this program, which then finds the new ones.
pub fn beside(name: &str) -> PathBuf {
    std::env::current_exe()
        .ok()
        .map(|own| neighbour(&own, name))
        .filter(|program| program.is_file())
        .unwrap_or_else(|| PathBuf::from(name))
}

fn neighbour(own: &Path, name: &str) -> PathBuf {
    // Links first: what is linked into a folder of programs has its neighbours where it was installed.
    own.canonicalize()
        .unwrap_or_else(|_| without_mark(own))
        .with_file_name(name)
}

fn without_mark(own: &Path) -> PathBuf {
    let bytes = OsStr::as_bytes(own.as_os_str());
    let path = bytes.strip_suffix(GONE).unwrap_or(bytes);
    OsString::from_vec(path.to_vec()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_found_through_links_and_after_an_upgrade() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let own = dir.join("ccm");
        std::fs::write(&own, "").unwrap();
        assert_eq!(neighbour(&own, "ccm-daemon"), dir.join("ccm-daemon"));
        std::fs::create_dir(dir.join("links")).unwrap();
        let link = dir.join("links/ccm");
        std::os::unix::fs::symlink(&own, &link).unwrap();
        assert_eq!(neighbour(&link, "ccm-daemon"), dir.join("ccm-daemon"));
        let gone = dir.join("ccm-daemon (deleted)");
        assert_eq!(neighbour(&gone, "ccm"), own);
    }

    #[test]
    fn without_a_neighbour_the_path_decides() {
        assert_eq!(beside("no-such-program"), PathBuf::from("no-such-program"));
    }
}
