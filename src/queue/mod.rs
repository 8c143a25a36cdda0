//! The work queue: rows of `res_queue` become jobs, jobs run on a fixed pool of threads, outcomes go back.
//!
//! [`job`] holds the rules, pure; `store` the dispatcher's SQL; [`admin`] what applications and operators do with
//! the table; [`handler`] the seam to what is run. [`Service`] ties the threads together.

pub mod admin;
mod completer;
mod dispatcher;
pub mod handler;
pub mod job;
mod lease;
mod service;
pub mod store;
mod worker;

pub use admin::{NewJob, Queue};
pub use handler::{Handler, JobError, Session};
pub use job::{Job, Status};
pub use service::{FIXED_CONNECTIONS, Service, Wakeups};
pub use store::Ending;
