//! The real programs against a real server, and the repository's own rules.

mod architecture;
mod broken_pipes;
mod claims;
mod clients;
mod cluster;
mod commands;

mod containers;
mod crash;
mod cron;
mod docs;
mod drop_whole;
mod events;
mod faults;
mod harness;
mod install;
mod login_errors;
mod make;
mod names;
mod privileges;
mod promises;
mod protocol;
mod quarantine;
mod repository;
mod schema_dump;
mod schema_objects;
mod server_defaults;
mod setup;
mod signals;
mod stopping;
mod template_files;
mod templates;
mod testdb;
mod tls;
mod udf;
mod waiting;
