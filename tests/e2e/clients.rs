//! resq-client and resq-trigger, run as a user runs them, against a broker that can go away and come back.

pub mod daemon;
mod exec;
mod listen;
mod publish;
mod python;
mod restart;
#[cfg(feature = "toast")]
mod toast;
