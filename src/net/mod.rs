//! The broker: every socket and every connection, on one thread. Sends what the fan-out delivers; never touches the
//! database, and never waits for anything but its poll.
//!
//! From the outside in: [`Broker`] starts and stops the thread, `event_loop` is its loop, `listener` and `acceptor`
//! accept peers, `tls` encrypts, `hub` gives each its turn, `connection` is one peer, `meter` counts events, [`Limits`]
//! bounds them all, and `rsq` is the protocol, without any socket. `http` is the other protocol: health, metrics and the
//! event stream.

mod acceptor;
mod broker;
pub(crate) mod connection;
mod connections;
mod consumers;
mod event_loop;
pub(crate) mod http;
pub(crate) mod hub;
mod limits;
mod listener;
mod meter;
mod reload;
pub(crate) mod rsq;
mod stream;
mod tls;

pub use broker::{Broker, Http, Overviews, Settings};
pub use http::api_paths;
pub use http::handoff::{ApiAnswer, ApiEnd, ApiRequest};
pub use limits::Limits;
pub use listener::StartError;
pub use reload::Reloader;
