//! The server's binary log as a source: of wakeups for the threads that wait for commits, and of the events of watched tables.
//! Owns the connections that it reads over. What the log's events mean are pure rules, apart from those.
//!
//! `wakeups` and `watcher` are the threads, with `decoded` between the watcher's two, `pending` and `numbering`;
//! `transactions` the way from the log's events to resq's, with `table_map`, `rows`, `value` and `payload` as its steps;
//! `position` and `watch_store` keep how far that has come.

mod bytes;
mod charset;
mod column;
mod compressed;
pub mod conditions;
mod decimal;
mod decoded;
mod gtid;
mod jsonb;
mod kind;
mod numbering;
pub mod payload;
mod pending;
mod position;
mod rows;
mod statement;
mod table_map;
mod temporal;
mod text;
mod touched;
mod transactions;
mod value;
pub mod wakeups;
mod watch_reader;
mod watch_store;
pub mod watcher;
