//! The server's binary log as a source: of wakeups for the threads that wait for commits. Owns the connection that it reads
//! over. What the events mean are pure rules, apart from that connection; nothing depends on this source but how soon work
//! is noticed.

mod bytes;
mod compressed;
mod kind;
mod statement;
mod touched;
pub mod wakeups;
