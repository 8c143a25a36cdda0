//! Databases that were built by older templates: versions, files, rollouts.

mod faults;
mod fleet;
mod registry;
mod rollout;
mod verify;
