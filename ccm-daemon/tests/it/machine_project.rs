//! What `ccm init` writes, and how a project is found, moved and copied.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use ccm_core::ErrorKind;
use ccm_daemon::machine::project_dir::default_name;
use ccm_daemon::machine::{Home, HomeChoice, Identity, InitOptions, ProjectConfig, ProjectDir};

/// A user's home with a machine home and folders in it.
struct Place {
    temp: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            temp: tempfile::tempdir().unwrap(),
        }
    }

    fn root(&self) -> PathBuf {
        self.temp.path().canonicalize().unwrap()
    }

    fn home(&self) -> Home {
        Home::choose(&HomeChoice {
            user_home: Some(self.root()),
            current_dir: self.root(),
            ..HomeChoice::default()
        })
        .unwrap()
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.root().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn init(&self, folder: &Path) -> ccm_core::Result<ccm_daemon::machine::Initialised> {
        ProjectDir::init(folder, &self.home(), &InitOptions::default())
    }
}

#[test]
fn init_writes_everything_once() {
    let place = Place::new();
    let folder = place.folder("hello");
    let made = place.init(&folder).unwrap();
    let created: Vec<String> = made
        .created
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    assert_eq!(
        created,
        [
            ".ccm/skills",
            ".ccm/prompts",
            ".ccm/.gitignore",
            ".ccm/config.yaml",
            ".ccm/agent.log",
            ".ccm/id"
        ]
    );
    assert!(made.config_created);
    assert_eq!(made.dir.folder(), folder);
    assert_eq!(made.dir.id().unwrap(), Some(made.id));
    let config = ProjectConfig::load(&folder).unwrap();
    assert_eq!(
        (config.config, config.warnings),
        (ProjectConfig::default(), vec![])
    );

    let again = place.init(&folder).unwrap();
    assert_eq!(again.created, Vec::<PathBuf>::new());
    assert_eq!(again.id, made.id);
    assert!(!again.config_created);
}

#[test]
fn init_completes_what_a_clone_has() {
    let place = Place::new();
    let folder = place.folder("clone");
    std::fs::create_dir(folder.join(".ccm")).unwrap();
    std::fs::write(folder.join(".ccm/config.yaml"), "name: theirs\n").unwrap();
    let made = place.init(&folder).unwrap();
    assert!(!made.config_created);
    assert!(made.created.contains(&PathBuf::from(".ccm/id")));
    assert_eq!(
        std::fs::read_to_string(folder.join(".ccm/config.yaml")).unwrap(),
        "name: theirs\n"
    );
}

#[test]
fn init_takes_a_name_and_settings() {
    let place = Place::new();
    let folder = place.folder("x");
    let options = InitOptions {
        name: Some("my-project".to_owned()),
        settings: vec![
            ("agent.command".to_owned(), "[cat]".to_owned()),
            ("agent.driver".to_owned(), "command".to_owned()),
        ],
        ..InitOptions::default()
    };
    ProjectDir::init(&folder, &place.home(), &options).unwrap();
    let config = ProjectConfig::load(&folder).unwrap().config;
    assert_eq!(config.name.as_deref(), Some("my-project"));
    assert_eq!(config.agent.command, ["cat"]);

    let other = place.folder("y");
    let options = InitOptions {
        name: Some("a b".to_owned()),
        ..InitOptions::default()
    };
    let e = ProjectDir::init(&other, &place.home(), &options).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Invalid);
    assert!(!other.join(".ccm").exists(), "nothing is left behind");
}

#[test]
fn git_ignores_what_is_of_this_machine() {
    let place = Place::new();
    let folder = place.folder("hello");
    place.init(&folder).unwrap();
    let git = |args: &[&str]| {
        let run = std::process::Command::new("git")
            .args(args)
            .current_dir(&folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output();
        run.ok()
            .filter(|out| out.status.success())
            .map(|out| String::from_utf8(out.stdout).unwrap())
    };
    if git(&["init", "-q"]).is_none() {
        return; // No git here; the file's text is checked by the other tests' listing.
    }
    std::fs::write(folder.join(".ccm/prompts/a.md"), "x").unwrap();
    std::fs::write(folder.join(".ccm/agent.log.1"), "x").unwrap();
    let seen = git(&["status", "--porcelain", "-uall"]).unwrap();
    assert_eq!(
        seen,
        "?? .ccm/.gitignore\n?? .ccm/config.yaml\n?? .ccm/prompts/a.md\n"
    );
}

#[test]
fn places_that_can_not_be_a_project_are_refused() {
    let place = Place::new();
    let home = place.home();
    home.create().unwrap();
    std::fs::write(home.config_file(), "profile: full\n").unwrap();
    for (folder, why) in [
        (place.root(), "is your home folder"),
        (PathBuf::from("/"), "is the root folder"),
        (home.dir().to_owned(), "is CCM's own folder"),
        (home.runs_dir(), "is CCM's own folder"),
    ] {
        let e = place.init(&folder).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Invalid);
        assert!(e.to_string().contains(why), "{e}");
        assert!(!folder.join(".ccm").exists());
    }
    let e = place.init(&place.root().join("missing")).unwrap_err();
    assert!(e.to_string().starts_with("there is no folder "), "{e}");
    let file = place.root().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(
        place
            .init(&file)
            .unwrap_err()
            .to_string()
            .ends_with("it is no folder")
    );
}

#[test]
fn a_project_inside_another_needs_nested() {
    let place = Place::new();
    let outer = place.folder("outer");
    let inner = place.folder("outer/a/b");
    let outer_id = place.init(&outer).unwrap().id;
    let e = place.init(&inner).unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::WrongState(_)));
    assert!(e.to_string().contains("`ccm init --nested`"), "{e}");
    assert!(!inner.join(".ccm").exists());

    let home = place.home();
    let found = ProjectDir::find(&inner, &home).unwrap().unwrap();
    assert_eq!(
        (found.folder(), found.id().unwrap()),
        (&*outer, Some(outer_id))
    );

    let options = InitOptions {
        nested: true,
        ..InitOptions::default()
    };
    let nested = ProjectDir::init(&inner, &home, &options).unwrap();
    assert_ne!(nested.id, outer_id);
    assert_eq!(
        ProjectDir::find(&inner, &home).unwrap().unwrap().folder(),
        inner
    );
    // Once it is one, it needs no word again.
    assert_eq!(place.init(&inner).unwrap().id, nested.id);
}

#[test]
fn the_search_upwards_ignores_machine_homes() {
    let place = Place::new();
    let older = place.folder(".ccm");
    std::fs::write(older.join("config.yaml"), "profile: full\n").unwrap();
    let folder = place.folder("code/x");
    assert_eq!(place.home().dir(), older);
    assert_eq!(ProjectDir::find(&folder, &place.home()).unwrap(), None);
    assert_eq!(place.init(&folder).unwrap().dir.folder(), folder);
}

#[test]
fn a_file_in_the_place_of_the_folder_is_no_project() {
    let place = Place::new();
    let below = place.folder("x/y");
    std::fs::write(place.root().join("x/.ccm"), "mine").unwrap();
    assert_eq!(ProjectDir::find(&below, &place.home()).unwrap(), None);
    assert!(place.init(&place.root().join("x")).is_err());
    assert_eq!(
        std::fs::read_to_string(place.root().join("x/.ccm")).unwrap(),
        "mine"
    );
    place.init(&below).unwrap();
}

#[test]
fn a_worktree_belongs_to_the_project_of_the_main_tree() {
    let place = Place::new();
    let main = place.folder("main");
    let made = place.init(&main).unwrap();
    let git_dir = place.folder("main/.git/worktrees/wt");
    std::fs::write(git_dir.join("commondir"), "../..\n").unwrap();
    let tree = place.folder("wt");
    std::fs::write(
        tree.join(".git"),
        format!("gitdir: {}\n", git_dir.display()),
    )
    .unwrap();
    let below = place.folder("wt/src");
    let home = place.home();
    for from in [&tree, &below] {
        assert_eq!(
            ProjectDir::find(from, &home).unwrap().unwrap().folder(),
            main
        );
    }
    // Also when the committed part of .ccm is checked out there.
    std::fs::create_dir(tree.join(".ccm")).unwrap();
    std::fs::copy(main.join(".ccm/config.yaml"), tree.join(".ccm/config.yaml")).unwrap();
    assert_eq!(
        ProjectDir::find(&below, &home).unwrap().unwrap().folder(),
        main
    );
    let e = place.init(&tree).unwrap_err();
    assert!(e.to_string().contains("belongs to the project in"), "{e}");

    let options = InitOptions {
        nested: true,
        ..InitOptions::default()
    };
    let own = ProjectDir::init(&tree, &home, &options).unwrap();
    assert_ne!(own.id, made.id);
    assert_eq!(
        ProjectDir::find(&below, &home).unwrap().unwrap().folder(),
        tree
    );
}

#[test]
fn a_moved_folder_finds_its_project_and_a_copy_is_refused() {
    let place = Place::new();
    let old = place.folder("old");
    let id = place.init(&old).unwrap().id;
    let dir = ProjectDir::open(&old).unwrap();
    assert_eq!(dir.identify(None).unwrap(), Identity::New);
    assert_eq!(dir.identify(Some(&old)).unwrap(), Identity::Same);
    let link = place.root().join("link");
    symlink(&old, &link).unwrap();
    assert_eq!(dir.identify(Some(&link)).unwrap(), Identity::Same);

    let new = place.root().join("new");
    std::fs::rename(&old, &new).unwrap();
    let moved = ProjectDir::open(&new).unwrap();
    assert_eq!(
        moved.identify(Some(&old)).unwrap(),
        Identity::Moved { from: old.clone() }
    );

    // Another folder in the old place is no hindrance; the same project there is.
    std::fs::create_dir(&old).unwrap();
    assert_eq!(
        moved.identify(Some(&old)).unwrap(),
        Identity::Moved { from: old.clone() }
    );
    std::fs::create_dir(old.join(".ccm")).unwrap();
    std::fs::copy(new.join(".ccm/id"), old.join(".ccm/id")).unwrap();
    let e = moved.identify(Some(&old)).unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::WrongState(_)));
    assert!(e.to_string().contains("is a copy of the project in"), "{e}");

    let renewed = moved.renew_id().unwrap();
    assert_ne!(renewed, id);
    assert_eq!(moved.id().unwrap(), Some(renewed));
    assert!(!moved.is_copy_of(&old));
}

#[test]
fn symbolic_links_in_the_project_are_refused() {
    let place = Place::new();
    let elsewhere = place.folder("elsewhere");
    for part in [
        "",
        "config.yaml",
        "id",
        "skills",
        "prompts",
        "agent.log",
        ".gitignore",
    ] {
        let folder = place.folder(&format!("p-{}", part.trim_start_matches('.')));
        let ccm = folder.join(".ccm");
        if part.is_empty() {
            symlink(&elsewhere, &ccm).unwrap();
        } else {
            std::fs::create_dir(&ccm).unwrap();
            symlink(elsewhere.join("x"), ccm.join(part)).unwrap();
        }
        let e = place.init(&folder).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Invalid, "{part}: {e}");
        assert!(e.to_string().contains("symbolic link"), "{part}: {e}");
        assert!(ProjectDir::find(&folder, &place.home()).is_err(), "{part}");
    }
    assert_eq!(
        std::fs::read_dir(&elsewhere).unwrap().count(),
        0,
        "nothing was written through a link"
    );
}

#[test]
fn a_damaged_id_says_what_to_do() {
    let place = Place::new();
    let folder = place.folder("p");
    place.init(&folder).unwrap();
    std::fs::write(folder.join(".ccm/id"), "x\n").unwrap();
    let e = place.init(&folder).unwrap_err();
    assert!(
        e.to_string()
            .contains("holds no id; delete it and run `ccm init` again"),
        "{e}"
    );
}

#[test]
fn names_come_from_folders() {
    for (folder, name) in [
        ("/x/repo-1", "repo-1"),
        ("/x/My Project!", "My-Project"),
        ("/x/.hidden", "hidden"),
        ("/x/äöü", "äöü"),
        ("/x/---", "project"),
        ("/", "project"),
    ] {
        assert_eq!(default_name(Path::new(folder)), name);
    }
}
