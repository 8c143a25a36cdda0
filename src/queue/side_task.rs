//! Work that is no job: what a program lets idle workers do besides. A worker begins it only while no job is waiting for it.

use super::session::Session;

/// Runs on a worker's thread, on a fresh session like a job's. It handles its own failures; a panic is logged.
pub type SideTask = Box<dyn FnOnce(&mut Session) + Send>;
