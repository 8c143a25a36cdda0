//! RSQ/1 on the server: the rules of one session.

pub mod session;
