//! RSQ/1 and the broker, over real sockets and without a database: the specification as a table, what strangers may
//! send, the way in, and the way back after an absence.

mod bad_input;
mod child;
mod conformance;
mod connecting;
mod fixture;
pub mod peer;
mod resume;
