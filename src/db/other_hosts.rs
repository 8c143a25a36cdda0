//! The other nodes of a cluster: for what a session may still be doing there. Owns no connection between two questions;
//! `HostPool` chooses the node that the process is on.

use std::time::Duration;

use mysql::Conn;

use super::{Error, host_pool::HostPool};
use crate::config::Database;

/// How long a node may take for an answer: longer than what it is asked to wait for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// All hosts but the one that the process is on. Clones share everything.
#[derive(Clone)]
pub struct OtherHosts {
    /// That of the roles.
    roles: HostPool,
    /// The same hosts, asked with a time limit.
    hosts: HostPool,
}

impl OtherHosts {
    /// Those beside the current one of `roles`, which has these settings.
    pub(super) fn new(config: &Database, roles: &HostPool) -> OtherHosts {
        OtherHosts { roles: roles.clone(), hosts: HostPool::new(config, Some(ANSWER_TIMEOUT)) }
    }

    /// The current host is the only one.
    pub fn are_none(&self) -> bool {
        self.roles.is_single()
    }

    /// Runs `ask` on each of them, one by one; what it returned, or why the host did not answer, by the host's name.
    pub fn each<T>(&self, mut ask: impl FnMut(&mut Conn) -> Result<T, Error>) -> Vec<(&str, Result<T, Error>)> {
        let current = self.roles.current().get();
        let others = (0..self.hosts.len()).filter(|host| *host != current);
        others
            .map(|host| {
                let answer = self.hosts.connect_unchecked(host).and_then(|mut conn| ask(&mut conn));
                (self.hosts.name(host), answer)
            })
            .collect()
    }

    /// Waits until the current host has applied what the others had committed at the time of the call; returns at once
    /// where it is the only one.
    ///
    /// # Errors
    ///
    /// It is too far behind or has lost the other nodes, or there is no connection to be had.
    pub fn catch_up(&self) -> Result<(), Error> {
        if self.are_none() { Ok(()) } else { self.roles.catch_up() }
    }
}
