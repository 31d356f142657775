//! Puts the web page into the crate: builds it when its sources changed, and writes the list of its files.
//!
//! `CCM_WEB_UI_DIST` names a folder with a page that is built already, for packagers; then nothing of Node is needed.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;

const PREBUILT: &str = "CCM_WEB_UI_DIST";
/// What a build of the page depends on, in its folder.
const SOURCES: &[&str] = &[
    "src",
    "public",
    "index.html",
    "package.json",
    "package-lock.json",
    "svelte.config.js",
    "vite.config.ts",
];
/// What vite needs.
const NODE: (u32, u32) = (20, 19);

fn main() -> ExitCode {
    println!("cargo::rerun-if-env-changed={PREBUILT}");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_WEB_UI").is_none() {
        return ExitCode::SUCCESS;
    }
    match page().and_then(|page| embed(&page)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!(
                "cargo::error={why}. (With `--no-default-features --features programs` the page is left out, and with \
                 {PREBUILT} a folder with one that is built already is taken.)"
            );
            ExitCode::FAILURE
        }
    }
}

type Outcome<T> = Result<T, String>;

/// The folder with the built page.
fn page() -> Outcome<PathBuf> {
    if let Some(folder) = std::env::var_os(PREBUILT) {
        let folder = PathBuf::from(folder);
        println!("cargo::rerun-if-changed={}", folder.display());
        return match folder.join("index.html").is_file() {
            true => Ok(folder),
            false => Err(format!(
                "{PREBUILT} names {}, where there is no index.html",
                folder.display()
            )),
        };
    }
    let web = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("web");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", web.join(source).display());
    }
    let out = PathBuf::from(variable("OUT_DIR")?).join("web");
    check_node()?;
    // Builds of two profiles may come here at once.
    let lock = File::create(web.join(".build.lock"))
        .map_err(told("the folder of the page can't be written"))?;
    lock.lock()
        .map_err(told("the folder of the page can't be locked"))?;
    install(&web)?;
    let vite = web.join("node_modules/vite/bin/vite.js");
    run(Command::new("node")
        .arg(vite)
        .arg("build")
        .arg("--outDir")
        .arg(&out)
        .arg("--emptyOutDir")
        .current_dir(&web))?;
    Ok(out)
}

fn check_node() -> Outcome<()> {
    let missing = |found: &str| {
        format!(
            "the web page is built with Node {}.{} or newer and npm, and {found}: install it and build again",
            NODE.0, NODE.1
        )
    };
    let said = Command::new("node").arg("--version").output();
    let Ok(said) = said else {
        return Err(missing("there is no `node` on the PATH"));
    };
    let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    let mut parts = said
        .trim_start_matches('v')
        .split('.')
        .map(|part| part.parse().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version < NODE {
        return Err(missing(&format!("the one on the PATH is {said}")));
    }
    match Command::new("npm")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
    {
        Ok(status) if status.success() => Ok(()),
        _ => Err(missing("there is no `npm` on the PATH")),
    }
}

/// The packages of the build, unless they are there in just these versions.
fn install(web: &Path) -> Outcome<()> {
    let lock = fs::read(web.join("package-lock.json"))
        .map_err(told("package-lock.json of the page can't be read"))?;
    // Written last, so an installation that was cut or is of other versions counts as none.
    let stamp = web.join("node_modules/.installed");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    run(Command::new("npm")
        .args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel",
            "error",
        ])
        .current_dir(web))?;
    fs::write(stamp, lock).map_err(told("the installed packages can't be marked as whole"))
}

fn run(command: &mut Command) -> Outcome<()> {
    let output = command.stdin(Stdio::null()).output();
    let what = format!("{command:?}");
    let output = output.map_err(|error| format!("{what} did not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    // Cargo shows what a failed build script printed.
    let _ = io::stderr().write_all(&output.stdout);
    let _ = io::stderr().write_all(&output.stderr);
    Err(format!("{what} failed ({})", output.status))
}

/// Writes `web_files.rs`: each file with its path on the server and its compressed content.
fn embed(page: &Path) -> Outcome<()> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    let compressed = out.join("web-compressed");
    fs::create_dir_all(&compressed).map_err(told("no folder for compressed files"))?;
    let mut files = Vec::new();
    walk(page, page, &mut files)?;
    files.sort();
    let mut list = String::from("&[\n");
    for (index, path) in files.iter().enumerate() {
        let content =
            fs::read(page.join(path)).map_err(told("a file of the page can't be read"))?;
        let to = compressed.join(format!("{index}.gz"));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let whole = encoder.write_all(&content).and_then(|()| encoder.finish());
        fs::write(&to, whole.map_err(told("a file can't be compressed"))?)
            .map_err(told("no room for a file"))?;
        let _ = writeln!(
            list,
            "    File {{ path: \"/{path}\", gzip: include_bytes!({to:?}) }},"
        );
    }
    list.push_str("]\n");
    fs::write(out.join("web_files.rs"), list).map_err(told("the list of files can't be written"))
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<String>) -> Outcome<()> {
    let entries = fs::read_dir(folder).map_err(told("the built page can't be read"))?;
    for entry in entries {
        let path = entry.map_err(told("the built page can't be read"))?.path();
        if path.is_dir() {
            walk(root, &path, files)?;
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            files.push(name.to_owned());
        }
    }
    Ok(())
}

fn variable(name: &str) -> Outcome<String> {
    std::env::var(name).map_err(|_| format!("Cargo did not set {name}"))
}

fn told(what: &str) -> impl Fn(io::Error) -> String + '_ {
    move |error| format!("{what}: {error}")
}
