//! RSQ/1 and the broker, over real sockets and without a database: the specification as a table, what strangers may
//! send, slow and resuming subscribers, and the way in.

mod conformance;
mod fixture;
mod peer;
