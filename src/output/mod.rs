//! What resq-client does with an event: a line on standard output ([`mod@line`]), a program that it runs ([`exec`]), a
//! desktop notification (`toast`). Each processes one event at a time and never knows a connection.

pub mod exec;
pub mod line;
#[cfg(feature = "toast")]
pub mod toast;
