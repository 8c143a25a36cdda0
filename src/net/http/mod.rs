//! HTTP/1.1 at the server: from bytes to requests (`request`, `body`, `query`, `session`), who may ask for what
//! (`access`, `login`), what is answered (`routes`, `site`, `response`), and the events of a stream (`stream`). Knows no
//! socket and no database.

pub mod access;
mod body;
mod dashboard;
pub mod handoff;
mod limits;
mod login;
mod penalties;
mod query;
pub mod request;
pub mod response;
mod routes;
pub mod session;
pub mod site;
pub mod stream;
pub mod watch;

pub use limits::Limits;
pub use routes::api_paths;
