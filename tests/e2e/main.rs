//! The real binaries against a real server.

mod protocol;
