//! The tables of [`schema`](super::schema).

use super::schema::Applied::{NextRun, NextTask, NotYet, Registration, Reload, Restart};
use super::schema::Kind::{
    Address, Arguments, Bool, Choice, Environment, Hosts, Id, Name, Path, Tags, Text, Url, Word,
};
use super::schema::{Applied, Key, Kind, Schema};

const fn whole(min: i64, max: i64) -> Kind {
    Kind::Whole {
        min,
        max,
        unit: None,
    }
}

const fn seconds(min: i64, max: i64) -> Kind {
    Kind::Whole {
        min,
        max,
        unit: Some("seconds"),
    }
}

const fn counted(unit: &'static str, min: i64, max: i64) -> Kind {
    Kind::Whole {
        min,
        max,
        unit: Some(unit),
    }
}

const fn key(
    path: &'static str,
    kind: Kind,
    default: &'static str,
    applied: Applied,
    doc: &'static str,
) -> Key {
    Key {
        path,
        kind,
        default,
        doc,
        applied,
        secret: false,
    }
}

const fn secret(key: Key) -> Key {
    Key {
        secret: true,
        ..key
    }
}

const DAY: i64 = 86_400;
const YEAR: i64 = 366 * DAY;

/// The machine's `config.yaml`.
pub static MACHINE: Schema = Schema {
    file: "config.yaml",
    keys: &[
        key(
            "profile",
            Choice(&["full", "minimal"]),
            "full",
            Restart,
            "full | minimal (no web UI)",
        ),
        key("system.id", Id, "", Restart, "made at set-up; leave it"),
        key(
            "system.hostname",
            Text,
            "",
            Restart,
            "what this machine is called",
        ),
        key(
            "system.type",
            Choice(&["developer", "devops", "business"]),
            "developer",
            Restart,
            "developer | devops | business",
        ),
        key("system.tags", Tags, "[]", Restart, "tasks can ask for them"),
        key(
            "database.sqlite_path",
            Path,
            "ccm.db",
            Restart,
            "relative paths begin at this file's folder",
        ),
        key(
            "supabase.enabled",
            Bool,
            "false",
            Reload,
            "share projects and tasks between machines",
        ),
        key(
            "supabase.url",
            Url,
            "",
            Reload,
            "https://PROJECT.supabase.co",
        ),
        secret(key(
            "supabase.key",
            Text,
            "",
            Reload,
            "the publishable (anon) key, never a secret one",
        )),
        key(
            "supabase.auth_file",
            Path,
            "auth.json",
            Reload,
            "the encrypted sign-in",
        ),
        key(
            "sync.enabled",
            Bool,
            "true",
            Reload,
            "counts only with supabase.enabled",
        ),
        key(
            "sync.interval_seconds",
            seconds(1, DAY),
            "10",
            Reload,
            "seconds",
        ),
        key(
            "sync.max_retries",
            whole(0, 1000),
            "5",
            Reload,
            "failed tries in a row before it is tried rarely; nothing is dropped",
        ),
        key(
            "sync.conflict_resolution",
            Choice(&["last_write_wins", "manual"]),
            "last_write_wins",
            Reload,
            "last_write_wins | manual",
        ),
        key(
            "web_ui.enabled",
            Bool,
            "true",
            Restart,
            "off in the minimal profile whatever it says",
        ),
        key(
            "web_ui.host",
            Address,
            "127.0.0.1",
            Restart,
            "also where the API listens",
        ),
        key(
            "web_ui.port",
            whole(0, 65_535),
            "8765",
            Restart,
            "0 takes any free port",
        ),
        key(
            "web_ui.allowed_hosts",
            Hosts,
            "[]",
            Reload,
            "host names of a tunnel or VPN of your own",
        ),
        key(
            "web_ui.allow_remote",
            Bool,
            "false",
            Restart,
            "needed, with tls, for a host that is not this machine",
        ),
        key("web_ui.tls.cert", Path, "", Restart, "PEM file"),
        key("web_ui.tls.key", Path, "", Restart, "PEM file"),
        key(
            "web_ui.socket",
            Path,
            "",
            Restart,
            "a unix socket besides, such as ccm.sock",
        ),
        key(
            "agents.max_concurrent",
            whole(1, 10_000),
            "10",
            Reload,
            "runs at once; the smaller of this and resources.max_agents",
        ),
        key(
            "agents.max_idle_time",
            seconds(0, YEAR),
            "300",
            Reload,
            "seconds until an idle agent gives its place back; 0 is never",
        ),
        key(
            "agents.tmux_session_name",
            Word,
            "ccm",
            Restart,
            "one window per agent in it",
        ),
        key(
            "agents.tmux_socket",
            Word,
            "ccm",
            Restart,
            "the tmux server: tmux -L NAME",
        ),
        key(
            "agents.runtime",
            Choice(&["tmux", "process"]),
            "tmux",
            Restart,
            "tmux | process (no windows)",
        ),
        key(
            "daemon.log_level",
            Choice(&["debug", "info", "warning", "error"]),
            "info",
            Reload,
            "debug | info | warning | error",
        ),
        key(
            "daemon.log_file",
            Path,
            "logs/daemon.log",
            Restart,
            "rotated",
        ),
        key(
            "daemon.health_check_interval",
            seconds(1, DAY),
            "60",
            Reload,
            "seconds",
        ),
        key(
            "resources.max_agents",
            whole(1, 10_000),
            "10",
            Reload,
            "runs at once, too",
        ),
        key(
            "resources.max_agent_memory_mb",
            counted("MiB", 16, 16_777_216),
            "2048",
            Reload,
            "of an agent's whole process tree",
        ),
        key(
            "resources.max_tmux_windows",
            whole(1, 100_000),
            "20",
            Reload,
            "further projects wait for room",
        ),
        key(
            "resources.max_queue_size",
            whole(1, 100_000_000),
            "1000",
            Reload,
            "one task more is refused",
        ),
        key(
            "resources.max_supabase_connections",
            whole(1, 100),
            "5",
            Reload,
            "requests under way at once",
        ),
        key(
            "resources.connection_pool_size",
            whole(1, 1000),
            "10",
            Restart,
            "of the database",
        ),
        key(
            "retention.days",
            counted("days", 1, 36_500),
            "30",
            Reload,
            "how long data of ended runs are kept",
        ),
    ],
};

/// A project's `.ccm/config.yaml`.
pub static PROJECT: Schema = Schema {
    file: ".ccm/config.yaml",
    keys: &[
        key(
            "name",
            Name,
            "",
            Registration,
            "what the project is called; the folder's name if unset",
        ),
        key(
            "agent.driver",
            Choice(&["claude", "command"]),
            "claude",
            NextRun,
            "claude | command (any program)",
        ),
        key(
            "agent.command",
            Arguments,
            "[]",
            NextRun,
            "the program and its first arguments",
        ),
        key("agent.args", Arguments, "[]", NextRun, "further arguments"),
        key(
            "agent.model",
            Text,
            "",
            NextRun,
            "the program's own choice if unset",
        ),
        key(
            "agent.mode",
            Choice(&["headless", "interactive"]),
            "headless",
            NotYet,
            "headless | interactive",
        ),
        key(
            "agent.permission_mode",
            Word,
            "acceptEdits",
            NextRun,
            "what the agent may do without asking",
        ),
        secret(key(
            "agent.env",
            Environment,
            "{}",
            NextRun,
            "environment variables",
        )),
        key(
            "agent.count",
            whole(1, 100),
            "1",
            NextRun,
            "agents of this project",
        ),
        key(
            "agent.isolation",
            Choice(&["none", "worktree"]),
            "none",
            NextRun,
            "none | worktree",
        ),
        key(
            "limits.timeout",
            seconds(1, YEAR),
            "",
            NextTask,
            "seconds a run may take; no limit if unset",
        ),
        key(
            "limits.max_retries",
            whole(0, 100),
            "0",
            NextTask,
            "further attempts after one that failed",
        ),
        key(
            "limits.memory_mb",
            counted("MiB", 16, 16_777_216),
            "",
            NextRun,
            "the machine's limit if unset",
        ),
        key(
            "tasks.priority",
            whole(i32::MIN as i64, i32::MAX as i64),
            "0",
            NextTask,
            "higher is sooner",
        ),
        key(
            "tasks.session",
            Choice(&["fresh", "continue"]),
            "fresh",
            NextTask,
            "fresh | continue (the last conversation)",
        ),
        key(
            "remote_tasks",
            Choice(&["allow", "ask", "deny"]),
            "ask",
            NextTask,
            "tasks from your other machines: allow | ask | deny",
        ),
    ],
};
