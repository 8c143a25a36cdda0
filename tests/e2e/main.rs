//! The real binaries against a real server.
#![allow(dead_code)] // not every test uses all of the harness

mod cron;
mod harness;
mod install;
mod instance;
mod make;
mod program;
mod server;
mod testdb;
mod udf;
