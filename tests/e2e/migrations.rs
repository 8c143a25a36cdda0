//! Databases that were built by older templates: versions, files, rollouts.

mod crash;
mod faults;
mod fleet;
mod registry;
mod reload;
mod rollout;
mod verify;
