//! Shared by the end-to-end tests and the benchmarks: servers and installations to run against, the programs as a user
//! starts them, a proxy that breaks connections, a client that records, and the oracles of exactness. Contains no tests,
//! and no part of resq.
//!
//! Every wait has a deadline and is for a signal: a readiness notification, a row, a frame, an exit code.

mod account;
mod browser;
mod certificates;
mod doctor;
mod exactness;
mod fault_proxy;
mod http;
mod instance;
mod memory_broker;
mod memory_consumers;
mod memory_log;
mod not_tested;
mod notifications;
mod partition;
mod ports;
mod program;
mod recording_client;
mod replica;
mod script;
mod server;
mod sessions;
mod start_of_jobs;
mod stress;
pub mod templates;
mod test_database;
mod udf_peer;
mod udf_server;
mod wait;

pub use account::Account;
pub use browser::Browser;
pub use certificates::{Certificates, TlsClient, tls_connect};
pub use doctor::{Doctor, Verdict};
pub use exactness::{
    EventOracle, InOrder, assert_databases_are_exact, assert_done_by_one_attempt_each, wait_until_all_done,
};
pub use fault_proxy::FaultProxy;
pub use http::{Answer, HttpPeer, http};
pub use instance::{Instance, binary};
pub use memory_broker::MemoryBroker;
pub use memory_consumers::MemoryConsumers;
pub use memory_log::MemoryLog;
pub use not_tested::not_tested;
pub use partition::{Partition, in_own_network};
pub use ports::own_port;
pub use program::{Finished, Program, Running, is_alive, signal, warnings};
pub use recording_client::RecordingClient;
pub use script::write_script;
pub use server::{Node, Server, is_cluster, kind_under_test};
pub use sessions::sessions;
pub use start_of_jobs::{commit_bare, start_of_jobs};
pub use stress::{Stress, Summary};
pub use test_database::TestDatabase;
pub use udf_peer::{HELLO, PONG, PUBLISH, RING, UdfPeer};
pub use udf_server::{Stats, UdfServer, install_functions, panicking_library, stats};
pub use wait::{DEADLINE, wait_at_most, wait_or_report, wait_until};

/// The repository's folder.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
