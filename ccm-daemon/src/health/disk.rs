//! Whether there is room where the daemon writes.

use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::Finding;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Below this, or this part of a disk that is small as a whole, what agents write may find no room at any moment.
const LEAST: u64 = 50 * MIB;
/// Below this it is time to say something.
const LOW: u64 = GIB;
/// The same is true below this part of a disk, unless that is still much.
const PART: u64 = 20;
const MUCH: u64 = 10 * GIB;

/// What there is where a folder is.
#[derive(Debug, Clone, Copy)]
struct Room {
    free: u64,
    size: u64,
    /// Whether there is room for another file.
    files: bool,
}

/// Looks at the file systems of these folders.
pub(super) async fn look(folders: Vec<PathBuf>) -> Finding {
    let looked = tokio::task::spawn_blocking(move || {
        let findings = folders.iter().map(|folder| match room(folder) {
            Ok(room) => judge(folder, room),
            Err(error) => Finding::failed(format!(
                "the disk of {} can't be looked at: {error}",
                folder.display()
            )),
        });
        findings.reduce(|worst, next| match next.status > worst.status {
            true => next,
            false => worst,
        })
    });
    match looked.await {
        Ok(Some(finding)) => finding,
        Ok(None) => Finding::ok("nothing is written"),
        Err(error) => Finding::failed(format!("the disk can't be looked at: {error}")),
    }
}

fn room(folder: &Path) -> std::io::Result<Room> {
    let stats = statvfs(folder)?;
    // Their types differ between systems.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    let (block, free, size) = (
        stats.fragment_size() as u64,
        stats.blocks_available() as u64,
        stats.blocks() as u64,
    );
    Ok(Room {
        free: free.saturating_mul(block),
        size: size.saturating_mul(block),
        // A file system without a fixed number of files has 0 of 0.
        files: stats.files() == 0 || stats.files_available() > 0,
    })
}

fn judge(folder: &Path, Room { free, size, files }: Room) -> Finding {
    let folder = folder.display();
    if !files {
        return Finding::failed(format!(
            "the disk of {folder} has no room for another file; remove some"
        ));
    }
    let text = format!("{} free on the disk of {folder}", words(free));
    let low = free < LOW || (free < size / PART && free < MUCH);
    match (free < LEAST.min(size / PART), low) {
        (true, _) => Finding::failed(format!(
            "only {text}: free some room, or tasks are refused and what agents write is lost"
        )),
        (false, true) => Finding::warning(format!("only {text}: free some room soon")),
        (false, false) => Finding::ok(text),
    }
}

fn words(bytes: u64) -> String {
    match bytes {
        0..GIB => format!("{} MiB", bytes / MIB),
        _ => format!("{:.1} GiB", bytes as f64 / GIB as f64),
    }
}

#[cfg(test)]
mod tests {
    use ccm_core::api::CheckStatus::{Failed, Ok, Warning};

    use super::*;

    #[test]
    fn little_room_is_told_before_there_is_none() {
        for (free, size, files, status, word) in [
            (
                100 * GIB,
                200 * GIB,
                true,
                Ok,
                "100.0 GiB free on the disk of /home/me",
            ),
            // A small part of much is still much.
            (11 * GIB, 4000 * GIB, true, Ok, "11.0 GiB"),
            (9 * GIB, 200 * GIB, true, Warning, "only 9.0 GiB"),
            (900 * MIB, 2 * GIB, true, Warning, "only 900 MiB"),
            (49 * MIB, 200 * GIB, true, Failed, "only 49 MiB"),
            (0, 200 * GIB, true, Failed, "free some room"),
            (7 * MIB, 8 * MIB, true, Warning, "only 7 MiB"),
            (MIB / 4, 8 * MIB, true, Failed, "only 0 MiB"),
            (
                100 * GIB,
                200 * GIB,
                false,
                Failed,
                "no room for another file",
            ),
        ] {
            let found = judge(Path::new("/home/me"), Room { free, size, files });
            assert_eq!(found.status, status, "{found:?}");
            assert!(found.detail.contains(word), "{found:?}");
        }
    }

    #[tokio::test]
    async fn the_worst_disk_counts() {
        let here = tempfile::tempdir().unwrap();
        let gone = here.path().join("gone");
        let found = look(vec![here.path().to_owned(), gone]).await;
        assert_eq!(found.status, Failed);
        assert!(
            found.detail.contains("gone can't be looked at"),
            "{found:?}"
        );
    }
}
