//! The work queue: rows of `res_queue` become jobs, jobs run on a fixed pool of threads, outcomes go back.
//!
//! [`job`] holds the rules, pure; `table` what the threads ask of the database, `store` its SQL; [`admin`] what applications and operators do with
//! the table; [`handler`] the seam to what is run. [`Service`] ties the threads together.

pub mod admin;
pub(crate) mod completer;
pub(crate) mod dispatcher;
pub mod handler;
pub mod job;
pub(crate) mod lease;
mod service;
pub mod sql_store;
pub(crate) mod store;
pub(crate) mod worker;

pub use admin::{NewJob, Queue};
pub use handler::{Handler, JobError, Session};
pub use job::{Job, Status};
pub use service::{FIXED_CONNECTIONS, Service, Wakeups};
pub use sql_store::Outcome;

/// The state of the event that the triggers of `res_queue` write when a job becomes `new`: it was inserted, is retried,
/// or was released or reclaimed unfinished (`sql/init_tables/050_triggers.sql`).
pub const QUEUE_STATE_NEW: &str = "New";
