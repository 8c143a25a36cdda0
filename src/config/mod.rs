//! Settings: flag, environment, file and default become one validated [`Config`]. Owns the settings' names and defaults
//! (`settings`), the values they accept (`value`), how a file is read (`file`) and which source wins (`load`). Never
//! opens a connection, and reads no file but the settings file and those with secrets.

mod access;
mod file;
mod listen;
mod load;
mod secret_file;
mod settings;
mod together;
mod value;
mod watch;

use std::{fmt, path::PathBuf, time::Duration};

pub use access::{Access, May};
pub use listen::Listen;
pub use load::{DEFAULT_FILE, Loaded, Sources, load};
pub use settings::{Kind, SETTINGS, Setting, taken};
pub use watch::{Watch, matches as watch_matches};

/// The server's own databases, in lower case. No setting and no resource may name one of them, in any case.
pub const SYSTEM_DATABASES: [&str; 5] = ["mysql", "sys", "information_schema", "performance_schema", "ndbinfo"];

/// Settings that cannot be used. The message names the source, the setting and what was expected.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

/// A password or token. Its `Debug` form shows only whether it is set, so that it never reaches a log.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(empty)" } else { "(set)" })
    }
}

/// Every setting of every program, validated. The defaults are those of [`SETTINGS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[database]`
    pub database: Database,
    /// `sql.dir`: a folder of templates to use instead of the built-in ones.
    pub sql_dir: Option<PathBuf>,
    /// `[queue]`
    pub queue: Queue,
    /// `[broker]`
    pub broker: Broker,
    /// `[http]`
    pub http: Http,
    /// `[client]`
    pub client: Client,
    /// `[events]`
    pub events: Events,
    /// `[[watch]]`, in the order of the file.
    pub watches: Vec<Watch>,
}

/// How to reach the database server and log in to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// A host name or an address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// A Unix socket, used instead of `host` and `port`.
    pub socket: Option<PathBuf>,
    /// The account's name.
    pub user: String,
    /// The account's password; empty: none.
    pub password: Secret,
    /// The database of the queue and the event log, unquoted.
    pub global_db: String,
    /// A cluster's nodes as (host, port), tried in order; empty: `host` and `port` alone.
    pub hosts: Vec<(String, u16)>,
    /// `database.wait_s`: how long a program that starts waits for a server that is not there yet.
    pub wait: Duration,
    /// Whether connections are encrypted.
    pub tls: Tls,
    /// A PEM file of authorities that [`Tls::Verify`] trusts in addition to the public ones.
    pub tls_ca: Option<PathBuf>,
}

/// Whether connections to the database are encrypted. A Unix socket never is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// Never encrypted.
    Off,
    /// Encrypted if the server offers it. An active attacker can suppress the offer.
    #[default]
    Preferred,
    /// Always encrypted; the certificate is not verified.
    Required,
    /// Always encrypted; the certificate must name the host and be issued by a trusted authority.
    Verify,
}

/// How the daemon processes the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Jobs to run at the same time.
    pub workers: usize,
    /// `queue.poll_ms`: the interval between polls when no wake-up arrives.
    pub poll: Duration,
    /// `queue.lease_s`: how long a daemon that stopped responding keeps its jobs; whole seconds.
    pub lease: Duration,
    /// Failed attempts after which a job ends in error, if the job sets no limit of its own.
    pub max_attempts: u32,
    /// The prefix of every resource database's name.
    pub db_prefix: String,
}

/// What resqd listens on and which clients it accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// TCP addresses; port 0 picks a free one.
    pub listen: Vec<Listen>,
    /// A PEM file of the certificate that is shown on addresses with TLS, and of those up to its authority.
    pub tls_cert: Option<PathBuf>,
    /// A PEM file of that certificate's key.
    pub tls_key: Option<PathBuf>,
    /// A PEM file of authorities: clients must present a certificate from one of them.
    pub tls_client_ca: Option<PathBuf>,
    /// A Unix socket in addition.
    pub socket: Option<PathBuf>,
    /// The group that owns the Unix socket.
    pub socket_group: Option<String>,
    /// The secret that clients must present. `resq-client` and `resq-trigger` present it from here, too.
    pub token: Option<Secret>,
    /// Further tokens, each with rights of its own.
    pub access: Vec<Access>,
    /// Simultaneous connections; further ones are refused.
    pub max_connections: usize,
    /// `broker.ping_s`: the interval between two PING frames to a client.
    pub ping: Duration,
    /// The allow-list of event states; None: every state.
    pub states: Option<Vec<String>>,
}

/// What resqd serves HTTP on, and who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// TCP addresses; port 0 picks a free one. Those with TLS show the broker's certificate.
    pub listen: Vec<Listen>,
    /// The addresses are the default: no source of the settings names them.
    pub is_default: bool,
    /// Permits to read and to act.
    pub token: Option<Secret>,
    /// Permits to read.
    pub read_token: Option<Secret>,
    /// Names accepted in `Host` besides `localhost`, in lower case.
    pub hosts: Vec<String>,
}

/// How clients reach the broker. The token is [`Broker::token`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// A host name or an address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// A Unix socket, used instead of `host` and `port`.
    pub socket: Option<PathBuf>,
    /// Whether connections are encrypted.
    pub tls: ClientTlsMode,
    /// A PEM file of the authorities that [`ClientTlsMode::Verify`] trusts instead of the public ones.
    pub tls_ca: Option<PathBuf>,
    /// A PEM file of the client's own certificate.
    pub tls_cert: Option<PathBuf>,
    /// A PEM file of its key.
    pub tls_key: Option<PathBuf>,
}

/// Whether connections to the broker are encrypted. A Unix socket never is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientTlsMode {
    /// Never encrypted.
    #[default]
    Off,
    /// Always encrypted; the certificate is not verified.
    Required,
    /// Always encrypted; the certificate must name the host and be issued by a trusted authority.
    Verify,
}

/// Whether resqd reads the server's binary log to learn of commits at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binlog {
    /// Where the server writes one and the account may read it.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Always: resqd does not start where it cannot.
    On,
}

/// The event log: how long events are kept, and what announces new ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    /// Age in days after which an event is deleted from the event log.
    pub retention_days: u32,
    /// Wake-ups from the binary log.
    pub binlog: Binlog,
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Config {
            database: Database {
                host: String::new(),
                port: 0,
                socket: None,
                user: String::new(),
                password: Secret::default(),
                global_db: String::new(),
                hosts: Vec::new(),
                wait: Duration::ZERO,
                tls: Tls::default(),
                tls_ca: None,
            },
            sql_dir: None,
            queue: Queue {
                workers: 0,
                poll: Duration::ZERO,
                lease: Duration::ZERO,
                max_attempts: 0,
                db_prefix: String::new(),
            },
            broker: Broker {
                listen: Vec::new(),
                tls_cert: None,
                tls_key: None,
                tls_client_ca: None,
                socket: None,
                socket_group: None,
                token: None,
                access: Vec::new(),
                max_connections: 0,
                ping: Duration::ZERO,
                states: None,
            },
            http: Http { listen: Vec::new(), is_default: true, token: None, read_token: None, hosts: Vec::new() },
            client: Client {
                host: String::new(),
                port: 0,
                socket: None,
                tls: ClientTlsMode::default(),
                tls_ca: None,
                tls_cert: None,
                tls_key: None,
            },
            events: Events { retention_days: 0, binlog: Binlog::default() },
            watches: Vec::new(),
        };
        for setting in SETTINGS.iter().filter(|setting| !setting.default.is_empty()) {
            // Tested: every default is accepted.
            (setting.set)(&mut config, setting.default);
        }
        config
    }
}

macro_rules! default_section {
    ($($section:ident $field:ident),*) => {
        $(impl Default for $section {
            fn default() -> Self {
                Config::default().$field
            }
        })*
    };
}
default_section!(Database database, Queue queue, Broker broker, Http http, Client client, Events events);
