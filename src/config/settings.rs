//! The one table of settings, from which file keys, environment variables, flags, defaults, every program's `--help` and
//! `docs/settings.md` are derived. Holds no values and reads nothing.

use super::{Config, value};

/// How a setting is written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A TOML string.
    Text,
    /// A TOML integer.
    Number,
    /// A TOML array of strings, or one string with commas; the flag may be repeated.
    List,
    /// Text that is never printed and never read from a command line; the flag, if any, names a file that contains it.
    Secret,
    /// A TOML string: the path of a file that contains a secret. The setter takes the secret, not the path.
    SecretFile,
}

/// One setting: its names, its default, and the values that it accepts.
pub struct Setting {
    /// `table.key` in the settings file. A unit is the key's last part: `_ms`, `_s` or `_days`.
    pub key: &'static str,
    /// The environment variable, if there is one.
    pub env: Option<&'static str>,
    /// The command-line flag, if there is one.
    pub flag: Option<&'static str>,
    /// The default as a user would write it; empty: unset.
    pub default: &'static str,
    /// How the value is written.
    pub kind: Kind,
    /// The meaning, as a phrase that can be understood on its own.
    pub about: &'static str,
    /// The values that are accepted: the end of a sentence that begins with "expected".
    pub expected: &'static str,
    /// Stores a valid value; for any other, returns false and changes nothing.
    pub(super) set: fn(&mut Config, &str) -> bool,
}

impl Setting {
    /// The table of the settings file that this key belongs to.
    pub fn section(&self) -> &'static str {
        self.key.split('.').next().unwrap_or_default()
    }

    /// The key of the secret that this setting gives: its own, unless it names a file. Clients have no other secret than
    /// the broker's token.
    pub fn gives(&self) -> &'static str {
        match (self.kind, self.key) {
            (Kind::SecretFile, "client.token_file") => "broker.token",
            (Kind::SecretFile, key) => key.trim_end_matches("_file"),
            (_, key) => key,
        }
    }

    /// The flag with a placeholder for its value: `--listen VALUE`, `--token-file FILE`.
    pub fn flag_usage(&self) -> Option<String> {
        let placeholder = if self.kind == Kind::Secret { "FILE" } else { "VALUE" };
        self.flag.map(|flag| format!("{flag} {placeholder}"))
    }
}

/// Whether a program that accepts these sections (`database`) and single settings (`broker.token`) accepts this setting.
pub fn taken(setting: &Setting, takes: &[&str]) -> bool {
    takes.iter().any(|t| setting.key.strip_prefix(t).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

fn put<T>(place: &mut T, value: Option<T>) -> bool {
    value.map(|value| *place = value).is_some()
}

/// Rows of [`SETTINGS`]: key, variable, flag, default, kind, meaning, accepted values, setter.
macro_rules! settings {
    ($($key:literal, $env:expr, $flag:expr, $default:literal, $kind:ident, $about:literal, $expected:literal, $set:expr;)*) => {
        &[$(Setting {
            key: $key, env: $env, flag: $flag, default: $default, kind: Kind::$kind, about: $about, expected: $expected,
            set: $set,
        }),*]
    };
}

/// Every setting of every program.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = settings![
    "database.host", Some("MYSQL_HOST"), Some("--db-host"), "localhost", Text,
        "host name or address of the database server", "a host name or an address",
        |c, v| put(&mut c.database.host, value::word(v));
    "database.port", Some("MYSQL_PORT"), Some("--db-port"), "3306", Number,
        "TCP port of the database server", "a number from 1 to 65535",
        |c, v| put(&mut c.database.port, value::number(v, 1..=u16::MAX));
    "database.socket", Some("MYSQL_SOCKET"), Some("--db-socket"), "", Text,
        "Unix socket of the database server, used instead of TCP", "a path of at most 107 bytes",
        |c, v| put(&mut c.database.socket, value::socket_path(v));
    "database.user", Some("MYSQL_USER"), Some("--db-user"), "root", Text,
        "account to log in to the database server with", "a user name without spaces",
        |c, v| put(&mut c.database.user, value::word(v));
    "database.password", Some("MYSQL_PASSWORD"), None, "", Secret,
        "password of the database account; read from the environment or a settings file only",
        "at most 1024 bytes without control characters",
        |c, v| put(&mut c.database.password, value::secret(v));
    "database.password_file", Some("MYSQL_PASSWORD_FILE"), None, "", SecretFile,
        "file that contains the password of the database account, used instead of database.password",
        "the path of a file that contains at most 1024 bytes without control characters",
        |c, v| put(&mut c.database.password, value::secret(v));
    "database.global_db", Some("RESQ_GLOBAL_DB"), Some("--global-db"), "resq", Text,
        "database that holds the queue and the event log",
        "1 to 64 of A-Z a-z 0-9 _, and not one of the server's own databases",
        |c, v| put(&mut c.database.global_db, value::database_name(v, 64));
    "database.hosts", Some("RESQ_DB_HOSTS"), Some("--db-hosts"), "", List,
        "nodes of a database cluster, tried in this order, used instead of a single host",
        "HOST or HOST:PORT separated by commas, without repeats; the default port is 3306; IPv6 addresses go in []",
        |c, v| put(&mut c.database.hosts, value::nodes(v));
    "database.wait_s", Some("RESQ_DB_WAIT_S"), Some("--db-wait-s"), "0", Number,
        "seconds that a starting program waits for a database server that is not there yet", "a number from 0 to 86400",
        |c, v| put(&mut c.database.wait, value::seconds(v, 0..=86_400));
    "database.tls", Some("MYSQL_TLS"), Some("--db-tls"), "preferred", Text,
        "encryption of the connections to the database server", "off, preferred, required or verify",
        |c, v| put(&mut c.database.tls, value::tls(v));
    "database.tls_ca", Some("MYSQL_TLS_CA"), Some("--db-tls-ca"), "", Text,
        "certificate authorities that database.tls = verify trusts in addition to the public ones",
        "the path of a file of certificates in PEM format",
        |c, v| put(&mut c.database.tls_ca, value::path(v).map(Some));
    "sql.dir", Some("RESQ_SQL_DIR"), Some("--sql-dir"), "", Text,
        "folder of SQL templates to use instead of the built-in ones", "the path of a folder",
        |c, v| put(&mut c.sql_dir, value::path(v).map(Some));
    "queue.workers", Some("RESQ_WORKERS"), Some("--workers"), "5", Number,
        "number of jobs to run at the same time", "a number from 1 to 1024",
        |c, v| put(&mut c.queue.workers, value::number(v, 1..=1024));
    "queue.poll_ms", Some("RESQ_POLL_MS"), Some("--poll-ms"), "1000", Number,
        "fallback poll interval in milliseconds, used when no wake-up arrives", "a number from 10 to 3600000",
        |c, v| put(&mut c.queue.poll, value::millis(v, 10..=3_600_000));
    "queue.lease_s", Some("RESQ_LEASE_S"), Some("--lease-s"), "30", Number,
        "seconds after which the jobs of a daemon that stopped responding may be taken over by another",
        "a number from 1 to 86400",
        |c, v| put(&mut c.queue.lease, value::seconds(v, 1..=86_400));
    "queue.max_attempts", Some("RESQ_MAX_ATTEMPTS"), Some("--max-attempts"), "5", Number,
        "failed attempts after which a job ends in error", "a number from 1 to 1000",
        |c, v| put(&mut c.queue.max_attempts, value::number(v, 1..=1000));
    "queue.db_prefix", Some("RESQ_DB_PREFIX"), Some("--db-prefix"), "res_", Text,
        "prefix of the name of every resource database",
        "1 to 32 of A-Z a-z 0-9 _, and not the name of one of the server's own databases",
        |c, v| put(&mut c.queue.db_prefix, value::database_name(v, 32));
    "broker.listen", Some("RESQ_LISTEN"), Some("--listen"), "127.0.0.1:1300", List,
        "TCP addresses to accept clients on, those that begin with tls:// by TLS; port 0 picks a free port, which is logged",
        "ADDRESS:PORT separated by commas, without repeats, such as 127.0.0.1:1300 or tls://[::]:1300",
        |c, v| put(&mut c.broker.listen, value::listeners(v));
    "broker.tls_cert", Some("RESQ_TLS_CERT"), None, "", Text,
        "certificate that resqd shows on addresses with tls://, with those between it and its authority; read again at SIGHUP",
        "the path of a file of certificates in PEM format",
        |c, v| put(&mut c.broker.tls_cert, value::path(v).map(Some));
    "broker.tls_key", Some("RESQ_TLS_KEY"), None, "", Text,
        "private key of that certificate; read again at SIGHUP",
        "the path of a file of a key in PEM format, without a passphrase",
        |c, v| put(&mut c.broker.tls_key, value::path(v).map(Some));
    "broker.tls_client_ca", Some("RESQ_TLS_CLIENT_CA"), None, "", Text,
        "certificate authorities: clients that connect by TLS must present a certificate from one of them; read again at SIGHUP",
        "the path of a file of certificates in PEM format",
        |c, v| put(&mut c.broker.tls_client_ca, value::path(v).map(Some));
    "broker.socket", Some("RESQ_SOCKET"), Some("--socket"), "", Text,
        "Unix socket to accept clients on in addition to TCP; created with mode 0660", "a path of at most 107 bytes",
        |c, v| put(&mut c.broker.socket, value::socket_path(v));
    "broker.socket_group", None, None, "", Text,
        "group that owns the Unix socket of broker.socket, so that its members may connect", "the name of a group",
        |c, v| put(&mut c.broker.socket_group, value::word(v).map(Some));
    "broker.token", Some("RESQ_TOKEN"), Some("--token-file"), "", Secret,
        "shared secret that clients must present to resqd; the flag names a file that holds it",
        "1 to 1024 bytes without control characters",
        |c, v| put(&mut c.broker.token, value::token(v));
    "broker.token_file", Some("RESQ_TOKEN_FILE"), None, "", SecretFile,
        "file that contains the shared secret, used instead of broker.token",
        "the path of a file that contains 1 to 1024 bytes without control characters",
        |c, v| put(&mut c.broker.token, value::token(v));
    "broker.max_connections", None, None, "16384", Number,
        "simultaneous client connections that resqd accepts; it refuses further ones", "a number from 1 to 1000000",
        |c, v| put(&mut c.broker.max_connections, value::number(v, 1..=1_000_000));
    "broker.ping_s", None, None, "30", Number,
        "seconds between two PING frames to a client", "a number from 1 to 3600",
        |c, v| put(&mut c.broker.ping, value::seconds(v, 1..=3600));
    "broker.states", None, None, "", List,
        "allow-list of event states; unset, every state is allowed",
        "1 to 1024 states separated by commas, without repeats, each 1 to 64 of A-Z a-z 0-9 _ . : -",
        |c, v| put(&mut c.broker.states, value::states(v));
    "http.listen", Some("RESQ_HTTP"), Some("--http"), "127.0.0.1:1301", List,
        "TCP addresses to serve HTTP on, those with tls:// by HTTPS with the certificate of broker.tls_cert; none if the list is empty",
        "ADDRESS:PORT separated by commas, without repeats, such as 127.0.0.1:1301 or tls://[::]:1301",
        |c, v| put(&mut c.http.listen, value::listeners(v));
    "http.token", Some("RESQ_HTTP_TOKEN"), None, "", Secret,
        "token that permits HTTP requests to read and to act; read from the environment or a settings file only",
        "1 to 1024 bytes without control characters",
        |c, v| put(&mut c.http.token, value::token(v));
    "http.token_file", Some("RESQ_HTTP_TOKEN_FILE"), None, "", SecretFile,
        "file that contains the token, used instead of http.token",
        "the path of a file that contains 1 to 1024 bytes without control characters",
        |c, v| put(&mut c.http.token, value::token(v));
    "http.read_token", Some("RESQ_HTTP_READ_TOKEN"), None, "", Secret,
        "token that permits HTTP requests to read; read from the environment or a settings file only",
        "1 to 1024 bytes without control characters",
        |c, v| put(&mut c.http.read_token, value::token(v));
    "http.read_token_file", Some("RESQ_HTTP_READ_TOKEN_FILE"), None, "", SecretFile,
        "file that contains the token for reading, used instead of http.read_token",
        "the path of a file that contains 1 to 1024 bytes without control characters",
        |c, v| put(&mut c.http.read_token, value::token(v));
    "http.hosts", None, None, "", List,
        "names besides localhost under which HTTP requests may address resqd; IP addresses always may",
        "host names separated by commas, without ports and without repeats",
        |c, v| put(&mut c.http.hosts, value::host_names(v));
    "client.host", Some("RESQ_HOST"), Some("--host"), "127.0.0.1", Text,
        "host name or address of resqd", "a host name or an address",
        |c, v| put(&mut c.client.host, value::word(v));
    "client.port", Some("RESQ_PORT"), Some("--port"), "1300", Number,
        "TCP port of resqd", "a number from 1 to 65535",
        |c, v| put(&mut c.client.port, value::number(v, 1..=u16::MAX));
    "client.socket", Some("RESQ_SOCKET"), Some("--socket"), "", Text,
        "Unix socket of resqd, used instead of TCP", "a path of at most 107 bytes",
        |c, v| put(&mut c.client.socket, value::socket_path(v));
    "client.tls", Some("RESQ_TLS"), Some("--tls"), "off", Text,
        "encryption of the connection to resqd: off, required (without verifying its certificate) or verify",
        "off, required or verify",
        |c, v| put(&mut c.client.tls, value::client_tls(v));
    "client.tls_ca", Some("RESQ_TLS_CA"), Some("--tls-ca"), "", Text,
        "certificate authorities that client.tls = verify trusts, instead of the public ones",
        "the path of a file of certificates in PEM format",
        |c, v| put(&mut c.client.tls_ca, value::path(v).map(Some));
    "client.tls_cert", None, None, "", Text,
        "certificate to present to resqd, where it asks for one (broker.tls_client_ca)",
        "the path of a file of certificates in PEM format",
        |c, v| put(&mut c.client.tls_cert, value::path(v).map(Some));
    "client.tls_key", None, None, "", Text,
        "private key of the certificate to present to resqd",
        "the path of a file of a key in PEM format, without a passphrase",
        |c, v| put(&mut c.client.tls_key, value::path(v).map(Some));
    "client.token_file", Some("RESQ_TOKEN_FILE"), None, "", SecretFile,
        "file that contains the token to present to resqd, used instead of broker.token",
        "the path of a file that contains 1 to 1024 bytes without control characters",
        |c, v| put(&mut c.broker.token, value::token(v));
    "events.retention_days", None, None, "7", Number,
        "days after which events are deleted, counted from when they were numbered", "a number from 1 to 36500",
        |c, v| put(&mut c.events.retention_days, value::number(v, 1..=36_500));
    "events.binlog", Some("RESQ_BINLOG"), Some("--binlog"), "auto", Text,
        "whether commits are noticed through the server's binary log; auto: where there is one that the account may read",
        "auto, off or on",
        |c, v| put(&mut c.events.binlog, value::binlog(v));
];

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn every_default_is_a_value_that_its_setting_accepts() {
        for setting in SETTINGS.iter().filter(|s| !s.default.is_empty()) {
            assert!((setting.set)(&mut Config::default(), setting.default), "{}", setting.key);
        }
    }

    #[test]
    fn an_invalid_value_changes_nothing() {
        for setting in SETTINGS {
            let mut config = Config::default();
            assert!(!(setting.set)(&mut config, "\u{7} wrong \0"), "{}", setting.key);
            assert_eq!(config, Config::default(), "{}", setting.key);
        }
    }

    #[test]
    fn every_setter_changes_its_own_setting_alone() {
        let valid = |s: &Setting| match s.key {
            "broker.listen" => "127.0.0.1:7",
            "http.listen" => "127.0.0.1:8",
            "database.tls" | "client.tls" => "verify",
            "events.binlog" => "on",
            "broker.states" | "database.hosts" => "other",
            _ if s.kind == Kind::Number => "17",
            _ => "other",
        };
        let mut seen = vec![Config::default()];
        // A file with a secret stands for the secret.
        for setting in SETTINGS.iter().filter(|s| s.kind != Kind::SecretFile) {
            let mut config = Config::default();
            assert!((setting.set)(&mut config, valid(setting)), "{}", setting.key);
            assert!(!seen.contains(&config), "{} has no effect, or that of another setting", setting.key);
            seen.push(config);
        }
    }

    #[test]
    fn a_program_accepts_whole_sections_or_single_settings() {
        let taken_by = |takes: &[&str]| SETTINGS.iter().filter(|s| taken(s, takes)).map(|s| s.key).collect::<Vec<_>>();
        assert_eq!(taken_by(&["sql", "broker.token"]), ["sql.dir", "broker.token"]);
        assert_eq!(taken_by(&["broker.socket"]), ["broker.socket"]);
    }

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
    const BEGIN: &str = "<!-- begin: generated from src/config/settings.rs -->\n";
    const END: &str = "\n<!-- end: generated -->";

    /// One table per section of the settings file: setting, variable, flag, default, meaning, accepted values.
    fn reference() -> String {
        let mut text = String::new();
        let mut section = "";
        for setting in SETTINGS {
            if setting.section() != section {
                section = setting.section();
                // Writing to a String cannot fail.
                let _ = write!(
                    text,
                    "\n### `[{section}]`\n\n| setting | environment | flag | default | meaning | values |\n|---|---|---|---|---|---|\n"
                );
            }
            let code = |name: Option<&str>| name.map_or(String::new(), |name| format!("`{name}`"));
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} | {} | {} |",
                setting.key,
                code(setting.env),
                code(setting.flag_usage().as_deref()),
                code(Some(setting.default).filter(|default| !default.is_empty())),
                setting.about,
                setting.expected,
            );
        }
        text
    }

    /// `RESQ_BLESS=1 cargo test --lib settings_page` writes the tables into the page, between its two marks.
    #[test]
    fn settings_page_holds_the_reference() {
        let page = std::fs::read_to_string(PAGE).unwrap();
        let (before, rest) = page.split_once(BEGIN).expect("docs/settings.md lacks the mark of the tables' beginning");
        let (tables, after) = rest.split_once(END).expect("docs/settings.md lacks the mark of the tables' end");
        if std::env::var_os("RESQ_BLESS").is_some() {
            std::fs::write(PAGE, format!("{before}{BEGIN}{}{END}{after}", reference())).unwrap();
            return;
        }
        assert!(tables == reference(), "docs/settings.md is out of date: RESQ_BLESS=1 cargo test --lib settings_page");
    }
}
