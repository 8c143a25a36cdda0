//! RSQ/1 and the broker, over real sockets and without a database: the specification as a table, bad input, TLS, connecting,
//! and resuming.

mod bad_input;
mod child;
mod conformance;
mod connecting;
mod consumer_rules;
mod fixture;
pub mod peer;
mod resume;
mod tls;
