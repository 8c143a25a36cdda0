//! From an event to its subscribers: which states each wants, how far its delivery has got, and what it reads again from
//! the event log. Pure: knows no socket, no protocol and no clock, and never waits.
//!
//! A subscriber is a small number that the transport chooses. [`Fanout`] decides what each subscriber receives and pushes
//! it to the subscriber's [`Sink`], which the transport provides and which turns a [`Message`] into bytes.

mod cursor;
mod delivery;
mod filter;
mod kept_pages;
mod limits;
mod outgoing;
mod page_requests;
mod recent_window;
mod sink;
mod topics;
mod window;

pub use cursor::Subscription;
pub use delivery::Fanout;
pub use filter::Filter;
pub use limits::Limits;
pub use outgoing::{Bytes, CacheSlot, Outgoing};
pub use sink::{Message, Sink, Sinks};
