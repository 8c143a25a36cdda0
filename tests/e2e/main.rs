//! The real binaries against a real server.
#![allow(dead_code)] // not every test uses all of the harness

mod harness;
mod instance;
mod program;
mod server;
mod udf;
