//! RSQ/1 at the server: the rules of one session, and the fan-out's messages as frames. Knows no socket.

pub mod access;
pub mod encode;
pub mod refusal;
pub mod session;
