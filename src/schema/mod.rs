//! resq's own tables, procedures and triggers in the global database: [`install`] creates, upgrades and mends them,
//! [`inspection`] compares what is there with what should be, [`watch`] does so while the daemon runs, and [`doctor`]
//! checks them and everything else that resqd needs.

mod cluster_lock;
mod column;
pub mod doctor;
mod expected;
pub mod inspection;
pub mod install;
pub mod problem;
pub mod version;
pub mod watch;
