//! The way to the database: one bounded pool for the whole process, the session that every connection is set to, the
//! retry of lost races, what an error means, and the search for a row that the server refuses. Knows no table of resq's:
//! all SQL on those is in their store files.

pub mod dump;
pub mod errors;
mod host_pool;
pub mod limited;
mod link;
mod node_watch;
mod open_error;
mod open_sockets;
mod orphaned_sessions;
mod other_hosts;
mod outage;
mod packet;
mod pool;
pub mod quarantine;
pub mod quarantine_report;
mod quote;
mod read;
mod ready;
mod script;
mod server_info;
pub mod session;
mod throttled_warning;
mod timed_connect;
mod tls;

use std::time::Duration;

use crate::base::backoff::Backoff;

pub use errors::{Error, ErrorClass, Unreached, codes};
pub use limited::Capped;
pub use link::{Link, RACE_BACKOFF, Source};
pub use open_error::OpenError;
pub use orphaned_sessions::kill_all as kill_sessions;
pub use other_hosts::OtherHosts;
pub use packet::{Packet, Stopped, requirement, zero_if};
pub use pool::{Conn, Db};
pub use quote::{except, id_list, ident, literal, starts_with};
pub use read::ReadRows;
pub use script::{ScriptError, ring, run_script};
pub use server_info::{ServerInfo, Version};
pub use throttled_warning::ThrottledWarning;

/// How long a command waits for the answer to one short statement: longer than the session's waits for a lock.
pub const ANSWER: Duration = Duration::from_secs(90);

/// Pauses between attempts at a database server that is lost or refuses.
pub const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5), 0.5);
