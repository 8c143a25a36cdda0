//! From a resource to its database: templates ([`template`], [`source`]), the name ([`names`]), the registry of
//! databases that are ours ([`registry`]), and the handler that builds them (`provisioner`). [`init`] sets up the
//! global database from the same kind of files.

pub mod init;
pub mod names;
mod provisioner;
pub mod registry;
pub mod removal;
pub mod source;
pub mod template;

pub use provisioner::Provisioner;
pub use source::Templates;
