//! From a resource to its database: templates ([`template`], [`source`]), the name ([`names`]), the registry of
//! databases that are ours ([`registry`]), and the handler that builds them (`builder`). [`init`] sets up the
//! global database from the same kind of files.

mod build;
pub mod drop;
pub mod name;
pub mod registry;
pub mod template;
pub mod template_files;

pub use build::DatabaseBuilder;
pub use template_files::Templates;
