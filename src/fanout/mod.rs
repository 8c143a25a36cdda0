//! From an event to the subscribers that asked for it: which states each wants, where its delivery stands, and what it
//! reads again from the event log. Pure: knows no socket, no protocol and no clock, and never waits.
//!
//! A subscriber is a small number that the transport chooses. [`Fanout`] decides what each gets and hands it to the
//! subscriber's [`Sink`], which the transport provides and which turns a [`Message`] into bytes.

mod cursor;
mod delivery;
mod filter;
mod limits;
mod page_requests;
mod recent_window;
mod sink;
mod topics;

pub use delivery::Fanout;
pub use limits::Limits;
pub use sink::{Message, Sink, Sinks};
