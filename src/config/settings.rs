//! The one table of settings: from it come the file's keys, the environment's names, the flags, every program's
//! `--help` and the README's table. Holds no value and reads nothing.

use super::{Config, value};

/// How a setting is written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    /// Several by comma, or a TOML array; its flag may be repeated.
    List,
    /// Text that is never printed and never stands on a command line; its flag, if any, names a file that holds it.
    Secret,
}

/// One setting: its names, its default, and what it takes.
pub struct Setting {
    /// `table.key` in the file.
    pub key: &'static str,
    pub env: Option<&'static str>,
    pub flag: Option<&'static str>,
    /// As a user would write it; empty: none.
    pub default: &'static str,
    pub kind: Kind,
    /// What it is, in a few words.
    pub about: &'static str,
    /// What a right value is: the end of a sentence that begins with "it takes".
    pub right: &'static str,
    /// Puts a right value in its place; false, and nothing changed, if it isn't one.
    pub(super) set: fn(&mut Config, &str) -> bool,
}

/// Whether a program that takes these groups (`database`) and single settings (`broker.token`) takes this setting.
pub fn taken(setting: &Setting, takes: &[&str]) -> bool {
    takes.iter().any(|t| setting.key.strip_prefix(t).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

fn put<T>(place: &mut T, value: Option<T>) -> bool {
    value.map(|value| *place = value).is_some()
}

/// A row of [`SETTINGS`], in the order of the README's columns.
macro_rules! settings {
    ($($key:literal, $env:expr, $flag:expr, $default:literal, $kind:ident, $about:literal, $right:literal, $set:expr;)*) => {
        &[$(Setting {
            key: $key, env: $env, flag: $flag, default: $default, kind: Kind::$kind, about: $about, right: $right,
            set: $set,
        }),*]
    };
}

/// Every setting of every program.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = settings![
    "database.host", Some("MYSQL_HOST"), Some("--db-host"), "localhost", Text,
        "the database server", "a host name or an address",
        |c, v| put(&mut c.database.host, value::word(v));
    "database.port", Some("MYSQL_PORT"), Some("--db-port"), "3306", Number,
        "its port", "a number from 1 to 65535",
        |c, v| put(&mut c.database.port, value::number(v, 1..=u16::MAX));
    "database.socket", Some("MYSQL_SOCKET"), Some("--db-socket"), "", Text,
        "its Unix socket, instead of TCP", "a path of at most 107 bytes",
        |c, v| put(&mut c.database.socket, value::socket_path(v));
    "database.user", Some("MYSQL_USER"), Some("--db-user"), "root", Text,
        "who we are there", "a user name without spaces",
        |c, v| put(&mut c.database.user, value::word(v));
    "database.password", Some("MYSQL_PASSWORD"), None, "", Secret,
        "and our password; never on a command line", "at most 1024 bytes without control characters",
        |c, v| put(&mut c.database.password, value::secret(v));
    "database.global_db", Some("RESQ_GLOBAL_DB"), Some("--global-db"), "resq", Text,
        "the database of the queue and the event log",
        "1 to 64 of A-Z a-z 0-9 _, and not one of the server's own databases",
        |c, v| put(&mut c.database.global_db, value::database_name(v, 64));
    "database.hosts", Some("RESQ_DB_HOSTS"), Some("--db-hosts"), "", List,
        "a cluster's nodes, tried in order, instead of one host",
        "host:port by comma, each once; without a port 3306; an IPv6 address in []",
        |c, v| put(&mut c.database.hosts, value::nodes(v));
    "database.tls", Some("MYSQL_TLS"), Some("--db-tls"), "preferred", Text,
        "whether connections to it are encrypted", "off, preferred, required or verify",
        |c, v| put(&mut c.database.tls, value::tls(v));
    "database.tls_ca", Some("MYSQL_TLS_CA"), Some("--db-tls-ca"), "", Text,
        "the authority that verify trusts beside the public ones", "the path of a file of certificates in PEM form",
        |c, v| put(&mut c.database.tls_ca, value::path(v).map(Some));
    "sql.dir", Some("RESQ_SQL_DIR"), Some("--sql-dir"), "", Text,
        "templates of your own, instead of those built in", "a folder's path",
        |c, v| put(&mut c.sql_dir, value::path(v).map(Some));
    "queue.workers", Some("RESQ_WORKERS"), Some("--workers"), "5", Number,
        "jobs built at the same time", "a number from 1 to 1024",
        |c, v| put(&mut c.queue.workers, value::number(v, 1..=1024));
    "queue.poll_ms", Some("RESQ_POLL_MS"), Some("--poll-ms"), "1000", Number,
        "milliseconds between two looks at the queue when nobody rings", "a number from 10 to 3600000",
        |c, v| put(&mut c.queue.poll_ms, value::number(v, 10..=3_600_000));
    "queue.lease_s", Some("RESQ_LEASE_S"), Some("--lease-s"), "30", Number,
        "seconds after which a silent daemon's job is given to another", "a number from 1 to 86400",
        |c, v| put(&mut c.queue.lease_s, value::number(v, 1..=86_400));
    "queue.max_attempts", Some("RESQ_MAX_ATTEMPTS"), Some("--max-attempts"), "5", Number,
        "tries before a job ends in error", "a number from 1 to 1000",
        |c, v| put(&mut c.queue.max_attempts, value::number(v, 1..=1000));
    "queue.db_prefix", Some("RESQ_DB_PREFIX"), Some("--db-prefix"), "res_", Text,
        "what the name of every resource's database begins with",
        "1 to 32 of A-Z a-z 0-9 _, and not the name of one of the server's own databases",
        |c, v| put(&mut c.queue.db_prefix, value::database_name(v, 32));
    "broker.listen", Some("RESQ_LISTEN"), Some("--listen"), "127.0.0.1:1300", List,
        "where subscribers connect; port 0: any, the real one is logged",
        "address:port by comma, each once, such as 127.0.0.1:1300 or [::1]:1300",
        |c, v| put(&mut c.broker.listen, value::listeners(v));
    "broker.socket", Some("RESQ_SOCKET"), Some("--socket"), "", Text,
        "a Unix socket to listen on as well, mode 0660", "a path of at most 107 bytes",
        |c, v| put(&mut c.broker.socket, value::socket_path(v));
    "broker.socket_group", None, None, "", Text,
        "the group that may use it", "a group's name",
        |c, v| put(&mut c.broker.socket_group, value::word(v).map(Some));
    "broker.token", Some("RESQ_TOKEN"), Some("--token-file"), "", Secret,
        "the word every peer must know; the flag names a file that holds it",
        "1 to 1024 bytes without control characters",
        |c, v| put(&mut c.broker.token, value::secret(v).filter(|s| !s.0.is_empty()).map(Some));
    "broker.max_connections", None, None, "16384", Number,
        "peers at the same time; more are refused", "a number from 1 to 1000000",
        |c, v| put(&mut c.broker.max_connections, value::number(v, 1..=1_000_000));
    "broker.ping_s", None, None, "30", Number,
        "seconds between two PINGs to a peer", "a number from 1 to 3600",
        |c, v| put(&mut c.broker.ping_s, value::number(v, 1..=3600));
    "broker.states", None, None, "", List,
        "the only states there are, where given", "1 to 1024 states by comma, each once and of 1 to 64 of A-Z a-z 0-9 _ . : -",
        |c, v| put(&mut c.broker.states, value::states(v));
    "client.host", Some("RESQ_HOST"), Some("--host"), "127.0.0.1", Text,
        "where resqd is", "a host name or an address",
        |c, v| put(&mut c.client.host, value::word(v));
    "client.port", Some("RESQ_PORT"), Some("--port"), "1300", Number,
        "its port", "a number from 1 to 65535",
        |c, v| put(&mut c.client.port, value::number(v, 1..=u16::MAX));
    "client.socket", Some("RESQ_SOCKET"), Some("--socket"), "", Text,
        "its Unix socket, instead of TCP", "a path of at most 107 bytes",
        |c, v| put(&mut c.client.socket, value::socket_path(v));
    "events.retention_days", None, None, "7", Number,
        "days for which events are kept", "a number from 1 to 36500",
        |c, v| put(&mut c.events.retention_days, value::number(v, 1..=36_500));
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_defaults_are_the_structs_defaults() {
        let mut config = Config::default();
        for setting in SETTINGS.iter().filter(|s| !s.default.is_empty()) {
            assert!((setting.set)(&mut config, setting.default), "{}", setting.key);
            assert_eq!(config, Config::default(), "{}", setting.key);
        }
    }

    #[test]
    fn a_wrong_value_changes_nothing() {
        for setting in SETTINGS {
            let mut config = Config::default();
            assert!(!(setting.set)(&mut config, "\u{7} wrong \0"), "{}", setting.key);
            assert_eq!(config, Config::default(), "{}", setting.key);
        }
    }

    #[test]
    fn every_setter_moves_its_own_setting_alone() {
        let right = |s: &Setting| match s.key {
            "broker.listen" => "127.0.0.1:7",
            "database.tls" => "verify",
            "broker.states" | "database.hosts" => "other",
            _ if s.kind == Kind::Number => "17",
            _ => "other",
        };
        let mut seen = vec![Config::default()];
        for setting in SETTINGS {
            let mut config = Config::default();
            assert!((setting.set)(&mut config, right(setting)), "{}", setting.key);
            assert!(!seen.contains(&config), "{} sets nothing, or what another sets", setting.key);
            seen.push(config);
        }
    }

    #[test]
    fn the_readme_lists_every_setting() {
        let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
        let cell = |name: Option<&str>| name.map_or(String::new(), |name| format!("`{name}`"));
        for s in SETTINGS {
            let flag = s.flag.map(|flag| if s.kind == Kind::Secret { format!("{flag} FILE") } else { flag.into() });
            let default = Some(s.default).filter(|default| !default.is_empty());
            let row = format!("| `{}` | {} | {} | {} |", s.key, cell(s.env), cell(flag.as_deref()), cell(default));
            assert!(readme.contains(&row), "README.md lacks the row {row}");
        }
    }

    #[test]
    fn a_program_takes_whole_groups_or_single_settings() {
        let taken_by = |takes: &[&str]| SETTINGS.iter().filter(|s| taken(s, takes)).map(|s| s.key).collect::<Vec<_>>();
        assert_eq!(taken_by(&["sql", "broker.token"]), ["sql.dir", "broker.token"]);
        assert_eq!(taken_by(&["broker.socket"]), ["broker.socket"]);
    }
}
