//! Editing a config file through a copy: the file itself is replaced by what is right, or not at all.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use ccm_core::ErrorKind;
use ccm_daemon::machine::draft::Verdict;
use ccm_daemon::machine::{ConfigFile, Home};

const TEXT: &str = "# mine\nprofile: full  # why\n";

struct Desk {
    _dir: tempfile::TempDir,
    home: Home,
    file: ConfigFile,
}

impl Desk {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        home.create().unwrap();
        std::fs::write(home.config_file(), text).unwrap();
        std::fs::set_permissions(home.config_file(), PermissionsExt::from_mode(0o600)).unwrap();
        Self {
            file: ConfigFile::machine(&home),
            home,
            _dir: dir,
        }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.home.config_file()).unwrap()
    }
}

#[test]
fn a_good_draft_takes_the_place_of_the_file() {
    let desk = Desk::new(TEXT);
    let draft = desk.file.draft(&desk.home, false).unwrap();
    assert_eq!(std::fs::read_to_string(draft.path()).unwrap(), TEXT);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(draft.path()), 0o600);
    assert_eq!(draft.judge().unwrap(), Verdict::Unchanged(None));
    let edited = format!("{TEXT}# more\nagents: {{max_concurrent: 3}}\n");
    std::fs::write(draft.path(), &edited).unwrap();
    let Verdict::Good(warnings) = draft.judge().unwrap() else {
        panic!("{:?}", draft.judge());
    };
    assert_eq!(warnings.len(), 1, "the two limits disagree");
    let path = draft.path().to_owned();
    draft.install().unwrap();
    assert_eq!(desk.text(), edited);
    assert_eq!(mode(desk.home.config_file()), 0o600);
    assert!(!path.exists());
}

#[test]
fn a_broken_draft_is_never_installed_and_is_there_the_next_time() {
    let desk = Desk::new(TEXT);
    let draft = desk.file.draft(&desk.home, false).unwrap();
    std::fs::write(draft.path(), "profile: fast\nagnets: 1\n").unwrap();
    let Verdict::Broken(errors) = draft.judge().unwrap() else {
        panic!("{:?}", draft.judge());
    };
    assert_eq!(errors.problems.len(), 2, "{errors}");
    assert_eq!(draft.install().unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(desk.text(), TEXT);

    let draft = desk.file.draft(&desk.home, false).unwrap();
    assert!(draft.is_resumed());
    assert!(
        std::fs::read_to_string(draft.path())
            .unwrap()
            .contains("fast")
    );
    std::fs::write(draft.path(), "profile: minimal\n").unwrap();
    assert_eq!(draft.judge().unwrap(), Verdict::Good(vec![]));
    draft.install().unwrap();
    assert_eq!(desk.text(), "profile: minimal\n");

    let draft = desk.file.draft(&desk.home, false).unwrap();
    std::fs::write(draft.path(), "profile: fast\n").unwrap();
    drop(draft);
    let draft = desk.file.draft(&desk.home, true).unwrap();
    assert!(!draft.is_resumed());
    assert_eq!(draft.judge().unwrap(), Verdict::Unchanged(None));
}

#[test]
fn a_broken_file_can_be_mended() {
    let desk = Desk::new("profile: [\n");
    let draft = desk.file.draft(&desk.home, false).unwrap();
    let Verdict::Unchanged(Some(errors)) = draft.judge().unwrap() else {
        panic!("{:?}", draft.judge());
    };
    assert!(errors.to_string().contains("not valid YAML"), "{errors}");
    std::fs::write(draft.path(), TEXT).unwrap();
    assert_eq!(draft.judge().unwrap(), Verdict::Good(vec![]));
    draft.install().unwrap();
    assert_eq!(desk.text(), TEXT);
}

#[test]
fn what_changed_meanwhile_is_noticed() {
    let desk = Desk::new(TEXT);
    let draft = desk.file.draft(&desk.home, false).unwrap();
    std::fs::write(draft.path(), "profile: minimal\n").unwrap();
    desk.file.set("web_ui.port", "9000").unwrap();
    assert_eq!(draft.judge().unwrap(), Verdict::Overtaken);
    drop(draft);
    // Also of a draft that was left lying.
    let later = SystemTime::now() + Duration::from_secs(10);
    let config = std::fs::File::options()
        .write(true)
        .open(desk.home.config_file())
        .unwrap();
    config.set_modified(later).unwrap();
    let draft = desk.file.draft(&desk.home, false).unwrap();
    assert!(draft.is_resumed());
    assert_eq!(draft.judge().unwrap(), Verdict::Overtaken);
}

#[test]
fn two_do_not_edit_at_once() {
    let desk = Desk::new(TEXT);
    let draft = desk.file.draft(&desk.home, false).unwrap();
    let refused = desk.file.draft(&desk.home, true).unwrap_err();
    assert!(
        matches!(refused.kind(), ErrorKind::WrongState(_)),
        "{refused}"
    );
    drop(draft);
    desk.file.draft(&desk.home, false).unwrap();
}

#[test]
fn a_link_to_the_file_stays_one() {
    let desk = Desk::new(TEXT);
    let dotfiles = desk.home.dir().parent().unwrap().join("dotfiles.yaml");
    std::fs::rename(desk.home.config_file(), &dotfiles).unwrap();
    symlink(&dotfiles, desk.home.config_file()).unwrap();
    let draft = desk.file.draft(&desk.home, false).unwrap();
    std::fs::write(draft.path(), "profile: minimal\n").unwrap();
    draft.install().unwrap();
    assert!(desk.home.config_file().is_symlink());
    assert_eq!(
        std::fs::read_to_string(dotfiles).unwrap(),
        "profile: minimal\n"
    );
}

#[test]
fn drafts_of_projects_are_where_no_repository_can_put_one() {
    let desk = Desk::new(TEXT);
    let folder = desk.home.dir().parent().unwrap().join("shop");
    std::fs::create_dir_all(folder.join(".ccm")).unwrap();
    let file = ConfigFile::project(&folder);
    let draft = file.draft(&desk.home, false).unwrap();
    assert!(draft.path().starts_with(desk.home.dir()));
    std::fs::write(draft.path(), "limits: {timeout: 5}\n").unwrap();
    draft.install().unwrap();
    assert_eq!(file.text().unwrap(), "limits: {timeout: 5}\n");
}
