//! resq-client and resq-trigger, run as a user runs them, against a broker that can stop and start again.

pub mod broker;
mod exec;
mod publish;
mod python;
mod restart;
mod subscribe;
mod tls;
mod toast;
