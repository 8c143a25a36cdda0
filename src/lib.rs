//! resq turns a MySQL or MariaDB table into a work queue and a change feed.
//!
//! Public API: the protocol's bytes ([`wire`]), a client of the broker (`client`), the queue (`queue`), and the settings
//! they share (`config`). Everything else is public only for the programs, the tests and the benchmarks of this
//! repository. `docs/architecture.md` shows how the parts fit together and which may import which.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
// They panic where standard output is closed or its disk is full: `cli::Output` prints.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod wire;

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "client")]
pub mod config;
#[cfg(feature = "daemon")]
pub mod queue;

#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod api;
#[doc(hidden)]
pub mod base;
#[cfg(feature = "client")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod daemon;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod db;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod events;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod fanout;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod net;
#[cfg(feature = "client")]
#[doc(hidden)]
pub mod output;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod resources;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod schema;
#[cfg(test)]
mod sim;
