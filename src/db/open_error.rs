//! Why a pool could not be opened. What a user should do about it is for `cli` to add.

use std::{error::Error as StdError, fmt, path::PathBuf};

use super::Error;

/// Why [`Db::open`](super::Db::open) failed.
#[derive(Debug)]
pub enum OpenError {
    /// The file of certificate authorities (`database.tls_ca`) is of no use.
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No host could be reached and logged in to.
    Unreachable {
        /// Every host that was tried, as `host:port` or as the socket's path, separated by commas.
        hosts: String,
        /// The account.
        user: String,
        /// The last host's error.
        error: Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Authority { path, why } => write!(f, "database.tls_ca {}: {why}", path.display()),
            OpenError::Unreachable { hosts, user, error } => {
                write!(f, "cannot connect to {hosts} as user {user}: {error}")
            }
        }
    }
}

impl StdError for OpenError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            OpenError::Authority { .. } => None,
            OpenError::Unreachable { error, .. } => Some(error),
        }
    }
}
