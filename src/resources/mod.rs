//! From a resource to its database: the templates ([`template`], [`template_files`]), the name ([`name`]), the registry of
//! resq's own databases ([`registry`]), the statements on the server that holds them (`resource_server`), the handler that
//! builds them ([`DatabaseBuilder`]), and dropping them again ([`drop`]). What a database should look like is built in a
//! scratch database ([`reference`], [`scratch`]) and compared by its [`shape`]. Never touches a database that the registry
//! does not name.

pub mod addition;
pub mod adopt;
mod broken;
mod build;
pub mod check;
pub mod drift;
pub mod drop;
pub mod drop_error;
mod drop_set;
mod elsewhere;
pub mod grace;
pub mod migrate;
pub mod name;
mod one_packet;
pub mod plain;
pub mod purge;
pub mod reference;
pub mod references;
pub mod registry;
pub mod registry_page;
pub mod resource_server;
pub mod scanner;
pub mod scratch;
pub mod shape;
pub mod sql_text;
pub mod template;
pub mod template_files;
pub mod template_sets;

pub use build::DatabaseBuilder;
pub use template_files::Templates;
