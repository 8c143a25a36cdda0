//! Servers whose binary log is read. One test at a time has each: tests end each other's dumps, and change settings and logs.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use resq_test_support::{Server, is_cluster, kind_under_test};

/// What tests read the log for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    Wakeups,
    WatchedTables,
}

/// A server that logs what watched tables need, without the loadable functions, and the turn of a test. A cluster is one
/// for all readers; that of MySQL logs enough anyway.
pub fn logging_server(readers: Readers) -> (&'static Server, MutexGuard<'static, ()>) {
    static SERVERS: [OnceLock<Server>; 2] = [const { OnceLock::new() }; 2];
    static TURNS: [Mutex<()>; 2] = [const { Mutex::new(()) }; 2];
    let n = if is_cluster() { 0 } else { readers as usize };
    let turn = TURNS[n].lock().unwrap_or_else(PoisonError::into_inner);
    let server = match kind_under_test().as_str() {
        "group" => Server::shared(),
        _ => SERVERS[n].get_or_init(|| Server::with_options(Server::logging_options())),
    };
    (server, turn)
}
