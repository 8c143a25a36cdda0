//! From an event to the subscribers that asked for it: who wants which states, where each stands, what is read again
//! from the log. Knows no socket and no protocol.

pub mod cursor;
pub mod delivery;
pub mod filter;
pub mod limits;
pub mod page_requests;
pub mod recent_window;
pub mod topics;

pub use limits::Limits;
