//! Why a pool could not be opened. What a user should do about it is for `cli` to add.

use std::path::PathBuf;

use super::Error;

/// Why [`Db::open`](super::Db::open) failed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file of certificate authorities (`database.tls_ca`) is of no use.
    #[error("database.tls_ca {}: {why}", .path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No host could be reached and logged in to.
    #[error("cannot connect to {hosts} as user {user}: {error}")]
    Unreachable {
        /// Every host that was tried, as `host:port` or as the socket's path, separated by commas.
        hosts: String,
        /// The account.
        user: String,
        /// The last host's error.
        #[source]
        error: Error,
    },
}
