//! resq turns a MySQL or MariaDB table into a work queue and a change feed.
//!
//! The modules, in reading order: the protocol's bytes ([`wire`]); what every program shares (`config`, `cli`, `text`,
//! `failure`); a client of the broker (`client`) and what it does with an event (`sink`); and the daemon: the database
//! connection (`db`), the queue and what it runs (`queue`, `provision`), the event log (`journal`), its subscribers
//! (`broker`), and the threads that tie them together (`daemon`). Imports point one way: daemon → {provision, journal}
//! → {queue, broker} → {db, client, cli} → config → {wire, text, failure, bell, clock, threads}.

pub mod wire;

#[cfg(feature = "client")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "client")]
pub mod config;
#[cfg(feature = "client")]
pub mod failure;
#[cfg(feature = "client")]
pub mod sink;
#[cfg(feature = "client")]
pub mod text;

#[cfg(feature = "daemon")]
pub mod bell;
#[cfg(feature = "daemon")]
pub mod broker;
#[cfg(feature = "daemon")]
pub mod clock;
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "daemon")]
pub mod db;
#[cfg(feature = "daemon")]
pub mod doctor;
#[cfg(feature = "daemon")]
pub mod journal;
#[cfg(feature = "daemon")]
pub mod provision;
#[cfg(feature = "daemon")]
pub mod queue;
#[cfg(feature = "daemon")]
pub mod threads;
