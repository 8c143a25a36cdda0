//! Databases that were built by older templates: versions, files, rollouts.

mod registry;
