//! Settings: flag, environment, file and default become one validated [`Config`]. Owns what a setting is called
//! (`settings`), what it may hold (`value`), how a file is read (`file`) and who wins (`load`); never opens a
//! connection, and reads no file but the one that holds settings and the one that holds a token.

mod file;
mod load;
mod settings;
mod value;

use std::{fmt, net::SocketAddr, path::PathBuf};

pub use load::{DEFAULT_FILE, Sources, load};
pub use settings::{Kind, SETTINGS, Setting, taken};

/// The server's own databases: no setting and no resource may be named so, in whatever case.
pub const SYSTEM_DATABASES: [&str; 5] = ["mysql", "sys", "information_schema", "performance_schema", "ndbinfo"];

/// Settings that cannot be used; the message names where they come from, which one, and what would be right.
#[derive(Debug)]
pub struct Invalid(String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A password or token: readable where it is used, never in a log or a `Debug` line.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(empty)" } else { "(set)" })
    }
}

/// Every setting of every program, validated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    pub database: Database,
    pub sql_dir: Option<PathBuf>,
    pub queue: Queue,
    pub broker: Broker,
    pub client: Client,
    pub events: Events,
}

/// Where the database is and who we are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    pub host: String,
    pub port: u16,
    pub socket: Option<PathBuf>,
    pub user: String,
    pub password: Secret,
    pub global_db: String,
    /// A cluster's nodes, tried in order; empty: `host` and `port` alone.
    pub hosts: Vec<(String, u16)>,
    pub tls: Tls,
    /// Certificates of the authorities that [`Tls::Verify`] trusts beside the public ones, in PEM form.
    pub tls_ca: Option<PathBuf>,
}

/// Whether connections to the database are encrypted. A Unix socket never is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    Off,
    /// Where the server offers it; whoever sits in between can take it away.
    #[default]
    Preferred,
    /// Or no connection; whose certificate it is, is not looked at.
    Required,
    /// The certificate is the host's, by an authority that is trusted.
    Verify,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    pub workers: usize,
    pub poll_ms: u64,
    pub lease_s: u32,
    pub max_attempts: u32,
    pub db_prefix: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub listen: Vec<SocketAddr>,
    pub socket: Option<PathBuf>,
    pub socket_group: Option<String>,
    pub token: Option<Secret>,
    pub max_connections: usize,
    pub ping_s: u32,
    /// The closed list of states where given; None: any.
    pub states: Option<Vec<String>>,
}

/// Where the clients find the broker. The token is `broker.token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub host: String,
    pub port: u16,
    pub socket: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    pub retention_days: u32,
}

impl Default for Database {
    fn default() -> Self {
        Database {
            host: "localhost".into(),
            port: 3306,
            socket: None,
            user: "root".into(),
            password: Secret::default(),
            global_db: "resq".into(),
            hosts: Vec::new(),
            tls: Tls::default(),
            tls_ca: None,
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Queue { workers: 5, poll_ms: 1000, lease_s: 30, max_attempts: 5, db_prefix: "res_".into() }
    }
}

impl Default for Broker {
    fn default() -> Self {
        Broker {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 1300))],
            socket: None,
            socket_group: None,
            token: None,
            max_connections: 16384,
            ping_s: 30,
            states: None,
        }
    }
}

impl Default for Client {
    fn default() -> Self {
        Client { host: "127.0.0.1".into(), port: 1300, socket: None }
    }
}

impl Default for Events {
    fn default() -> Self {
        Events { retention_days: 7 }
    }
}
