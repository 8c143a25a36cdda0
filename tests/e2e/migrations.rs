//! Databases that were built by older templates: versions, files, rollouts.

mod cluster;
mod crash;
mod disk;
mod faults;
mod fleet;
pub mod registry;
mod reload;
mod rollout;
mod several_files;
mod together;
mod verify;
