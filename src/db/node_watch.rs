//! Watches the node of a cluster that the process is on. A node that has lost the majority of its group lets a COMMIT wait
//! for as long as that lasts, and a server that hangs answers nothing: no statement fails, so that no role would ever move
//! to another node. Owns the connection it asks over, and ends those of the roles; `HostPool` chooses the next node.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::{
    Error,
    host_pool::{HostConn, HostPool},
    ready,
};
use crate::config::Database;

/// Between two questions.
const INTERVAL: Duration = Duration::from_secs(2);
/// A node that does not answer for so long is asked once more over a new connection, and then given up. The question reads
/// two variables, so a busy server answers it as well.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks the current node, and gives it up where there is another.
pub struct NodeWatch {
    /// That of the roles.
    roles: HostPool,
    /// The same hosts, asked with a time limit.
    hosts: HostPool,
    conn: Option<HostConn>,
    is_reported: bool,
}

impl NodeWatch {
    /// A watch for `roles`, which has these settings.
    pub fn new(config: &Database, roles: &HostPool) -> NodeWatch {
        NodeWatch {
            roles: roles.clone(),
            hosts: HostPool::new(config, Some(ANSWER_TIMEOUT)),
            conn: None,
            is_reported: false,
        }
    }

    /// The thread, until it is stopped.
    pub fn run(mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
            self.turn();
        }
    }

    fn turn(&mut self) {
        let host = self.roles.current().get();
        // The connection itself may have broken, and the node be well.
        let Err(error) = self.ask(host).or_else(|_| self.ask(host)) else {
            self.is_reported = false;
            return;
        };
        let is_repeated = std::mem::replace(&mut self.is_reported, true);
        let node = self.hosts.name(host);
        if self.hosts.is_single() {
            if !is_repeated {
                log::warn!("database: node {node} cannot be used ({error}); waiting for it");
            }
            return;
        }
        let connections = self.roles.sockets().shut_down(host);
        if !is_repeated {
            log::warn!(
                "database: node {node} cannot be used ({error}); ended the connections to it, connecting to the next node \
                 that is ready connections={connections}"
            );
        }
    }

    fn ask(&mut self, host: usize) -> Result<(), Error> {
        let mut conn = match self.conn.take().filter(|conn| conn.leads_to(host)) {
            Some(conn) => conn,
            None => self.hosts.connect_unchecked(host)?,
        };
        ready::check_majority(&mut conn)?;
        self.conn = Some(conn);
        Ok(())
    }
}
