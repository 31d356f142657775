//! Which repository a folder is a copy of: its remote `origin`, in one form on all machines.
//!
//! Only git's own files are read, as text. Nothing of the repository is run, and no git is needed.

use std::path::{Path, PathBuf};

use super::files::{self, Links, Stamp};

/// The longest name of a repository.
const LONGEST: usize = 512;
/// Hosts that speak SSH under another name, on a port that firewalls let through.
const SAME_HOST: &[(&str, &str)] = &[
    ("ssh.github.com", "github.com"),
    ("altssh.gitlab.com", "gitlab.com"),
    ("altssh.bitbucket.org", "bitbucket.org"),
];
/// Hosts that don't tell letters of either case apart.
const CASELESS: &[&str] = &["github.com", "gitlab.com", "bitbucket.org"];

/// The place where git keeps what a folder's repository is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct GitConfig {
    file: PathBuf,
    /// The folder's place in the repository; empty for its root.
    inside: PathBuf,
}

impl GitConfig {
    /// That of the nearest repository that `folder` is in, be it a worktree or a submodule.
    fn of(folder: &Path) -> Option<Self> {
        let root = folder.ancestors().find(|path| path.join(".git").exists())?;
        let inside = folder.strip_prefix(root).ok()?.to_owned();
        let dot_git = root.join(".git");
        if dot_git.is_dir() {
            let file = dot_git.join("config");
            return Some(Self { file, inside });
        }
        let pointer = files::read_text(&dot_git, Links::Followed).ok()?;
        let git_dir = root.join(pointer.strip_prefix("gitdir:")?.trim());
        // A worktree shares the config of the tree that it belongs to; a submodule has one of its own.
        let common = match files::read_text(&git_dir.join("commondir"), Links::Followed) {
            Ok(common) => git_dir.join(common.trim()),
            Err(_) => git_dir,
        };
        let file = common.join("config");
        Some(Self { file, inside })
    }
}

/// What a repository was found to be, for as long as its files look the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Looked {
    config: Option<(GitConfig, Option<Stamp>)>,
    /// The name that was found.
    pub(super) name: Option<String>,
    settled: bool,
}

/// Looks at the repository of `folder`, or answers from `before` if nothing changed since.
pub(super) fn look(folder: &Path, before: Option<&Looked>) -> Looked {
    let config = GitConfig::of(folder).map(|config| {
        let stamp = Stamp::of(&config.file);
        (config, stamp)
    });
    if let Some(before) = before.filter(|before| before.settled && before.config == config) {
        return before.clone();
    }
    let name = config.as_ref().and_then(|(config, _)| name_by(config));
    // A file that changed just now may change once more within the same tick of its clock.
    let settled = config
        .as_ref()
        .is_none_or(|(_, stamp)| stamp.is_some_and(Stamp::is_settled));
    Looked {
        config,
        name,
        settled,
    }
}

fn name_by(config: &GitConfig) -> Option<String> {
    let text = files::read_text(&config.file, Links::Followed).ok()?;
    let mut name = normalised(&origin(&text)?)?;
    // Two projects in one repository are two.
    for part in config.inside.components() {
        let separator = if name.contains('#') { '/' } else { '#' };
        name.push(separator);
        name.push_str(part.as_os_str().to_str()?);
    }
    (name.len() <= LONGEST && !name.chars().any(char::is_control)).then_some(name)
}

/// The URL of the remote `origin`, with what the same file says should stand for its beginning.
fn origin(config: &str) -> Option<String> {
    let mut url = None;
    let mut instead: Vec<(String, String)> = Vec::new();
    for (section, key, value) in entries(config) {
        match (&*section, &*key) {
            ("remote.origin", "url") => {
                url.get_or_insert(value);
            }
            (section, "insteadof") => {
                if let Some(base) = section.strip_prefix("url.") {
                    instead.push((value, base.to_owned()));
                }
            }
            _ => {}
        }
    }
    let url = url?;
    let longest = instead
        .iter()
        .filter(|(prefix, _)| !prefix.is_empty() && url.starts_with(prefix.as_str()))
        .max_by_key(|(prefix, _)| prefix.len());
    Some(match longest {
        Some((prefix, base)) => format!("{base}{}", &url[prefix.len()..]),
        None => url,
    })
}

/// The entries of a git config: section with its subsection, key in lower case, value.
fn entries(text: &str) -> Vec<(String, String, String)> {
    let mut entries = Vec::new();
    let mut section = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut rest = line.trim_start();
        if let Some(header) = rest.strip_prefix('[') {
            let Some((name, after)) = heading(header) else {
                section.clear();
                continue;
            };
            section = name;
            rest = after.trim_start();
        }
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
            .unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        let Some(start) = after.trim_start().strip_prefix('=') else {
            continue;
        };
        if !key.is_empty() {
            let value = value(start, &mut lines);
            entries.push((section.clone(), key.to_ascii_lowercase(), value));
        }
    }
    entries
}

/// What stands after a `[`: the section, as in `remote.origin`, and what follows on the line.
fn heading(text: &str) -> Option<(String, &str)> {
    let end = text.find([']', '"'])?;
    let mut name = text[..end].trim().to_ascii_lowercase();
    let mut rest = &text[end..];
    if let Some(quoted) = rest.strip_prefix('"') {
        name.push('.');
        let mut chars = quoted.char_indices();
        loop {
            match chars.next()?.1 {
                '"' => break,
                '\\' => name.push(chars.next()?.1),
                c => name.push(c),
            }
        }
        rest = chars.as_str().trim_start();
    }
    Some((name, rest.strip_prefix(']')?))
}

/// A value: without comments, quotes and the spaces around it, over lines that end with a backslash.
fn value<'a>(start: &'a str, lines: &mut impl Iterator<Item = &'a str>) -> String {
    let (mut value, mut spaces) = (String::new(), String::new());
    let mut quoted = false;
    let mut chars = start.trim_start().chars();
    loop {
        let c = match chars.next() {
            None => break,
            Some('"') => {
                quoted = !quoted;
                continue;
            }
            Some('#' | ';') if !quoted => break,
            Some('\\') => match chars.next() {
                None => {
                    let Some(next) = lines.next() else { break };
                    chars = next.chars();
                    continue;
                }
                Some('n') => '\n',
                Some('t') => '\t',
                Some(c) => c,
            },
            Some(c) if c.is_whitespace() && !quoted => {
                spaces.push(c);
                continue;
            }
            Some(c) => c,
        };
        value.push_str(&std::mem::take(&mut spaces));
        value.push(c);
    }
    value
}

/// `host/path` of a URL in any of the forms that git knows. `None` for what only one machine has, such as a folder.
fn normalised(url: &str) -> Option<String> {
    let url = url.trim();
    let (host, port, path) = match url.split_once("://") {
        Some((scheme, rest)) => {
            let scheme = scheme.to_ascii_lowercase();
            let scheme = scheme.strip_prefix("git+").unwrap_or(&scheme);
            let usual = match scheme {
                // Where SSH listens says nothing about what is served over the web.
                "ssh" | "git" => None,
                "https" => Some("443"),
                "http" => Some("80"),
                _ => return None,
            };
            let (authority, path) = rest.split_once('/')?;
            let host = authority.rsplit('@').next()?;
            let (host, port) = with_port(host);
            (
                host,
                port.filter(|port| usual.is_some_and(|usual| usual != *port)),
                path,
            )
        }
        None => {
            let (host, path) = scp(url)?;
            (host, None, path)
        }
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let host = SAME_HOST
        .iter()
        .find_map(|(other, usual)| (*other == host).then(|| (*usual).to_owned()))
        .unwrap_or(host);
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let path = parts.join("/");
    let path = path
        .strip_suffix(".git")
        .unwrap_or(&path)
        .trim_end_matches('/');
    let plain = |text: &str| {
        !text
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || c == '#')
    };
    if host.is_empty() || path.is_empty() || parts.contains(&"..") || !plain(&host) || !plain(path)
    {
        return None;
    }
    let path = if CASELESS.contains(&&*host) {
        path.to_ascii_lowercase()
    } else {
        path.to_owned()
    };
    Some(match port {
        Some(port) => format!("{host}:{port}/{path}"),
        None => format!("{host}/{path}"),
    })
}

fn with_port(host: &str) -> (&str, Option<&str>) {
    // The colons of an address in brackets are its own.
    let from = host.rfind(']').unwrap_or(0);
    match host[from..].rfind(':') {
        Some(at) => {
            let port = &host[from + at + 1..];
            (
                &host[..from + at],
                Some(port).filter(|port| !port.is_empty()),
            )
        }
        None => (host, None),
    }
}

/// `[user@]host:path`, the form of `scp`.
fn scp(url: &str) -> Option<(&str, &str)> {
    let from = match url
        .split_once('@')
        .map_or(url, |(_, rest)| rest)
        .starts_with('[')
    {
        true => url.find(']')?,
        false => 0,
    };
    let colon = from + url[from..].find(':')?;
    let (host, path) = (&url[..colon], &url[colon + 1..]);
    let host = host.rsplit('@').next()?;
    // A folder, a drive of Windows, or `helper::address`.
    if host.contains('/') || host.len() < 2 || path.starts_with(':') {
        return None;
    }
    Some((host, path))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn all_forms_of_one_address_are_one_name() {
        for url in [
            "https://github.com/me/shop.git",
            "https://github.com/me/shop/",
            "https://me:ghp_secret@github.com/Me/shop.git",
            "https://github.com:443/me/shop",
            "http://github.com/me/shop",
            "ssh://git@github.com/me/shop.git",
            "ssh://git@github.com:22/me/shop",
            "ssh://git@ssh.github.com:443/me/shop.git",
            "git+ssh://git@github.com/me/shop",
            "git://GitHub.com/me/shop.git",
            "git@github.com:me/shop.git",
            "git@github.com:/me/shop",
            "github.com:me/shop.git",
        ] {
            assert_eq!(
                normalised(url).as_deref(),
                Some("github.com/me/shop"),
                "{url}"
            );
        }
    }

    #[test]
    fn what_differs_stays_different() {
        let name = |url| normalised(url).unwrap();
        assert_eq!(
            name("git@git.example.com:Team/Shop.git"),
            "git.example.com/Team/Shop"
        );
        assert_eq!(
            name("https://git.example.com:8443/a"),
            "git.example.com:8443/a"
        );
        assert_eq!(
            name("ssh://git@git.example.com:2222/a"),
            "git.example.com/a"
        );
        assert_eq!(name("git@[2001:db8::1]:a/b.git"), "[2001:db8::1]/a/b");
        assert_eq!(name("ssh://git@[2001:db8::1]:22/a/b"), "[2001:db8::1]/a/b");
        assert_eq!(name("box:~me/a"), "box/~me/a");
    }

    #[test]
    fn what_only_one_machine_has_has_no_name() {
        for url in [
            "",
            "/srv/git/shop.git",
            "../shop",
            "./a:b",
            "file:///srv/git/shop.git",
            "C:\\git\\shop",
            "C:/git/shop",
            "ext::sh -c whoami",
            "https://github.com/",
            "https://github.com",
            "https:///me/shop",
            "https://github.com/../etc",
            "https://github.com/a\u{7}b",
            "git@github.com:",
            "@:a",
        ] {
            assert_eq!(normalised(url), None, "{url}");
        }
    }

    #[test]
    fn a_config_is_read_as_git_reads_it() {
        let of = |text: &str| origin(text);
        let usual = "[core]\n\turl = wrong\n[remote \"origin\"]\n\turl = a:b # c\n\tfetch = +x\n";
        assert_eq!(of(usual).as_deref(), Some("a:b"));
        assert_eq!(of("[REMOTE \"origin\"] URL=a:b\n").as_deref(), Some("a:b"));
        assert_eq!(of("[remote \"Origin\"]\nurl = a:b\n"), None);
        assert_eq!(
            of("[remote \"origin\"]\nurl = \"a;b\" ; c\n").as_deref(),
            Some("a;b")
        );
        assert_eq!(
            of("[remote \"origin\"]\nurl = a:\\\nb\n").as_deref(),
            Some("a:b")
        );
        assert_eq!(
            of("[remote \"origin\"]\nurl = a:1\nurl = a:2\n").as_deref(),
            Some("a:1")
        );
        let instead =
            "[url \"git@github.com:\"]\n insteadOf = gh:\n[remote \"origin\"]\n url = gh:me/x\n";
        assert_eq!(of(instead).as_deref(), Some("git@github.com:me/x"));
        for broken in [
            "[remote \"origin",
            "[remote \"origin\"\nurl = a:b",
            "url = a:b",
            "[",
            "[]\n=x\n",
        ] {
            assert_eq!(of(broken), None, "{broken}");
        }
    }

    fn repository(root: &Path, url: &str) {
        fs::create_dir_all(root.join(".git")).unwrap();
        let config = format!("[remote \"origin\"]\n\turl = {url}\n");
        fs::write(root.join(".git/config"), config).unwrap();
    }

    fn name(folder: &Path) -> Option<String> {
        look(folder, None).name
    }

    #[test]
    fn worktrees_submodules_and_subfolders_are_told_apart() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("shop");
        repository(&root, "git@example.com:me/shop.git");
        assert_eq!(name(&root).as_deref(), Some("example.com/me/shop"));
        let inside = root.join("apps/web");
        fs::create_dir_all(&inside).unwrap();
        assert_eq!(
            name(&inside).as_deref(),
            Some("example.com/me/shop#apps/web")
        );

        let tree = temp.path().join("tree");
        let git_dir = root.join(".git/worktrees/tree");
        fs::create_dir_all(&tree).unwrap();
        fs::create_dir_all(&git_dir).unwrap();
        fs::write(
            tree.join(".git"),
            format!("gitdir: {}\n", git_dir.display()),
        )
        .unwrap();
        fs::write(git_dir.join("commondir"), "../..\n").unwrap();
        assert_eq!(name(&tree).as_deref(), Some("example.com/me/shop"));

        let module = root.join("vendor/lib");
        let git_dir = root.join(".git/modules/lib");
        fs::create_dir_all(&module).unwrap();
        fs::create_dir_all(&git_dir).unwrap();
        fs::write(module.join(".git"), "gitdir: ../../.git/modules/lib\n").unwrap();
        fs::write(
            git_dir.join("config"),
            "[remote \"origin\"]\nurl = https://example.com/lib\n",
        )
        .unwrap();
        assert_eq!(name(&module).as_deref(), Some("example.com/lib"));

        assert_eq!(name(temp.path()), None);
    }

    #[test]
    fn another_remote_is_seen() {
        let temp = tempfile::tempdir().unwrap();
        repository(temp.path(), "git@example.com:a");
        let first = look(temp.path(), None);
        assert_eq!(look(temp.path(), Some(&first)).name, first.name);
        repository(temp.path(), "git@example.com:bb");
        let second = look(temp.path(), Some(&first));
        assert_eq!(second.name.as_deref(), Some("example.com/bb"));
        fs::remove_dir_all(temp.path().join(".git")).unwrap();
        assert_eq!(look(temp.path(), Some(&second)).name, None);
    }
}
