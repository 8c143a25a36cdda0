//! The real binaries against a real server.

#![allow(dead_code)] // not every test uses all of the harness

mod accounts;
mod bed;
mod claims;
mod clients;
mod cluster;
mod commands;
mod crash;
mod cron;
mod events;
mod faults;
mod harness;
mod install;
mod instance;
mod layers;
mod make;
mod names;
mod privileges;
mod program;
mod promises;
mod protocol;
mod server;
mod setup;
mod stopping;
mod templates;
mod testdb;
mod tls;
mod udf;
