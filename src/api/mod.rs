//! What operators do beside single commands: actions on many jobs. It works with the queue, the event log and the registry;
//! it knows no socket and decides no right.
//!
//! [`batch`] is an action on all jobs that match a filter; [`batch_runner`] does it, in this process or in [`batch_thread`].

pub mod batch;
pub mod batch_runner;
pub mod batch_thread;
