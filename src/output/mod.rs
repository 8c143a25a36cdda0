//! What resq-client does with an event: a line on standard output ([`mod@line`]), a program ([`exec`]), a desktop
//! notification ([`toast`]). Each takes one event and knows no connection.

pub mod exec;
pub mod line;
#[cfg(feature = "toast")]
pub mod toast;
